"""`Mapper`: one callable for every engine, the same answers as `transform`, and no key in what travels."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import cloudpickle  # type: ignore[import-untyped]
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest

import smelt
from smelt.call.options import Settings
from smelt.errors import AuthConfigError, ConfigTypeError, PromptError, SmeltConfigError, SmeltWarning
from smelt.lanes import registry
from smelt.observe.metrics import Metrics
from smelt.scale.mapper import Mapper, in_a_worker
from tests.conftest import MakeScenario
from tests.models import RULES
from tests.scale.answers import EveryKind, provider

JOB = smelt.Job("About {name}.", EveryKind)
ROWS = [{"name": str(number), "n": number} for number in range(40)]
KEY = "sk-c4n4ry-of-the-team"


def blocks(kind: str) -> Any:
    table = pa.Table.from_pylist(ROWS)
    if kind == "pandas":
        return table.to_pandas().set_index(pd.Index([f"row {number}" for number in range(40)]))
    return {"polars": pl.DataFrame(table), "table": table, "batch": table.to_batches()[0], "records": ROWS}[kind]


def plain(block: Any) -> list[dict[str, Any]]:
    match block:
        case pd.DataFrame():
            return list(pa.Table.from_pandas(block, preserve_index=False).to_pylist())
        case pl.DataFrame():
            return list(block.to_arrow().to_pylist())
        case list():
            return [{**row, "size": row["size"] and row["size"].value} for row in block]
        case _:
            return list(block.to_pylist())


@pytest.mark.parametrize("kind", ["pandas", "polars", "table", "batch"])
def test_a_block_comes_back_with_its_answers_in_its_kind(kind: str) -> None:
    block = blocks(kind)

    out = Mapper(JOB, provider())(block)

    wanted = smelt.transform(blocks("polars"), JOB.prompt, EveryKind, model=provider(), progress=False)
    assert type(out) is type(block)
    assert plain(out) == wanted.to_arrow().to_pylist()
    assert [row["name"] for row in plain(out) if row["smelt_error"]] == ["13"]
    if kind == "pandas":
        assert list(out.index) == list(block.index)


def test_records_come_back_as_records() -> None:
    out = Mapper(JOB, provider())(ROWS[:3])

    assert [(row["word"], row["n"], row["smelt_error"]) for row in out] == [
        ("é0", 0, None),
        ("é1", 1, None),
        ("é2", 2, None),
    ]


def test_many_blocks_are_one_run() -> None:
    asked = provider()
    table = blocks("table")
    pieces = [table.slice(at, 10) for at in range(0, 40, 10)]

    out = list(Mapper(smelt.Job(JOB.prompt, EveryKind, batch_size=40), asked).stream([*pieces, table.slice(0, 0)]))

    assert [one.num_rows for one in out] == [10, 10, 10, 10, 0]
    assert [one.schema for one in out] == [out[0].schema] * 5
    assert pa.concat_tables(out).column("n").to_pylist() == list(range(40))


def test_it_pickles_with_its_job_and_without_its_key() -> None:
    with pytest.warns(SmeltWarning, match=r"does not travel .* key_env="):
        mapper = Mapper(JOB, smelt.Model("openai", "gpt-4.1-mini", api_key=KEY))

    sent = cloudpickle.dumps(mapper)
    back = pickle.loads(sent)

    assert KEY.encode() not in sent
    assert KEY not in repr(mapper) + str(mapper.__dict__)
    assert (back.job.prompt, back.job.settings) == (JOB.prompt, JOB.settings)
    assert back.model == smelt.Model("openai", "gpt-4.1-mini")


def test_a_named_variable_is_read_where_the_block_is(scenario: MakeScenario, monkeypatch: pytest.MonkeyPatch) -> None:
    server = scenario(answers=RULES, log=True)
    model = smelt.Model("compatible", "fake", base_url=server.base_url("compatible"), key_env="TEAM_KEY")
    travelled = pickle.loads(cloudpickle.dumps(Mapper(smelt.Job("Label {name}.", {"label": str}), model)))
    rows = [{"name": "a"}, {"name": "b"}]

    with pytest.raises(AuthConfigError, match="variable TEAM_KEY, which is to have the key, is not set"):
        travelled(rows)
    monkeypatch.setenv("TEAM_KEY", KEY)
    out = travelled(rows)

    assert [row["smelt_error"] for row in out] == [None, None]
    assert {tuple(one["secrets"]) for one in server.stats().log} == {("authorization",)}


def test_the_default_model_is_that_of_this_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SMELT_MODEL", "openai:gpt-4.1-mini")

    assert repr(Mapper(JOB)) == "Mapper(Job('About {name}.', EveryKind), 'openai:gpt-4.1-mini')"


def test_each_worker_takes_its_share_of_the_limits() -> None:
    given = Settings.of(rpm=600, tpm=10_000, concurrency=6, progress=True)

    found = in_a_worker(given, 4, is_paced=False)

    assert found == Settings.of(rpm=150, tpm=2_500, concurrency=1, progress=False)
    assert in_a_worker(Settings(), 4, is_paced=False) == Settings.of(progress=False)


def test_with_a_pacer_the_limits_hold_for_all_workers_together(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SMELT_PACER", "/run/smelt/pacer")

    found = in_a_worker(Settings.of(rpm=600, tpm=10_000, concurrency=8), 4, is_paced=True)

    assert found == Settings.of(rpm=600, tpm=10_000, concurrency=2, progress=False)


def test_blocks_share_the_lane_of_the_process_and_ask_the_pacer(
    scenario: MakeScenario, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    server = scenario(answers=RULES)
    model = smelt.Model("compatible", "fake", base_url=server.base_url("compatible"), api_key=None)
    mapper = Mapper(smelt.Job("Label {name}.", {"label": str}), model)

    mapper([{"name": "a"}])
    mapper([{"name": "b"}])
    [lane] = registry._lanes.values()
    assert lane.is_idle

    monkeypatch.setenv("SMELT_PACER", str(tmp_path / "nobody listens"))
    with pytest.warns(SmeltWarning, match=r"The pacer .* was away"):
        mapper([{"name": "c"}])
    list(mapper.stream([[{"name": "d"}]]))  # It has been said.
    assert server.stats().requests == 4


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"max_cost": 5}, "max_cost= holds for one run"),
        ({"max_tokens_total": 5}, "max_tokens_total= holds for one run"),
        ({"deadline": 5}, "deadline= holds for one run"),
        ({"extend": True}, "extend=True needs to see all rows"),
        ({"refresh": True, "ledger": True}, "refresh=True would ask a block anew"),
        ({"mode": "batch"}, 'mode="batch" answers within hours'),
        ({"progress": print}, "progress= is a function of this process"),
        ({"observers": [Metrics()]}, "observers= are functions of this process"),
    ],
    ids=lambda one: next(iter(one)) if isinstance(one, dict) else "",
)
def test_what_holds_for_a_whole_run_is_refused_before_workers_start(options: dict[str, Any], said: str) -> None:
    with pytest.raises(SmeltConfigError, match=said):
        Mapper(smelt.Job("About {name}.", EveryKind, **options), provider())


@pytest.mark.parametrize(
    ("arguments", "error", "said"),
    [
        (("About {name}.", provider()), ConfigTypeError, "job must be a smelt.Job"),
        ((JOB, "gpt-4.1"), SmeltConfigError, "provider:name"),
    ],
    ids=["prompt", "model"],
)
def test_bad_arguments_are_refused(arguments: tuple[Any, ...], error: type[Exception], said: str) -> None:
    with pytest.raises(error, match=said):
        Mapper(*arguments)


def test_a_block_of_another_kind_is_refused_with_the_way_to_write_it() -> None:
    with pytest.raises(ConfigTypeError, match="data must be a pandas or Polars DataFrame"):
        Mapper(JOB, provider())({"name": ["a"]})


def test_the_schema_is_checked_against_the_prompt_and_asks_nothing() -> None:
    asked = provider()
    mapper = Mapper(JOB, asked)

    assert mapper.schema(blocks("table")).arrow == mapper(blocks("table")).schema
    with pytest.raises(PromptError, match="name"):
        mapper.schema(pa.schema([("nam", pa.string())]))


def test_a_model_file_that_names_a_variable_travels(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "models.json").write_text('{"team": {"model": "openai:gpt-4.1-mini", "api_key_env": "TEAM_KEY"}}')
    smelt.load_models(tmp_path / "models.json")
    monkeypatch.delenv("TEAM_KEY", raising=False)

    mapper = Mapper(JOB, "team")  # Here is no key, and none is needed.

    assert mapper.model == smelt.Model("openai", "gpt-4.1-mini", key_env="TEAM_KEY")
    assert b"TEAM_KEY" in cloudpickle.dumps(mapper)
