"""What a run in a lane has in flight, loses in a pause, and when it stops waiting."""

from __future__ import annotations

import pytest

from smelt.engine.limiter import Slot
from smelt.lanes.caps import Caps
from smelt.lanes.joinedrun import JoinedRun
from smelt.lanes.pacer import Silence, Wait
from smelt.providers.base import Billing, CallFailed, Usage


def run_with(*slots: Slot, max_wait: float = 60.0) -> JoinedRun:
    run = JoinedRun(Caps(concurrency=8, max_wait=max_wait), lambda event: None)
    run.slots = {slot.number: slot for slot in slots}
    return run


def slot(number: int, left_at: float) -> Slot:
    return Slot(number=number, left_at=left_at, estimate=Usage(input_tokens=1, output_tokens=1))


def test_what_was_not_sent_loses_its_place_and_is_known_to_have_lost_it() -> None:
    run = run_with(slot(1, 0.0), slot(2, 0.0))
    run.unsent = {2, 3}  # The third has ended.

    assert [one.number for one in run.lose_unsent()] == [2]
    assert (set(run.slots), run.gone, run.unsent) == ({1}, {2}, set())


def test_what_was_sent_so_long_ago_as_a_reply_takes_has_probably_ended() -> None:
    run = run_with(slot(1, 0.0), slot(2, 3.0))

    assert run.lapse(4.0, usual=2.0) == 1
    assert (set(run.slots), set(run.late)) == ({2}, {1})


@pytest.mark.parametrize(("now", "lapsed"), [(10.5, 0), (11.0, 1)])
def test_replies_that_nobody_has_timed_lapse_after_a_second_of_a_pause(now: float, lapsed: int) -> None:
    run = run_with(slot(1, 9.0))
    run.paused_at = 10.0

    assert run.lapse(now, usual=0.0) == lapsed


def test_only_a_long_pause_makes_the_ends_of_its_requests_late_and_only_for_a_second() -> None:
    run, before, after = run_with(), slot(1, 9.0), slot(2, 12.0)
    run.paused_at = 10.0

    assert not run.woke(10.5)
    assert not run.has_slept(10.6, before)
    assert run.woke(12.0)
    assert [run.has_slept(12.5, before), run.has_slept(13.5, before), run.has_slept(12.5, after)] == [
        True,
        False,
        False,
    ]


def test_a_run_stops_for_a_stated_wait_over_max_wait_and_for_a_silence_of_that_length() -> None:
    run, silence = run_with(), Silence(0.0, "no route")

    stated = run.lost_patience(0.0, Wait(90.0, "a pause", "has asked for a pause"), None)
    silent = run.lost_patience(60.0, Wait(1.0, "a reply"), silence)

    assert str(stated) == "has asked for a pause longer than this run waits (max_wait). Run again in 2 min."
    assert str(silent) == "has not answered a request for 1 min; the last one: no route"
    assert run.lost_patience(59.0, Wait(90.0, "a reply"), silence) is None
    assert run.patience(59.0, silence) == 1.0


def test_the_time_of_a_long_pause_is_no_silence_of_the_provider() -> None:
    run = run_with()
    run.paused_at = 10.0
    run.woke(100.0)

    assert run.patience(110.0, Silence(0.0, "no route")) == 50.0


def test_a_run_tries_for_itself_until_a_request_reaches_the_provider() -> None:
    unsent, page = (
        CallFailed("connection", Billing.NOT_SENT, "no route"),
        CallFailed("protocol", Billing.UNKNOWN, "a web page"),
    )
    run = run_with()

    run.note(unsent)
    run.note(page)
    assert run.is_trying
    run.note(CallFailed("rate_limit", Billing.REJECTED, "slower"))
    assert not run.is_trying
