"""A pipeline as a node of a Polars plan: the rows of a run, and nothing asked that the plan does not use."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import polars as pl
import pytest

import smelt
from smelt.lazy import sinks
from smelt.testing import ScriptedProvider
from tests.pipelines.test_flow import Claims, Verdict, said

pytestmark = pytest.mark.filterwarnings("ignore::smelt.SmeltWarning")

ARTICLES = pl.DataFrame({"doc": range(70), "article": ["bad" if at == 5 else f"good {at}" for at in range(70)]})


def start(provider: ScriptedProvider) -> smelt.Pipeline:
    pipe = smelt.pipeline("claims", model=provider, max_attempts=1, progress=False, ledger=False)
    return pipe.transform("List what {article} claims.", Claims)


def test_a_plan_gives_the_rows_of_a_run_in_a_few_streamed_frames(tmp_path: Path) -> None:
    pipe = start(ScriptedProvider(said)).explode("claims").filter(pl.col("claim").str.len_chars() != 8)
    pipe = pipe.transform("Judge {claim}.", Verdict)
    whole, plan = pipe(ARTICLES), ARTICLES.lazy().pipe(pipe)

    assert plan.collect_schema() == whole.schema
    assert plan.collect().equals(whole)
    assert "pipeline claims, answered by scripted:script" in plan.explain()
    plan.smelt.sink_parquet(tmp_path / "out.parquet")
    assert pl.read_parquet(tmp_path / "out.parquet").equals(whole)
    assert (
        plan.filter(pl.col("verdict").is_null())
        .head(4)
        .collect()
        .equals(whole.filter(pl.col("verdict").is_null()).head(4))
    )


def test_a_sink_goes_on_from_its_parts_unless_the_pipeline_or_the_rows_are_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sinks, "_AT_ONCE", 8)
    monkeypatch.setattr(sinks, "_SHARD_ROWS", 16)
    target = tmp_path / "out.parquet"

    def broken(row: Mapping[str, Any]) -> Any:
        if row["claim"] == "good 50 1":
            raise ZeroDivisionError
        return said(row)

    def plan(
        lister: ScriptedProvider, judge: ScriptedProvider, rows: pl.DataFrame = ARTICLES, word: str = "Judge"
    ) -> Any:
        pipe = smelt.pipeline("claims", ledger=False, progress=False, max_attempts=1, batch_size=4, concurrency=1)
        pipe = pipe.transform("List what {article} claims.", Claims, model=lister).explode("claims")
        pipe = pipe.transform(f"{word} {{claim}}.", Verdict, model=judge)
        lazy: Any = rows.lazy().pipe(pipe)
        return lazy

    with pytest.raises(smelt.SmeltError, match="ZeroDivisionError was raised"):
        plan(ScriptedProvider(said), ScriptedProvider(broken)).smelt.sink_parquet(target)
    lister, judge = ScriptedProvider(said), ScriptedProvider(said)
    for other, says in [
        (plan(lister, judge, ARTICLES.reverse()), "are now different, or in another order"),
        (plan(lister, judge, word="Weigh"), "what is asked changed"),
    ]:
        with pytest.raises(smelt.SmeltConfigError, match=says):
            other.smelt.sink_parquet(target)
    assert lister.rows_sent == judge.rows_sent == 0
    plan(lister, judge).smelt.sink_parquet(target)

    assert pl.read_parquet(target).equals(plan(ScriptedProvider(said), ScriptedProvider(said)).collect())
    assert 0 < lister.rows_sent < ARTICLES.height
    assert not (tmp_path / "out.parquet.smelt").exists()


def test_filters_on_inputs_and_head_save_rows_if_the_steps_keep_them() -> None:
    provider = ScriptedProvider(said)
    pipe = start(provider).assign(n=pl.col("claims").list.len())
    plan = ARTICLES.lazy().pipe(pipe)

    assert plan.filter(pl.col("doc") > 66).collect()["n"].to_list() == [2, 2, 2]
    assert provider.rows_sent == 3
    assert plan.head(2).collect().height == 2
    assert provider.rows_sent == 5


def test_nothing_is_asked_that_the_plan_does_not_use() -> None:
    provider = ScriptedProvider(said)
    judge = ScriptedProvider({"verdict": "fine"})
    pipe = start(provider).transform("Judge {article}.", Verdict, model=judge)
    plan = ARTICLES.lazy().pipe(pipe)

    assert plan.select("doc").collect().height == plan.select(pl.len()).collect().item() == 70
    assert provider.requests == judge.requests == []
    assert plan.select("verdict").collect()["verdict"].to_list() == ["fine"] * 70
    assert (provider.rows_sent, judge.rows_sent) == (0, 70)
    assert plan.select("smelt_error").collect().null_count().item() == 69
    assert provider.rows_sent == 70


def test_steps_that_may_look_across_rows_get_all_of_them() -> None:
    provider = ScriptedProvider({"claims": [], "total": "all"})
    pipe = start(provider).assign(share=lambda df: df["doc"] / df["doc"].max())
    pipe = pipe.filter(pl.col("share") >= pl.col("share").median())
    plan = ARTICLES.lazy().pipe(pipe)

    assert plan.collect()["doc"].to_list() == list(range(35, 70))
    whole = pipe.aggregate("Sum up {article}.", {"total": str})
    assert ARTICLES.lazy().pipe(whole).collect().equals(whole(ARTICLES))
    some = pipe.map(lambda df: df.head(3))
    assert ARTICLES.lazy().pipe(some).collect()["doc"].to_list() == [35, 36, 37]


def test_mistakes_are_told_when_the_plan_is_made() -> None:
    pipe = start(ScriptedProvider(said))
    lazy = ARTICLES.lazy()

    with pytest.raises(smelt.SmeltConfigError, match="unknown column 'titel'|titel"):
        lazy.pipe(pipe.transform("Judge {titel}.", Verdict))
    with pytest.raises(smelt.SmeltConfigError, match=r"step 'assign' was called on no rows, and raised IndexError"):
        lazy.pipe(pipe.assign(first=lambda df: df["doc"][0]))
    with pytest.raises(smelt.SmeltConfigError, match="an async function is not called in a plan"):
        lazy.pipe(pipe.map(unhurried))
    with pytest.raises(TypeError, match="does not take artefacts="):
        lazy.pipe(pipe, artefacts="runs")
    with pytest.raises(TypeError, match=r"call \.collect\(\) on the LazyFrame"):
        pipe.run(lazy)


async def unhurried(frame: Any) -> Any:
    return frame
