"""Streams: what comes out is what `transform` would make of the whole, in order, whatever happens in between."""

from __future__ import annotations

import asyncio
import gc
import signal
import subprocess
import sys
import threading
import weakref
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import aclosing
from pathlib import Path
from typing import Any, Literal

import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from pydantic import BaseModel

import smelt
from smelt.call.options import Settings
from smelt.call.preparation import prepare
from smelt.errors import (
    AuthenticationError,
    BudgetExceededError,
    ConfigTypeError,
    PromptError,
    SchemaError,
    SmeltConfigError,
    SmeltExhaustionError,
    SmeltInterrupt,
    SmeltWarning,
    StoreError,
)
from smelt.progress.tally import Tally
from smelt.progress.words import phrases
from smelt.providers.base import Billing, CallFailed, Reply, Request
from smelt.streaming.stream import stream as door
from smelt.testing import ScriptedProvider, asked, run_jumping
from tests.conftest import MakeScenario, whole
from tests.patience import HANGING

PROMPT = "Describe {name}."
SCHEMA = pa.schema([("name", pa.string()), ("number", pa.int64())])
ROWS = 6_400
REVOKED = CallFailed("auth", Billing.REJECTED, "HTTP 401: revoked", status=401)


class Label(BaseModel):
    length: int
    kind: Literal["even", "odd"]


def about(row: Any) -> dict[str, Any] | None:
    if row["name"] == "bad":
        return None
    length = len(row["name"])
    return {"length": length, "kind": ("even", "odd")[length % 2]}


class Model(ScriptedProvider):
    """Answers after *latency* seconds, and knows which rows were sent."""

    def __init__(self, latency: float = 0.0, **options: Any) -> None:
        super().__init__(about, **options)
        self.latency = latency
        self.sent: list[str] = []

    async def send(self, request: Request) -> Reply:
        self.sent += [row["name"] for _, row in asked(request)]
        reply = await super().send(request)
        if self.latency:
            await asyncio.sleep(self.latency)
        return reply


def columns(start: int, stop: int) -> dict[str, list[Any]]:
    return {"name": [f"row {at}" for at in range(start, stop)], "number": list(range(start, stop))}


def pandas_frame(start: int, stop: int) -> pd.DataFrame:
    made = pd.DataFrame(columns(start, stop), index=pd.RangeIndex(start, stop))
    return made.astype({"name": "str", "number": "int64"})


def polars_frame(start: int, stop: int) -> pl.DataFrame:
    return pl.DataFrame(columns(start, stop), schema={"name": pl.String, "number": pl.Int64})


def table(start: int, stop: int) -> pa.Table:
    return pa.table(columns(start, stop), schema=SCHEMA)


def record_batch(start: int, stop: int) -> pa.RecordBatch:
    return pa.RecordBatch.from_pydict(columns(start, stop), schema=SCHEMA)


def dicts(start: int, stop: int) -> list[dict[str, Any]]:
    return [{"name": f"row {at}", "number": at} for at in range(start, stop)]


MAKERS = [pandas_frame, polars_frame, table, record_batch, dicts]


def cut(make: Callable[[int, int], Any], *sizes: int) -> Iterator[Any]:
    """Frames of these sizes, one after the other."""
    start = 0
    for size in sizes:
        yield make(start, start + size)
        start += size


def watched(frames: Iterator[Any], read: list[Any]) -> Iterator[Any]:
    """*frames*, noting which were read."""
    for frame in frames:
        read.append(frame)
        yield frame


def streamed(frames: Any, model: Any = None, **options: Any) -> smelt.Stream[Any]:
    options = {"progress": False, "batch_size": 4, **options}
    return smelt.stream(frames, options.pop("prompt", PROMPT), options.pop("output", Label), model=model, **options)


def names(frame: Any) -> list[str]:
    return list(frame["name"])


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "ledger.sqlite"


class TestResult:
    @pytest.mark.parametrize("make", [pandas_frame, polars_frame], ids=["pandas", "polars"])
    def test_it_is_that_of_one_transform_of_all_frames(self, make: Any) -> None:
        sizes = (3, 0, 1, 20, 7)
        whole = smelt.transform(make(0, 31), PROMPT, Label, model=Model(), progress=False)

        frames = list(streamed(cut(make, *sizes), Model()))

        assert [len(frame) for frame in frames] == list(sizes)
        if make is pandas_frame:
            pd.testing.assert_frame_equal(pd.concat(frames), whole)
        else:
            assert pl.concat(frames).equals(whole)
            assert [frame.schema for frame in frames] == [whole.schema] * 5

    @pytest.mark.parametrize("make", [table, record_batch], ids=["table", "record batch"])
    def test_arrow_comes_out_as_arrow_with_the_same_schema_in_each(self, make: Any) -> None:
        frames = list(streamed(cut(make, 3, 0, 5), Model()))

        assert [type(frame) for frame in frames] == [type(make(0, 1))] * 3
        assert len({frame.schema for frame in frames}) == 1
        assert frames[2].schema.field("kind").type == pa.dictionary(pa.int32(), pa.string())
        assert frames[2].column("length").to_pylist() == [5] * 5
        assert frames[2].column("kind").to_pylist() == ["odd"] * 5
        assert frames[2].column("smelt_error").to_pylist() == [None] * 5

    def test_a_key_that_a_later_list_lacks_is_null(self) -> None:
        frames = list(streamed([dicts(0, 1), [{"name": "alone"}], []], Model()))

        assert [[row["length"] for row in frame] for frame in frames] == [[5], [5], []]

    def test_lists_of_dicts_come_out_as_such(self) -> None:
        frames = list(streamed(cut(dicts, 2, 1), Model()))

        assert frames[1] == [{"name": "row 2", "number": 2, "length": 5, "kind": "odd", "smelt_error": None}]

    def test_a_row_that_fails_is_marked_in_its_place(self) -> None:
        frames = [pl.DataFrame({"name": ["a", "bad"]}), pl.DataFrame({"name": ["bad", "ccc"]})]

        first, second = streamed(frames, Model(), ledger=False)

        assert first["length"].to_list() == [1, None]
        assert second["length"].to_list() == [None, 3]
        assert second["smelt_error"].str.starts_with("missing").to_list() == [True, None]

    def test_rows_are_sent_once_while_their_frames_are_under_way(self) -> None:
        model = Model()
        frames = [pl.DataFrame({"name": [f"{at}", "same", "same"]}) for at in range(10)]

        out = list(streamed(frames, model, batch_size=1, ledger=False))

        assert all(frame["length"].to_list() == [1, 4, 4] for frame in out)
        assert len(model.sent) == len(set(model.sent)) + model.sent.count("same") - 1
        assert model.sent.count("same") < 10

    def test_null_rows_that_are_to_be_skipped_are(self) -> None:
        model = Model()
        frames = [pl.DataFrame({"name": ["a", None]}), pl.DataFrame({"name": [None, "bb"]})]

        first, second = streamed(frames, model, null_rows="skip")

        assert [first["length"].to_list(), second["length"].to_list()] == [[1, None], [None, 2]]
        assert second["smelt_error"].null_count() == 2
        assert sorted(model.sent) == ["a", "bb"]

    def test_a_row_that_cannot_be_sent_costs_no_other(self) -> None:
        frames = [[{"name": "a"}, {"name": "\ud800"}], [{"name": "b"}, {"name": "\ud800"}]]

        out = list(streamed(frames, Model()))

        assert [[row["length"] for row in rows] for rows in out] == [[1, None], [1, None]]

    def test_a_stream_of_nothing_is_empty(self) -> None:
        model = Model()

        assert list(streamed([], model)) == []
        assert [len(frame) for frame in streamed([pandas_frame(0, 0)], model)] == [0]
        assert model.sent == []

    def test_metrics_are_of_all_frames(self) -> None:
        frames = streamed(cut(polars_frame, 8, 8, 8), Model())

        before = frames.metrics
        for _ in frames:
            pass

        assert before is None
        assert frames.metrics is not None
        assert (frames.metrics.total_rows, frames.metrics.failed_rows, frames.metrics.distinct_rows) == (24, 0, 24)
        assert frames.metrics.requests >= 6


class TestArguments:
    @pytest.mark.parametrize(
        ("given", "problem", "says"),
        [
            ({"batch_size": 0}, SmeltConfigError, "batch_size must be"),
            ({"prompt": "Describe {name"}, PromptError, "braces do not balance"),
            ({"output": dict}, SchemaError, "not the class dict"),
            ({"model": "nobody:nothing"}, SmeltConfigError, "There is no provider 'nobody'"),
            ({"extend": True}, SmeltConfigError, "which a stream cannot do"),
            ({"frames": pandas_frame(0, 1)}, ConfigTypeError, "not a DataFrame"),
            ({"frames": "data.csv"}, ConfigTypeError, "not a str"),
            ({"frames": 3}, ConfigTypeError, "not a int"),
        ],
        ids=lambda one: next(iter(one)) if isinstance(one, dict) else "",
    )
    def test_a_bad_one_is_refused_before_a_frame_is_read(
        self, given: dict[str, Any], problem: type[Exception], says: str
    ) -> None:
        read: list[Any] = []
        frames = watched(cut(pandas_frame, 1), read)
        options: dict[str, Any] = {"frames": frames, "model": Model(), **given}

        with pytest.raises(problem, match=says):
            streamed(options.pop("frames"), **options)

        assert read == []

    def test_a_prompt_that_does_not_fit_the_first_frame_is_refused_before_the_first_request(self) -> None:
        model = Model()

        with pytest.raises(PromptError, match="nam"):
            next(streamed(cut(pandas_frame, 2), model, prompt="Describe {nam}."))

        assert model.sent == []

    @pytest.mark.parametrize(
        ("second", "says"),
        [
            (pd.DataFrame({"name": ["x"], "number": ["1"]}), "Frame 2 of the stream has column 'number' as"),
            (pd.DataFrame({"name": ["x"]}), "has no column 'number'"),
            (pd.DataFrame({"name": ["x"], "number": [1], "more": [2]}), "has a column 'more'"),
            (pd.DataFrame({"number": [1], "name": ["x"]}), "another order"),
            (pl.DataFrame({"name": ["x"], "number": [1]}), "is a polars.DataFrame"),
            ("x", "must be a pandas or Polars DataFrame"),
        ],
        ids=["type", "missing", "more", "order", "library", "no frame"],
    )
    def test_a_frame_that_does_not_fit_is_refused_after_the_ones_before_it(self, second: Any, says: str) -> None:
        frames = streamed([pandas_frame(0, 5), second], Model(), prompt="Describe {name} {number}.")

        first = next(frames)

        assert first["length"].tolist() == [5] * 5
        with pytest.raises(SmeltConfigError, match=says):
            next(frames)

    def test_a_column_of_nothing_but_nulls_fits_whatever_its_type(self) -> None:
        second = pd.DataFrame({"name": ["x"], "number": [None]}, dtype=object).astype({"name": "str"})
        prompt = "Describe {name} {number}."

        frames = list(streamed([pandas_frame(0, 5), second], Model(), prompt=prompt))

        assert [len(frame) for frame in frames] == [5, 1]


class TestEnds:
    def test_the_frames_before_an_exception_are_finished(self) -> None:
        def frames() -> Iterator[pl.DataFrame]:
            yield from cut(polars_frame, 4, 4, 4)
            raise ConnectionResetError("the database went away")

        out = []
        with pytest.raises(ConnectionResetError, match="the database"):
            for frame in streamed(frames(), Model()):
                out.append(frame)  # noqa: PERF402

        assert [names(frame) for frame in out] == [names(frame) for frame in cut(polars_frame, 4, 4, 4)]
        assert sum(frame["length"].null_count() for frame in out) == 0

    def test_whoever_stops_early_has_paid_for_little_more(self) -> None:
        model, read = Model(), list[Any]()
        frames = watched(cut(polars_frame, *[40] * 50), read)

        with streamed(frames, model) as out:
            for frame in out:
                break

        assert names(frame) == [f"row {at}" for at in range(40)]
        assert len(read) == 1
        assert len(model.sent) == 40

    def test_what_is_read_ahead_is_bounded_by_what_was_handed_over(self) -> None:
        read: list[Any] = []
        frames = watched(cut(polars_frame, *[10] * 500), read)
        out = streamed(frames, Model(), batch_size=10, concurrency=4)

        ahead = []
        for number, _ in zip(range(60), out, strict=False):
            ahead.append(len(read) - number - 1)
        out.close()

        assert ahead[0] == 0
        assert max(ahead) <= 16  # Four turns of the pool.
        assert all(more <= 2 * number for number, more in enumerate(ahead))

    @pytest.mark.parametrize("how", ["close", "drop"])
    def test_an_early_end_leaves_nothing_running(self, how: str, path: Path) -> None:
        out = streamed(cut(polars_frame, *[10] * 50), Model(), ledger=path)
        next(out)
        next(out)

        if how == "close":
            out.close()
        else:
            del out
            gc.collect()

        with smelt.ledger.open(path) as ledger:
            assert [one["state"] for one in ledger.runs()] == ["interrupted"]
            assert ledger.check() == []
            assert len(ledger.rows()) >= 20

    def test_a_revoked_key_raises_where_nothing_was_answered(self) -> None:
        with pytest.raises(AuthenticationError, match="revoked"):
            next(streamed(cut(polars_frame, 4, 4), Model(script=[REVOKED])))

    def test_a_revoked_key_marks_the_rest_where_something_was(self) -> None:
        frames = streamed(cut(polars_frame, 4, 4, 4, 4), Model(script=[None] + [REVOKED] * 9), batch_size=4)

        with pytest.warns(SmeltWarning, match="stopped early: HTTP 401"):
            out = list(frames)

        assert [frame["length"].null_count() for frame in out] == [0, 4, 4, 4]
        assert all(text.startswith("stopped:") for frame in out[1:] for text in frame["smelt_error"])

    def test_a_failed_row_ends_it_where_errors_are_to_be_raised(self) -> None:
        frames = [pl.DataFrame({"name": list("abcd")}), pl.DataFrame({"name": ["e", "bad"]})]
        out = streamed(frames, Model(), on_error="raise")

        first = next(out)

        assert first["length"].to_list() == [1] * 4
        with pytest.raises(SmeltExhaustionError, match="missing") as caught:
            next(out)
        assert caught.value.partial_result is not None
        assert caught.value.partial_result.frame["length"].to_list() == [1, None]

    def test_a_budget_holds_for_all_frames_and_marks_the_rest(self) -> None:
        model = Model()
        frames = streamed(cut(polars_frame, *[20] * 20), model, max_tokens_total=3_000)

        with pytest.warns(SmeltWarning, match="budget"):
            out = list(frames)

        assert len(out) == 20
        marked = [frame["smelt_error"].str.starts_with("budget").sum() for frame in out]
        assert marked[0] == 0
        assert marked[-1] == 20
        assert sum(marked) == 400 - len(model.sent)
        assert frames.metrics is not None
        assert frames.metrics.input_tokens + frames.metrics.output_tokens <= 3_500

    def test_a_budget_raises_where_errors_are_to_be_raised(self) -> None:
        frames = streamed(cut(polars_frame, *[20] * 20), Model(), max_tokens_total=3_000, on_error="raise")

        with pytest.raises(BudgetExceededError, match="budget"):
            for _ in frames:
                pass

    def test_a_broken_provider_is_named_and_the_finished_frames_are_out(self) -> None:
        def broken(request: Request) -> Reply:
            raise ZeroDivisionError

        out = streamed(cut(polars_frame, 4, 4), Model(script=[None, broken]))

        next(out)

        with pytest.raises(smelt.SmeltAPIError, match="ZeroDivisionError"):
            next(out)

    def test_a_ledger_that_cannot_be_opened_is_said_before_the_first_request(self, tmp_path: Path) -> None:
        model = Model()

        with pytest.raises(StoreError, match="is a directory; name a file in it"):
            next(streamed(cut(polars_frame, 4), model, ledger=tmp_path))

        assert model.sent == []


class TestInterrupt:
    def test_ctrl_c_in_a_request_gives_what_was_not_handed_over(self, path: Path) -> None:
        class Pressed(Model):
            async def send(self, request: Request) -> Reply:
                reply = await super().send(request)
                if len(self.sent) == 12:
                    asyncio.get_running_loop().call_soon(signal.raise_signal, signal.SIGINT)
                    await asyncio.sleep(0.01)
                return reply

        out = streamed(cut(polars_frame, 4, 4, 4, 4), Pressed(), concurrency=1, ledger=path)
        first = next(out)

        with pytest.raises(SmeltInterrupt, match="8 rows are in the frames that were handed over") as caught:
            list(out)

        assert names(first) == [f"row {at}" for at in range(4)]
        assert caught.value.partial_result is not None
        assert names(caught.value.partial_result.frame)[:4] == [f"row {at}" for at in range(8, 12)]
        assert caught.value.partial_result.frame["length"].to_list()[:3] == [5, 5, 6]
        with smelt.ledger.open(path) as ledger:
            assert [one["state"] for one in ledger.runs()] == ["interrupted"]
            assert ledger.check() == []

    def test_ctrl_c_in_the_callers_iterator_ends_it_at_once(self) -> None:
        def frames() -> Iterator[pl.DataFrame]:
            yield polars_frame(0, 4)
            signal.raise_signal(signal.SIGINT)
            yield polars_frame(4, 8)

        out = streamed(frames(), Model())
        next(out)

        with pytest.raises(SmeltInterrupt, match="4 rows are in the frames that were handed over"):
            next(out)
        assert list(out) == []

    def test_the_programs_handler_is_back_while_a_frame_is_held(self) -> None:
        before = signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)

        for _ in streamed(cut(polars_frame, 4, 4), Model()):
            assert (signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)) == before


class TestLedger:
    def test_rows_of_an_earlier_stream_are_not_paid_again(self, path: Path) -> None:
        with streamed(cut(polars_frame, *[10] * 10), Model(), ledger=path) as out:
            for _, _ in zip(range(4), out, strict=False):
                pass
        again = Model()

        frames = list(streamed(cut(polars_frame, *[10] * 10), again, ledger=path))

        assert sum(frame["length"].null_count() for frame in frames) == 0
        assert len(again.sent) <= 60
        assert not set(again.sent) & {f"row {at}" for at in range(40)}

    def test_equal_rows_far_apart_are_paid_once(self, path: Path) -> None:
        model = Model()
        frames = [pl.DataFrame({"name": [f"{at}", "same"]}) for at in range(60)]

        out = list(streamed(frames, model, ledger=path, batch_size=2, concurrency=2))

        assert [frame["length"].to_list()[1] for frame in out] == [4] * 60
        assert model.sent.count("same") == 1

    def test_rows_that_were_sorted_in_meanwhile_are_known(self, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("smelt.ledger.ownanswers._OWN_ROWS", 8)
        model = Model()
        frames = [polars_frame(at % 40, at % 40 + 4) for at in range(0, 120, 4)]

        out = list(streamed(frames, model, ledger=path, concurrency=1))

        assert pl.concat(out)["length"].null_count() == 0
        assert len(model.sent) == len(set(model.sent)) == 40
        with smelt.ledger.open(path) as ledger:
            assert [(one["rows"], one["distinct_rows"], one["state"]) for one in ledger.runs()] == [(120, 120, "done")]
            assert ledger.check() == []

    def test_a_stream_and_a_transform_know_each_others_rows(self, path: Path) -> None:
        smelt.transform(polars_frame(0, 10), PROMPT, Label, model=Model(), ledger=path, progress=False)
        model = Model()

        list(streamed(cut(polars_frame, 6, 6), model, ledger=path))

        assert sorted(model.sent) == ["row 10", "row 11"]


class TestSurroundings:
    def test_a_stream_may_read_a_stream(self) -> None:
        inner = streamed(cut(polars_frame, *[4] * 10), Model())

        second = ScriptedProvider({"text": "said"})

        frames = list(streamed(inner, second, error_column="second", output=str, prompt="Say {kind}."))

        assert [frame.columns for frame in frames] == [
            ["name", "number", "length", "kind", "smelt_error", "smelt_text", "second"]
        ] * 10
        assert {text for frame in frames for text in frame["smelt_text"]} == {"said"}

    def test_in_a_running_loop_it_works_and_says_once_that_the_loop_stands_still(self) -> None:
        async def work() -> list[int]:
            assert asyncio.current_task() is not None
            return [len(frame) for frame in streamed(cut(polars_frame, 4, 4), Model())]

        with pytest.warns(SmeltWarning, match=r"await smelt.astream\(\)") as caught:
            assert asyncio.run(work()) == [4, 4]

        assert [one.filename for one in caught] == [__file__]

    def test_progress_follows_what_was_read(self) -> None:
        tally = Tally()

        list(streamed(cut(polars_frame, 4, 4, 4), Model(), progress=lambda event: tally.take(event, 0.0)))

        assert (tally.rows, tally.done, tally.is_open, tally.ended) == (12, 12, True, "done")
        assert phrases(Tally(rows=1_200, answered=800, is_open=True), 0.0)[0] == "800 of 1,200 rows read"

    def test_memory_does_not_grow(self) -> None:
        made: list[weakref.ref[pd.DataFrame]] = []

        def frames() -> Iterator[pd.DataFrame]:
            for at in range(40):
                frame = pandas_frame(at * 50, at * 50 + 50)
                made.append(weakref.ref(frame))
                yield frame
                del frame

        out = streamed(frames(), Model(), concurrency=2, batch_size=5)
        alive = [sum(one() is not None for one in made) for _ in out]

        assert (
            max(alive) <= 4
        )  # The first one, by which the ledger knows the run; the one that is held; two on their way.


class TestThreads:
    def test_every_step_may_be_on_another_thread(self, path: Path) -> None:
        out = streamed(cut(polars_frame, *[10] * 6), Model(), ledger=path)
        frames: list[pl.DataFrame] = []

        for _ in range(6):
            step = threading.Thread(target=lambda: frames.append(next(out)))
            step.start()
            step.join()
        out.close()

        assert [len(frame) for frame in frames] == [10] * 6
        assert frames[5]["length"].to_list() == [6] * 10


@pytest.fixture(scope="module")
def eager_seconds() -> float:
    """How long one transform of `ROWS` rows takes, in turns of 320."""

    async def whole() -> None:
        data = polars_frame(0, ROWS)
        await smelt.atransform(data, PROMPT, Label, model=Model(0.3), progress=False, batch_size=5, concurrency=64)

    return run_jumping(whole()).seconds


class TestAsync:
    def test_it_takes_both_kinds_of_iterators(self) -> None:
        async def later() -> AsyncIterator[pl.DataFrame]:
            for frame in cut(polars_frame, 4, 4):
                await asyncio.sleep(1.0)
                yield frame

        async def work(frames: Any) -> list[list[str]]:
            return [names(one) async for one in smelt.astream(frames, PROMPT, Label, model=Model(), progress=False)]

        expected = [names(frame) for frame in cut(polars_frame, 4, 4)]

        assert run_jumping(work(later())).result == expected
        assert run_jumping(work(cut(polars_frame, 4, 4))).result == expected

    def test_a_finished_frame_does_not_wait_for_the_next_one_to_be_read(self) -> None:
        async def slow() -> AsyncIterator[pl.DataFrame]:
            for frame in cut(polars_frame, 4, 4, 4):
                yield frame
                await asyncio.sleep(100.0)

        async def work() -> list[float]:
            clock = asyncio.get_running_loop().time
            return [clock() async for _ in smelt.astream(slow(), PROMPT, Label, model=Model(0.5), progress=False)]

        assert run_jumping(work()).result == pytest.approx([0.5, 101.0, 201.0])

    def test_closing_it_leaves_no_task(self) -> None:
        async def work() -> tuple[int, int]:
            model = Model(0.5)
            async with aclosing(
                smelt.astream(cut(polars_frame, *[10] * 50), PROMPT, Label, model=model, progress=False)
            ) as out:
                async for _ in out:
                    break
            return len(asyncio.all_tasks()), len(model.sent)

        tasks, sent = run_jumping(work()).result

        assert tasks == 1
        assert sent <= 20

    def test_the_callers_exception_comes_after_the_frames_before_it(self) -> None:
        async def frames() -> AsyncIterator[pl.DataFrame]:
            yield polars_frame(0, 4)
            raise ConnectionResetError("gone")

        async def work() -> int:
            seen = 0
            with pytest.raises(ConnectionResetError, match="gone"):
                async for _ in smelt.astream(frames(), PROMPT, Label, model=Model(), progress=False):
                    seen += 1
            return seen

        assert run_jumping(work()).result == 1

    @pytest.mark.parametrize("size", whole(320, 64, 3_200), ids=lambda size: f"{size} rows")
    def test_the_pool_stays_full_across_frames(self, size: int, eager_seconds: float) -> None:
        async def parts() -> None:
            frames = cut(polars_frame, *[size] * (ROWS // size))
            out = smelt.astream(frames, PROMPT, Label, model=Model(0.3), progress=False, batch_size=5, concurrency=64)
            async for _ in out:
                pass

        seconds = run_jumping(parts()).seconds

        assert eager_seconds / seconds >= 0.9

    def test_a_deadline_holds_for_all_frames(self) -> None:
        async def work() -> list[pl.DataFrame]:
            frames = cut(polars_frame, *[4] * 6)
            out = smelt.astream(frames, PROMPT, Label, model=Model(1.0), progress=False, concurrency=1, deadline=2.5)
            with pytest.warns(SmeltWarning, match="deadline"):
                return [frame async for frame in out]

        frames, seconds = run_jumping(work())

        assert seconds == pytest.approx(2.5)
        assert [frame["smelt_error"].null_count() for frame in frames] == [4, 4, 0, 0, 0, 0]


class TestDoor:
    def test_it_asks_for_some_fields_of_frames_that_lack_columns_that_are_not_sent(self) -> None:
        model = ScriptedProvider({"length": 3})
        call = prepare(polars_frame(0, 0), PROMPT, Label, model, Settings(progress=False))
        frames = [frame.select("name") for frame in cut(polars_frame, 2, 3)]

        out = list(door(frames, call, fields=["length"], rows=5))

        assert [frame.columns for frame in out] == [["name", "length", "smelt_error"]] * 2
        assert "kind" not in model.requests[0].system
        assert out[1]["length"].to_list() == [3, 3, 3]


_LEFT_OPEN = """
import sys
import pandas as pd
import smelt
from pydantic import BaseModel

class Out(BaseModel):
    sector: str

frames = (pd.DataFrame({"name": [f"{number}-{row}" for row in range(10)]}) for number in range(20))
model = smelt.Model("openai", "gpt-4.1-mini", api_key="sk-test-0123456789abcdef", base_url=sys.argv[1])
kept = smelt.stream(frames, "Classify {name}.", Out, model=model, ledger=sys.argv[2], progress=False)
next(kept)
raise RuntimeError("the script's own trouble")
"""


@pytest.mark.slow
@pytest.mark.whole
def test_a_script_that_dies_with_an_open_stream_shows_its_own_trouble_alone(
    scenario: MakeScenario, tmp_path: Path
) -> None:
    slow = scenario(latency=0.2, answers={"sector": {"choice": ["tech", "other"], "of": "name"}})
    command = [sys.executable, "-c", _LEFT_OPEN, slow.base_url("openai"), str(tmp_path / "ledger.sqlite")]

    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=HANGING)

    assert done.returncode == 1
    assert done.stderr.startswith("Traceback (most recent call last):")
    assert done.stderr.rstrip().endswith("RuntimeError: the script's own trouble")
    assert len(done.stderr.splitlines()) <= 4
    with smelt.ledger.open(tmp_path / "ledger.sqlite") as ledger:
        assert ledger.runs()[0]["state"] == "interrupted"
        assert ledger.count() >= 10
