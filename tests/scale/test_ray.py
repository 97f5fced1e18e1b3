"""`smelt.ray`: a lazy step of a Dataset, on actors that may die."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from pyarrow import parquet

import smelt
from smelt.call.options import Settings
from smelt.errors import (
    AuthenticationError,
    CollisionError,
    ConfigTypeError,
    PromptError,
    SmeltConfigError,
    SmeltWarning,
)
from smelt.scale.ray import rows_of_a_block
from tests import test_notebook as notebooks
from tests.conftest import MakeScenario
from tests.fakeserver import Scenario
from tests.models import RULES, Company
from tests.scale import jobs
from tests.scale.answers import EveryKind, Wide, provider, wide_provider, wide_rows

ray = pytest.importorskip("ray", reason="the dependency group `scale` is not installed")

pytestmark = [pytest.mark.scale, pytest.mark.filterwarnings("ignore")]


@pytest.fixture
def cluster(serving: Scenario, page: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Any]:
    monkeypatch.setenv("RAY_AUTH_MODE", "disabled")  # Else it writes a file into the home directory.
    monkeypatch.setenv("RAY_raylet_start_wait_time_s", "300")
    monkeypatch.setenv("RAY_worker_niceness", "0")
    monkeypatch.setenv("RAY_USAGE_STATS_ENABLED", "0")
    ray.init(
        num_cpus=2,
        include_dashboard=False,
        log_to_driver=False,
        logging_level="error",
        runtime_env={"env_vars": {"SHOWN_KEY": "shown"}},
    )
    ray.data.DataContext.get_current().enable_progress_bars = False
    yield ray.data
    ray.shutdown()


def table_of(dataset: Any) -> pa.Table:
    return pa.concat_tables(ray.get(dataset.to_arrow_refs()), promote_options="default")


def actors() -> list[int]:
    """The processes of the actors that ask."""
    found = []
    for one in Path("/proc").iterdir():
        if one.name.isdigit():
            words = (one / "cmdline").read_bytes() if (one / "cmdline").exists() else b""
            if words.startswith(b"ray::MapWorker") or b"MapBatches(Mapper)" in words:
                found.append(int(one.name))
    return [pid for pid in found if pid != os.getpid()]


def test_rows_and_values_come_back_as_from_transform_and_a_killed_actor_costs_what_it_had_in_flight(
    scenario: MakeScenario, pacer: str, cluster: Any, serving: Scenario, page: Path, tmp_path: Path
) -> None:
    """One cluster for all, since starting one takes longer than the rest."""
    jobs.run_page("ray")  # As many actors as CPUs, and a CPU is left to read and to write with.
    assert parquet.read_table(page / "answers")["smelt_error"].null_count == 3

    names = wide_rows()
    wanted = smelt.Mapper(smelt.Job("About {name}.", Wide), wide_provider())(names)
    # The rows of the first piece all fail, and have nulls only; the second one has none.
    pieces = cluster.from_arrow([names.slice(0, 3), names.slice(3, 0), names.slice(3)])
    out = smelt.ray.transform(pieces, "About {name}.", Wide, model=wide_provider(), preserve_order=True)
    found = table_of(out)
    assert found.schema.remove_metadata() == wanted.schema
    assert found.to_pylist() == wanted.to_pylist()

    with pytest.raises(PromptError, match="nam"):
        smelt.ray.transform(cluster.from_arrow(names), "About {nam}.", EveryKind, model=provider())
    with pytest.raises(PromptError, match="nam"):  # Of blocks of pandas Ray knows the columns otherwise.
        smelt.ray.transform(cluster.from_pandas(names.to_pandas()), "About {nam}.", EveryKind, model=provider())
    with pytest.raises(CollisionError, match="already has 'word'"):
        smelt.ray.transform(out, "About {name}.", EveryKind, model=provider())
    with pytest.raises(SmeltConfigError, match="extend=True needs to see all rows"):
        smelt.ray.transform(cluster.from_arrow(names), "About {name}.", EveryKind, model=provider(), extend=True)

    with pytest.warns(SmeltWarning, match="a secret is there: SHOWN_KEY"):
        shown = smelt.Model("openai", "gpt-4.1-mini", key_env="SHOWN_KEY")
        smelt.ray.transform(cluster.from_arrow(names), "About {name}.", EveryKind, model=shown)

    ledger = tmp_path / "answers.sqlite"
    half = jobs.ROWS // 2
    pieces = cluster.from_arrow([jobs.table().slice(0, half), jobs.table().slice(half)])
    lazy = smelt.ray.transform(pieces, jobs.PROMPT, Company, **jobs.options(serving, ledger))
    assert serving.stats().requests == 0

    def killing() -> None:
        jobs.wait_for_requests(serving)
        jobs.kill(actors()[0])

    killer = threading.Thread(target=killing)
    killer.start()
    answered = table_of(lazy)
    killer.join()

    jobs.check_whole(answered)
    jobs.check_metrics(smelt.ray.metrics(lazy), serving, ledger)
    jobs.check_bill(serving, ledger)

    refusing = scenario(always={"fault": "status", "kind": "auth"})
    wrong = smelt.ray.transform(pieces, jobs.PROMPT, Company, **jobs.options(refusing, tmp_path / "refused.sqlite"))
    with pytest.raises(AuthenticationError, match="HTTP 401"):
        wrong.materialize()
    assert type(smelt.ray.metrics(wrong).error) is AuthenticationError
    assert refusing.stats().requests <= 2  # One of each actor.

    asked = scenario(answers=RULES, count_by="name", latency=0.1, jitter=0.05)
    stopped = tmp_path / "interrupted.sqlite"
    out = smelt.ray.transform(pieces, jobs.PROMPT, Company, **jobs.options(asked, stopped))
    jobs.interrupted(asked, out.materialize)
    jobs.check_interrupted(lambda: smelt.ray.metrics(out), asked, stopped)


def test_the_notebook_shows_what_it_is_saved_with(tmp_path: Path) -> None:
    [saved] = [notebooks.saved(path) for path in notebooks.NOTEBOOKS if path.stem == "ray"]
    wanted = notebooks.shown(saved)

    ran = notebooks.lasting(notebooks.executed(saved, tmp_path))

    assert notebooks.faults(ran) == []
    assert notebooks.shown(ran) == wanted


def test_what_is_no_dataset_is_refused() -> None:
    with pytest.raises(ConfigTypeError, match="dataset must be a Ray Dataset"):
        smelt.ray.transform(jobs.table(), "About {name}.", EveryKind, model=provider())


@pytest.mark.parametrize(
    ("given", "rows"),
    [
        ({}, 10_000),
        ({"concurrency": 64}, 16_000),
        ({"batch_size": 20}, 10_000),
        ({"concurrency": 8, "batch_size": 10}, 5_000),
        ({"concurrency": 64, "batch_size": 20}, 12_800),
        ({"concurrency": 512, "batch_size": 25}, 20_000),
    ],
    ids=str,
)
def test_a_block_is_ten_times_what_is_in_flight(given: dict[str, Any], rows: int) -> None:
    assert rows_of_a_block(Settings.of(**given)) == rows
