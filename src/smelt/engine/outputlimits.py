"""The output limits of the requests of a run: what their rows need, and how many rows that leaves room for."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace

from smelt.engine.inflight import Delivery
from smelt.engine.room import Grant, Room, thoughts_in
from smelt.engine.rowroom import RowRoom, mean_of_rows
from smelt.engine.work import Work
from smelt.plan.chunks import Chunk
from smelt.plan.replyrows import ReplyRows
from smelt.providers.base import Capabilities, Reply

_OVERHEAD_TOKENS = 256  # Output tokens of a reply apart from its rows.
_FULL = 0.95  # Share of its limit that a reply has used if the limit truncated it; some servers count otherwise.


@dataclass(kw_only=True, eq=False)
class OutputLimits:
    """What replies may take.

    Attributes:
        work: The specification of the run.
        capabilities: The provider's limits and features.
        room: The output tokens that replies may use for reasoning.
        input_tokens: The estimated input tokens of a request with some rows.
        row_room: What the answers to the question take.
    """

    work: Work
    capabilities: Capabilities
    room: Room
    input_tokens: Callable[[Chunk], int]
    row_room: RowRoom = field(init=False)

    def __post_init__(self) -> None:
        self.row_room = self.room.for_rows(self.work.system)

    def most_room(self) -> int:
        """The highest multiple of the usual output limit for a single row; above it the limit would not change."""
        usual = _OVERHEAD_TOKENS + self.work.row_tokens
        return max(1, min(self.work.policy.most_room, -(-self.capabilities.max_output_tokens // usual)))

    @property
    def most_rows(self) -> int | None:
        """The most rows whose answers fit into the output limit, if rows took more than was reckoned; else None."""
        if self.row_room.usual <= self.work.row_tokens:
            return None
        return max(1, int((self.capabilities.max_output_tokens - _OVERHEAD_TOKENS) / self.row_room.usual))

    def learn(self, delivery: Delivery, reply: Reply, rows: ReplyRows, *, is_cut: bool) -> bool:
        """Learn from *reply* how many tokens its rows took.

        Returns:
            Whether it was truncated because all rows take more than was reckoned, and the rest fits into one request.
        """
        chunk, grant = delivery.flight.chunk, delivery.flight.grant
        spent = reply.usage.output_tokens if reply.usage.output_tokens is not None else grant.limit * is_cut
        spent -= thoughts_in(reply, limit=grant.limit, is_cut=is_cut)
        mean = mean_of_rows(spent, reply.text, delivery.tokens, rows)
        self.row_room.learn(mean)
        # Below the limit, the server cut the reply, so that a higher limit would change nothing.
        if not is_cut or chunk.cuts or spent < _FULL * grant.limit or mean * len(chunk.rows) < _FULL * spent:
            return False
        rest = replace(chunk, rows=chunk.rows[len(rows.found) :])
        return bool(rest.rows) and self.grant(rest).limit >= mean * len(rest.rows) + _OVERHEAD_TOKENS

    def grant(self, chunk: Chunk) -> Grant:
        """The output limit of a request for *chunk*."""
        answers = (_OVERHEAD_TOKENS + self._row_tokens * len(chunk.rows)) * chunk.room
        return self.room.grant(min(answers, self.capabilities.max_output_tokens), self.input_tokens(chunk))

    @property
    def _row_tokens(self) -> int:
        """The output tokens allowed for one row."""
        return max(self.work.row_tokens, self.row_room.wanted)
