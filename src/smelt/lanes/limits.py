"""Parser of rate-limit headers.

It reads the header names of OpenAI (also used by Groq, Azure and gateways in front of vLLM), of Anthropic, and those of
Cerebras and Mistral, which end in the time that a limit is for; with resets as durations, points in time or plain
seconds. A value that makes no sense counts as unknown, so that it neither delays requests nor permits them.
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
# Stricter than `float`, which accepts "1_0", "1e300" and non-ASCII digits.
_NUMBER = re.compile(r"-?\d{1,18}(?:\.\d{0,18})?", re.ASCII)
_UNITS = (86_400.0, 3_600.0, 60.0, 1.0, 1e-3, 1e-6)  # Seconds of each unit in `_DURATION`.
_LONGEST = 400 * 86_400.0  # Seconds: a reset further away than a year and some days is taken to be an error.
_MOST = 1e15  # A larger limit is taken to be an error: no provider serves so much in a minute.
_EPOCH = 1e9  # A larger reset is a Unix time in seconds (1e9 is in 2001); from 1e12 on, in milliseconds.
_PAST = 2.0  # Seconds: a reset may lie so far before the reply's date by rounding, as both are whole seconds.


@dataclass(frozen=True, slots=True)
class Quota:
    """One limit as announced.

    Attributes:
        limit: The amount that may be used, nominally per minute.
        remaining: The amount left, or None if unknown.
        reset: Seconds until the whole limit is available again, or None if unknown.
    """

    limit: float
    remaining: float | None = None
    reset: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """The limits that one reply announces; None for a limit that is missing or not readable."""

    requests: Quota | None = None
    tokens: Quota | None = None
    input_tokens: Quota | None = None
    output_tokens: Quota | None = None

    def __bool__(self) -> bool:
        return self != _NOTHING


_NOTHING = Limits()
_KINDS = {"requests": "requests", "tokens": "tokens", "input_tokens": "input-tokens", "output_tokens": "output-tokens"}
_PARTS = ("limit", "remaining", "reset")
# What some hosts call a limit; that of a day counts if none of a minute is announced.
_OTHER_NAMES = {"requests": ("requests-minute", "req-minute", "requests-day"), "tokens": ("tokens-minute",)}
_NAMES = {
    kind: (
        tuple(f"x-ratelimit-{part}-{name}" for part in _PARTS),
        tuple(f"anthropic-ratelimit-{name}-{part}" for part in _PARTS),
        *(tuple(f"x-ratelimit-{part}-{other}" for part in _PARTS) for other in _OTHER_NAMES.get(kind, ())),
    )
    for kind, name in _KINDS.items()
}


def read_limits(headers: Mapping[str, str]) -> Limits:
    """Read the limits from *headers*, whose names are in lower case."""
    if not headers:
        return _NOTHING
    found = {kind: quota for kind, families in _NAMES.items() if (quota := _quota(headers, families)) is not None}
    return Limits(**found) if found else _NOTHING


def seconds_until(moment: str | None, date: str | None = None) -> float | None:
    """Seconds from the reply's own *date* to *moment*; None if not readable.

    *moment* is a duration, a point in time, a Unix time or a number of seconds. This machine's clock may be wrong, so a
    point in time cannot be used without the date of the reply.
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
