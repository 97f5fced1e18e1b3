"""Ambiguous refusals: they concern one row or the whole account, and requests for other rows show which.

A firewall that blocks one text answers like a provider that has closed an account: 403, 404, a redirect, an HTML page.
So the first refusal decides nothing. Its rows are requeued last, in halves, and another row is asked alone as a probe.
If a request sent after the refusal is answered, the account is good. Until then a row that was refused alone is held.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

from smelt.engine.policy import NO_DOUBTS, Doubts, Failed
from smelt.plan.chunks import Chunk
from smelt.providers.base import CallFailed


@dataclass(kw_only=True, eq=False)
class Doubt:
    """The ambiguous refusals since the last proof that the account is good.

    Attributes:
        count: How many there were.
        last: The newest of them, or None.
    """

    count: Doubts = NO_DOUBTS
    last: CallFailed | None = None
    _others: Counter[int | None] = field(default_factory=Counter)  # By status.
    _since: float | None = None
    _held: list[tuple[Failed, str | None]] = field(default_factory=list)
    _is_probing: bool = False
    _asking: int = 0

    @property
    def is_asking_others(self) -> bool:
        """Whether rows that were not refused before are in a request, from its creation to its reply."""
        return self._asking > 0

    @contextmanager
    def asking(self, chunk: Chunk) -> Iterator[None]:
        """Context: *chunk* is in a request."""
        is_other = not (chunk.doubts or chunk.pages)
        self._asking += is_other
        try:
            yield
        finally:
            self._asking -= is_other

    def refused(self, chunk: Chunk, failure: CallFailed, *, left_at: float, now: float) -> None:
        """Count a refusal of *chunk*, unless its request was sent before the first refusal came back."""
        self.last, self._is_probing = failure, False
        if self._since is not None and left_at < self._since:
            return
        self._since = now if self._since is None else self._since
        # An account that is closed says the same to every request. A firewall's 403 and a stray 404 are no second sign.
        self._others[failure.status] += not chunk.doubts
        self.count = Doubts(
            others=self._others[failure.status],
            singles=self.count.singles + (len(chunk.rows) == 1),
            total=self.count.total + 1,
        )

    def answered(self, *, left_at: float) -> Sequence[tuple[Failed, str | None]]:
        """Handle a reply: if it proves that the account is good, return the held rows and request ids, to be failed."""
        return self.release() if self._since is not None and left_at >= self._since else ()

    def hold(self, failed: Sequence[Failed], request_id: str | None) -> None:
        """Hold rows that were refused alone until the cause is known."""
        self._held += [(one, request_id) for one in failed]

    def release(self) -> Sequence[tuple[Failed, str | None]]:
        """Return the held rows, which were the cause, and reset the counts."""
        held, self._held = self._held, []
        self._others.clear()
        self.count, self._since, self.last, self._is_probing = NO_DOUBTS, None, None, False
        return held

    def probe(self) -> bool:
        """Whether the next request must be a probe with one row. Only one probe is in flight at a time."""
        if self._since is None or self._is_probing:
            return False
        self._is_probing = True
        return True
