"""Reads replies, and notices what they show of the server: that it keeps to no schema, or mixes requests up."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from smelt.plan.replies import read_reply
from smelt.plan.replyrows import ReplyRows
from smelt.plan.wire import Codec
from smelt.providers.base import ENDED, Reply


@dataclass(kw_only=True, eq=False)
class ReplyReader:
    """Reads the replies of one run. Each is read by itself: what an earlier one looked like settles nothing.

    Attributes:
        provider: The provider's name, for what is said of it.
        codec: The shape of its replies.
        is_trusted: Whether the provider says that it enforces the schema.
        note: Takes sentences that the caller should see.
        replies: How many were read.
        keeps_to_schema: Whether none has shown that the server enforces no schema: the first reply of a run if the provider
            says that it enforces one, since a single slip later shows nothing; else any reply.
        just_strayed: Whether the last reply has shown it.
    """

    provider: str
    codec: Codec
    is_trusted: bool
    note: Callable[[str], None]
    replies: int = 0
    keeps_to_schema: bool = True
    just_strayed: bool = False
    _misdirected: int = 0

    def read(self, reply: Reply, tokens: list[str]) -> ReplyRows:
        """The rows of *reply* to a request with *tokens*."""
        rows = read_reply(
            reply.text, tokens, self.codec, is_cut=reply.finish == "length", may_be_cut=reply.finish == "unknown"
        )
        self.replies += 1
        self._watch(reply, rows)
        if rows.foreign and not rows.found and not rows.doubled:
            self._misdirected += 1
            if self._misdirected == 2:
                self.note("Two replies answered the rows of other requests: is a proxy mixing them up?")
        return rows

    def _watch(self, reply: Reply, rows: ReplyRows) -> None:
        is_stray = not rows.is_whole and not rows.is_cut and bool(rows.found) and reply.finish in ENDED
        self.just_strayed = is_stray and self.keeps_to_schema and (self.replies == 1 or not self.is_trusted)
        if not self.just_strayed:
            return
        self.keeps_to_schema = False
        self.note(f"{self.provider} does not enforce the reply schema; every reply is checked here.")
