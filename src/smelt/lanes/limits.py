"""What a provider announces about its limits: rate-limit headers in, numbers out.

Whatever makes no sense is unknown, so that nobody waits, or runs, by it: names as OpenAI (and Groq, Azure, vLLM's gateways)
and Anthropic write them, with resets as durations, points in time or plain seconds.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

_DURATION = re.compile(
    r"(?:(\d+)d)?(?:(\d+)h)?(?:(\d+)m(?!s))?(?:(\d+(?:\.\d+)?)s)?(?:(\d+(?:\.\d+)?)ms)?(?:(\d+(?:\.\d+)?)[uµ]s)?",
    re.ASCII,
)
_NUMBER = re.compile(r"-?\d{1,18}(?:\.\d{0,18})?", re.ASCII)  # Not what `float` takes: "1_0", "1e300", other digits.
_UNITS = (86_400.0, 3_600.0, 60.0, 1.0, 1e-3, 1e-6)
_LONGEST = 400 * 86_400.0  # Seconds: no limit comes back later than in a year.
_MOST = 1e15  # Above that a number is a slip.
_EPOCH = 1e9  # Seconds: a larger number is a point in time, and in milliseconds above a thousand times as much.
_PAST = 2.0  # Seconds: how far back a point in time may lie by rounding alone.


@dataclass(frozen=True, slots=True)
class Quota:
    """One limit as it is announced.

    Attributes:
        limit: What may be used, by its name per minute.
        remaining: What is left of it, or None where that is not known.
        reset: Seconds until all of it is there again, or None where that is not known.
    """

    limit: float
    remaining: float | None = None
    reset: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What one reply announces; None for a limit of which nothing can be made out."""

    requests: Quota | None = None
    tokens: Quota | None = None
    input_tokens: Quota | None = None
    output_tokens: Quota | None = None

    def __bool__(self) -> bool:
        return self != _NOTHING


_NOTHING = Limits()
_KINDS = {"requests": "requests", "tokens": "tokens", "input_tokens": "input-tokens", "output_tokens": "output-tokens"}
_NAMES = {
    kind: (
        tuple(f"x-ratelimit-{part}-{name}" for part in ("limit", "remaining", "reset")),
        tuple(f"anthropic-ratelimit-{name}-{part}" for part in ("limit", "remaining", "reset")),
    )
    for kind, name in _KINDS.items()
}


def read_limits(headers: Mapping[str, str]) -> Limits:
    """The limits in *headers*, whose names are lower-case."""
    if not headers:
        return _NOTHING
    found = {kind: quota for kind, families in _NAMES.items() if (quota := _quota(headers, families)) is not None}
    return Limits(**found) if found else _NOTHING


def seconds_until(moment: str | None, date: str | None = None) -> float | None:
    """Seconds from the reply's own *date* to *moment*: a duration, a point in time or a number; None for nonsense.

    The clock of this machine may be anywhere, so a point in time says nothing without a date.
    """
    text = (moment or "").strip()
    if not text:
        return None
    seconds = _number(text)
    if seconds is None:
        seconds = _duration(text)
    elif seconds >= _EPOCH:
        seconds = _since(_sent_at(date), seconds if seconds < _EPOCH * 1e3 else seconds / 1e3)
    if seconds is None and "T" in text:
        seconds = _since(_sent_at(date), _timestamp(text))
    return seconds if seconds is not None and 0 <= seconds <= _LONGEST else None


def _quota(headers: Mapping[str, str], families: tuple[tuple[str, ...], ...]) -> Quota | None:
    for limit_name, remaining_name, reset_name in families:
        limit = _number(headers.get(limit_name))
        if limit is None or not 0 < limit <= _MOST:
            continue
        remaining = _number(headers.get(remaining_name))
        if remaining is None or not 0 <= remaining <= limit:
            remaining = None
        return Quota(limit, remaining, seconds_until(headers.get(reset_name), headers.get("date")))
    return None


def _number(text: str | None) -> float | None:
    text = (text or "").strip(" \t")
    return float(text) if _NUMBER.fullmatch(text) else None


def _duration(text: str) -> float | None:
    match = _DURATION.fullmatch(text)
    if match is None or match.lastindex is None:
        return None
    return sum(float(part) * unit for part, unit in zip(match.groups(), _UNITS, strict=True) if part)


def _timestamp(text: str) -> float | None:
    if not text.isascii():
        return None
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return None
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()


def _sent_at(date: str | None) -> float | None:
    try:
        return parsedate_to_datetime(date or "").timestamp()
    except (ValueError, TypeError, OverflowError):
        return None


def _since(sent_at: float | None, moment: float | None) -> float | None:
    if sent_at is None or moment is None or moment < sent_at - _PAST:
        return None
    return max(0.0, moment - sent_at)
