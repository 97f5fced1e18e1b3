"""Batch mode through the real SDKs against the fakes of the three job protocols."""

from __future__ import annotations

import warnings
from collections import Counter
from functools import partial
from pathlib import Path
from typing import Any

import pytest

import smelt
from smelt.batch.desk import Pace
from smelt.call.options import Settings
from smelt.call.preparation import prepare
from smelt.call.running import execute
from smelt.call.wiring import wired
from smelt.result import SmeltResult
from tests.batch.killing import Label
from tests.conftest import MakeScenario
from tests.fakeserver import Scenario
from tests.fakeserver.answers import expected
from tests.models import RULES, Company, served

PROVIDERS = ["openai", "anthropic", "google"]
QUICK = Pace(first=0.01, factor=1.0, most=0.01)


def called(provider: str, fake: Scenario, rows: int, ledger: Path, **options: Any) -> SmeltResult[Any]:
    settings = Settings.of(**{"mode": "batch", "ledger": ledger, "batch_size": 5, "progress": False, **options})
    data = [{"name": f"Company {at}", "number": at} for at in range(rows)]
    call = prepare(data, "Describe {name} {number}.", Company, served(provider, fake), settings)
    return execute(call, awaited="atransform", wiring=partial(wired, pace=QUICK))


def right(result: SmeltResult[Any], rows: int) -> bool:
    """Whether all rows have the answers that the fake gives."""
    asked = [{"name": f"Company {at}", "number": at} for at in range(rows)]
    return [row and row.model_dump() for row in result.data] == [expected(RULES, row) for row in asked]


def asked_twice(fake: Scenario) -> dict[str, int]:
    """Rows that were paid in two lines of jobs."""
    counts = Counter(row for line in fake.jobs().bill if line["charged"] for row in line["rows"])
    return {row: count for row, count in counts.items() if count > 1}


@pytest.mark.parametrize("provider", PROVIDERS)
def test_a_job_is_run_and_its_rows_come_back(provider: str, scenario: MakeScenario, tmp_path: Path) -> None:
    fake = scenario(answers=RULES, count_by="name")

    first = called(provider, fake, 85, tmp_path / "a.sqlite", wait=False)
    second = called(provider, fake, 85, tmp_path / "a.sqlite")

    assert (first.metrics.pending_rows, first.metrics.failed_rows) == (80, 0)
    assert right(second, 85)
    assert [job["lines"] for job in fake.jobs().jobs] == [16]
    assert asked_twice(fake) == {}
    assert fake.stats().requests == 1  # The proof.


STATUS = "status"
BAD_DAYS: dict[str, dict[str, Any]] = {
    "half of the lines expire": {"script": {"0": {"end": "expired"}}},
    "it is cancelled half-way": {"script": {"0": {"end": "cancelled", "share": 0.5}}},
    "too many tokens wait": {"script": {"0": {"end": "failed", "failure": "token_limit_exceeded"}}},
    "the file is not found at first": {"script": {"0": {"end": "failed", "failure": "no_file"}}},
    "the answer to the create is lost": {"http": {"create": {"0": "reset_before"}}},
    "the create is refused for its rate": {"http": {"create": {"0": {"fault": STATUS, "code": 429}}}},
    "polls fail": {"http": {"look": {str(at): {"fault": STATUS, "code": 503} for at in range(5)}}},
    "the results break off": {"http": {"results": {"0": "reset_before"}}},
    "the file comes late": {"usual": {"file_after": 100}},
    "counts lie": {"usual": {"counts": "lie", "lines": {"1": {"fault": STATUS, "code": 500}}}},
    "lines are odd": {
        "usual": {"lines": {"0": "lost", "1": "doubled", "2": "garbled", "3": "unknown_id", "4": "no_id", "5": "zero"}}
    },
    "two lines are swapped": {"usual": {"lines": {"0": {"fault": "swapped", "with": 1}}}},
    "lines fail": {"usual": {"lines": {"0": {"fault": STATUS, "code": 500}, "1": {"fault": STATUS, "code": 429}}}},
}


# Its jobs are created with their lines, and are not refused as a whole after that.
NEVER = {("anthropic", "too many tokens wait"), ("anthropic", "the file is not found at first")}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("provider", "jobs"),
    [
        pytest.param(provider, jobs, id=f"{provider}-{day}")
        for provider in PROVIDERS
        for day, jobs in BAD_DAYS.items()
        if (provider, day) not in NEVER
    ],
)
def test_on_a_bad_day_no_row_is_lost(
    provider: str, jobs: dict[str, Any], scenario: MakeScenario, tmp_path: Path
) -> None:
    fake = scenario(answers=RULES, count_by="name", jobs=jobs)

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Some say what happened.
        result = called(provider, fake, 85, tmp_path / "a.sqlite")

    assert right(result, 85)
    assert len({job["tag"] for job in fake.jobs().jobs}) == len(fake.jobs().jobs)


NO_RESULTS = [
    ("openai", {"usual": {"file_gone": True}}, "results are gone"),
    ("openai", {"usual": {"gone": True}}, "does not know under this key"),
    ("openai", {"usual": {"no_output": True}}, "results are gone"),
    ("anthropic", {"usual": {"file_gone": True}}, "results are gone"),
    ("anthropic", {"usual": {"gone": True}}, "does not know under this key"),
    ("google", {"usual": {"file_gone": True}}, "results are gone"),
    ("google", {"usual": {"gone": True}}, "does not know under this key"),
    ("google", {"usual": {"no_output": True}}, "results are gone"),
]


@pytest.mark.slow
@pytest.mark.parametrize(("provider", "jobs", "words"), NO_RESULTS)
def test_what_may_have_been_billed_is_never_asked_again_by_itself(
    provider: str, jobs: dict[str, Any], words: str, scenario: MakeScenario, tmp_path: Path
) -> None:
    fake = scenario(answers=RULES, jobs=jobs)

    with pytest.warns(smelt.SmeltWarning, match=f"{words}.*abandon"):
        results = [called(provider, fake, 25, tmp_path / "a.sqlite") for _ in range(2)]

    assert [result.metrics.pending_rows for result in results] == [20, 20]
    assert all(words in result.errors[0].message for result in results)
    assert len(fake.jobs().jobs) == 1


UNKNOWN_KEY = {"fault": STATUS, "code": 401}
REFUSALS: dict[str, tuple[dict[str, Any], int, int]] = {
    "the create is refused for its key": ({"http": {"create": {"0": UNKNOWN_KEY}}}, 0, 1),
    "a poll is refused for its key": ({"http": {"look": {"0": UNKNOWN_KEY}}}, 20, 1),
    "all lines share one refusal": (
        {"script": {"0": {"lines": {"all": {"fault": STATUS, "code": 400}}}}},
        0,
        1,
    ),  # The rest is few, and asked live.
}


@pytest.mark.slow
@pytest.mark.parametrize("provider", PROVIDERS)
@pytest.mark.parametrize(("jobs", "pending", "made"), REFUSALS.values(), ids=REFUSALS)
def test_what_concerns_every_row_stops_the_run_and_the_next_one_goes_on(
    provider: str, jobs: dict[str, Any], pending: int, made: int, scenario: MakeScenario, tmp_path: Path
) -> None:
    fake = scenario(answers=RULES, count_by="name", jobs=jobs)

    with pytest.warns(smelt.SmeltWarning, match="The run stopped early"):
        first = called(provider, fake, 25, tmp_path / "a.sqlite")
    second = called(provider, fake, 25, tmp_path / "a.sqlite")

    assert (first.metrics.successful_rows, first.metrics.pending_rows) == (5, pending)
    assert right(second, 25)
    assert (len(fake.jobs().jobs), asked_twice(fake)) == (made, {})


@pytest.mark.parametrize("provider", ["openai", "google"])
def test_a_job_that_was_refused_for_its_model_stops_the_run(
    provider: str, scenario: MakeScenario, tmp_path: Path
) -> None:
    fake = scenario(answers=RULES, jobs={"usual": {"end": "failed", "failure": "model_not_found"}})

    with pytest.warns(smelt.SmeltWarning, match="The job was refused"):
        result = called(provider, fake, 85, tmp_path / "a.sqlite")

    # OpenAI names a line, and that of each of the first two refusals was asked live.
    named = 10 if provider == "openai" else 0
    assert (result.metrics.successful_rows, result.metrics.failed_rows) == (5 + named, 80 - named)


@pytest.mark.slow
def test_dollars_hold_before_a_job_is_submitted(scenario: MakeScenario, tmp_path: Path) -> None:
    pytest.importorskip("genai_prices")
    fake = scenario(bills={})

    def ask(name: str, **options: Any) -> SmeltResult[Any]:
        model = smelt.Model("openai", "gpt-4.1-mini", api_key="k-of-a-test", base_url=fake.base_url("openai"))
        settings = Settings.of(mode="batch", ledger=tmp_path / name, batch_size=5, progress=False, **options)
        data = [{"name": f"Company {at}"} for at in range(85)]
        call = prepare(data, "Sort {name}.", Label, model, settings)
        return execute(call, awaited="atransform", wiring=partial(wired, pace=QUICK))

    whole = ask("a.sqlite").metrics.cost_usd
    assert whole is not None
    with pytest.warns(smelt.SmeltWarning, match="budget is spent"):
        half = ask("b.sqlite", max_cost=whole / 2)

    assert {error.kind for error in half.errors} == {"budget"}
    assert half.metrics.cost_usd is not None
    assert 0.2 * whole < half.metrics.cost_usd <= whole / 2
    assert fake.stats().dollars == pytest.approx(whole + half.metrics.cost_usd, rel=1e-6)
