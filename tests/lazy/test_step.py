"""A step of a lazy plan: what is sent for it, counted at the fake server, and what it does with everything else."""

from __future__ import annotations

import copy
import inspect
import pickle
import subprocess
import sys
from pathlib import Path
from typing import Annotated, Any, cast

import polars as pl
import pytest
from polars.exceptions import ComputeError
from pydantic import AfterValidator, BaseModel, ValidationInfo

import smelt
from smelt.errors import (
    CollisionError,
    ColumnError,
    ConfigTypeError,
    PromptError,
    SchemaError,
    SmeltAPIError,
    SmeltConfigError,
    SmeltExhaustionError,
    SmeltWarning,
)
from smelt.lazy.step import ramped
from smelt.providers.base import Billing, CallFailed
from smelt.testing import ScriptedProvider
from tests.conftest import MakeScenario
from tests.fakeserver import FakeServer, Scenario
from tests.lazy.deriving import DerivingProvider
from tests.lazy.plans import ENGINES
from tests.models import RULES, Company, served
from tests.patience import HANGING

ROWS = pl.DataFrame({"name": [f"c{at}" for at in range(60)], "number": range(60), "unsent": ["x"] * 60})
ROOT = Path(__file__).resolve().parents[2]
PROMPT = "Describe {name} {number}."


def step(scenario: Scenario, frame: pl.LazyFrame = ROWS.lazy(), **options: Any) -> Any:  # noqa: B008  # Not changed.
    given = {"progress": False, "batch_size": 5, "concurrency": 2, **options}
    lazy: Any = frame
    return lazy.smelt.transform(PROMPT, Company, model=served("openai", scenario), **given)


def fields_asked(scenario: Scenario) -> set[str]:
    """The fields of all requests."""
    found: set[str] = set()
    for entry in scenario.stats().log:
        schema = entry["body"]["text"]["format"]["schema"]
        row = schema["properties"]["rows"]["items"]
        row = schema["$defs"][row["$ref"].rpartition("/")[2]] if "$ref" in row else row
        found |= row["properties"].keys() - {"id"}
    return found


ALL = {"echo", "length", "sector", "is_odd"}
ERROR = pl.col("smelt_error")
PUSHED = [
    ("everything", lambda lazy: lazy, 60, ALL),
    ("a filter on an input", lambda lazy: lazy.filter(pl.col("number") < 20), 20, ALL),
    ("a filter on an input that is not sent", lambda lazy: lazy.filter(pl.col("unsent") == "y"), 0, set()),
    ("a mixed filter", lambda lazy: lazy.filter((pl.col("number") < 20) & pl.col("is_odd")), 20, ALL),
    ("head", lambda lazy: lazy.head(7), 7, ALL),
    ("a filter behind head", lambda lazy: lazy.head(7).filter(pl.col("number") > 4), 2, ALL),
    ("one field", lambda lazy: lazy.select("name", "length"), 60, {"length"}),
    ("a field of a filter", lambda lazy: lazy.filter(pl.col("is_odd")).select("name"), 60, {"is_odd"}),
    ("a field in an expression", lambda lazy: lazy.select(pl.col("length") + pl.col("number")), 60, {"length"}),
    ("a field and the errors", lambda lazy: lazy.select("length", "smelt_error"), 60, {"length"}),
    ("the errors alone", lambda lazy: lazy.filter(ERROR.is_null()).select("name"), 60, ALL),
    ("a group", lambda lazy: lazy.group_by("sector").len(), 60, {"sector"}),
    ("inputs", lambda lazy: lazy.select("number"), 0, set()),
    ("the number of rows", lambda lazy: lazy.select(pl.len()), 0, set()),
    ("a sum of inputs", lambda lazy: lazy.group_by("unsent").agg(pl.col("number").sum()), 0, set()),
]


@pytest.fixture(scope="module")
def eager(fake: FakeServer) -> pl.DataFrame:
    """All rows, answered by an eager call."""
    whole, given = fake.scenario(answers=RULES), cast("Any", ROWS)
    found: pl.DataFrame = given.smelt.transform(PROMPT, Company, model=served("openai", whole), progress=False)
    whole.close()
    return found


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize(("plan", "rows", "fields"), [one[1:] for one in PUSHED], ids=[one[0] for one in PUSHED])
def test_only_what_the_plan_looks_at_is_sent(
    plan: Any, rows: int, fields: set[str], engine: Any, eager: pl.DataFrame, scenario: MakeScenario
) -> None:
    fake = scenario(answers=RULES, log=True)

    found = plan(step(fake)).collect(engine=engine)

    assert (fake.stats().rows_sent, fields_asked(fake)) == (rows, fields)
    expected = plan(eager.lazy()).collect()
    keys = expected.columns[:1]
    assert found.sort(keys).equals(expected.sort(keys)) and found.schema == expected.schema


def test_all_fields_are_asked_for_where_the_caller_wants_one_answer_per_row(scenario: MakeScenario) -> None:
    fake = scenario(answers=RULES, log=True)

    found = step(fake, fields="all").select("length").collect()

    assert fields_asked(fake) == ALL
    assert found["length"].to_list() == ROWS["name"].str.len_chars().to_list()


def test_a_filter_on_answers_before_head_stops_early(scenario: MakeScenario) -> None:
    fake, many = scenario(answers=RULES), pl.concat([ROWS] * 100).with_columns(number=pl.int_range(6000))

    found = step(fake, many.lazy()).filter(pl.col("is_odd")).head(3).collect()

    assert found["number"].to_list() == [1, 3, 5]
    # Frames are a pool of 10 rows: the one that is needed, those that Polars takes besides, and what is read ahead.
    assert fake.stats().rows_sent <= 130


@pytest.mark.parametrize(
    ("plan", "rows"),
    [
        (lambda lazy: lazy, 60),
        (lambda lazy: lazy.filter(pl.col("number") < 20), 20),
        (lambda lazy: lazy.head(7), 7),
        (lambda lazy: lazy.slice(50, 5), 5),
        (lambda lazy: lazy.tail(4), 4),
        (lambda lazy: lazy.filter(pl.col("is_odd")).select("name"), 60),
    ],
    ids=["everything", "filter", "head", "slice", "tail", "fields"],
)
def test_the_node_of_the_main_thread_sends_the_rows_that_are_left(plan: Any, rows: int, scenario: MakeScenario) -> None:
    fake = scenario(answers=RULES)

    found = plan(step(fake, stream=False)).collect()

    assert fake.stats().rows_sent == rows
    assert found.equals(plan(step(fake)).collect())


def test_nothing_is_sent_before_it_is_collected(scenario: MakeScenario) -> None:
    fake = scenario(answers=RULES)

    lazy = step(fake, max_tokens_total=1_000)
    schema, plan = lazy.collect_schema(), lazy.filter(pl.col("is_odd")).explain()

    assert dict(schema) == {
        **ROWS.schema,
        "echo": pl.String(),
        "length": pl.Int64(),
        "sector": pl.Enum(["tech", "finance", "health", "other"]),
        "is_odd": pl.Boolean(),
        "smelt_error": pl.String(),
    }
    assert "openai:fake-1 answers echo, length, sector, is_odd" in plan
    assert "costs at most 1,000 tokens (max_tokens_total)" in plan
    assert "without a limit" in step(fake).explain()
    assert fake.stats().requests == 0


SHARED = [
    ("twice", lambda lazy: [lazy.collect(), lazy.collect()]),
    ("once more, less of it", lambda lazy: [lazy.collect(), lazy.head(9).collect()]),
    ("a self-join", lambda lazy: [lazy.join(lazy, on="number").collect()]),
    ("a union", lambda lazy: [pl.concat([lazy, lazy]).collect()]),
    ("two branches", lambda lazy: pl.collect_all([lazy.filter(pl.col("is_odd")), lazy])),
    ("two branches, in memory", lambda lazy: pl.collect_all([lazy, lazy.head(40)], engine="in-memory")),
]


@pytest.mark.parametrize("run", [one[1] for one in SHARED], ids=[one[0] for one in SHARED])
def test_a_row_is_paid_for_once_with_a_ledger(run: Any, scenario: MakeScenario, tmp_path: Path) -> None:
    fake = scenario(answers=RULES, count_by="name")

    found = run(step(fake, ledger=tmp_path / "ledger.sqlite", fields="all"))

    assert max(fake.stats().rows_sent_by.values()) == 1
    assert all((frame["echo"] == frame["name"]).all() for frame in found)


FEWER = [
    ("one field", lambda lazy: lazy, lambda lazy: lazy.select("name", "length"), 60),
    ("of a part", lambda lazy: lazy.select("echo", "length"), lambda lazy: lazy.select("length"), 60),
    ("where some rows are known", lambda lazy: lazy.head(20), lambda lazy: lazy.select("length"), 60),
    ("more fields", lambda lazy: lazy.select("length"), lambda lazy: lazy.select("length", "echo"), 120),
]


@pytest.mark.filterwarnings("ignore:None of the .* rows answered before is reused")
@pytest.mark.parametrize(("first", "then", "rows"), [one[1:] for one in FEWER], ids=[one[0] for one in FEWER])
def test_answers_to_more_fields_answer_for_fewer(
    first: Any, then: Any, rows: int, eager: pl.DataFrame, scenario: MakeScenario, tmp_path: Path
) -> None:
    fake = scenario(answers=RULES)
    lazy = step(fake, ledger=tmp_path / "ledger.sqlite")

    first(lazy).collect()
    found = then(lazy).collect()

    assert fake.stats().rows_sent == rows
    assert found.equals(then(eager.lazy()).collect())


def test_a_question_about_more_fields_says_why_it_is_paid(scenario: MakeScenario, tmp_path: Path) -> None:
    lazy = step(scenario(answers=RULES), ledger=tmp_path / "ledger.sqlite")
    lazy.select("length").collect()

    with pytest.warns(SmeltWarning, match=r"None of the 60 rows .* the output model \('echo' added") as caught:
        lazy.select("length", "echo").collect()

    assert len(caught) == 1


def test_a_transform_with_fewer_fields_is_another_question(scenario: MakeScenario, tmp_path: Path) -> None:
    fake = scenario(answers=RULES)
    step(fake, ledger=tmp_path / "ledger.sqlite").collect()

    class Length(BaseModel):
        __doc__ = Company.__doc__  # Which is part of the prompt; where that changes as well, it is another job.

        length: int

    rows: Any = ROWS
    with pytest.warns(SmeltWarning, match="'echo' removed"):
        rows.smelt.transform(PROMPT, Length, model=served("openai", fake), ledger=tmp_path / "ledger.sqlite")

    assert fake.stats().rows_sent == 120


def test_without_a_ledger_a_cache_keeps_a_step_from_running_twice(scenario: MakeScenario) -> None:
    once, twice = scenario(answers=RULES), scenario(answers=RULES)
    cached, plain = step(once).cache(), step(twice)

    cached.join(cached, on="number").collect()
    plain.join(plain, on="number").collect()

    assert (once.stats().rows_sent, twice.stats().rows_sent) == (60, 120)


class Size(BaseModel):
    size: int


def test_a_step_may_stand_on_another(scenario: MakeScenario) -> None:
    fake, sizes = scenario(answers=RULES, log=True), DerivingProvider({"size": lambda row: row["length"] * 10})

    lazy = step(fake).filter(pl.col("number") < 20)
    lazy = lazy.smelt.transform("{length}?", Size, model=sizes, progress=False, error_column="error")
    found = lazy.filter(pl.col("is_odd")).select("number", "size", "error").collect()

    assert found["size"].to_list() == [10 * len(f"c{at}") for at in range(1, 20, 2)]
    assert (fake.stats().rows_sent, fields_asked(fake)) == (20, {"length", "is_odd"})
    assert {row for request in sizes.requests for row in [request.user]}


def test_no_rows_send_nothing_and_have_the_dtypes(scenario: MakeScenario) -> None:
    fake = scenario(answers=RULES)
    lazy = step(fake, ROWS.lazy().filter(pl.col("number") < 0))

    for engine in ENGINES:
        assert lazy.collect(engine=engine).schema == lazy.collect_schema()
    assert fake.stats().requests == 0


def test_a_frame_without_columns_has_no_rows_to_ask_about() -> None:
    nothing: Any = pl.LazyFrame()

    found = nothing.smelt.transform("Guess.", Size, model=ScriptedProvider({"size": 1}), progress=False).collect()

    assert (found.columns, found.height) == (["size", "smelt_error"], 0)


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize("write", [pl.LazyFrame.serialize, pickle.dumps], ids=["serialize", "pickle"])
def test_a_plan_with_a_step_is_not_written_down(write: Any, stream: bool) -> None:
    lazy = frame().transform("{name}?", Size, model=ScriptedProvider({"size": 1}), stream=stream)

    with pytest.raises(ComputeError, match="ConfigTypeError: A plan with a smelt step cannot be serialized or pickled"):
        write(lazy)
    assert lazy.clone().collect_schema() == copy.deepcopy(lazy).collect_schema()


LEFT = """
import asyncio
import sys
import threading
import polars as pl
import smelt
from tests.lazy.deriving import DerivingProvider
from tests.lazy.test_step import Size

is_sent = threading.Event()

class Waiting(DerivingProvider):
    async def send(self, request):
        is_sent.set()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            print("broken off")
            raise

query = pl.LazyFrame({"number": [1]}).smelt.transform("{number}?", Size, model=Waiting({}), progress=False)
running = query.collect(background=True)
is_sent.wait()
sys.setswitchinterval(1e-6)  # Whoever is not parked by the end of the process is then met on the way.
"""


@pytest.mark.slow
def test_a_run_that_polars_does_not_wait_for_is_broken_off_when_the_process_ends() -> None:
    # Else its thread would wake in an interpreter that is gone, and abort the process.
    ended = subprocess.run(
        [sys.executable, "-c", LEFT], cwd=ROOT, capture_output=True, text=True, check=False, timeout=HANGING
    )

    assert (ended.returncode, ended.stderr, ended.stdout) == (0, "", "broken off\n")


def test_failed_rows_are_marked() -> None:
    provider = DerivingProvider({"size": lambda row: row["number"]}, is_mute=lambda row: row["number"] == 3)

    found = frame().transform("{number}?", Size, model=provider, progress=False, max_attempts=1).head(5).collect()

    assert found["size"].to_list() == [0, 1, 2, None, 4]
    assert [None if text is None else text.partition(":")[0] for text in found["smelt_error"]] == [
        None, None, None, "missing", None,
    ]  # fmt: skip


class Whole(BaseModel):
    size: int
    twice: int

    def model_post_init(self, context: Any) -> None:
        assert self.twice == 2 * self.size


def is_twice(value: int, seen: ValidationInfo) -> int:
    assert value == 2 * seen.data["size"]
    return value


class Comparing(BaseModel):
    size: int
    twice: Annotated[int, AfterValidator(is_twice)]


@pytest.mark.parametrize("output_model", [Whole, Comparing])
def test_a_model_that_checks_whole_answers_is_always_asked_for_whole_answers(output_model: type[BaseModel]) -> None:
    provider = DerivingProvider({"size": lambda row: row["number"], "twice": lambda row: 2 * row["number"]})

    found = frame().transform("{number}?", output_model, model=provider, progress=False).select("twice").collect()

    assert found["twice"].to_list() == [2 * at for at in range(60)]
    assert set(provider.fields_asked) == {("size", "twice")}


def frame(rows: pl.DataFrame = ROWS) -> Any:
    lazy: Any = rows.lazy()
    return lazy.smelt


REFUSED: list[tuple[str, Any, type[SmeltConfigError], str]] = [
    ("placeholder", {"prompt": "{nmae}?"}, PromptError, "{nmae}.*'name'"),
    ("columns", {"columns": ["nope"]}, ColumnError, "'nope'"),
    ("output model", {"output_model": dict}, SchemaError, "output_model must be"),
    ("model", {"model": "gpt"}, SmeltConfigError, "provider:name"),
    ("option", {"batchsize": 3}, ConfigTypeError, "no option 'batchsize'. Did you mean 'batch_size'"),
    ("fields", {"fields": "some"}, SmeltConfigError, "fields must be 'used' or 'all', not 'some'"),
    ("stream", {"stream": "no"}, ConfigTypeError, "stream must be True or False"),
    ("extend", {"extend": True}, SmeltConfigError, "extend=True needs to see all rows"),
]


@pytest.mark.parametrize(("given", "error", "says"), [one[1:] for one in REFUSED], ids=[one[0] for one in REFUSED])
def test_a_bad_argument_is_refused_when_the_step_is_written(given: Any, error: type[Exception], says: str) -> None:
    call = {"prompt": "{name}?", "output_model": Size, "model": ScriptedProvider({"size": 1}), **given}

    with pytest.raises(error, match=says):
        frame().transform(**call)


def test_a_step_overwrites_no_input() -> None:
    taken = frame(ROWS.with_columns(size=1))
    provider = ScriptedProvider({"size": 7})

    with pytest.raises(CollisionError, match="already has 'size'"):
        taken.transform("{name}?", Size, model=provider)
    with pytest.raises(CollisionError, match="A lazy step cannot replace 'size'.*on_conflict='suffix'"):
        taken.transform("{name}?", Size, model=provider, on_conflict="replace")
    found = taken.transform("{name}?", Size, model=provider, on_conflict="suffix", progress=False).collect()

    assert (found["size"].unique().to_list(), found["size_smelt"].unique().to_list()) == ([1], [7])


class Broken(Exception):
    pass


def broken(row: Any) -> Any:
    raise Broken("from the caller's own code")


@pytest.mark.parametrize("stream", [True, False], ids=["stream", "node"])
@pytest.mark.parametrize("engine", ENGINES)
def test_an_exception_keeps_its_type_and_its_words(engine: Any, stream: bool) -> None:
    refusing = ScriptedProvider({}, script=[CallFailed("auth", Billing.NOT_SENT, "No such key.", status=401)] * 9)
    mute = ScriptedProvider(lambda row: None)
    given: dict[str, Any] = {"progress": False, "stream": stream}

    with pytest.raises(smelt.errors.AuthenticationError, match="No such key"):
        frame().transform("{name}?", Size, model=refusing, **given).collect(engine=engine)
    with pytest.raises(SmeltExhaustionError, match=r"Row \d+ failed \(missing\)"):
        frame().transform("{name}?", Size, model=mute, on_error="raise", **given).collect(engine=engine)
    with pytest.raises(SmeltAPIError, match="Broken was raised: from the caller's own code") as caught:
        frame().transform("{name}?", Size, model=ScriptedProvider(broken), **given).collect(engine=engine)
    assert isinstance(caught.value.__cause__, Broken)


def test_it_runs_in_every_kind_of_collect() -> None:
    provider = DerivingProvider({"size": lambda row: row["number"]})
    lazy = frame().transform("{number}?", Size, model=provider, progress=False)
    expected = list(range(60))

    assert lazy.smelt.collect()["size"].to_list() == expected
    assert lazy.smelt.collect(engine="in-memory")["size"].to_list() == expected
    assert pl.concat(lazy.collect_batches())["size"].to_list() == expected
    assert [one["size"].sum() for one in pl.collect_all([lazy, lazy.filter(pl.col("size") < 2)])] == [1770, 1]


def test_the_gpu_engine_falls_back_with_polars_own_words() -> None:
    # No GPU and no cudf-polars here: what is tested is that the step itself is no reason to refuse.
    lazy = frame().transform("{number}?", Size, model=DerivingProvider({"size": lambda row: 1}), progress=False)

    with pytest.raises(ImportError, match="GPU engine"):
        lazy.collect(engine="gpu")
    with pytest.raises(ImportError, match="GPU engine"):
        ROWS.lazy().collect(engine="gpu")


def test_a_limit_in_dollars_without_a_price_is_refused_before_the_plan_is_collected() -> None:
    with pytest.raises(SmeltConfigError, match="max_cost needs a price.* Use max_tokens_total instead"):
        frame().transform("{number}?", Size, model=ScriptedProvider({}), max_cost=1)


def test_a_preview_pays_for_its_rows() -> None:
    provider = DerivingProvider({"size": lambda row: row["number"]})

    found = frame().preview("{number}?", Size, 4, model=provider, progress=False)

    assert (found["size"].to_list(), provider.rows_sent) == ([0, 1, 2, 3], 4)


@pytest.mark.parametrize("verb", ["run", "arun", "atransform", "explain", "estimate", "evaluate", "compare"])
def test_what_needs_rows_says_so(verb: str) -> None:
    with pytest.raises(ConfigTypeError, match=rf"lf\.collect\(\)\.smelt\.{verb}\(\.\.\.\)"):
        getattr(frame(), verb)("{name}?", Size)


def test_the_function_makes_a_step_of_a_lazy_frame() -> None:
    provider = DerivingProvider({"size": lambda row: row["number"]})

    lazy = ROWS.lazy().pipe(smelt.transform, "{number}?", Size, model=provider, progress=False)

    assert isinstance(lazy, pl.LazyFrame)
    assert (provider.rows_sent, lazy.head(2).collect()["size"].to_list()) == (0, [0, 1])


def test_help_on_the_accessor_explains_the_options_and_asks_for_no_frame() -> None:
    doc = inspect.getdoc(frame().transform) or ""

    assert "\n    batch_size: Maximum rows per request" in doc
    assert "fields: " in doc and "stream: " in doc and "frame: " not in doc
    assert "batch_size" in inspect.signature(frame().transform).parameters


@pytest.mark.slow
def test_the_accessor_is_there_whichever_is_imported_first() -> None:
    lines = "assert pl.LazyFrame({'a': [1]}).smelt.transform; assert pl.LazyFrame.smelt.__name__ == 'LazyAccessor'"
    for first, then in (("import smelt", "import polars as pl"), ("import polars as pl", "import smelt")):
        subprocess.run([sys.executable, "-c", f"{first}\n{then}\n{lines}"], check=True)


def test_any_number_of_small_frames_is_passed_on_whole() -> None:
    pieces = [pl.DataFrame({"number": range(at, at + 3)}) for at in range(0, 1_200, 3)]

    passed = list(ramped(iter(pieces), 32))

    assert pl.concat(passed)["number"].to_list() == list(range(1_200))
