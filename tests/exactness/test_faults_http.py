"""Faults 1 to 35 of the matrix, as far as they end the run, find a guilty row or pass; the number is in each name."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from functools import cache
from math import ceil, log2
from pathlib import Path
from typing import Any

import pytest

import smelt
from smelt.engine.policy import Policy
from smelt.errors import (
    AuthenticationError,
    BadRequestError,
    ModelNotFoundError,
    QuotaError,
    SmeltAPIError,
    SmeltWarning,
    UnavailableError,
)
from smelt.lanes import registry
from smelt.model import Model
from smelt.providers.base import Billing, CallFailed, Reply, Request
from smelt.testing import ScriptedProvider, run_jumping
from tests.conftest import MakeScenario
from tests.exactness.companies import PROMPT, ask, assert_each_answer_is_on_its_own_row, companies, failures
from tests.fakeserver.answers import expected
from tests.models import KEYS, PROVIDERS, RULES, Company, served
from tests.patience import BUSY

FATAL: list[Any] = [
    pytest.param("schema", BadRequestError, "schema|states", id="17-schema"),
    pytest.param("param", BadRequestError, "temperature", id="17-parameter"),
    pytest.param("auth", AuthenticationError, "key", id="20-key"),
    pytest.param("permission", AuthenticationError, "ermission", id="20-permission"),
    pytest.param("quota", QuotaError, "quota|billing|credits", id="21-quota"),
    pytest.param("insufficient_quota", QuotaError, "quota|credit", id="21-insufficient_quota"),
    pytest.param("billing", QuotaError, "illing|usage limits", id="21-billing"),
    pytest.param("not_found", ModelNotFoundError, "fake-1", id="22-model"),
]
MID_RUN: list[Any] = [one for one in FATAL if not str(one.id).startswith("17")]
# Row faults at the cost of requests alone, by the server's word for them and smelt's.
GUILTY: list[Any] = [
    pytest.param("context_length", "too_long", id="18-context_length"),
    pytest.param("content_filter", "filtered", id="19-content_filter"),
    pytest.param("too_large", "too_long", id="24-too_large"),
    pytest.param("unprocessable", "bad_request", id="25-unprocessable"),
    pytest.param("bad_request", "bad_request", id="25-bad_request"),
]


def halvings(batch_size: int) -> int:
    """Requests beyond the usual that one guilty row may cost."""
    return 2 * ceil(log2(batch_size)) + 2


# --- 17, 20, 21, 22: what concerns the whole run ----------------------------------------------------------------------


@pytest.mark.parametrize(("kind", "error", "words"), FATAL)
@pytest.mark.parametrize("provider", PROVIDERS)
def test_a_fatal_error_at_the_start_costs_one_request(
    provider: str, kind: str, error: type[SmeltAPIError], words: str, scenario: MakeScenario
) -> None:
    broken = scenario(answers=RULES, always={"fault": "status", "kind": kind})

    with pytest.raises(error, match=words) as raised:
        ask(companies(40), served(provider, broken), concurrency=8)

    assert broken.stats().requests == 1
    assert KEYS[provider] not in str(raised.value)
    assert raised.value.partial_result is not None
    assert set(failures(raised.value.partial_result).values()) == {"stopped"}
    assert raised.value.partial_result.metrics.failed_rows == 40


@pytest.mark.parametrize(("kind", "error", "words"), MID_RUN)
@pytest.mark.parametrize("provider", PROVIDERS)
def test_a_fatal_error_mid_run_keeps_what_was_answered_and_sends_nothing_more(
    provider: str, kind: str, error: type[SmeltAPIError], words: str, scenario: MakeScenario
) -> None:
    revoked = scenario(answers=RULES, script={key: {"fault": "status", "kind": kind} for key in range(3, 40)})
    frame = companies(40)

    with pytest.warns(SmeltWarning, match="The run stopped early"):
        result = ask(frame, served(provider, revoked))

    assert failures(result) == dict.fromkeys(range(12, 40), "stopped")
    assert_each_answer_is_on_its_own_row(frame, result.data, but=range(12, 40))
    assert list(result.frame["smelt_error"].isna()) == [True] * 12 + [False] * 28
    # A key, rights or a model that are refused once may be a firewall's view of one row: another row is asked, too.
    assert revoked.stats().requests == (4 if error is QuotaError else 5)


@pytest.mark.parametrize("kind", ["auth", "permission", "not_found"])
@pytest.mark.parametrize("provider", PROVIDERS)
def test_20_22_one_refusal_of_the_account_mid_run_stops_nothing(
    provider: str, kind: str, scenario: MakeScenario
) -> None:
    shaky = scenario(answers=RULES, script={3: {"fault": "status", "kind": kind}})
    frame = companies(40)

    result = ask(frame, served(provider, shaky))

    assert result.errors == []
    assert_each_answer_is_on_its_own_row(frame, result.data)
    assert shaky.stats().requests <= 10 + 3  # One row alone, and the refused ones in halves.


def test_20_a_key_revoked_while_many_are_in_flight_lets_them_land_and_sends_nothing_more(
    scenario: MakeScenario,
) -> None:
    no = {"fault": "status", "kind": "auth"}
    revoked = scenario(answers=RULES, latency=0.05, script=dict.fromkeys(range(4, 100), no))
    frame = companies(400)

    with pytest.warns(SmeltWarning, match="stopped early"):
        result = ask(frame, served("openai", revoked), concurrency=8)

    stats = revoked.stats()
    assert stats.requests <= 1 + 3 * 8  # What is in flight is refused, and what leaves until the second news is there.
    assert stats.abandoned == 0
    assert result.metrics.successful_rows == 4 * stats.statuses[200]
    assert_each_answer_is_on_its_own_row(frame, result.data, but=failures(result))


def test_20_with_on_error_raise_a_fatal_error_mid_run_raises_with_what_was_answered(scenario: MakeScenario) -> None:
    revoked = scenario(answers=RULES, script={key: {"fault": "status", "kind": "auth"} for key in range(3, 40)})

    with pytest.raises(AuthenticationError, match="HTTP 401: Incorrect API key") as raised:
        ask(companies(40), served("openai", revoked), on_error="raise")

    assert raised.value.partial_result is not None
    assert raised.value.partial_result.metrics.successful_rows == 12


# --- 18, 19, 24, 25: what concerns a row ------------------------------------------------------------------------------


@pytest.mark.parametrize(("kind", "given_up_as"), GUILTY)
@pytest.mark.parametrize("provider", PROVIDERS)
def test_a_guilty_row_is_found_and_its_neighbours_are_answered(
    provider: str, kind: str, given_up_as: str, scenario: MakeScenario
) -> None:
    frame = companies(24)
    poisoned = scenario(answers=RULES, poison={"column": "name", "values": [frame["name"][5]], "status": kind})

    result = ask(frame, served(provider, poisoned), batch_size=8)

    assert failures(result) == {5: given_up_as}
    assert_each_answer_is_on_its_own_row(frame, result.data, but=[5])
    assert result.metrics.requests <= 3 + halvings(8)
    assert result.metrics.cost_usd is None


@pytest.mark.parametrize("number", range(4))
def test_25_guilty_rows_before_the_first_answer_do_not_end_the_run(number: int, scenario: MakeScenario) -> None:
    frame = companies(24)
    guilty = range(number + 1)
    values = [frame["name"][at] for at in guilty]
    poisoned = scenario(answers=RULES, poison={"column": "name", "values": values, "status": "bad_request"})

    result = ask(frame, served("openai", poisoned), batch_size=8)

    assert failures(result) == dict.fromkeys(guilty, "bad_request")
    assert_each_answer_is_on_its_own_row(frame, result.data, but=guilty)


@pytest.mark.parametrize("provider", PROVIDERS)
def test_25_a_request_that_is_refused_whatever_is_in_it_ends_the_run_soon(
    provider: str, scenario: MakeScenario
) -> None:
    refusing = scenario(answers=RULES, always={"fault": "status", "kind": "unprocessable"})

    with pytest.raises(BadRequestError, match=r"422|Unprocessable"):
        ask(companies(400), served(provider, refusing), batch_size=20)

    assert refusing.stats().requests <= 8 + 20


def test_18_a_chunk_over_the_context_is_halved_until_it_fits(scenario: MakeScenario) -> None:
    small = scenario(answers=RULES, context_tokens=500)
    frame = companies(32)

    result = ask(frame, served("vllm", small), batch_size=32)

    assert result.errors == []
    assert_each_answer_is_on_its_own_row(frame, result.data)
    assert small.stats().statuses[400] >= 1
    assert result.metrics.requests <= 2 * 32


def test_24_a_body_over_the_limit_is_halved_until_it_fits(scenario: MakeScenario) -> None:
    frame = companies(16).assign(name=[f"{at:04}" * 500 for at in range(16)])
    narrow = scenario(answers=RULES, max_body_bytes=12_000)

    result = ask(frame, served("openai", narrow), batch_size=16)

    assert result.errors == []
    assert_each_answer_is_on_its_own_row(frame, result.data)
    assert narrow.stats().statuses[413] <= 4


# --- 34: a 200 with an error object -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "error"), [("auth", AuthenticationError), ("insufficient_quota", QuotaError)], ids=["auth", "quota"]
)
@pytest.mark.parametrize("provider", PROVIDERS)
def test_34_an_error_object_in_a_200_is_what_it_says(
    provider: str, kind: str, error: type[SmeltAPIError], scenario: MakeScenario
) -> None:
    broken = scenario(answers=RULES, always={"fault": "error_object_200", "kind": kind})

    with pytest.raises(error, match="HTTP 4.*(Check the key|the credit)"):
        ask(companies(40), served(provider, broken))

    assert broken.stats().requests == 1


@pytest.mark.parametrize("provider", PROVIDERS)
def test_34_a_refused_row_in_a_200_is_found(provider: str, scenario: MakeScenario) -> None:
    frame = companies(16)
    fault = {"fault": "error_object_200", "kind": "bad_request"}
    poisoned = scenario(answers=RULES, poison={"column": "name", "values": [frame["name"][9]], "fault": fault})

    result = ask(frame, served(provider, poisoned), batch_size=8)

    assert failures(result) == {9: "bad_request"}
    assert_each_answer_is_on_its_own_row(frame, result.data, but=[9])
    assert result.metrics.requests <= 2 + halvings(8)


@pytest.mark.slow
@pytest.mark.parametrize("provider", PROVIDERS)
def test_34_an_overload_in_a_200_is_waited_out(provider: str, scenario: MakeScenario) -> None:
    overloaded = scenario(answers=RULES, script={1: "error_object_200"})
    frame = companies(12)

    result = ask(frame, served(provider, overloaded))

    assert result.errors == []
    assert_each_answer_is_on_its_own_row(frame, result.data)
    assert result.metrics.requests == 4


# --- 1 to 13: transport -----------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_01_a_server_that_was_never_reached_is_given_up_soon() -> None:
    model = Model("openai", "fake-1", api_key=KEYS["openai"], base_url="http://127.0.0.1:9/v1")

    with pytest.raises(UnavailableError, match=r"Cannot connect to http://127\.0\.0\.1:9") as raised:
        ask(companies(400), model, concurrency=8)

    assert KEYS["openai"] not in str(raised.value)
    assert raised.value.partial_result is not None
    assert raised.value.partial_result.metrics.requests == 4


@pytest.mark.slow
@pytest.mark.parametrize("fault", ["reset_before", "reset_mid_body", "short_body", "long_body", "bad_status_line"])
def test_02_to_04_a_broken_connection_is_tried_once_more(fault: str, scenario: MakeScenario) -> None:
    broken = scenario(answers=RULES, script={1: fault})
    frame = companies(12)

    result = ask(frame, served("openai", broken))

    assert result.errors == []
    assert_each_answer_is_on_its_own_row(frame, result.data)
    if fault == "long_body":  # The body is cut, and what is left of it spoils the connection for the next request.
        assert result.metrics.requests <= 6
    else:
        assert broken.stats().requests == result.metrics.requests == 4
        assert result.metrics.possible_duplicates == 1


@pytest.mark.slow
@pytest.mark.parametrize("fault", ["hang", "trickle"])
def test_05_06_a_hanging_request_ends_at_its_deadline_and_is_sent_once_more(fault: str, scenario: MakeScenario) -> None:
    hanging = scenario(answers=RULES, script={1: fault})
    frame = companies(12)
    ask(companies(1), served("openai", scenario(answers=RULES)))  # Else the time is spent on importing the SDK.

    result = ask(frame, served("openai", hanging), timeout=2.0)

    assert result.errors == []
    assert_each_answer_is_on_its_own_row(frame, result.data)
    assert result.metrics.requests == 4
    assert result.metrics.possible_duplicates == 1


@pytest.mark.slow
def test_12_a_captive_portal_is_no_success(scenario: MakeScenario) -> None:
    portal = scenario(answers=RULES, always="html")

    with pytest.raises(UnavailableError, match=r"web page.*Sign in"):
        ask(companies(40), served("openai", portal), max_attempts=2)

    assert portal.stats().requests == 2


@pytest.mark.slow
def test_12_a_portal_mid_run_is_waited_out_and_costs_no_row(scenario: MakeScenario) -> None:
    portal = scenario(answers=RULES, script={1: "html", 2: "html"})
    frame = companies(12)

    result = ask(frame, served("openai", portal))

    assert result.errors == []
    assert_each_answer_is_on_its_own_row(frame, result.data)
    assert result.metrics.requests == 5


@pytest.mark.parametrize("provider", PROVIDERS)
def test_13_a_redirect_is_not_followed(provider: str, scenario: MakeScenario) -> None:
    elsewhere = scenario()
    moved = scenario(always={"fault": "redirect", "to": elsewhere.base_url("openai").replace("127.0.0.1", "localhost")})

    with pytest.raises(SmeltAPIError, match="redirects to localhost"):
        ask(companies(40), served(provider, moved))

    assert moved.stats().requests == 1
    assert elsewhere.stats().requests == 0


# --- 26 to 35: what passes with time, in virtual time -----------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize(
    ("provider", "hint"),
    [
        ("openai", {"retry_after_ms": 300}),
        ("vllm", {"retry_after": 0.3}),
        ("anthropic", {"retry_after": 0.3}),
        ("google", {"retry_info": "0.3s"}),
    ],
)
def test_26_28_a_rate_limit_is_waited_out_as_long_as_it_says(
    provider: str, hint: dict[str, Any], scenario: MakeScenario
) -> None:
    limited = scenario(answers=RULES, script={1: {"fault": "status", "kind": "rate_limit", **hint}})
    frame = companies(12)

    result = ask(frame, served(provider, limited))

    assert result.errors == []
    assert_each_answer_is_on_its_own_row(frame, result.data)
    assert result.metrics.requests == 4
    assert result.metrics.rate_limited == 1
    assert 0.3 <= result.metrics.wall_time_seconds < BUSY


class Weather(ScriptedProvider):
    """Fails by the clock: with *failure* from *start* until *end*."""

    def __init__(
        self, failure: CallFailed, *, start: float = 0.0, end: float = float("inf"), latency: float = 1.0
    ) -> None:
        super().__init__(lambda row: expected(RULES, row))
        self._failure, self._from, self._until, self._latency = failure, start, end, latency
        self.asked = 0
        self.in_flight = self.most_in_outage = 0

    async def send(self, request: Request) -> Reply:
        self.asked += 1
        self.in_flight += 1
        try:
            if self._from <= asyncio.get_running_loop().time() < self._until:
                raise self._failure
            await asyncio.sleep(self._latency)
            return await super().send(request)
        finally:
            self.in_flight -= 1


REFUSALS: list[Any] = [
    pytest.param(CallFailed("rate_limit", Billing.REJECTED, "HTTP 429", status=429), id="31-rate_limit"),
    pytest.param(CallFailed("server", Billing.REJECTED, "HTTP 503", status=503), id="32-server"),
    pytest.param(
        CallFailed("server", Billing.REJECTED, "HTTP 503", status=503, limits={"x-should-retry": "false"}),
        id="33-should_not_retry",
    ),
    pytest.param(CallFailed("connection", Billing.NOT_SENT, "refused"), id="01-refused"),
    pytest.param(CallFailed("protocol", Billing.UNKNOWN, "a web page"), id="12-portal"),
]


def in_virtual_time(rows: int, provider: ScriptedProvider, **options: Any) -> tuple[Any, float]:
    given = {"progress": False, "shuffle": False, "concurrency": 8} | options
    jumped = run_jumping(smelt.arun(companies(rows), PROMPT, Company, model=provider, **given))
    return jumped.result, jumped.seconds


@cache
def calm(rows: int, isolation: Any) -> tuple[int, float]:
    """The requests and the seconds of a run without an outage."""
    registry._lanes.clear()  # Whatever was learnt before.
    never = Weather(CallFailed("server", Billing.REJECTED, ""), end=0.0)
    result, seconds = in_virtual_time(rows, never, isolation=isolation)
    return result.metrics.requests, seconds


@pytest.mark.parametrize(("isolation", "rows"), [("batch", 2_000), ("row", 300)], ids=["batch", "row"])
@pytest.mark.parametrize("failure", REFUSALS)
def test_an_outage_of_ten_minutes_costs_no_row(failure: CallFailed, isolation: Any, rows: int) -> None:
    weather = Weather(failure, start=5.0, end=605.0)

    result, seconds = in_virtual_time(rows, weather, isolation=isolation)

    assert result.errors == []
    assert_each_answer_is_on_its_own_row(companies(rows), result.data)
    requests, usual = calm(rows, isolation)
    # Those in flight when it begins, then single probes ever farther apart.
    assert weather.asked - requests <= 32 + 60
    # Ten minutes of nothing but refusals are a rate to be found again afterwards.
    assert 605.0 < seconds < 605.0 + usual + (240.0 if failure.kind == "rate_limit" else 100.0)


def test_an_outage_that_the_run_waits_out_costs_no_row() -> None:
    weather = Weather(CallFailed("server", Billing.REJECTED, "HTTP 503", status=503), start=1.5, end=1.5 + 13.5 * 60)

    result, _ = in_virtual_time(20, weather, isolation="row")

    assert result.errors == []


@pytest.mark.parametrize("failure", [one for one in REFUSALS if one.id[:2] in ("31", "32", "33")])
def test_a_server_that_never_serves_ends_the_run_in_time_with_few_requests(failure: CallFailed) -> None:
    weather = Weather(failure)

    with pytest.raises(UnavailableError, match=r"has not answered a request for 15 min"):
        in_virtual_time(2_000, weather)

    assert weather.asked <= 110  # One in ten seconds, but for the first.


@pytest.mark.parametrize("failure", [one for one in REFUSALS if one.id[:2] in ("31", "32", "33")])
def test_a_run_of_little_patience_asks_several_times_and_says_how_long_it_waited(failure: CallFailed) -> None:
    weather = Weather(failure)

    with pytest.raises(UnavailableError, match=r"has not answered a request for 5 s; the last one: HTTP"):
        in_virtual_time(2_000, weather, max_wait=5.0)

    assert 5 <= weather.asked <= 30


def test_27_a_wait_of_ten_days_stops_the_run_and_says_so() -> None:
    weather = Weather(CallFailed("rate_limit", Billing.REJECTED, "HTTP 429", retry_after=864_000.0), start=5.0)

    with pytest.warns(
        SmeltWarning,
        match=r"asks for a pause that is longer than this run waits \(max_wait\)\. Run again in 240 h 1 min",
    ):
        result, seconds = in_virtual_time(2_000, weather)

    assert seconds < 20.0
    assert set(failures(result).values()) == {"stopped"}
    assert_each_answer_is_on_its_own_row(companies(2_000), result.data, but=failures(result))


LONG_PAUSES: dict[str, dict[str, Any]] = {
    "openai": {"retry_after": 1_200},
    "anthropic": {"retry_after": 1_200},
    "google": {"retry_info": "1200s"},
}


@pytest.mark.parametrize("provider", LONG_PAUSES)
def test_27_a_pause_beyond_max_wait_stops_the_run_which_says_when_to_come_back_and_goes_on_then(
    provider: str, scenario: MakeScenario, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    refusal = {"fault": "status", "kind": "rate_limit", **LONG_PAUSES[provider]}
    pausing = scenario(answers=RULES, count_by="number", script={3: refusal})
    frame, model, ledger = companies(40), served(provider, pausing), tmp_path / "ledger.sqlite"

    for _ in range(2):  # Too soon, it asks for nothing.
        with pytest.warns(SmeltWarning, match=r"longer than this run waits \(max_wait\)\. Run again in 2[01] min"):
            early = ask(frame, model, ledger=ledger, max_wait=60.0)
        assert failures(early) == dict.fromkeys(range(12, 40), "stopped")
        assert pausing.stats().requests == 4
    monkeypatch.setattr(registry, "_lanes", OrderedDict())  # Another process, later.
    late = ask(frame, model, ledger=ledger)

    assert_each_answer_is_on_its_own_row(frame, late.data)
    assert late.metrics.requests == 7
    sent = pausing.stats().rows_sent_by
    assert [sent[str(at)] for at in range(40)] == [1] * 12 + [2] * 4 + [1] * 24


def test_05_a_server_that_hangs_for_good_ends_the_run() -> None:
    weather = Weather(CallFailed("timeout", Billing.UNKNOWN, "unused"), end=0.0, latency=1e6)

    with pytest.raises(UnavailableError, match=r"No reply within 60 s|has not answered a request for"):
        in_virtual_time(2_000, weather, timeout=60.0)

    assert weather.asked <= 20


@pytest.mark.parametrize(
    ("failure", "kind"),
    [
        (CallFailed("server", Billing.REJECTED, "HTTP 500"), "server"),
        (CallFailed("connection", Billing.UNKNOWN, "reset"), "connection"),
        (CallFailed("timeout", Billing.UNKNOWN, "504"), "timeout"),
        (CallFailed("protocol", Billing.PAID_BAD, "cut JSON"), "malformed"),
    ],
    ids=["32-server", "02-reset", "05-timeout", "11-useless"],
)
@pytest.mark.parametrize("guilty", [0, 57, 199])
def test_a_row_that_breaks_its_server_is_given_up_alone(failure: CallFailed, kind: str, guilty: int) -> None:
    marked = f"company {guilty} of"

    class Breaking(ScriptedProvider):
        async def send(self, request: Request) -> Reply:
            await asyncio.sleep(1.0)
            if marked in request.user:
                self.requests.append(request)
                raise failure
            return await super().send(request)

    provider = Breaking(lambda row: expected(RULES, row))

    result, seconds = in_virtual_time(200, provider, batch_size=20, concurrency=4)

    assert failures(result) == {guilty: kind}
    assert_each_answer_is_on_its_own_row(companies(200), result.data, but=[guilty])
    assert len(provider.requests) <= 80 + 15 * halvings(20)
    assert seconds < Policy().stall + 240.0  # The others are answered first.


@pytest.mark.parametrize("code", [418, 451, 429, 599, 520])
@pytest.mark.slow
def test_35_a_status_that_nobody_knows_is_retried_or_a_rows_error(code: int, scenario: MakeScenario) -> None:
    odd = scenario(answers=RULES, script={1: {"fault": "status", "code": code}})
    frame = companies(12)

    result = ask(frame, served("openai", odd))

    assert result.errors == []
    assert_each_answer_is_on_its_own_row(frame, result.data)
    assert result.metrics.requests <= 5
