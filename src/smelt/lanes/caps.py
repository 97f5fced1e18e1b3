"""Limits that the caller sets."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace


@dataclass(frozen=True, kw_only=True)
class Caps:
    """The limits of one run; None for no limit.

    Attributes:
        concurrency: Requests in flight.
        rpm: Requests per minute.
        tpm: Tokens per minute, input and output together.
        max_wait: Seconds: the run stops if one wait would take longer, or if no request was answered for so long.
    """

    concurrency: int
    rpm: float | None = None
    tpm: float | None = None
    max_wait: float = 900.0

    def parted(self, share: float) -> Caps:
        """A *share* of the requests and tokens per minute, for one of several lanes that together keep to the caps."""
        rpm, tpm = (None if one is None else one * share for one in (self.rpm, self.tpm))
        return replace(self, rpm=rpm, tpm=tpm)

    @classmethod
    def together(cls, caps: Iterable[Caps]) -> Caps:
        """As `tightest`, but runs in several processes may have as many requests in flight as all of them want."""
        caps = list(caps)
        return replace(cls.tightest(caps), concurrency=sum(one.concurrency for one in caps))

    @classmethod
    def tightest(cls, caps: Iterable[Caps]) -> Caps:
        """The minimum of each limit over *caps*, at least one: the provider counts by key, not by run."""
        caps = list(caps)
        return cls(
            concurrency=min(one.concurrency for one in caps),
            rpm=min((one.rpm for one in caps if one.rpm is not None), default=None),
            tpm=min((one.tpm for one in caps if one.tpm is not None), default=None),
            max_wait=min(one.max_wait for one in caps),
        )
