"""The parsed rows of a reply (`ReplyRows`), merged from the answers of all its documents."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Self

from smelt.plan.rowsets import Document, Row
from smelt.plan.wire import is_token

_TWICE = "it was answered more than once"
DOUBTED = "the reply held answers that contradict each other"


@dataclass(slots=True)
class ReplyRows:
    """The rows of a reply's text.

    Attributes:
        found: The accepted rows by token, without the token; only tokens of the request.
        problems: Why a row of the text is not accepted, by token: its JSON is broken, or it has several answers.
        doubled: The tokens in *problems* that were answered more than once, so that it is unknown which answer is
            meant.
        strangers: The number of rows whose token was not in the request.
        foreign: The number of *strangers* with a token that another request may have used.
        is_whole: Whether the whole text is JSON of the expected shape.
        is_cut: Whether the text is truncated.
    """

    found: dict[str, dict[str, Any]] = field(default_factory=dict)
    problems: dict[str, str] = field(default_factory=dict)
    doubled: set[str] = field(default_factory=set)
    strangers: int = 0
    foreign: int = 0
    is_whole: bool = False
    is_cut: bool = False

    @property
    def is_unreadable(self) -> bool:
        """Whether the text has no answer to a row, not even a faulty one, and does not have the expected shape."""
        return not (self.is_whole or self.found or self.problems)

    @classmethod
    def agreed(
        cls,
        documents: Sequence[Document],
        tokens: frozenset[str],
        unended: Sequence[int] = (),
        *,
        may_correct: bool = True,
    ) -> Self:
        """The rows on which *documents* agree, by the rules of `plan.replies`.

        Args:
            documents: The documents, in order.
            tokens: The tokens of the request.
            unended: Where further documents begin that the end of the text truncates.
            may_correct: Whether a document that answers every row replaces the documents before it.
        """
        rows = cls()
        for document in documents:
            # A text in place of a row's fields is no row of another request.
            strange = [name for name in document.strangers if not (isinstance(name, str) and name in tokens)]
            rows.strangers += len(strange)
            rows.foreign += sum(isinstance(name, str) and is_token(name) for name in strange)
        documents = documents[_last_whole(documents, tokens) if may_correct else 0 :]
        said = _said(documents)
        differing = {token for token, entries in said.items() if not _agree(entries)}
        doubted = {at for token in differing for at, _ in said[token] if at < said[token][-1][0]}
        cut = max([*unended, *(one.start for one in documents if one.is_cut)], default=-1)
        doubted.update(at for at, one in enumerate(documents) if cut >= one.end)
        for token, entries in said.items():
            if token in differing:
                rows._double(token, entries)
            elif entries[-1][0] in doubted:
                rows.problems[token] = DOUBTED
            else:
                rows._enter(entries[0][1])
        return rows

    def _double(self, token: str, entries: Sequence[tuple[int, Row]]) -> None:
        self.doubled.add(token)
        self.problems[token] = next((row.fault for _, row in entries if row.fault), _TWICE)

    def _enter(self, row: Row) -> None:
        if row.fault is None and row.value is not None:
            self.found[row.token] = row.value
        elif not row.is_cut:  # A truncated row has no other problem.
            self.problems[row.token] = row.fault or ""


def _last_whole(documents: Sequence[Document], tokens: frozenset[str]) -> int:
    """The index of the last document that answers every row; 0 if there is none."""
    for at in range(len(documents) - 1, 0, -1):
        rows = documents[at].rows
        if len(rows) >= len(tokens) and tokens.issubset(row.token for row in rows if not row.is_cut):
            return at
    return 0


def _said(documents: Sequence[Document]) -> dict[str, list[tuple[int, Row]]]:
    """The answers to each token, each with the index of its document."""
    said: dict[str, list[tuple[int, Row]]] = {}
    for at, document in enumerate(documents):
        for row in document.rows:
            said.setdefault(row.token, []).append((at, row))
    return said


def _agree(entries: Sequence[tuple[int, Row]]) -> bool:
    if len(entries) == 1:
        return True
    if len({at for at, _ in entries}) < len(entries) or any(row.fault for _, row in entries):
        return False  # Twice in one document: an id may be at the wrong row, even if both answers are equal.
    return len({_canonical(row.value) for _, row in entries}) == 1


def _canonical(value: Any) -> str:
    try:
        return json.dumps(value, sort_keys=True, default=repr)
    except RecursionError:
        return repr(id(value))  # A text that equals no other.
