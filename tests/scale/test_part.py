"""Blocks of a job with limits at a pacer: what the whole job may spend, what stops it, and what the pacer hears."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

import smelt
from smelt.errors import AuthenticationError, BudgetExceededError, SmeltAPIError, SmeltConfigError
from smelt.lanes.jobs import HALTED
from smelt.scale.metrics import asked
from tests.conftest import MakeScenario
from tests.fakeserver import Scenario
from tests.models import RULES
from tests.scale import jobs
from tests.scale.answers import EveryKind, provider

pytestmark = pytest.mark.filterwarnings("ignore::smelt.SmeltWarning")  # That a run ended early.


@pytest.fixture
def server(scenario: MakeScenario, monkeypatch: pytest.MonkeyPatch) -> Scenario:
    monkeypatch.setenv("TEAM_KEY", jobs.KEY)
    return scenario(answers=RULES, count_by="name", latency=0.05)


def mapper_of(server: Scenario, ledger: Path, **options: Any) -> smelt.Mapper:
    model = smelt.Model(
        "compatible",
        "fake-1",
        base_url=server.base_url("compatible"),
        key_env="TEAM_KEY",
        price={"input": 1.0, "output": 2.0},
    )
    return smelt.Mapper(smelt.Job(jobs.PROMPT, {"sector": str}, **jobs.job_options(ledger), **options), model)


def rows(first: int, last: int) -> list[dict[str, Any]]:
    return [{"name": f"company {number}"} for number in range(first, last)]


def kinds(block: list[dict[str, Any]]) -> list[str]:
    return [(row["smelt_error"] or "answered").partition(":")[0] for row in block]


@pytest.mark.parametrize("limit", ["max_cost", "max_tokens_total"])
def test_the_budget_holds_for_all_workers_together_and_the_job_ends_as_usual(
    limit: str, server: Scenario, pacer: str, tmp_path: Path
) -> None:
    whole = mapper_of(server, tmp_path / "whole.sqlite")
    whole(rows(0, 100))
    spent = whole.metrics()
    assert spent.cost_usd
    most = spent.cost_usd if limit == "max_cost" else spent.input_tokens + spent.output_tokens
    mapper = mapper_of(server, tmp_path / "a.sqlite", **{limit: most})

    with ThreadPoolExecutor(2) as workers:
        blocks = [*workers.map(mapper, [rows(at, at + 100) for at in range(0, 300, 100)])]

    found, told = mapper.metrics(), [kind for block in blocks for kind in kinds(block)]
    assert {*told} == {"answered", "budget"}
    assert "The job's budget is spent: " in found.errors[0]
    assert 60 <= told.count("answered") <= 100 + 2 * 2 * jobs.IN_FLIGHT * jobs.PER_REQUEST
    took = found.cost_usd if limit == "max_cost" else found.input_tokens + found.output_tokens
    assert took is not None
    assert took <= most * (1 + 2 * 2 * jobs.IN_FLIGHT * jobs.PER_REQUEST / 100)
    assert (found.blocks, found.total_rows, found.failed_rows) == (3, 300, told.count("budget"))

    before = server.stats().requests
    assert {*kinds(mapper(rows(500, 510)))} == {"budget"}  # For good.
    assert server.stats().requests == before


def test_a_spent_budget_raises_if_the_job_says_so(server: Scenario, pacer: str, tmp_path: Path) -> None:
    mapper = mapper_of(server, tmp_path / "a.sqlite", max_tokens_total=500, on_error="raise")

    with pytest.raises(BudgetExceededError, match="The job's budget is spent: .* of max_tokens_total=500 tokens"):
        mapper(rows(0, 100))

    assert type(mapper.metrics().error) is BudgetExceededError


def test_the_deadline_is_that_of_the_whole_job(server: Scenario, pacer: str, tmp_path: Path) -> None:
    mapper = mapper_of(server, tmp_path / "a.sqlite", deadline=60)
    assert {*kinds(mapper(rows(0, 20)))} == {"answered"}
    assert 0 < asked(pacer, "begin", mapper._name) < 60

    late = mapper_of(server, tmp_path / "a.sqlite", deadline=1e-3)
    before = server.stats().requests

    assert [*kinds(late(rows(20, 40))), *kinds(late(rows(40, 60)))] == ["deadline"] * 40
    assert server.stats().requests == before


def test_what_stopped_one_block_stops_the_others_and_no_later_job(
    scenario: MakeScenario, server: Scenario, pacer: str, tmp_path: Path
) -> None:
    refusing = scenario(always={"fault": "status", "kind": "auth"}, until_ok=1)
    mapper = mapper_of(refusing, tmp_path / "a.sqlite")

    said = set()
    for at in range(0, 300, 100):  # Such as the tries of an engine.
        with pytest.raises(AuthenticationError, match=".") as told:
            mapper(rows(at, at + 100))
        said.add(str(told.value))

    assert refusing.stats().requests == 1
    assert len(said) == 1
    assert {*kinds(mapper_of(refusing, tmp_path / "a.sqlite")(rows(0, 20)))} == {"answered"}


def test_an_interrupt_in_the_driver_ends_a_block_with_an_error_and_keeps_its_answers(
    scenario: MakeScenario, server: Scenario, pacer: str, tmp_path: Path
) -> None:
    slow = scenario(answers=RULES, latency=0.2, count_by="name")
    mapper = mapper_of(slow, tmp_path / "a.sqlite")

    def interrupting() -> None:
        jobs.wait_for_requests(slow, 12)
        asked(pacer, "halt", mapper._name)

    with ThreadPoolExecutor(1) as other:
        going = other.submit(interrupting)
        with pytest.raises(SmeltAPIError, match=HALTED):
            mapper(rows(0, 400))
        going.result()

    sent = slow.stats().rows_sent_by
    assert 60 <= len(sent) <= 60 + 4 * jobs.IN_FLIGHT * jobs.PER_REQUEST
    again = mapper_of(slow, tmp_path / "a.sqlite")
    assert {*kinds(again(rows(0, 400)))} == {"answered"}
    assert {*slow.stats().rows_sent_by.values()} == {1}


def test_limits_need_a_pacer_in_the_driver_and_in_the_workers(
    server: Scenario, pacer: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mapper = mapper_of(server, tmp_path / "a.sqlite", max_cost=1.0)

    monkeypatch.delenv("SMELT_PACER")
    with pytest.raises(SmeltConfigError, match=r"max_cost= holds for one run, .* a pacer hold it for the whole job"):
        mapper_of(server, tmp_path / "a.sqlite", max_cost=1.0)
    with pytest.raises(SmeltConfigError, match="This job has limits that a pacer holds, and this process knows of non"):
        mapper(rows(0, 20))
    assert server.stats().requests == 0


def test_a_limit_in_dollars_needs_a_price_and_any_limit_a_pacer_that_answers(
    pacer: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    with pytest.raises(SmeltConfigError, match="max_cost needs a price"):
        smelt.Mapper(smelt.Job("About {name}.", EveryKind, max_cost=1.0), provider())
    monkeypatch.setenv("SMELT_PACER", str(tmp_path / "nobody"))
    with pytest.raises(SmeltConfigError, match="nobody does not answer"):
        smelt.Mapper(smelt.Job("About {name}.", EveryKind, max_tokens_total=1), provider())


def test_the_pacer_hears_no_key_and_no_row(
    scenario: MakeScenario, server: Scenario, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Every byte that reaches a real pacer, read on the way."""
    heard = bytearray()
    monkeypatch.setenv("SMELT_PACER_TOKEN", "t0ken-c4n4ry")
    leaking = scenario(
        answers=RULES,
        script={"3": {"fault": "echo", "code": 401, "text": jobs.KEY}},
        poison={"column": "name", "values": ["c4n4ry company"], "fault": "refuse"},
    )
    with jobs.pacing(tmp_path / "pacer") as place, jobs.tapped(place, tmp_path / "tap", heard) as tap:
        monkeypatch.setenv("SMELT_PACER", tap)
        mapper = mapper_of(leaking, tmp_path / "a.sqlite", max_cost=1.0, max_attempts=1)
        mapper([*rows(0, 10), {"name": "c4n4ry company"}, *rows(10, 40)])
        metrics = mapper.metrics()

    assert b'"end"' in heard
    assert b'"open"' in heard
    assert metrics.requests > 3
    assert metrics.errors
    assert b"c4n4ry" not in heard
    assert b"company" not in heard
    assert "c4n4ry" not in repr(metrics)
