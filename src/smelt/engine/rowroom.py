"""The output tokens that the answer to one row takes, learnt from replies: the estimate knows no tokenizer.

A reply in a script that the tokenizer knows badly, or with blanks between its values, may take several times the tokens
that its fields are reckoned at. Without this, the reply to every full request would be truncated.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil

from smelt.plan.replyrows import ReplyRows

_SPARE = 1.5  # The limit is this many times the largest mean of recent replies.
_MEMORY = 0.9  # A larger mean fades by a tenth with each reply.


@dataclass(kw_only=True, eq=False)
class RowRoom:
    """What the answers to one question take, of one model. Runs that ask the same question share it.

    Attributes:
        usual: Tokens of one row: the largest mean over the rows of a recent reply; 0 before the first reply.
        is_proven: Whether a row was answered, so that key, model and schema are known to be good.
    """

    usual: float = 0.0
    is_proven: bool = False

    @property
    def wanted(self) -> int:
        """The tokens to allow for one row."""
        return ceil(_SPARE * self.usual)

    def learn(self, mean: float) -> None:
        """Take a reply into account whose complete rows took *mean* tokens each; 0 if it had none."""
        if mean:
            self.usual = max(mean, self.usual * _MEMORY + mean * (1 - _MEMORY))


def mean_of_rows(spent: int, text: str, tokens: Sequence[str], rows: ReplyRows) -> float:
    """Output tokens per complete row of a reply; 0 if it has none.

    The part from the beginning of a row that is not complete does not count: that row may have run away.

    Args:
        spent: Output tokens of the text.
        text: The reply.
        tokens: The row tokens of the request.
        rows: Its rows.
    """
    found = len(rows.found)
    if not found or not text:
        return 0.0
    if found == len(tokens):
        return spent / found
    end = max(text.rfind(token) for token in tokens if token not in rows.found)
    return spent * (end if end > 0 else len(text)) / len(text) / found
