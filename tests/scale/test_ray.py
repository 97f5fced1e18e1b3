"""`smelt.ray`: a lazy step of a Dataset, on actors that may die."""

from __future__ import annotations

import os
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import Phase, given, settings
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
from smelt.lanes.places import Door, door_of
from smelt.scale.cluster import PLACE
from smelt.scale.ray import rows_of_a_block
from tests.conftest import MakeScenario
from tests.fakeserver import FakeServer, Scenario
from tests.models import RULES, Company
from tests.patience import HANGING
from tests.scale import jobs
from tests.scale.answers import EveryKind, Wide, provider, wide_provider, wide_rows
from tests.scale.test_kinds import PROMPT, Case, cases, usual

ray = pytest.importorskip("ray", reason="the dependency group `scale` is not installed")

PAGE = {"sector": RULES["sector"], "is_public": {"const": True}}

pytestmark = [pytest.mark.scale, pytest.mark.filterwarnings("ignore")]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the workers are, with the table of the docs page."""
    folder = tmp_path_factory.mktemp("ray")
    (folder / "companies").mkdir()
    parquet.write_table(pa.table({"name": ["Sanofi", "Stripe", "Arm"]}), folder / "companies" / "0.parquet")
    return folder


@pytest.fixture(scope="module")
def cluster(folder: Path, fake: FakeServer) -> Iterator[Any]:
    """One for all tests, since starting one takes longer than the rest. Nothing is set up but the keys."""
    with pytest.MonkeyPatch.context() as patch, closing(fake.scenario(answers=PAGE)) as server:
        patch.chdir(folder)
        for name, value in {
            "RAY_AUTH_MODE": "disabled",  # Else it writes a file into the home directory.
            "RAY_raylet_start_wait_time_s": "300",
            "RAY_worker_niceness": "0",
            "RAY_USAGE_STATS_ENABLED": "0",
            "XDG_CACHE_HOME": str(folder),  # Of the pacer.
            "TEAM_KEY": jobs.KEY,
            "OPENAI_API_KEY": "sk-proj-test",
            "OPENAI_BASE_URL": server.base_url("openai"),
            "PYTHONPATH": os.pathsep.join(sys.path),
        }.items():
            patch.setenv(name, value)
        ray.init(
            num_cpus=2,
            include_dashboard=False,
            log_to_driver=False,
            logging_level="error",
            runtime_env={"env_vars": {"SHOWN_KEY": "shown"}},
            _node_ip_address="127.0.0.2",  # 127.0.0.1 is an outer address to Ray, which tests may not ask.
        )
        ray.data.DataContext.get_current().enable_progress_bars = False
        yield ray.data
        ray.shutdown()


def table_of(dataset: Any) -> pa.Table:
    return pa.concat_tables(ray.get(dataset.to_arrow_refs()), promote_options="default")


def processes(name: bytes) -> list[int]:
    """The processes of the actors called *name*."""
    found = []
    for one in Path("/proc").iterdir():
        if one.name.isdigit():
            with suppress(OSError):  # It has ended.
                if (one / "cmdline").read_bytes().startswith(b"ray::" + name):
                    found.append(int(one.name))
    return found


def halves(cluster: Any, rows: int = jobs.ROWS) -> Any:
    table = jobs.table(rows)
    return cluster.from_arrow([table.slice(0, rows // 2), table.slice(rows // 2)])


def test_the_page_runs_with_as_many_actors_as_cpus(folder: Path, cluster: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Actors leave the CPUs to what reads and writes."""
    monkeypatch.chdir(folder)
    jobs.run_page("ray")
    assert parquet.read_table(folder / "answers")["smelt_error"].null_count == 3


def test_rows_and_values_come_back_as_from_transform(cluster: Any) -> None:
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


@pytest.mark.whole
@settings(usual, max_examples=2, phases=[Phase.generate])
@given(case=cases(least=2))
def test_any_frame_comes_back_as_from_transform(cluster: Any, case: Case) -> None:
    pieces = cluster.from_arrow(case.blocks(case.table))
    out = smelt.ray.transform(pieces, PROMPT, case.job.output_model, model=case.provider, preserve_order=True)
    found, wanted = table_of(out), case.transformed(case.table)
    assert found.schema.remove_metadata() == wanted.schema
    assert repr(found.to_pylist()) == repr(wanted.to_pylist())  # A NaN is equal to none.


def test_a_killed_actor_costs_what_it_had_in_flight(cluster: Any, serving: Scenario, tmp_path: Path) -> None:
    ledger = tmp_path / "answers.sqlite"
    lazy = smelt.ray.transform(halves(cluster), jobs.PROMPT, Company, **jobs.options(serving, ledger))
    assert serving.stats().requests == 0

    def killing() -> None:
        jobs.wait_for_requests(serving)
        jobs.kill(processes(b"MapWorker")[0])

    killer = threading.Thread(target=killing)
    killer.start()
    answered = table_of(lazy)
    killer.join()

    jobs.check_whole(answered)
    jobs.check_metrics(smelt.ray.metrics(lazy), serving, ledger)
    jobs.check_bill(serving, ledger)


def test_a_wrong_key_and_ctrl_c_stop_all_actors(
    scenario: MakeScenario, serving: Scenario, cluster: Any, tmp_path: Path
) -> None:
    refusing = scenario(always={"fault": "status", "kind": "auth"})
    refused = tmp_path / "refused.sqlite"
    wrong = smelt.ray.transform(halves(cluster), jobs.PROMPT, Company, **jobs.options(refusing, refused))
    with pytest.raises(AuthenticationError, match="HTTP 401"):
        wrong.materialize()
    assert type(smelt.ray.metrics(wrong).error) is AuthenticationError
    assert refusing.stats().requests <= 2  # One of each actor.

    stopped = tmp_path / "interrupted.sqlite"
    out = smelt.ray.transform(halves(cluster), jobs.PROMPT, Company, **jobs.options(serving, stopped))
    jobs.interrupted(serving, out.materialize)
    jobs.check_interrupted(lambda: smelt.ray.metrics(out), serving, stopped)


@pytest.mark.whole
def test_two_datasets_at_a_time_keep_to_one_limit_and_one_of_them_to_its_budget(
    scenario: MakeScenario, serving: Scenario, cluster: Any
) -> None:
    """With nothing set up. Each by itself would keep to the limit of a minute, and both together would ask too much."""
    asked = scenario(answers=RULES, latency=0.05, limit={"requests_per_minute": 1_200, "announce": False})
    options: dict[str, Any] = {
        "model": jobs.model(asked),
        "batch_size": jobs.PER_REQUEST,
        "ledger": False,
        "rpm": 1_200,
    }
    rows = cluster.from_arrow(jobs.table(400))
    whole = smelt.ray.transform(rows, jobs.PROMPT, Company, **options)
    limited = smelt.ray.transform(rows, jobs.PROMPT, Company, max_tokens_total=10_000, **options)
    found: list[pa.Table] = []
    threads = [threading.Thread(target=lambda one=one: found.append(table_of(one))) for one in (whole, limited)]
    for one in threads:
        one.start()
    for one in threads:
        one.join()

    assert asked.stats().statuses.get("429", 0) == 0
    [part, all_rows] = sorted(found, key=lambda one: one["smelt_error"].null_count)
    jobs.check_whole(all_rows, 400)
    assert {error.partition(":")[0] for error in part["smelt_error"].drop_null().to_pylist()} == {"budget"}
    spent = smelt.ray.metrics(limited)
    assert 7_500 <= spent.input_tokens + spent.output_tokens <= 12_500
    assert (smelt.ray.metrics(whole).failed_rows, spent.failed_rows) == (0, len(part) - part["smelt_error"].null_count)


@pytest.mark.whole
def test_a_job_goes_on_with_the_pacer_that_ray_starts_for_a_killed_one(
    serving: Scenario, cluster: Any, tmp_path: Path
) -> None:
    """Also a job with a limit, of which the actor has written down what it granted."""
    options = {**jobs.options(serving, tmp_path / "answers.sqlite"), "workers": 1, "max_tokens_total": 10_000_000}
    rows = 3 * jobs.ROWS  # It lasts longer than Ray takes to start the pacer anew.
    out = smelt.ray.transform(halves(cluster, rows), jobs.PROMPT, Company, **options)
    doors = [door_of(PLACE, "", HANGING)]
    back: list[float] = []
    is_over = threading.Event()

    def killing() -> None:
        jobs.wait_for_requests(serving)
        jobs.kill(processes(b"PacerOfCluster")[0])
        doors.append(new_door(doors[0]))
        there = time.monotonic()
        while not smelt.ray.metrics(out).asking:
            assert not is_over.is_set(), "the workers did not come back"
            time.sleep(0.02)  # Other processes are waited for.
        back.append(time.monotonic() - there)

    killer = threading.Thread(target=killing)
    killer.start()
    answered = table_of(out)
    is_over.set()
    killer.join()

    jobs.check_whole(answered, rows)
    assert [one <= 5.0 for one in back] == [True]
    assert doors[0].token != doors[1].token
    told = [ray.cloudpickle.dumps(out._smelt_mapper)]
    told += [one.read_bytes() for one in Path(ray._private.worker._global_node.get_logs_dir_path()).rglob("*.*")]
    for secret in (jobs.KEY, *(part for door in doors for part in door)):
        assert not [one for one in told if secret.encode() in one]


def new_door(old: Door) -> Door:
    end = time.monotonic() + HANGING
    while time.monotonic() < end:
        with suppress(OSError):  # It is away.
            if (found := door_of(PLACE, "", 1.0)) != old:
                return found
    raise AssertionError("Ray starts no pacer anew.")


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
