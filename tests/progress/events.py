"""The events of a run, in short, for the tests of the displays."""

from __future__ import annotations

from collections.abc import Iterable

from smelt.engine.events import (
    Event,
    RequestEnded,
    RequestSent,
    RowsSettled,
    RunStarted,
)
from smelt.progress.tally import Tally

START = RunStarted(rows=1_000, distinct_rows=1_000, provider="openai", model="gpt")


def sent(in_flight: int = 1) -> RequestSent:
    return RequestSent(number=1, rows=20, in_flight=in_flight)


def ended(*, ok: bool = True, tokens: int = 0, cost_usd: float | None = None, in_flight: int = 0) -> RequestEnded:
    return RequestEnded(
        number=1, rows=20, seconds=1.0, ok=ok, input_tokens=tokens, cost_usd=cost_usd, in_flight=in_flight
    )


def settled(answered: int, failed: int = 0) -> RowsSettled:
    return RowsSettled(answered=answered, failed=failed)


def folded(events: Iterable[tuple[float, Event]]) -> Tally:
    tally = Tally()
    for now, event in events:
        tally.take(event, now)
    return tally
