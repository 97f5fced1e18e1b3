"""Instructions are marked for the provider's cache if that pays, and the first request that is marked goes alone."""

from __future__ import annotations

from math import inf

import pytest

from smelt.engine.prefix import Prefix
from smelt.providers.base import Billing, CallFailed, PrefixTerms, Reply, Usage

TERMS = PrefixTerms(least=1_000, seconds=300.0, has_hour=True)
WROTE, READ = (
    Usage(input_tokens=2_000, written_input_tokens=1_500),
    Usage(input_tokens=2_000, cached_input_tokens=1_500),
)
NEITHER, FAILED = Usage(input_tokens=2_000), CallFailed("server", Billing.REJECTED, "overloaded")


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def prefix(clock: Clock) -> Prefix:
    return Prefix(clock=clock)


def ask(prefix: Prefix, *, usage: Usage | CallFailed = WROTE, rest: float = 10) -> str:
    """One request: how long the prefix is to be kept."""
    life = prefix.life(TERMS, 1_500, rest)
    prefix.sent()
    prefix.learn(TERMS, life, Reply(text="", usage=usage) if isinstance(usage, Usage) else usage)
    return life


@pytest.mark.parametrize(
    ("terms", "tokens", "rest", "life"),
    [
        (TERMS, 1_500, 1, "no"),
        (TERMS, 1_500, 2, "minutes"),
        (TERMS, 1_500, inf, "minutes"),
        (TERMS, 749, inf, "no"),
        (TERMS, 751, inf, "minutes"),  # The estimate may be too low, and too short a prefix costs nothing.
        (PrefixTerms(least=1_000, requests=5), 1_500, 4, "no"),
        (PrefixTerms(least=1_000, requests=5), 1_500, 5, "minutes"),
    ],
    ids=["last", "two", "stream", "too short", "nearly", "too few", "enough"],
)
def test_a_prefix_is_kept_if_that_pays(prefix: Prefix, terms: PrefixTerms, tokens: int, rest: float, life: str) -> None:
    assert prefix.life(terms, tokens, rest) == life


def test_the_last_request_reads_what_is_kept(prefix: Prefix) -> None:
    ask(prefix)

    assert ask(prefix, usage=READ, rest=1) == "minutes"


def test_the_last_request_does_not_write_what_was_forgotten(prefix: Prefix, clock: Clock) -> None:
    ask(prefix)
    clock.now = 301

    assert ask(prefix, rest=1) == "no"


def test_runs_of_one_request_that_follow_each_other_count_as_more(prefix: Prefix, clock: Clock) -> None:
    first = ask(prefix, rest=1)
    clock.now = 100

    assert (first, ask(prefix, rest=1)) == ("no", "minutes")


def test_the_request_that_writes_goes_alone(prefix: Prefix, clock: Clock) -> None:
    before = prefix.is_due(TERMS, 1_500, 10)
    ask(prefix)
    after = prefix.is_due(TERMS, 1_500, 9)
    clock.now = 300

    assert (before, after, prefix.is_due(TERMS, 1_500, 8)) == (True, False, True)


def test_each_use_renews_the_life(prefix: Prefix, clock: Clock) -> None:
    for _ in range(5):
        ask(prefix, usage=READ)
        clock.now += 299

    assert not prefix.is_due(TERMS, 1_500, 10)
    assert prefix.pauses == 0


def test_nobody_waits_for_a_prefix_that_the_provider_skips(prefix: Prefix) -> None:
    ask(prefix, usage=NEITHER)

    assert not prefix.is_due(TERMS, 1_500, 10)


def test_nobody_waits_for_requests_that_fail(prefix: Prefix) -> None:
    ask(prefix, usage=FAILED)
    once = prefix.is_due(TERMS, 1_500, 10)
    ask(prefix, usage=FAILED)

    assert (once, prefix.is_due(TERMS, 1_500, 10)) == (True, False)


def test_a_run_that_pauses_has_it_kept_for_an_hour(prefix: Prefix, clock: Clock) -> None:
    lives = [ask(prefix)]
    clock.now = 400
    lives.append(ask(prefix))
    clock.now = 3_900
    lives.append(ask(prefix, usage=READ))

    assert lives == ["minutes", "hour", "hour"]
    assert prefix.pauses == 1


def test_too_short_a_prefix_is_never_kept_for_an_hour(prefix: Prefix) -> None:
    prefix.pauses = 1

    assert prefix.life(TERMS, 999, inf) == "minutes"
    assert prefix.life(PrefixTerms(least=1_000), 1_500, inf) == "minutes"
