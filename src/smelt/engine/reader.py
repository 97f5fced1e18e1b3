"""Reads replies, and notices what they show of the server: that it keeps to no schema, or mixes requests up."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from smelt.plan.wire import Codec, ReplyRows, read_reply
from smelt.providers.base import Reply


@dataclass(kw_only=True)
class Reader:
    """Reads the replies of one run.

    Attributes:
        provider: The provider's name, for what is said of it.
        codec: The shape of its replies.
        is_lenient: Whether prose or a code fence around the JSON is tolerated.
        note: Takes sentences that the caller should see.
        replies: How many were read.
        keeps_to_schema: Whether the first reply kept to the schema.
    """

    provider: str
    codec: Codec
    is_lenient: bool
    note: Callable[[str], None]
    replies: int = 0
    keeps_to_schema: bool = True
    _misdirected: int = 0

    def read(self, reply: Reply, tokens: list[str]) -> ReplyRows:
        """The rows of *reply* to a request with *tokens*."""
        rows = self._rows(reply, tokens)
        self.replies += 1
        if rows.foreign and not rows.found and not rows.doubled:
            self._misdirected += 1
            if self._misdirected == 2:
                self.note("Two replies answered the rows of other requests: is a proxy mixing them up?")
        return rows

    def _rows(self, reply: Reply, tokens: list[str]) -> ReplyRows:
        rows = read_reply(reply.text, tokens, self.codec, lenient=self.is_lenient)
        if self.replies or rows.is_whole or rows.is_cut or reply.finish != "stop":
            return rows
        if not rows.found:  # The first reply shows whether the server keeps to the schema.
            rows = read_reply(reply.text, tokens, self.codec, lenient=True)
        if rows.found:
            self.is_lenient, self.keeps_to_schema = True, False
            self.note(f"{self.provider} does not enforce the reply schema; every reply is checked here.")
        return rows
