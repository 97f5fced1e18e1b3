"""Faults 16, 29 and 30 of the list, as a lane meets them: a clock put forward, and headers that make no sense."""

from __future__ import annotations

import random

import pytest

from smelt.lanes.caps import Caps
from smelt.lanes.pacer import Pacer
from smelt.providers.base import Billing, CallFailed, Reply, Usage

ESTIMATE = Usage(input_tokens=200, output_tokens=100)
REFUSAL = CallFailed("rate_limit", Billing.REJECTED, "Slow down.")


def make_pacer(rpm: float | None = None) -> Pacer:
    return Pacer(provider="azure", caps=Caps(concurrency=512, rpm=rpm), rng=random.Random(0))


def announced(limit: str, remaining: str, reset: str) -> dict[str, str]:
    parts = {"limit": limit, "remaining": remaining, "reset": reset}
    return {f"x-ratelimit-{part}-requests": text for part, text in parts.items()}


def proven(pacer: Pacer, headers: dict[str, str]) -> Pacer:
    pacer.completed(0.5, pacer.left(0.0, ESTIMATE), Reply(text="{}", usage=ESTIMATE, limits=headers))
    return pacer


def leaving(pacer: Pacer, now: float, seconds: float) -> int:
    """Requests that leave within so many seconds, each answered at once, and without a word about limits."""
    count, end = 0, now + seconds
    while (now := now + pacer.wait(now, ESTIMATE).seconds) < end:
        pacer.completed(now, pacer.left(now, ESTIMATE), Reply(text="{}", usage=ESTIMATE))
        count, now = count + 1, now + 1e-4
    return count


@pytest.mark.parametrize(
    ("pacer", "burst"),
    [
        (proven(make_pacer(), announced("600", "10", "59s")), 600),
        (proven(make_pacer(), announced("600", "9", "100ms")), 10),
        (proven(make_pacer(rpm=600.0), {}), 10),
    ],
    ids=["a minute's bucket", "a second's bucket", "set by hand"],
)
def test_16_an_hour_of_sleep_refills_one_burst_at_the_most(pacer: Pacer, burst: int) -> None:
    sent = leaving(pacer, 3_600.0, 5.0)

    assert sent <= burst + 5 * 10 + 1


def test_16_a_hidden_rate_is_not_made_up_for_after_an_hour_of_sleep() -> None:
    pacer, now = proven(make_pacer(), {}), 1.0
    for _ in range(4):
        for _ in range(20):
            now += pacer.wait(now, ESTIMATE).seconds + 0.1
            pacer.completed(now, pacer.left(now, ESTIMATE), Reply(text="{}", usage=ESTIMATE))
        pacer.completed(now, pacer.left(now, ESTIMATE), REFUSAL)

    assert leaving(pacer, now + 3_600.0, 1.0) <= 25


@pytest.mark.parametrize(
    "headers",
    [{}, announced("-1", "-1", "-1"), announced("0", "0", "0"), announced("10", "5000", "1s"), announced("?", "", "x")],
    ids=["absent", "below zero", "zero", "contradictory", "no numbers"],
)
def test_29_headers_that_make_no_sense_make_nobody_wait(headers: dict[str, str]) -> None:
    pacer = proven(make_pacer(), headers)

    assert leaving(pacer, 1.0, 1.0) > 500


def test_29_refusals_are_obeyed_whatever_the_headers_say() -> None:
    pacer = proven(make_pacer(), announced("-1", "-1", "-1"))
    refusal = CallFailed(
        "rate_limit", Billing.REJECTED, "Slow down.", retry_after=20.0, limits=announced("0", "0", "0")
    )

    pacer.completed(1.0, pacer.left(1.0, ESTIMATE), refusal)

    assert pacer.wait(1.0, ESTIMATE).seconds >= 20.0


@pytest.mark.parametrize(
    ("reset", "seconds"),
    [("6m0s", 360.0), ("120ms", 0.12), ("2026-01-01T00:06:00Z", 360.0), ("1767225960", 360.0), ("360", 360.0)],
    ids=["minutes", "milliseconds", "a point in time", "an epoch", "seconds"],
)
def test_30_an_empty_bucket_is_waited_for_until_its_reset_in_any_format(reset: str, seconds: float) -> None:
    headers = {**announced("10", "0", reset), "date": "Thu, 01 Jan 2026 00:00:00 GMT"}
    pacer = proven(make_pacer(), headers)

    assert 0.0 < pacer.wait(0.5, ESTIMATE).seconds <= max(60.0 / 10, seconds)


def test_30_a_reset_that_cannot_be_read_is_left_out() -> None:
    pacer = proven(make_pacer(), announced("10", "0", "soon"))

    assert pacer.wait(0.5, ESTIMATE).seconds == pytest.approx(6.0, abs=1.0)
