"""What the simulated provider allows per minute and at once, and how it says so."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Literal

Style = Literal["openai", "anthropic"]

_MIDNIGHT = datetime(2026, 1, 1, tzinfo=UTC)  # The provider's wall clock when the world begins.


@dataclass(frozen=True, kw_only=True)
class Limits:
    """Limits of a provider.

    Attributes:
        requests: Per minute, or None.
        tokens: Per minute, or None.
        in_flight: At once, or None.
        burst: Seconds' worth of a minute's allowance that may be used at once.
        style: Whose headers announce them; None hides them.
        is_patient: Whether a refusal says when to come back.
        steps: From which second on the limits are multiplied by how much.
    """

    requests: float | None = None
    tokens: float | None = None
    in_flight: int | None = None
    burst: float = 60.0
    style: Style | None = None
    is_patient: bool = True
    steps: Sequence[tuple[float, float]] = ()

    def factor(self, now: float) -> float:
        """What the limits are multiplied by at *now*."""
        return next((factor for start, factor in reversed(self.steps) if now >= start), 1.0)


@dataclass(kw_only=True)
class Bucket:
    """An allowance that refills evenly."""

    per_minute: float
    burst: float
    level: float = field(init=False)
    at: float = 0.0

    def __post_init__(self) -> None:
        self.level = self.room(1.0)

    def room(self, factor: float) -> float:
        return max(1.0, self.per_minute * factor * self.burst / 60)

    def refill(self, now: float, factor: float) -> None:
        earned = (now - self.at) * self.per_minute * factor / 60
        self.level, self.at = min(self.room(factor), self.level + earned), now

    def wait(self, amount: float, factor: float) -> float:
        """Seconds until *amount* is there; more than there ever can be passes when all is there."""
        lacking = min(amount, self.room(factor)) - self.level
        return max(0.0, lacking * 60 / (self.per_minute * factor))


@dataclass(kw_only=True)
class Gate:
    """Lets requests of one provider pass, or refuses them."""

    limits: Limits
    _buckets: dict[str, Bucket] = field(init=False)

    def __post_init__(self) -> None:
        allowed = {"requests": self.limits.requests, "tokens": self.limits.tokens}
        burst = self.limits.burst
        self._buckets = {name: Bucket(per_minute=one, burst=burst) for name, one in allowed.items() if one}

    def refuse(self, now: float, tokens: int, in_flight: int) -> float | None:
        """None where the request may pass, and is counted; else the seconds until one like it may."""
        factor, amounts = self.limits.factor(now), {"requests": 1.0, "tokens": float(tokens)}
        for bucket in self._buckets.values():
            bucket.refill(now, factor)
        wait = max((bucket.wait(amounts[name], factor) for name, bucket in self._buckets.items()), default=0.0)
        if self.limits.in_flight is not None and in_flight > max(1, int(self.limits.in_flight * factor)):
            wait = max(wait, 1.0)
        if wait > 0:
            return wait
        for name, bucket in self._buckets.items():
            bucket.level -= amounts[name]
        return None

    def headers(self, now: float) -> dict[str, str]:
        """What the provider says of its limits."""
        if self.limits.style is None:
            return {}
        factor = self.limits.factor(now)
        said: dict[str, str] = {}
        for name, bucket in self._buckets.items():
            bucket.refill(now, factor)
            left = (bucket.room(factor) - bucket.level) * 60 / (bucket.per_minute * factor)
            said |= _SPEECH[self.limits.style](name, bucket.per_minute * factor, bucket.level, left, now)
        return {**said, "date": format_datetime(_MIDNIGHT + timedelta(seconds=now), usegmt=True)}


def _as_openai(name: str, limit: float, left: float, reset: float, now: float) -> Mapping[str, str]:
    minutes, seconds = divmod(reset, 60)
    shown = f"{minutes:.0f}m{seconds:.3f}s" if minutes else f"{seconds * 1000:.0f}ms"
    return {
        f"x-ratelimit-limit-{name}": str(int(limit)),
        f"x-ratelimit-remaining-{name}": str(max(0, int(left))),
        f"x-ratelimit-reset-{name}": shown,
    }


def _as_anthropic(name: str, limit: float, left: float, reset: float, now: float) -> Mapping[str, str]:
    return {
        f"anthropic-ratelimit-{name}-limit": str(int(limit)),
        f"anthropic-ratelimit-{name}-remaining": str(max(0, int(left))),
        f"anthropic-ratelimit-{name}-reset": (_MIDNIGHT + timedelta(seconds=now + reset)).isoformat(),
    }


_SPEECH = {"openai": _as_openai, "anthropic": _as_anthropic}
