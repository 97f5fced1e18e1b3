"""Reads replies, and detects a server that does not enforce the schema or a proxy that mixes requests up."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from smelt.plan.indents import Indents
from smelt.plan.packed import Layout
from smelt.plan.replies import read_reply
from smelt.plan.replyrows import ReplyRows
from smelt.plan.wire import Codec
from smelt.providers.base import ENDED, Reply


@dataclass(kw_only=True, eq=False)
class ReplyReader:
    """Reads the replies of one run. Each reply is read on its own, independent of earlier ones.

    Attributes:
        provider: The provider's name, for messages.
        is_trusted: Whether the provider claims to enforce the schema.
        note: Receives notices for the caller.
        replies: How many replies were read.
        keeps_to_schema: False once a reply showed that the server does not enforce the schema. If the provider claims
            to enforce it, only the first reply of a run can show that, because a single later fault proves nothing.
        just_strayed: Whether the last reply was the one that showed it.
    """

    provider: str
    is_trusted: bool
    note: Callable[[str], None]
    replies: int = 0
    keeps_to_schema: bool = True
    just_strayed: bool = False
    _misdirected: int = 0
    _indents: Indents = field(default_factory=Indents)

    def read(self, reply: Reply, tokens: list[str], codec: Codec = "array", layout: Layout | None = None) -> ReplyRows:
        """The rows of *reply* to a request with *tokens* that asked for the shape *codec*, or for *layout*."""
        rows = read_reply(
            reply.text,
            tokens,
            codec,
            layout=layout,
            is_cut=reply.finish == "length",
            may_be_cut=reply.finish == "unknown",
        )
        self.replies += 1
        self._watch(reply, rows, is_bound=codec == "keyed" and not self.is_trusted)
        self._weigh(reply.text, len(rows.found))
        if rows.foreign and not rows.found and not rows.doubled:
            self._misdirected += 1
            if self._misdirected == 2:
                self.note("Two replies answered the rows of other requests: is a proxy mixing them up?")
        return rows

    def _watch(self, reply: Reply, rows: ReplyRows, *, is_bound: bool) -> None:
        """Note whether the reply shows that the schema is not enforced.

        *is_bound*: Whether the schema names every row, so that no grammar lets a text without any row pass.
        """
        is_said = bool(rows.found) or (is_bound and bool(reply.text.strip()))
        is_stray = is_said and not rows.is_whole and not rows.is_cut and reply.finish in ENDED
        self.just_strayed = is_stray and self.keeps_to_schema and (self.replies == 1 or not self.is_trusted)
        if not self.just_strayed:
            return
        self.keeps_to_schema = False
        self.note(f"{self.provider} does not enforce the reply schema; every reply is checked here.")

    def _weigh(self, text: str, rows: int) -> None:
        """Note once that replies are indented. From then on they are not counted."""
        if self._indents.are_many:
            return
        self._indents.add(text, rows)
        if self._indents.are_many:
            share = round(self._indents.share * 100)
            self.note(
                f"Replies are indented: {share} % of them is line breaks and spaces, which are billed. They take about "
                "1.4 to 1.8 times the output tokens of JSON on one line. To the prompt, add: Write the JSON on one "
                "line, without spaces."
            )
