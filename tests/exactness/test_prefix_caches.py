"""What prompt caches save, on the fake that bills by the published rules."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

import smelt
from smelt.call.resolve import resolve_model
from smelt.engine import prefix
from smelt.providers import prefixes
from tests.conftest import MakeScenario
from tests.economy_jobs import REVIEW as JOB
from tests.exactness.test_bills import _in_november, at_home  # noqa: F401  # A fixture.
from tests.fakeserver.client import Scenario, Stats
from tests.fakeserver.till import RATES, dollars

pytest.importorskip("genai_prices")

# A page of guidelines: with it, instructions and schema take 2,368 tokens.
LONG = f"{JOB.prompt}\n" + "Mind what the guideline says of reviews that praise one thing and blame another. " * 100
IMPLICIT = {"prompt_cache_options": {"mode": "implicit"}}


def ask(model: str, fake: Scenario, path: Path, *, prompt: str = LONG, rows: int = 100, **options: Any) -> Any:
    frame = pd.DataFrame(JOB.rows(rows))
    usual = {"batch_size": 5, "concurrency": 8, "ledger": path, "progress": False}
    provider = at_home(model, fake) if model.startswith("gpt") else claude(model, fake)
    return smelt.run(frame, prompt, JOB.model, model=provider, **{**usual, **options})


def claude(model: str, fake: Scenario) -> smelt.Model:
    return smelt.Model("anthropic", model, api_key="k-of-a-test", base_url=fake.base_url("anthropic"))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "ledger.sqlite"


@pytest.fixture
def vendor(scenario: MakeScenario) -> Scenario:
    return scenario(bills={}, answers=JOB.rules, latency=0.01)


def check_bill(result: Any, stats: Stats) -> None:
    assert result.success
    assert result.metrics.cost_usd == pytest.approx(stats.dollars, rel=1e-3)
    assert result.metrics.written_input_tokens == stats.written_tokens


@pytest.mark.parametrize("model", ["gpt-6-luna", "gpt-6.1-sol"])
def test_a_short_prefix_is_never_written(model: str, vendor: Scenario, path: Path) -> None:
    result = ask(model, vendor, path, prompt=JOB.prompt, batch_size=25)

    assert vendor.stats().written_tokens == 0
    check_bill(result, vendor.stats())


def test_the_prefix_of_a_single_request_is_not_written(vendor: Scenario, path: Path) -> None:
    result = ask("gpt-6-luna", vendor, path, rows=5)

    assert vendor.stats().written_tokens == 0
    check_bill(result, vendor.stats())


# 300 rows at one a request: so many requests are proved by four at a time, which would each write.
@pytest.mark.parametrize(("rows", "batch_size"), [(100, 5), (300, 1)], ids=["some", "many"])
@pytest.mark.parametrize("model", ["gpt-6-luna", "claude-haiku-5-5"])
def test_a_long_prefix_is_written_once_and_read_by_all_others(
    model: str, rows: int, batch_size: int, vendor: Scenario, path: Path
) -> None:
    result = ask(model, vendor, path, rows=rows, batch_size=batch_size)

    stats = vendor.stats()
    assert 2_300 < stats.written_tokens < 2_450
    assert stats.read_tokens >= 0.95 * stats.written_tokens * (stats.requests - 1)
    check_bill(result, stats)


def test_a_second_run_of_the_process_reads_what_the_first_one_wrote(vendor: Scenario, path: Path) -> None:
    ask("gpt-6-luna", vendor, path)
    before = vendor.stats()

    ask("gpt-6-luna", vendor, path, rows=110)  # Two more requests, which leave together.

    assert vendor.stats().written_tokens == before.written_tokens
    assert vendor.stats().read_tokens == before.read_tokens + 2 * before.written_tokens


@pytest.mark.parametrize(("batch_size", "most"), [(25, 0.66), (1, 0.17)], ids=["25 rows", "one row"])
def test_the_job_with_the_long_prompt_costs_two_thirds_or_a_sixth(
    batch_size: int, most: float, scenario: MakeScenario, tmp_path: Path
) -> None:
    rate, requests, seen = RATES["gpt-6-luna"], 10_000 // batch_size, {}
    for name, params in (("today", IMPLICIT), ("marked", {})):
        fake = scenario(bills={}, answers=JOB.rules)
        asked: dict[str, Any] = {"rows": 20 * batch_size, "batch_size": batch_size, "params": params}
        seen[name] = ask("gpt-6-luna", fake, tmp_path / name, **asked).metrics, fake.stats().dollars
    (_, today), (metrics, marked) = seen["today"], seen["marked"]
    written = metrics.written_input_tokens
    counts: dict[str, Any] = {"given": metrics.input_tokens / 20, "made": metrics.output_tokens / 20}
    counts |= {"hour": 0, "tier": "standard"}

    # The first request writes the prefix, and the others read it.
    first = dollars(rate, read=0, written=written, **counts)
    other = dollars(rate, read=written, written=0, **counts)

    assert marked == pytest.approx(first + 19 * other, rel=1e-3)
    assert first + (requests - 1) * other <= most * today / 20 * requests


def test_the_caller_may_leave_the_cache_to_the_vendor(vendor: Scenario, path: Path) -> None:
    result = ask("gpt-6-luna", vendor, path, params=IMPLICIT)

    assert vendor.stats().written_tokens > 0.9 * vendor.stats().input_tokens
    check_bill(result, vendor.stats())


class Pausing:
    """Frames of a stream, between which so many seconds pass."""

    def __init__(self, fake: Scenario, monkeypatch: pytest.MonkeyPatch, seconds: float) -> None:
        self.fake, self.seconds, self.now = fake, seconds, 0.0
        monkeypatch.setattr(prefix, "now", lambda: self.now)
        monkeypatch.setattr(prefixes, "now", lambda: self.now)

    def frames(self, count: int) -> Iterator[pd.DataFrame]:
        for at in range(count):
            if at:
                self.now += self.seconds
                self.fake.advance(self.seconds)
            yield pd.DataFrame(JOB.rows(5 * count)[5 * at : 5 * at + 5])


@pytest.mark.parametrize(
    ("params", "least", "most"),
    [({}, 2, 2), ({"cache_ttl": "1h"}, 1, 1), ({"cache_ttl": "5m"}, 3, 5)],
    ids=["by itself", "an hour", "five minutes"],
)
def test_a_stream_that_pauses_has_its_prefix_kept_for_an_hour(
    params: dict[str, str], least: int, most: int, vendor: Scenario, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    frames = smelt.stream(
        Pausing(vendor, monkeypatch, 400).frames(6),
        LONG,
        JOB.model,
        model=claude("claude-sonnet-5-5", vendor),
        params=params,
        batch_size=5,
        ledger=path,
        progress=False,
    )

    done = [len(frame) for frame in frames]

    stats = vendor.stats()
    with smelt.ledger.open(path) as ledger:
        [spent] = ledger.spend()
    assert done == [5] * 6
    assert least * 2_300 < stats.written_tokens < most * 2_450
    assert spent["cost_usd"] == pytest.approx(stats.dollars, rel=1e-3)


def test_parameters_of_the_cache_are_no_part_of_the_key(vendor: Scenario, path: Path) -> None:
    ask("claude-sonnet-5-5", vendor, path)
    before = vendor.stats().requests

    ask("claude-sonnet-5-5", vendor, path, params={"cache_ttl": "1h"})

    assert vendor.stats().requests == before


# Contents that Gemini keeps.


def gemini(fake: Scenario, model: str = "gemini-3.8-flash", **options: Any) -> Any:
    """A Gemini model for which the fake has the address of the vendor itself."""
    asked = smelt.Model("google", model, api_key="k-of-a-test", base_url=fake.base_url("google"), **options)
    provider: Any = resolve_model(asked)
    return replace(provider, vendor=replace(provider.vendor, base_url=provider.access.base_url))


def ask_gemini(fake: Scenario, path: Path | bool, *, rows: int = 100, prompt: str = LONG, **options: Any) -> Any:
    frame = pd.DataFrame(JOB.rows(rows))
    usual = {"batch_size": 5, "concurrency": 8, "ledger": path, "progress": False}
    return smelt.run(frame, prompt, JOB.model, model=gemini(fake), **{**usual, **options})


def named(fake: Scenario) -> list[bool]:
    """For each request, whether it names a kept content."""
    return ["cachedContent" in one["body"] for one in fake.stats().log]


class Leaving:
    """A provider in whose third request a bug shows, so that the connection is left as a crash leaves it."""

    def __init__(self, inner: Any) -> None:
        self.inner = inner
        for name in dir(inner):  # Newer Pythons do not ask `__getattr__` whether it is a provider.
            if not name.startswith("_") and name != "connect":
                setattr(self, name, getattr(inner, name))

    @asynccontextmanager
    async def connect(self, *, connections: int) -> AsyncIterator[Any]:
        async with self.inner.connect(connections=connections) as connection:
            yield Failing(connection)


class Failing:
    def __init__(self, inner: Any) -> None:
        self.inner, self.sent = inner, 0

    async def send(self, request: Any) -> Any:
        self.sent += 1
        if self.sent == 3:
            raise RuntimeError("crash")
        return await self.inner.send(request)


@pytest.fixture
def google(scenario: MakeScenario) -> Callable[..., Scenario]:
    usual = {"bills": {"reads_unmarked": False}, "answers": JOB.rules, "latency": 0.01, "log": True}
    return lambda **config: scenario(**{**usual, **config})


def test_gemini_keeps_the_instructions_for_a_run_and_no_longer(google: Callable[..., Scenario], path: Path) -> None:
    fake = google()

    result = ask_gemini(fake, path)

    stats = fake.stats()
    assert all(named(fake))
    assert not any("systemInstruction" in one["body"] for one in stats.log)
    assert dict(stats.content_calls) == {"create": 1, "renew": 1, "delete": 1}
    assert stats.contents == 0
    assert stats.read_tokens >= 0.95 * stats.written_tokens * (stats.requests - 1)
    check_bill(result, stats)


def test_few_requests_and_short_instructions_are_sent(google: Callable[..., Scenario]) -> None:
    fake = google()

    ask_gemini(fake, False, rows=15)
    ask_gemini(fake, False, prompt=JOB.prompt)

    assert dict(fake.stats().content_calls) == {}


@pytest.mark.parametrize(
    ("terms", "calls"),
    [
        ({"least": 4_096}, 1),
        ({"most": 0}, 1),
        ({"http": {"create": {"0": {"fault": "status", "kind": "server"}}}}, 2),
        ({"http": {"create": {"0": "reset_before"}}}, 1),
        ({"http": {"create": {"0": "reset_before"}}, "lists_late": 1}, 1),
        ({"http": {"create": {"0": {"fault": "status", "kind": "not_found"}}}}, 1),
    ],
    ids=["too small", "free tier", "server error", "reset", "reset, shown late", "not found"],
)
def test_no_row_fails_for_want_of_a_cache(
    terms: dict[str, Any], calls: int, google: Callable[..., Scenario], path: Path
) -> None:
    fake = google(contents=terms)

    result = ask_gemini(fake, path)

    assert fake.stats().content_calls["create"] == calls
    assert any(named(fake)) == ("server" in str(terms) or "reset" in str(terms))
    assert fake.stats().contents == 0
    check_bill(result, fake.stats())


def test_what_was_made_for_a_lost_answer_and_never_shown_is_gone_in_minutes(
    google: Callable[..., Scenario], path: Path
) -> None:
    fake = google(contents={"http": {"create": {"0": "reset_before"}}, "lists_late": 99})

    ask_gemini(fake, path)
    left = fake.stats().contents
    fake.advance(301)

    assert (left, fake.stats().contents) == (1, 0)


@pytest.mark.parametrize(
    "gone",
    [(403, "PERMISSION_DENIED", "CachedContent not found (or permission denied)"), (404, "NOT_FOUND", "cachedContent")],
    ids=["403", "404"],
)
def test_a_content_that_goes_in_mid_run_is_made_anew(
    gone: tuple[int, str, str], google: Callable[..., Scenario], path: Path
) -> None:
    fake = google(contents={"gone_after": 5, "gone": gone})

    result = ask_gemini(fake, path, concurrency=1)

    stats = fake.stats()
    assert stats.content_calls["create"] == 2
    # A refused request is not in the log: the fifth went out once more, with its instructions.
    assert [at for at, is_named in enumerate(named(fake)) if not is_named] == [4]
    assert result.success


def test_a_run_after_a_crash_uses_what_the_crashed_one_left(google: Callable[..., Scenario], path: Path) -> None:
    fake = google()
    leaving = Leaving(gemini(fake))
    with pytest.raises(smelt.SmeltAPIError, match="crash"):
        smelt.run(pd.DataFrame(JOB.rows(50)), LONG, JOB.model, model=leaving, batch_size=5, ledger=path, progress=False)
    left = fake.stats()

    result = ask_gemini(fake, path)

    assert (left.contents, left.content_calls["create"]) == (1, 1)
    assert {name: fake.stats().content_calls[name] for name in ("create", "delete")} == {"create": 1, "delete": 1}
    assert result.success


def test_without_a_ledger_or_with_a_life_of_nothing_it_works_too(google: Callable[..., Scenario], path: Path) -> None:
    fake = google()

    assert ask_gemini(fake, False).success
    calls = dict(fake.stats().content_calls)
    again = smelt.run(
        pd.DataFrame(JOB.rows(60)),
        LONG,
        JOB.model,
        model=gemini(fake, params={"cache_ttl": "0s"}),
        batch_size=5,
        ledger=path,
        progress=False,
    )

    assert calls["create"] == calls["delete"] == 1
    assert calls == dict(fake.stats().content_calls)
    assert again.success


def test_a_call_that_keeps_nothing_sends_no_request_alone(google: Callable[..., Scenario]) -> None:
    fake = google(latency=0.2)

    result = ask_gemini(fake, False, rows=60, params={"cache_ttl": "0s"})

    assert result.success
    assert dict(fake.stats().content_calls) == {}


@pytest.mark.parametrize("life", ["59s", "0.5h", "-5m", "", "1d", "999999999h", 300, None, "\u0661\u0660m", "1H"])
def test_a_life_that_wastes_money_is_refused_before_anything_is_sent(
    life: Any, google: Callable[..., Scenario]
) -> None:
    fake = google()

    with pytest.raises(smelt.SmeltConfigError, match="cache_ttl.*duration such as '90s'"):
        ask_gemini(fake, False, rows=60, params={"cache_ttl": life})
    with pytest.raises(smelt.SmeltConfigError, match="cache_ttl.*duration such as '90s'"):
        gemini(fake, params={"cache_ttl": life})

    assert fake.stats().requests == 0


def test_a_gateway_keeps_nothing(google: Callable[..., Scenario], path: Path) -> None:
    fake = google()
    model = smelt.Model("google", "gemini-3.8-flash", api_key="k-of-a-test", base_url=fake.base_url("google"))

    smelt.run(pd.DataFrame(JOB.rows(60)), LONG, JOB.model, model=model, batch_size=5, ledger=path, progress=False)

    assert dict(fake.stats().content_calls) == {}


def test_storage_is_in_the_bill_and_in_the_ledger(
    google: Callable[..., Scenario], path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake = google()
    frames = smelt.stream(
        Pausing(fake, monkeypatch, 600).frames(6),
        LONG,
        JOB.model,
        model=gemini(fake, params={"cache_ttl": "2h"}),
        batch_size=5,
        ledger=path,
        progress=False,
    )

    done = [len(frame) for frame in frames]

    stats = fake.stats()
    with smelt.ledger.open(path) as ledger:
        [spent] = ledger.spend()
    assert done == [5] * 6
    assert dict(stats.content_calls) == {"create": 1, "renew": 1, "delete": 1}
    assert stats.stored_dollars > 0.01 * stats.dollars
    assert spent["cost_usd"] == pytest.approx(stats.dollars, rel=1e-3)
