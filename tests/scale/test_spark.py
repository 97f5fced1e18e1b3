"""`smelt.spark`: a lazy step of a plan, on Python workers that may die."""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import pyarrow as pa
import pytest
from hypothesis import Phase, given, settings
from pyarrow import parquet

import smelt
from smelt.errors import (
    AuthenticationError,
    CollisionError,
    ConfigTypeError,
    PromptError,
    SmeltConfigError,
    SmeltWarning,
)
from smelt.frames.ddl import ddl_of, recast
from smelt.scale.spark import answered, told
from smelt.testing import ScriptedProvider
from tests.conftest import MakeScenario
from tests.fakeserver import FakeServer, Scenario
from tests.models import RULES, Company
from tests.scale import jobs
from tests.scale.answers import EveryKind, Wide, provider, wide_provider, wide_rows
from tests.scale.test_kinds import BESIDE, PROMPT, Case, cases, usual

sql = pytest.importorskip("pyspark.sql", reason="the dependency group `spark` is not installed")

PAGE = {"sector": RULES["sector"], "is_public": {"const": True}}
# Of what may stand beside the prompt's column, what `createDataFrame` takes.
READ = [one for one in BESIDE if not pa.types.is_dictionary(one[0]) and one[0] not in (pa.null(), pa.string_view())]

pytestmark = [pytest.mark.scale, pytest.mark.filterwarnings("ignore")]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where Spark writes its log, with the table of the docs page."""
    folder = tmp_path_factory.mktemp("spark")
    for name in ("events", "companies"):
        (folder / name).mkdir()
    parquet.write_table(pa.table({"name": ["Sanofi", "Stripe", "Arm"]}), folder / "companies" / "0.parquet")
    return folder


@pytest.fixture(scope="module")
def session(folder: Path, fake: FakeServer, place: str) -> Iterator[Any]:
    """One for all tests, since starting one takes longer than the rest."""
    with pytest.MonkeyPatch.context() as patch, closing(fake.scenario(answers=PAGE)) as server:
        patch.chdir(folder)  # Java reads and writes there.
        for name, value in {
            "PYSPARK_PYTHON": sys.executable,
            "PYTHONPATH": os.pathsep.join(sys.path),
            "SPARK_LOCAL_IP": "127.0.0.1",
            "SMELT_PACER": place,
            "TEAM_KEY": jobs.KEY,
            "OPENAI_API_KEY": "sk-proj-test",
            "OPENAI_BASE_URL": server.base_url("openai"),
        }.items():
            patch.setenv(name, value)
        found = (
            sql.SparkSession.builder.master("local[2,4]")  # Two workers; a task is tried four times.
            .config("spark.driver.host", "127.0.0.1")
            .config("spark.eventLog.compress", "false")
            .config("spark.eventLog.dir", (folder / "events").as_uri())
            .config("spark.eventLog.enabled", "true")
            .config("spark.executorEnv.PGPASSWORD", "hidden")  # Spark knows that name.
            .config("spark.executorEnv.SHOWN_KEY", "shown-c4n4ry")
            .config("spark.sql.session.timeZone", "UTC")
            .config("spark.ui.port", "0")
            .getOrCreate()
        )
        yield found
        found.stop()


def copying(column: str) -> ScriptedProvider:
    """Answers what stands in *column*."""
    return ScriptedProvider(lambda row: {"WORD": row[column]})


def workers() -> list[int]:
    """The processes that run Python for Spark, but for the one that starts them."""
    found = []
    for one in Path("/proc").iterdir():
        if one.name.isdigit() and (one / "cmdline").exists() and b"pyspark.daemon" in (one / "cmdline").read_bytes():
            parent = int((one / "stat").read_text().rpartition(")")[2].split()[1])
            found.append((int(one.name), parent))
    pids = {pid for pid, _ in found}
    return [pid for pid, parent in found if parent in pids]


def test_the_page_shows_what_runs(folder: Path, session: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)
    jobs.run_page("spark")
    assert parquet.read_table(folder / "answers")["smelt_error"].null_count == 3


def test_values_come_back_as_from_transform(session: Any) -> None:
    names = session.createDataFrame(wide_rows())
    found = smelt.spark.transform(names.repartition(3), "About {name}.", Wide, model=wide_provider())
    table = found.toArrow().sort_by("my_whole")
    wanted = recast(smelt.Mapper(smelt.Job("About {name}.", Wide), wide_provider())(names.toArrow()))
    assert ddl_of(table.schema) == ddl_of(wanted.schema)
    by_name = [sorted(one.to_pylist(), key=lambda row: int(row["name"])) for one in (table, wanted)]
    assert by_name[0] == by_name[1]


@settings(usual, max_examples=10, phases=[Phase.generate])
@given(case=cases(beside=READ, least=1))
def test_any_frame_comes_back_as_from_transform(session: Any, case: Case) -> None:
    frame = session.createDataFrame(case.table)

    found = smelt.spark.transform(frame, PROMPT, case.job.output_model, model=case.provider).toArrow()

    wanted = recast(case.transformed(frame.toArrow()))
    assert ddl_of(found.schema) == ddl_of(wanted.schema)
    assert repr(found.to_pylist()) == repr(wanted.to_pylist())  # A NaN is equal to none.


def test_names_are_those_of_spark(session: Any) -> None:
    dotted = session.createDataFrame([("1", "3", "x", "y")], ["name", "a.b", "word", "c`d"])
    session.conf.set("spark.sql.caseSensitive", "TRUE")
    [row] = smelt.spark.transform(dotted, "About {a.b}.", {"WORD": str}, model=copying("a.b")).collect()
    session.conf.set("spark.sql.caseSensitive", "false")
    assert row.asDict() == {"name": "1", "a.b": "3", "word": "x", "c`d": "y", "WORD": "3", "smelt_error": None}


def test_arguments_are_checked_in_the_driver(session: Any) -> None:
    names = session.createDataFrame(wide_rows())
    with pytest.raises(PromptError, match="nam"):
        smelt.spark.transform(names, "About {nam}.", EveryKind, model=provider())
    with pytest.raises(SmeltConfigError, match="extend=True needs to see all rows"):
        smelt.spark.transform(names, "About {name}.", EveryKind, model=provider(), extend=True)
    with pytest.warns(SmeltWarning, match=r"a secret is there: SHOWN_KEY\."):
        shown = smelt.Model("openai", "gpt-4.1-mini", key_env="SHOWN_KEY")
        smelt.spark.transform(names, "About {name}.", EveryKind, model=shown)


def test_a_killed_worker_costs_what_it_had_in_flight(
    pacer: str, session: Any, serving: Scenario, tmp_path: Path
) -> None:
    ledger = tmp_path / "answers.sqlite"
    source = session.createDataFrame(jobs.table().to_pandas()).repartition(2)
    lazy = smelt.spark.transform(source, jobs.PROMPT, Company, **jobs.options(serving, ledger))
    assert serving.stats().requests == 0

    def killing() -> None:
        jobs.wait_for_requests(serving)
        jobs.kill(workers()[0])

    killer = threading.Thread(target=killing)
    killer.start()
    answered = lazy.toArrow()
    killer.join()

    jobs.check_whole(answered)
    jobs.check_metrics(smelt.spark.metrics(lazy), serving, ledger)
    jobs.check_bill(serving, ledger)


def test_a_wrong_key_stops_all_workers(
    pacer: str, scenario: MakeScenario, session: Any, serving: Scenario, tmp_path: Path
) -> None:
    from pyspark.errors import PythonException

    refusing = scenario(always={"fault": "status", "kind": "auth"})
    source = session.createDataFrame(jobs.table().to_pandas()).repartition(4)
    wrong = smelt.spark.transform(source, jobs.PROMPT, Company, **jobs.options(refusing, tmp_path / "refused.sqlite"))
    with pytest.raises(PythonException, match="smelt.errors.AuthenticationError: HTTP 401"):
        wrong.collect()
    assert type(smelt.spark.metrics(wrong).error) is AuthenticationError
    assert refusing.stats().requests <= 2  # One of each worker, whatever Spark tries again.


def test_no_page_and_no_log_of_spark_has_the_key(
    pacer: str, folder: Path, session: Any, serving: Scenario, tmp_path: Path
) -> None:
    source = session.createDataFrame(jobs.table(20).to_pandas())
    out = smelt.spark.transform(source, jobs.PROMPT, Company, **jobs.options(serving, tmp_path / "answers.sqlite"))
    assert len(out.collect()) == serving.stats().rows_sent == 20

    context = session.sparkContext
    pages = ["jobs/", "stages/", "storage/", "environment/", "executors/", "SQL/"]
    pages += [f"api/v1/applications/{context.applicationId}/{one}" for one in ("environment", "jobs", "stages", "sql")]
    told = {page: urlopen(f"{context.uiWebUrl}/{page}").read().decode() for page in pages}
    told |= {str(one): one.read_text() for one in (folder / "events").rglob("events*")}

    assert [page for page, text in told.items() if jobs.KEY in text] == []
    assert len([page for page, text in told.items() if "shown-c4n4ry" in text]) == 2  # In the API, and in the log.


class Anything:
    """Has every attribute, as a Column of Spark does."""

    def __getattr__(self, name: str) -> Anything:
        return self


@pytest.mark.parametrize("given", [jobs.table(), Anything()], ids=["Arrow", "a column"])
def test_what_is_no_spark_frame_is_refused(given: Any) -> None:
    with pytest.raises(ConfigTypeError, match="frame must be a Spark DataFrame"):
        smelt.spark.transform(given, "About {name}.", EveryKind, model=provider())


def test_columns_keep_the_types_of_spark_and_are_told_apart_as_spark_does() -> None:
    of = sql.types
    mapper = smelt.Mapper(smelt.Job("About {name}.", {"word": str}), provider())
    own = [of.StructField("name", of.StringType(), nullable=False), of.StructField("v", of.VariantType())]

    found = told(of.StructType(own), mapper)

    assert found.fields[:2] == own
    assert found.simpleString() == "struct<name:string,v:variant,word:string,smelt_error:string>"
    with pytest.raises(CollisionError, match=r"The frame has 'WORD', and the step adds 'word'"):
        told(of.StructType([*own, of.StructField("WORD", of.LongType())]), mapper)
    told(of.StructType([*own, of.StructField("WORD", of.LongType())]), mapper, is_exact=True)
    for kind, words in (
        (of.YearMonthIntervalType(), r"YearMonthInterval.* is not supported in conversion to Arrow\. Drop"),
        (of.MapType(of.NullType(), of.NullType()), "null type field"),  # That of map().
    ):
        with pytest.raises(SmeltConfigError, match=f"Spark hands no such column to Python.*{words}"):
            told(of.StructType([*own, of.StructField("age", kind)]), mapper)


def test_columns_that_spark_calls_otherwise_get_their_names_back() -> None:
    mapper = smelt.Mapper(smelt.Job("About {a.b}.", {"WORD": str}), copying("a.b"))
    batch = pa.record_batch({"_0": ["1"], "_1": ["3"]})

    [found] = answered(mapper, iter([batch]), names=["name", "a.b"])

    assert found.to_pylist() == [{"name": "1", "a.b": "3", "WORD": "3", "smelt_error": None}]
