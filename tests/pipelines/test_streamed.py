"""A pipeline over a stream of frames: the rows of one frame, in order, and no more of them in memory than needed."""

from __future__ import annotations

import asyncio
import weakref
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.compute as pc
import pytest

import smelt
from smelt.engine.events import RowsRead, RunStarted
from smelt.testing import ScriptedProvider, run_jumping
from tests.pipelines.test_eager import FRAMES, plain
from tests.pipelines.test_flow import TEXTS, Claims, Verdict, equal_steps, said, slow

pytestmark = pytest.mark.filterwarnings("ignore::smelt.SmeltWarning")

ARTICLES = [{"doc": at, "article": "bad" if at == 5 else f"good {at % 30}"} for at in range(70)]


def claims(provider: ScriptedProvider | None = None) -> smelt.Pipeline:
    start = smelt.pipeline("claims", model=provider or ScriptedProvider(said), max_attempts=1, progress=False)
    pipe = start.transform("List what {article} claims.", Claims).explode("claims")
    return pipe.transform("Judge {claim}.", Verdict, where=lambda df: df["sure"] == "no")


def pieces(rows: Any, size: int) -> Iterator[Any]:
    return (rows[at : at + size] for at in range(0, len(rows), size))


@pytest.mark.parametrize("kind", FRAMES)
def test_a_stream_gives_the_rows_of_a_run(kind: str) -> None:
    frame = FRAMES[kind](ARTICLES)
    with claims().stream(pieces(frame, 9), ledger=False) as frames:
        streamed = list(frames)

    assert [row for one in streamed for row in plain(one)] == plain(claims().run(frame, ledger=False).frame)
    assert [len(one) for one in streamed] == [17, *[18] * 6, 14]
    assert frames.metrics is not None and frames.metrics.total_rows == 139
    assert frames.steps["verdict"].metrics.successful_rows == 69


def test_arrow_tables_and_readers_give_the_rows_of_dicts() -> None:
    table = pa.Table.from_pylist(ARTICLES)
    start = smelt.pipeline(model=ScriptedProvider(said), max_attempts=1, progress=False, ledger=False)
    start = (
        start.transform("List what {article} claims.", Claims).explode("claims").transform("Judge {claim}.", Verdict)
    )
    pipe = start.filter(lambda data: pc.ends_with(data["claim"], "1")).assign(one=1)

    whole = pipe(table)
    batches = list(pipe.stream(table.to_reader(max_chunksize=9)))

    expected = start.filter(lambda row: row["claim"].endswith("1")).assign(one=1)(ARTICLES)
    assert isinstance(whole, pa.Table) and all(isinstance(one, pa.RecordBatch) for one in batches)
    assert whole.to_pylist() == pa.Table.from_batches(batches).to_pylist()
    assert [{**row, "one": 1} for row in whole.to_pylist()] == [{**row, "one": 1} for row in expected]
    assert pipe(table[:0]).schema.names == whole.schema.names
    assert start.implode()(table).num_rows == 70
    with pytest.raises(TypeError, match=r"gave False for all rows\. Compare with pyarrow\.compute"):
        start.filter(lambda data: data["sure"] == "no")(table)


def test_an_asynchronous_stream_reads_an_asynchronous_source() -> None:
    async def source() -> AsyncIterator[Any]:
        for one in pieces(ARTICLES, 9):
            yield one

    async def main() -> list[Any]:
        async with claims().astream(source(), ledger=False) as frames:
            return [row async for one in frames for row in one]

    assert run_jumping(main()).result == claims().run(ARTICLES, ledger=False).frame


def test_steps_overlap_and_few_frames_are_read_before_they_are_asked_for() -> None:
    read = 0

    def source() -> Iterator[Any]:
        nonlocal read
        for one in pieces(TEXTS, 100):
            read += 1
            yield one

    async def main() -> list[int]:
        async with equal_steps(3, slow()).astream(source()) as frames:
            return [read async for _ in frames]

    first, *rest = (done := run_jumping(main())).result
    assert first == 1 and len(rest) == 9
    alone = run_jumping(equal_steps(1, slow()).arun(TEXTS))
    assert done.seconds <= 2 * alone.seconds + 0.3  # Reading ahead starts with one frame.


def test_frames_that_were_handed_over_are_forgotten() -> None:
    alive = list[weakref.ref[pd.DataFrame]]()
    most = 0

    def source() -> Iterator[pd.DataFrame]:
        for at in range(60):
            frame = pd.DataFrame({"text": [f"row {at} {number}" for number in range(20)]})
            alive.append(weakref.ref(frame))
            yield frame

    async def main() -> None:
        nonlocal most
        async with equal_steps(2, slow(), batch_size=5).astream(source()) as frames:
            async for _ in frames:
                most = max(most, sum(one() is not None for one in alive))

    run_jumping(main())
    assert 0 < most <= 10


def test_rows_that_an_explode_makes_count_for_what_is_read_ahead(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("smelt.pipelines.passage.WINDOW", 20)
    items = ScriptedProvider(lambda row: {"items": [f"{row['text']} {at}" for at in range(20)]}, keep=False)
    pipe = smelt.pipeline(model=items, ledger=False, progress=False, batch_size=5, concurrency=1)
    pipe = pipe.transform("List {text}.", {"items": list[str]}).explode("items")
    pipe = pipe.transform("Judge {items}.", {"verdict": str}, model=ScriptedProvider({"verdict": "fine"}))
    read, ahead = 0, []

    def source() -> Iterator[pl.DataFrame]:
        nonlocal read
        for at in range(60):
            read += 1
            yield pl.DataFrame({"text": [f"{at} {row}" for row in range(2)]})

    for number, _ in enumerate(pipe.stream(source()), 1):
        ahead.append(read - number)

    assert len(ahead) == 60
    assert max(ahead) <= 6  # 40 rows of each frame are in the second step; 40 may be under way.


def test_equal_rows_of_forgotten_frames_are_found_in_the_ledger(tmp_path: Path) -> None:
    provider = ScriptedProvider(lambda row: said(row) or {"verdict": "no"}, keep=False)

    with claims(provider).stream(pieces(ARTICLES, 10), ledger=tmp_path / "answers.sqlite") as frames:
        assert sum(map(len, frames)) == 139

    assert provider.rows_sent == 31 + 2 * 30  # 30 good articles, a bad one, and two claims of each good one.


@pytest.mark.parametrize("seconds", [0.15, 0.45, 0.95])
def test_closing_early_loses_nothing_that_was_paid(seconds: float, tmp_path: Path) -> None:
    providers = slow()
    pipe = equal_steps(3, providers)

    async def some() -> None:
        async with pipe.astream(pieces(TEXTS, 100), ledger=tmp_path / "answers.sqlite") as frames:
            async for _ in frames:
                if asyncio.get_running_loop().time() > seconds:
                    break

    async def rest() -> list[Any]:
        async with pipe.astream(pieces(TEXTS, 100), ledger=tmp_path / "answers.sqlite") as frames:
            return [row async for one in frames for row in one]

    run_jumping(some())
    assert 0 < providers[0].rows_sent < 1_000
    rows = run_jumping(rest()).result

    assert [provider.rows_sent for provider in providers] == [1_000] * 3
    assert [row["text"] for row in rows] == [row["text"] for row in TEXTS]


def test_steps_that_need_all_rows_are_refused_before_a_frame_is_read() -> None:
    with pytest.raises(smelt.SmeltConfigError, match=r"Step 'map' \(map\) needs all rows"):
        claims().map(lambda frame: frame).stream(iter(()))
    with pytest.raises(smelt.SmeltConfigError, match=r"Step 'verdict_2' \(aggregate\) needs all rows"):
        claims().aggregate("Sum up {claim}.", Verdict).stream(iter(()))
    with pytest.raises(TypeError, match="frames must be an iterator of frames"):
        claims().stream(pd.DataFrame(ARTICLES))
    with pytest.raises(TypeError, match="does not take artefacts="):
        claims().stream(iter(()), artefacts="runs")


def test_an_expression_that_looks_across_rows_is_refused() -> None:
    fine = claims().filter(pl.col("claim").str.len_chars() > 1)
    fine.stream(iter(()))
    with pytest.raises(smelt.SmeltConfigError, match="An expression of step 'filter_2' looks across rows"):
        fine.filter(pl.col("claim").rank() > 1).stream(iter(()))


def test_frames_before_a_wrong_one_are_yielded() -> None:
    given: list[Any] = [ARTICLES[:2], pd.DataFrame(ARTICLES[:2])]
    frames = claims().stream(iter(given), ledger=False)

    assert len(next(frames)) == 4
    with pytest.raises(TypeError, match=r"Frame 2 of the stream is a pandas\.DataFrame, and the first one is a list"):
        next(frames)
    assert list(frames) == []


def test_a_step_behind_an_explode_or_a_filter_tells_how_many_rows_it_has() -> None:
    rows: dict[str, int] = {}

    def watch(event: Any) -> None:
        if isinstance(event, RunStarted | RowsRead):
            rows[event.step] = event.rows

    pipe = claims().filter(pl.col("doc") > 59).transform("Weigh {claim}.", {"weight": int})
    pipe.run(pl.DataFrame(ARTICLES), ledger=False, observers=[watch])

    assert rows == {"claims": 70, "verdict": 139, "weight": 20}


def test_a_stream_that_begins_with_an_empty_list_says_that_this_has_no_columns() -> None:
    frames = claims().stream(iter([[], ARTICLES[:2]]), ledger=False)

    with pytest.raises(smelt.SmeltConfigError, match=r"Frame 1 of the stream is an empty list.*frame 2 has.*'doc'"):
        list(frames)
    assert list(claims().stream(iter([[], []]), ledger=False)) == [[], []]


def test_a_failed_row_ends_the_stream_after_the_frames_before_it() -> None:
    provider = ScriptedProvider(lambda row: said(row) or (None if "article" in row else {"verdict": "no"}))
    frames = claims(provider).stream(pieces(ARTICLES, 1), ledger=False, on_error="raise")

    docs = list[int]()
    with pytest.raises(smelt.SmeltExhaustionError, match="Row 0 failed") as caught:
        docs.extend(row["doc"] for one in frames for row in one)
    assert docs == sorted(docs) and set(docs) <= {0, 1, 2, 3, 4}
    assert "in step 'claims' of the pipeline 'claims'" in caught.value.__notes__[0]


def test_a_run_that_a_failure_ends_hands_over_no_frame_with_rows_that_it_did_not_ask() -> None:
    def broken(row: Any) -> Any:
        if row["claim"] == "good 20 1":
            raise ZeroDivisionError
        return {"verdict": "fine"}

    pipe = smelt.pipeline(ledger=False, progress=False, max_attempts=1, batch_size=4, concurrency=1)
    pipe = pipe.transform("List what {article} claims.", Claims, model=ScriptedProvider(said)).explode("claims")
    pipe = pipe.transform("Judge {claim}.", Verdict, model=ScriptedProvider(broken))
    found = list[pl.DataFrame]()

    with pytest.raises(smelt.SmeltError, match="ZeroDivisionError was raised"):
        found.extend(pipe.stream(pieces(pl.DataFrame(ARTICLES), 8)))

    assert 1 <= len(found) <= 2  # The row is in the third frame.
    reasons = [why for one in found for why in one["smelt_error"] if why is not None]
    assert len(reasons) == 1 and reasons[0].startswith("claims: missing")
