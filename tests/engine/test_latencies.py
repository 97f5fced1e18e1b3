"""Which requests are late, by what is usual, and what hedging them may cost."""

from __future__ import annotations

from typing import Any

import pytest

from smelt.engine.inflight import InFlight
from smelt.engine.latencies import Latencies
from smelt.engine.room import Grant
from smelt.plan.chunks import Chunk, Pending


def flight(*, rows: int, started: float) -> InFlight:
    chunk = Chunk(rows=tuple(Pending(at, "{}") for at in range(rows)))
    return InFlight(chunk=chunk, expected=100, grant=Grant(limit=100, answers=100, input_tokens=10), started=started)


def watched(replies: int) -> Latencies:
    stragglers = Latencies()
    for at in range(replies):
        stragglers.learn(4, 1.0 + at % 2 / 10, 100)
    return stragglers


@pytest.mark.parametrize(
    ("rows", "seconds", "is_late"),
    [(4, 2.0, False), (4, 2.4, True), (8, 2.4, False), (8, 4.6, True), (1, 2.0, False)],
    ids=["in time", "late", "larger", "larger and late", "small"],
)
def test_what_is_late_depends_on_what_is_usual(rows: int, seconds: float, is_late: bool) -> None:
    found = watched(100).late([flight(rows=rows, started=10.0)], 10.0 + seconds, in_halves=False)

    assert bool(found) == is_late


def test_the_extra_spend_is_capped() -> None:
    stragglers = watched(200)  # 20,000 tokens so far: 400 may go into races.
    in_flight = [flight(rows=4, started=0.0) for _ in range(20)]

    found = stragglers.late(in_flight, 100.0, in_halves=False)

    assert found == in_flight[:4]


def test_nothing_is_late_before_it_is_known_what_is_usual() -> None:
    assert watched(19).late([flight(rows=4, started=0.0)], 1e6, in_halves=True) == []


def test_short_waits_are_not_worth_a_race() -> None:
    stragglers: Any = Latencies()
    for _ in range(40):
        stragglers.learn(4, 0.01, 100)

    assert stragglers.patience == 1.0
