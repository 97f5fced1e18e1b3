"""The whole judgement of a lane, over an explicit clock."""

from __future__ import annotations

import math
import random
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from smelt.engine.limiter import Slot
from smelt.lanes.caps import Caps
from smelt.lanes.pacer import Pacer
from smelt.providers.base import Billing, CallFailed, Reply, Usage

ESTIMATE = Usage(input_tokens=200, output_tokens=100)
REPLY = Reply(text="{}", usage=ESTIMATE)


def make_pacer(concurrency: int = 64, rpm: float | None = None, tpm: float | None = None) -> Pacer:
    return Pacer(provider="openai", caps=Caps(concurrency=concurrency, rpm=rpm, tpm=tpm), rng=random.Random(0))


def refusal(retry_after: float | None = None, **limits: str) -> CallFailed:
    headers = {name.replace("_", "-"): value for name, value in limits.items()}
    return CallFailed("rate_limit", Billing.REJECTED, "Slow down.", retry_after=retry_after, limits=headers)


def broken(billing: Billing = Billing.UNKNOWN, message: str = "Reset.") -> CallFailed:
    return CallFailed("connection", billing, message)


def proven(pacer: Pacer, now: float = 0.0) -> Pacer:
    pacer.completed(now + 0.5, pacer.left(now, ESTIMATE), REPLY)
    return pacer


def leave(pacer: Pacer, now: float) -> tuple[float, Slot]:
    """Wait as told, and leave."""
    now += pacer.wait(now, ESTIMATE).seconds + 1e-6
    return now, pacer.left(now, ESTIMATE)


@given(told=st.floats(0.0, 900.0), seed=st.integers(0, 1000))
def test_the_whole_lane_stays_away_for_as_long_as_it_is_told(told: float, seed: int) -> None:
    pacer = proven(make_pacer())
    slots = [pacer.left(1.0, ESTIMATE) for _ in range(3)]

    pacer.completed(2.0, slots[0], refusal(told))
    pacer.completed(2.1, slots[1], refusal(None))
    pacer.completed(2.2, slots[2], REPLY)

    assert pacer.wait(2.2, ESTIMATE).seconds >= told - 0.2 - 1e-9


@pytest.mark.parametrize("told", [-1.0, math.nan, math.inf])
def test_nonsense_is_not_waited_for(told: float) -> None:
    pacer = proven(make_pacer())

    pacer.completed(1.1, pacer.left(1.0, ESTIMATE), refusal(told))

    assert pacer.wait(1.1, ESTIMATE).seconds < 5.0


def test_a_day_of_no_requests_left_is_waited_for() -> None:
    pacer = make_pacer()
    headers = {
        "x-ratelimit-limit-requests": "200",
        "x-ratelimit-remaining-requests": "0",
        "x-ratelimit-reset-requests": "24h0m0s",
    }
    pacer.completed(0.5, pacer.left(0.0, ESTIMATE), Reply(text="{}", limits=headers))
    for now in (0.5, 500.0):
        pacer.left(now, ESTIMATE)

    assert pacer.wait(500.0, ESTIMATE).seconds > 900.0


@pytest.mark.parametrize("failure", [broken(), refusal(1.0)], ids=["broken", "refused"])
def test_silence_begins_with_the_first_failure_and_ends_with_a_reply(failure: CallFailed) -> None:
    pacer = proven(make_pacer())
    slots = [pacer.left(1.0, ESTIMATE) for _ in range(3)]
    pacer.completed(2.0, slots[0], failure)
    pacer.completed(3.0, slots[1], failure)

    assert pacer.silence == (2.0, failure.message)

    pacer.completed(4.0, slots[2], REPLY)
    assert pacer.silence is None


def test_a_refusal_that_is_announced_teaches_no_hidden_rate() -> None:
    pacer = proven(make_pacer())
    slot = pacer.left(1.0, ESTIMATE)
    limits = {
        "x_ratelimit_limit_requests": "600",
        "x_ratelimit_remaining_requests": "0",
        "x_ratelimit_reset_requests": "1s",
    }

    pacer.completed(1.1, slot, refusal(None, **limits))

    assert pacer.wait(1.1, ESTIMATE).seconds == pytest.approx(0.1, abs=0.05)


def test_what_is_refused_is_not_taken_for_charged() -> None:
    pacer, left = make_pacer(), 1000.0
    for number in range(40):
        now, left = 2.0 * number, left + 200.0
        is_refused = number % 2 == 1
        left -= 0.0 if is_refused else 300.0
        parts = {"limit": "6000", "remaining": f"{left:.0f}", "reset": f"{(6000 - left) / 100:.0f}s"}
        told = {f"x-ratelimit-{part}-tokens": text for part, text in parts.items()}
        outcome = (
            CallFailed("server", Billing.REJECTED, "Busy.", limits=told) if is_refused else replace(REPLY, limits=told)
        )
        pacer.completed(now, pacer.left(now, ESTIMATE), outcome)

    lacking = Usage(input_tokens=int(left) + 500, output_tokens=0)
    assert pacer.wait(now, lacking).seconds == pytest.approx(5.0, abs=1.0)


@pytest.mark.parametrize(("cap", "rpm", "tpm"), [("rpm", 60.0, None), ("tpm", None, 18_000.0)])
def test_caps_set_by_hand_are_kept(cap: str, rpm: float | None, tpm: float | None) -> None:
    pacer, now = proven(make_pacer(rpm=rpm, tpm=tpm)), 0.5
    for _ in range(20):
        now, slot = leave(pacer, now)
        pacer.completed(now, slot, REPLY)

    assert now >= 19.0
    assert cap[0] == pacer.wait(now, ESTIMATE).reason.split()[1][0]


def test_what_was_reserved_is_replaced_by_what_it_took() -> None:
    pacer = proven(make_pacer(tpm=60_000.0))
    slot = pacer.left(1.0, Usage(input_tokens=3000, output_tokens=3000))
    before = pacer.wait(1.0, ESTIMATE).seconds

    pacer.completed(1.0, slot, Reply(text="{}", usage=Usage(input_tokens=50, output_tokens=50)))

    assert before > 4.0
    assert pacer.wait(1.0, ESTIMATE).seconds < before


def test_at_most_as_many_as_the_caller_allows_are_in_flight() -> None:
    pacer = proven(make_pacer(3))
    for _ in range(3):
        pacer.left(1.0, ESTIMATE)

    assert pacer.wait(1.0, ESTIMATE).seconds == math.inf


def test_too_few_open_files_halve_the_concurrency_and_are_noticed_once() -> None:
    pacer = proven(make_pacer(16))
    slots = [pacer.left(1.0, ESTIMATE) for _ in range(16)]

    for slot in slots:
        pacer.completed(1.1, slot, CallFailed("no_files", Billing.NOT_SENT, "In whatever language"))

    assert pacer.limit == 8
    assert len(pacer.notices) == 1
    assert pacer.wait(1.1, ESTIMATE).seconds == 0.0


def test_what_was_never_sent_costs_no_retry() -> None:
    pacer = proven(make_pacer())
    for now in range(1, 200):
        pacer.completed(float(now), pacer.left(now, ESTIMATE), broken(Billing.NOT_SENT))
        pacer.completed(float(now), pacer.left(now, ESTIMATE), REPLY)

    assert pacer.wait(200.0, ESTIMATE).seconds == 0.0


def test_a_bad_request_says_that_the_provider_is_there() -> None:
    pacer = proven(make_pacer())
    for _ in range(12):
        pacer.completed(1.0, pacer.left(1.0, ESTIMATE), broken())
    now, slot = leave(pacer, 1.0)

    pacer.completed(now, slot, CallFailed("bad_request", Billing.REJECTED, "No."))

    assert pacer.wait(now, ESTIMATE).reason != "openai to recover"


OUTCOMES = st.sampled_from(
    [
        REPLY,
        refusal(),
        refusal(2.0),
        broken(),
        broken(Billing.NOT_SENT),
        CallFailed("server", Billing.REJECTED, "503", retry_after=1.0),
        CallFailed("bad_request", Billing.REJECTED, "400"),
        CallFailed("timeout", Billing.UNKNOWN, "Late."),
    ]
)


@given(st.lists(st.tuples(OUTCOMES, st.floats(0.0, 30.0)), max_size=60), st.integers(1, 8))
def test_whatever_happens_requests_go_on_and_none_is_lost(
    moves: list[tuple[Reply | CallFailed, float]], concurrency: int
) -> None:
    pacer, now = make_pacer(concurrency), 0.0
    flying: list[Slot] = []
    for outcome, pause in moves:
        now += pause
        wait = pacer.wait(now, ESTIMATE).seconds
        if wait == math.inf:
            pacer.completed(now, flying.pop(0), outcome)
        else:
            assert wait <= 90.0  # The slowest pace is one request in a minute, and a little less after a refusal.
            now += wait
            flying.append(pacer.left(now, ESTIMATE))

        assert pacer.in_flight == len(flying) <= concurrency


def test_what_was_admitted_before_a_refusal_and_sent_after_it_teaches_nothing() -> None:
    def left(started: float | None) -> list[float]:
        """When requests leave after 30 of 40 were refused, the last ten of which the ledger held up until *started*."""
        pacer, now, times = proven(make_pacer()), 2.2, []
        slots = [pacer.left(1.0, ESTIMATE) for _ in range(40)]
        for number, slot in enumerate(slots[10:]):
            held = replace(slot, started=started) if number >= 20 else slot
            pacer.completed(1.1 + number / 500, held, refusal(1.0))
        while now < 4.3:
            now, _ = leave(pacer, now)
            times.append(now)
        return times

    assert left(1.12) == left(None)
    assert 20 < len(left(1.12)) < 40
