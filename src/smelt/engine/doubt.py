"""Refusals that may be about one row or about the account: other rows, asked for since, tell which.

A firewall that dislikes one text answers as a provider does that closes an account: 403, 404, a redirect, a page. So nothing
is decided by the first one. Its rows go to the end of the line in halves, another row is asked alone, and what is answered to
a request that left after the refusal shows that the account is good. Until then a row that was refused alone is held.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

from smelt.engine.policy import NO_DOUBTS, Doubts, Failed
from smelt.plan.chunks import Chunk
from smelt.providers.base import CallFailed


@dataclass(kw_only=True, eq=False)
class Doubt:
    """The refusals of this kind since the last proof that the account is good.

    Attributes:
        count: How many there were.
        last: The newest of them, or None.
    """

    count: Doubts = NO_DOUBTS
    last: CallFailed | None = None
    _since: float | None = None
    _held: list[tuple[Failed, str | None]] = field(default_factory=list)
    _is_probing: bool = False
    _asking: int = 0

    @property
    def is_asking_others(self) -> bool:
        """Whether rows that were not refused before are on their way, from the line to the reply."""
        return self._asking > 0

    @contextmanager
    def asking(self, chunk: Chunk) -> Iterator[None]:
        """While *chunk* is on its way."""
        is_other = not (chunk.doubts or chunk.pages)
        self._asking += is_other
        try:
            yield
        finally:
            self._asking -= is_other

    def refused(self, chunk: Chunk, failure: CallFailed, *, left_at: float, now: float) -> None:
        """Count a refusal of *chunk*. Those that left before the first one came back are the same news."""
        self.last, self._is_probing = failure, False
        if self._since is not None and left_at < self._since:
            return
        self._since = now if self._since is None else self._since
        self.count = Doubts(
            others=self.count.others + (not chunk.doubts),
            singles=self.count.singles + (len(chunk.rows) == 1),
            total=self.count.total + 1,
        )

    def answered(self, *, left_at: float) -> Sequence[tuple[Failed, str | None]]:
        """A request was answered: the rows that are guilty, with their requests, if that proves the account to be good."""
        return self.settle() if self._since is not None and left_at >= self._since else ()

    def hold(self, failed: Sequence[Failed], request_id: str | None) -> None:
        """Keep rows that were refused alone until it is known why."""
        self._held += [(one, request_id) for one in failed]

    def settle(self) -> Sequence[tuple[Failed, str | None]]:
        """The rows that are held, which it was about after all."""
        held, self._held = self._held, []
        self.count, self._since, self.last, self._is_probing = NO_DOUBTS, None, None, False
        return held

    def probe(self) -> bool:
        """Whether the next request is to find out, with one row; one at a time is."""
        if self._since is None or self._is_probing:
            return False
        self._is_probing = True
        return True
