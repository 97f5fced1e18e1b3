"""What the caller allows, by hand."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Caps:
    """What a run allows at the most.

    Attributes:
        concurrency: Requests in flight.
        rpm: Requests per minute.
        tpm: Tokens per minute, input and output together.
        max_wait: Seconds that one wait may take, or that may pass without an answer, before the run stops.
    """

    concurrency: int
    rpm: float | None = None
    tpm: float | None = None
    max_wait: float = 900.0

    @classmethod
    def tightest(cls, caps: Iterable[Caps]) -> Caps:
        """What satisfies all of *caps*, of which there is one at least: a key does not know which run uses it."""
        caps = list(caps)
        return cls(
            concurrency=min(one.concurrency for one in caps),
            rpm=min((one.rpm for one in caps if one.rpm is not None), default=None),
            tpm=min((one.tpm for one in caps if one.tpm is not None), default=None),
            max_wait=min(one.max_wait for one in caps),
        )
