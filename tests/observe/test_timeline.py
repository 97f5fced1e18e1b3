"""A run's course, folded from its events into a bounded number of bins."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from dataclasses import replace
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from smelt.engine.events import (
    Event,
    RequestEnded,
    RequestSent,
    Resumed,
    RowsSettled,
    RunEnded,
    RunStarted,
    Waiting,
)
from smelt.observe.timeline import BROKEN_OFF, MOST_BINS, Timeline

START = RunStarted(rows=1_000, distinct_rows=1_000, provider="openai", model="gpt")
Timed = tuple[float, Event]


def sent(in_flight: int = 1) -> RequestSent:
    return RequestSent(number=1, rows=20, in_flight=in_flight)


def ended(*, failure: str | None = None, in_flight: int = 0, seconds: float = 1.0) -> RequestEnded:
    return RequestEnded(
        number=1, rows=20, seconds=seconds, ok=failure is None, failure_kind=failure, in_flight=in_flight,
        input_tokens=0 if failure else 400, output_tokens=0 if failure else 100,
    )  # fmt: skip


def settled(answered: int, failed: int = 0, reused: int = 0) -> RowsSettled:
    return RowsSettled(answered=answered, failed=failed, reused=reused)


def folded(events: Iterable[Timed], **options: int) -> Timeline:
    timeline = Timeline(**options)
    timeline.take(START, 100.0)
    for now, event in events:
        timeline.take(event, 100.0 + now)
    return timeline


@st.composite
def courses(draw: st.DrawFn) -> list[Timed]:
    """Requests that come and go, each with the row that it answers, over anything from milliseconds to days."""
    now, in_flight, answered, events = 0.0, 0, 0, list[Timed]()
    longest = draw(st.sampled_from([0.001, 0.1, 10.0, 10_000.0]))
    for leaves in draw(st.lists(st.booleans(), max_size=60)):
        now += draw(st.floats(0.0, longest))
        if leaves or not in_flight:
            in_flight += 1
            events.append((now, sent(in_flight)))
        else:
            in_flight, answered = in_flight - 1, answered + 20
            failure = draw(st.sampled_from([None, None, "rate_limit"]))
            events += [(now, ended(failure=failure, in_flight=in_flight)), (now, settled(answered))]
    return events


def request_seconds(events: list[Timed]) -> float:
    """Requests in flight, summed over time."""
    total, in_flight, before = 0.0, 0, 0.0
    for now, event in events:
        total += in_flight * (now - before)
        before = now
        in_flight = getattr(event, "in_flight", in_flight)
    return total


@given(courses(), st.integers(1, 40), st.sampled_from([2, 8, MOST_BINS]))
def test_however_coarse_it_is_nothing_is_lost_or_made_up(events: list[Timed], most: int, bins: int) -> None:
    timeline = folded(events, most_bins=bins)

    spans = timeline.spans(most)

    width = max(one.seconds for one in spans) if len(spans) > 1 else None
    rows = sum(one.rows_per_second for one in spans) * (width or _whole(timeline, most))
    last = events[-1][0] if events else 0.0
    assert len(spans) <= most
    assert sum(one.seconds for one in spans) == pytest.approx(last)
    assert sum(one.in_flight * one.seconds for one in spans) == pytest.approx(request_seconds(events), abs=1e-6)
    assert rows == pytest.approx(timeline.answered)
    assert sum(one.refused for one in spans) == timeline.failures.get("rate_limit", 0)
    assert timeline.most_in_flight >= max(one.in_flight for one in spans) - 1e-6


def _whole(timeline: Timeline, most: int) -> float:
    """Seconds that a single span stands for: those of its bins, the last one whole."""
    bins = int(timeline.seconds / timeline.width) + 1
    return -(-bins // most) * timeline.width


@given(courses())
def test_spans_follow_on_one_another(events: list[Timed]) -> None:
    spans = folded(events).spans(10)

    assert spans[0].start == 0.0
    for one, following in pairwise(spans):
        assert one.start + one.seconds == pytest.approx(following.start)


def test_a_million_rows_take_a_few_kilobytes() -> None:
    def course() -> Iterable[Timed]:
        for number in range(2_000):
            now = number * 13.7
            yield now, sent(32)
            yield now + 0.5, ended(in_flight=31, seconds=0.1 * 1.005**number)
            yield now + 0.5, settled(500 * number)

    timeline = folded(course())

    assert MOST_BINS / 2 <= len(timeline._busy) <= MOST_BINS
    assert sum(map(sys.getsizeof, (timeline._busy, timeline._waiting, timeline._rows, timeline._refused))) < 60_000
    assert len(timeline.latency.counts) < 300


def test_rows_count_at_the_time_they_were_answered() -> None:
    timeline = folded([(0, sent()), (3, ended()), (3, settled(60)), (7, settled(100)), (10, RunEnded())])

    first, second = (one for one in timeline.spans(10) if one.rows_per_second)

    assert first.start <= 3 < first.start + first.seconds
    assert second.start <= 7 < second.start + second.seconds
    assert timeline.rows_per_second == 10.0


def test_rows_that_no_request_answered_are_no_rate() -> None:
    timeline = folded([(1, settled(450, reused=400)), (2, settled(470, failed=30, reused=400))], skipped=50)

    assert timeline.answered == 20


def test_a_wait_lasts_until_a_request_may_leave_again() -> None:
    waits = [(2.0, Waiting(seconds=9.0, reason="x")), (2.5, Waiting(seconds=9.0, reason="x"))]
    by_resuming = folded([*waits, (5, Resumed()), (5, Resumed()), (10, RunEnded())])
    by_sending = folded([*waits, (5, sent()), (10, RunEnded())])

    for timeline in (by_resuming, by_sending):
        assert sum(one.waiting * one.seconds for one in timeline.spans(96)) == pytest.approx(3.0)


def test_failures_are_counted_by_kind_and_have_no_latency() -> None:
    failures = [ended(failure=kind) for kind in ("rate_limit", "timeout", "rate_limit")]

    timeline = folded([(1, sent()), *((at + 2.0, one) for at, one in enumerate(failures)), (9, ended(seconds=2.0))])

    assert timeline.failures == {"rate_limit": 2, "timeout": 1}
    assert (timeline.replies, timeline.latency.count, timeline.latency.most) == (1, 1, 2.0)


def test_a_request_that_the_run_broke_off_is_no_timeout() -> None:
    broken_off = replace(ended(failure="timeout"), is_broken_off=True)

    timeline = folded([(1, sent()), (2, ended(failure="timeout")), (3, broken_off), (4, broken_off)])

    assert timeline.failures == {"timeout": 1, BROKEN_OFF: 2}


def test_tokens_are_counted_per_row() -> None:
    timeline = folded([(0, sent()), (1, ended()), (2, sent()), (3, ended())])

    assert (timeline.input_per_row.mean, timeline.output_per_row.mean) == (20.0, 5.0)
    assert timeline.input_per_row.count == 40


def test_what_is_in_flight_when_the_run_ends_is_no_longer() -> None:
    timeline = folded([(0, sent(8)), (5, RunEnded(reason="interrupted")), (10, settled(0))])

    assert timeline.ended == "interrupted"
    assert [one.in_flight > 0 for one in timeline.spans(2)] == [True, False]


def test_a_clock_that_goes_back_takes_nothing_back() -> None:
    timeline = folded([(5, sent()), (3, ended()), (3, settled(20)), (8, RunEnded())])

    assert (timeline.seconds, timeline.answered) == (8.0, 20)
