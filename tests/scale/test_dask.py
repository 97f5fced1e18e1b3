"""`smelt.dask`: a lazy step of a graph with the dtypes of the result, on workers that may die."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given, settings

import smelt
from smelt.errors import AuthenticationError, ConfigTypeError, PromptError, SmeltConfigError
from tests.conftest import MakeScenario
from tests.fakeserver import Scenario
from tests.models import Company
from tests.patience import HANGING
from tests.scale import jobs
from tests.scale.answers import EveryKind, Wide, provider, wide_provider, wide_rows
from tests.scale.test_kinds import Case, cases, usual

dd = pytest.importorskip("dask.dataframe", reason="the dependency group `scale` is not installed")
dask = pytest.importorskip("dask")
distributed = pytest.importorskip("distributed", reason="the dependency group `scale` is not installed")

pytestmark = [pytest.mark.scale, pytest.mark.filterwarnings("ignore")]


@pytest.fixture
def client(serving: Scenario, tmp_path: Path) -> Iterator[Any]:
    with (
        distributed.LocalCluster(
            n_workers=2, threads_per_worker=1, dashboard_address=None, local_directory=str(tmp_path)
        ) as cluster,
        distributed.Client(cluster) as found,
    ):
        yield found


def partitioned(frame: pd.DataFrame, parts: int = 2) -> Any:
    return dd.from_pandas(frame, npartitions=parts)


def in_one_piece(frame: pd.DataFrame) -> pd.DataFrame:
    """*frame* with each Arrow column as one array: pandas shows equal nested values of several arrays as different."""
    names = [str(name) for name, dtype in frame.dtypes.items() if isinstance(dtype, pd.ArrowDtype)]
    joined = pa.table({name: pa.array(frame[name]) for name in names}).combine_chunks()
    return frame.assign(**{name: pd.arrays.ArrowExtensionArray(joined[name]) for name in names})


def test_every_kind_of_value_comes_back_as_from_transform() -> None:
    whole = wide_rows().to_pandas().set_axis([f"r{n:02}" for n in range(20)])
    # The rows of the first partition all fail, and have nulls only; the second one has none.
    frame = dd.concat([dd.from_pandas(whole[a:b], npartitions=1) for a, b in ((0, 3), (3, 3), (3, 20))])

    out = smelt.dask.transform(frame, "About {name}.", Wide, model=wide_provider())
    found = out.compute(scheduler="sync")

    wanted = smelt.transform(frame.compute(scheduler="sync"), "About {name}.", Wide, model=wide_provider())
    pd.testing.assert_frame_equal(found, wanted)
    pd.testing.assert_frame_equal(out._meta, wanted[:0])


@settings(usual, max_examples=8)
@given(case=cases())
def test_any_frame_comes_back_as_from_transform(case: Case) -> None:
    whole = case.table.to_pandas().set_axis([f"r{at // 2}" for at in range(case.table.num_rows)])
    blocks = case.blocks(whole)
    frame = dd.from_map(lambda at: blocks[at], range(len(blocks)), meta=whole[:0])

    out = smelt.dask.transform(frame, "About {name}.", case.job.output_model, model=case.provider)
    found = out.compute(scheduler="sync")

    pd.testing.assert_frame_equal(out._meta, found[:0])
    pd.testing.assert_frame_equal(in_one_piece(found), case.transformed(frame.compute(scheduler="sync")))


def test_arguments_are_checked_in_the_driver() -> None:
    frame = partitioned(pd.DataFrame({"name": ["a"]}), 1)

    with pytest.raises(PromptError, match="nam"):
        smelt.dask.transform(frame, "About {nam}.", EveryKind, model=provider())
    with pytest.raises(SmeltConfigError, match="max_cost= holds for one run"):
        smelt.dask.transform(frame, "About {name}.", EveryKind, model=provider(), max_cost=1)
    with pytest.raises(ConfigTypeError, match="frame must be a Dask DataFrame"):
        smelt.dask.transform(frame._meta, "About {name}.", EveryKind, model=provider())
    with pytest.raises(ConfigTypeError, match="frame must be a Dask DataFrame"):
        smelt.dask.transform(frame["name"], "About {name}.", EveryKind, model=provider())


def test_a_killed_worker_costs_what_it_had_in_flight(
    pacer: str, client: Any, serving: Scenario, tmp_path: Path
) -> None:
    ledger = tmp_path / "answers.sqlite"
    out = smelt.dask.transform(
        partitioned(jobs.table().to_pandas()), jobs.PROMPT, Company, **jobs.options(serving, ledger)
    )
    assert serving.stats().requests == 0  # Nothing is asked before it is computed.

    going = client.compute(out)
    jobs.wait_for_requests(serving)
    jobs.kill(next(iter(client.run(os.getpid).values())))
    found = going.result(timeout=HANGING)

    jobs.check_whole(pa.Table.from_pandas(found, preserve_index=False))
    jobs.check_metrics(smelt.dask.metrics(out), serving, ledger)
    jobs.check_bill(serving, ledger)


def test_ctrl_c_and_a_wrong_key_stop_the_workers(
    scenario: MakeScenario, pacer: str, client: Any, serving: Scenario, tmp_path: Path
) -> None:
    ledger, frame = tmp_path / "interrupted.sqlite", partitioned(jobs.table().to_pandas())
    out = smelt.dask.transform(frame, jobs.PROMPT, Company, **jobs.options(serving, ledger))
    jobs.interrupted(serving, out.compute)
    jobs.check_interrupted(lambda: smelt.dask.metrics(out), serving, ledger)

    refusing = scenario(always={"fault": "status", "kind": "auth"})
    parts = partitioned(jobs.table().to_pandas(), 8)
    wrong = smelt.dask.transform(parts, jobs.PROMPT, Company, **jobs.options(refusing, tmp_path / "refused.sqlite"))
    with pytest.raises(AuthenticationError, match="HTTP 401"):
        wrong.compute()
    assert type(smelt.dask.metrics(wrong).error) is AuthenticationError
    assert refusing.stats().requests <= 2  # One of each worker.


def test_the_page_shows_what_runs(page: Path) -> None:
    with dask.config.set(scheduler="sync"):
        jobs.run_page("dask")

    found = pd.read_parquet(page / "answers")
    assert found["smelt_error"].isna().all()
    assert found["sector"].notna().all()
