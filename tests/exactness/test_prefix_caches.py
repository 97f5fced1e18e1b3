"""What prompt caches save, on the fake that bills by the published rules."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

import smelt
from smelt.engine import prefix
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
