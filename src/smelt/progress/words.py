"""A tally in words: phrases that every face puts together in its own way."""

from __future__ import annotations

import unicodedata
from math import ceil, inf

from smelt.plan.prompt import sent_columns
from smelt.progress.tally import Tally

_LONGEST = 80


def phrases(tally: Tally, now: float) -> list[str]:
    """Where the run stands, the most important first."""
    if tally.ended is not None:
        return _ended(tally, now)
    return [
        f"{tally.done:,} of {counted(tally.rows, 'row')}{' read' if tally.is_open else ''}",
        *_outlook(tally, now),
        *_counts(tally),
    ]


def counted(number: int, thing: str) -> str:
    """`1 row`, `2 rows`."""
    return f"{number:,} {thing}" if number == 1 else f"{number:,} {thing}s"


def percent(tally: Tally) -> int:
    """Rows that are done, of 100; 100 only when all are."""
    return 100 if tally.done >= tally.rows else 100 * tally.done // tally.rows


def duration(seconds: float) -> str:
    """`9 s`, `2:05 min`, `3:07 h`, `4 days`: rounded up, and never finer than it is worth."""
    whole = ceil(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60}:{whole % 60:02} min"
    minutes = ceil(seconds / 60)
    return f"{minutes // 60}:{minutes % 60:02} h" if minutes < 48 * 60 else f"{ceil(minutes / 1440)} days"


def lasted(seconds: float) -> str:
    """How long a run took: `<0.1 s`, `0.4 s`, `9.3 s`, then as `duration`."""
    if seconds < 0.1:
        return "<0.1 s"
    return f"{seconds:.1f} s" if seconds < 9.95 else duration(seconds)


def tokens(number: int) -> str:
    """`950 tokens`, `45.2k tokens`, `1.20M tokens`."""
    if number < 1_000:
        return counted(number, "token")
    return f"{number / 1e3:.1f}k tokens" if number < 999_950 else f"{number / 1e6:.2f}M tokens"


def dollars(amount: float) -> str:
    """`$12.30`, `$0.0123`, `<$0.0001`."""
    if amount < 0.0001:
        return "<$0.0001"
    return f"${amount:,.2f}" if amount >= 1 else f"${amount:.4f}"


def price(amount: float | None) -> str:
    """`unknown`, `free`, or dollars: what costs nothing, as the embedded model, is never `$0.0000`."""
    if amount is None:
        return "unknown"
    return dollars(amount) if amount else "free"


def paid(amount: float | None, requests: int) -> str:
    """What a run has cost, by `price`; `nothing` if it sent no request."""
    return price(amount) if requests or amount else "nothing"


def clean(text: str) -> str:
    """*text* on one line, without anything that could steer a terminal or turn the writing direction."""
    kept = "".join(" " if _steers(one) else one for one in text[: 4 * _LONGEST])
    short = " ".join(kept.split())
    return short if len(short) <= _LONGEST else short[: _LONGEST - 1] + "…"


def _steers(character: str) -> bool:
    return unicodedata.category(character) in {"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"}


def _outlook(tally: Tally, now: float) -> list[str]:
    if tally.waiting_for:
        seconds = tally.waiting_until - now
        left = f"{duration(seconds)} " if 0 < seconds < inf else ""
        return [f"waiting {left}for {clean(tally.waiting_for)}"]
    left_seconds = tally.seconds_left
    if left_seconds:
        return [f"{duration(left_seconds)} left"]
    return [sends(tally)] if tally.columns and tally.done <= tally.reused else []


def sends(tally: Tally) -> str:
    """Which columns leave this machine, for the first look at a run."""
    return clean(f"sends {sent_columns(tally.columns)}")


def _counts(tally: Tally) -> list[str]:
    """What is not zero of the rest. Unknown prices show no dollars, not $0, which would claim to know."""
    failed = tally.failed - tally.unanswered
    shown = {
        f"{counted(failed, 'row')} failed": failed,
        f"{tally.reused:,} from the ledger": tally.reused,
        dollars(tally.cost_usd): tally.cost_usd if tally.is_priced else 0,
        f"{tally.in_flight:,} in flight": tally.in_flight,
        tokens(tally.tokens): tally.tokens,
        f"{counted(tally.failed_requests, 'request')} failed": tally.failed_requests,
    }
    return [phrase for phrase, number in shown.items() if number]


def _ended(tally: Tally, now: float) -> list[str]:
    reason = [] if tally.ended == "done" else [clean(tally.ended or "")]
    return [*reason, f"{_reached(tally)} in {lasted(now - tally.started)}", *_counts(tally)]


def _reached(tally: Tally) -> str:
    """How many rows reached an end of their own; of the others, how many were asked."""
    if tally.done >= tally.rows:
        return counted(tally.rows, "row")
    asked = f" ({tally.broken_off:,} more in flight)" if tally.broken_off else ""
    return f"{tally.done:,} of {counted(tally.rows, 'row')}{asked}"
