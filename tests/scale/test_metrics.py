"""What the driver sees of all workers: from a real pacer, else from the ledger."""

from __future__ import annotations

import pickle
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

import smelt
from smelt.errors import AuthenticationError, ConfigTypeError, SmeltConfigError
from smelt.scale.mapper import answer
from smelt.scale.marks import metrics_of_result
from smelt.scale.metrics import JobMetrics, error_of
from tests.conftest import MakeScenario
from tests.fakeserver import Scenario
from tests.models import RULES
from tests.scale import jobs
from tests.scale.answers import EveryKind, provider


@pytest.fixture
def server(scenario: MakeScenario, monkeypatch: pytest.MonkeyPatch) -> Scenario:
    monkeypatch.setenv("TEAM_KEY", jobs.KEY)
    return scenario(answers=RULES)


def mapper_of(server: Scenario, ledger: Path, **options: Any) -> smelt.Mapper:
    return smelt.Mapper(
        smelt.Job(jobs.PROMPT, {"sector": str}, **jobs.job_options(ledger), **options), jobs.model(server)
    )


def rows(first: int, last: int) -> list[dict[str, Any]]:
    return [{"name": f"company {number}", "number": number} for number in range(first, last)]


def test_the_pacer_counts_blocks_as_they_end(server: Scenario, pacer: str, tmp_path: Path) -> None:
    mapper = mapper_of(server, tmp_path / "a.sqlite")
    assert mapper.metrics() == JobMetrics(source="pacer", asking=0, failed_rows=0)

    mapper(rows(0, 40))
    mapper(rows(20, 60))

    found = mapper.metrics()
    assert (found.blocks, found.total_rows, found.ledger_rows, found.failed_rows) == (2, 80, 20, 0)
    assert found.requests == server.stats().requests
    assert found.input_tokens > found.requests
    assert found.error is None


def test_a_request_without_an_answer_counts_once_whoever_lost_it(
    scenario: MakeScenario, pacer: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """A worker is killed with all its requests in flight; one that is late is called off in the block's second try."""
    monkeypatch.setenv("TEAM_KEY", jobs.KEY)
    server = scenario(answers=RULES, script=dict.fromkeys(["9", "10", "11", "12", "75"], "hang"))
    ledger, given = tmp_path / "a.sqlite", rows(0, 400)
    mapper = smelt.Mapper(
        smelt.Job(jobs.PROMPT, {"sector": str}, batch_size=5, concurrency=4, wire="keyed", ledger=str(ledger)),
        jobs.model(server),
    )
    code = f"import pickle, sys; sys.path[:] = {sys.path}; mapper, rows = pickle.load(sys.stdin.buffer)\n"
    code += "from smelt.scale.mapper import answer; answer(mapper, rows, 'block 0')"
    with subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE) as worker:
        assert worker.stdin is not None
        worker.stdin.write(pickle.dumps((mapper, given)))
        worker.stdin.close()
        server.wait_until(lambda stats: stats.requests == 13 and stats.in_flight == 4)
        worker.kill()

    answer(mapper, given, "block 0")

    with smelt.ledger.open(ledger) as opened:
        reasons = Counter(one["reason"] for one in opened.possible_duplicates())
    found = mapper.metrics()
    assert reasons == {"lost": 4, "timeout": 1}
    assert found.possible_duplicates == 5
    assert found.requests == server.stats().requests - 4
    assert (found.blocks, found.total_rows, found.failed_rows) == (1, 400, 0)


def test_without_a_pacer_the_ledger_says_what_it_knows(server: Scenario, tmp_path: Path) -> None:
    ledger = tmp_path / "a.sqlite"
    mapper_of(server, ledger)(rows(0, 20))  # Of an earlier job.
    mapper = mapper_of(server, ledger)
    assert mapper.metrics() == JobMetrics(source="ledger")
    before = server.stats().requests

    mapper(rows(0, 40))

    found = mapper.metrics()
    assert (found.source, found.blocks, found.total_rows, found.ledger_rows) == ("ledger", 1, 40, 20)
    assert found.requests == server.stats().requests - before > 0
    assert (found.failed_rows, found.asking) == (None, None)


def test_a_worker_that_raised_is_seen_with_its_class_and_words(
    scenario: MakeScenario, server: Scenario, pacer: str, tmp_path: Path
) -> None:
    mapper = mapper_of(scenario(always={"fault": "status", "kind": "auth"}), tmp_path / "a.sqlite")

    with pytest.raises(AuthenticationError, match=".") as told:
        mapper(rows(0, 40))

    found = mapper.metrics()
    assert type(found.error) is AuthenticationError
    assert str(found.error) == str(told.value)
    assert (found.blocks, found.total_rows) == (0, 0)


def test_failed_rows_are_counted_with_their_messages(pacer: str) -> None:
    mapper = smelt.Mapper(smelt.Job("About {name}.", EveryKind), provider())

    list(mapper.stream([[{"name": str(number)} for number in range(10)], [{"name": "13"}, {"name": "14"}]]))

    found = mapper.metrics()
    assert (found.blocks, found.total_rows, found.failed_rows, found.cost_usd) == (1, 12, 1, None)
    [error] = found.errors
    assert error.startswith("missing: ")


def test_a_pacer_that_is_away_costs_no_block_and_is_told_of(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("SMELT_PACER", str(tmp_path / "nobody"))
    mapper = smelt.Mapper(smelt.Job("About {name}.", EveryKind), provider())

    out = mapper([{"name": "1"}])

    assert out[0]["word"] == "é1"
    with pytest.raises(SmeltConfigError, match=r"The pacer .*nobody does not answer: No such file"):
        mapper.metrics()


def test_a_wrong_token_is_refused(pacer: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SMELT_PACER_TOKEN", "guessed")
    mapper = smelt.Mapper(smelt.Job("About {name}.", EveryKind), provider())

    with pytest.raises(SmeltConfigError, match="refuses this process: the token is another one"):
        mapper.metrics()


def test_neither_pacer_nor_ledger_is_said() -> None:
    with pytest.raises(SmeltConfigError, match="With ledger=False only a pacer counts"):
        smelt.Mapper(smelt.Job("About {name}.", EveryKind, ledger=False), provider()).metrics()


def test_only_a_result_of_transform_has_metrics() -> None:
    with pytest.raises(ConfigTypeError, match="dataset must be what transform returned, and not what was made of it"):
        metrics_of_result("dataset", object())


def test_an_unknown_error_is_still_one_of_ours() -> None:
    assert type(error_of("SmeltInterrupt", "Over.")) is smelt.SmeltError
    assert type(error_of("StoreFullError", "Full.")) is smelt.errors.StoreFullError
