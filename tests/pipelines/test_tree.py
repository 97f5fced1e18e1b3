"""Many rows to one answer: how rows are cut, what is asked again, and what a failed part does."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from math import ceil, log
from pathlib import Path
from typing import Any

import pandas as pd
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel

import smelt
from smelt.errors import AuthenticationError, SmeltConfigError
from smelt.pipelines.tree import ANSWERS, ROWS, Gathered, Leaf, Part, Tree, leaves
from smelt.plan.answers import RowFailure
from smelt.providers.base import Billing, CallFailed, Request
from smelt.testing import ScriptedProvider, asked
from tests.pipelines.test_eager import FRAMES, plain


def add(row: Mapping[str, Any]) -> dict[str, int]:
    """The sum of a part, of the answers to parts, or of a part and the answer before it."""
    below = sum(one["total"] for one in row.get("answers", ())) + sum(one["n"] for one in row.get("rows", ()))
    return {"total": below + (row.get("answer") or {"total": 0})["total"]}


def numbers(count: int) -> list[dict[str, Any]]:
    return [{"n": number, "half": "even" if number % 2 == 0 else "odd"} for number in range(count)]


def total(frame: Any, provider: Any, **options: Any) -> Any:
    return smelt.aggregate(frame, "Add {n}.", {"total": int}, model=provider, **{"progress": False, **options})


@pytest.mark.parametrize("strategy", ["tree", "fold"])
@pytest.mark.parametrize("kind", FRAMES)
def test_each_row_is_in_one_answer_of_its_group(kind: str, strategy: str) -> None:
    out = total(FRAMES[kind](numbers(100)), ScriptedProvider(add), by="half", rows=7, fan_in=3, strategy=strategy)

    assert plain(out) == [
        {"half": "even", "total": sum(range(0, 100, 2)), "smelt_rows": 50, "smelt_error": None},
        {"half": "odd", "total": sum(range(1, 100, 2)), "smelt_rows": 50, "smelt_error": None},
    ]


@pytest.mark.parametrize("kind", FRAMES)
def test_all_rows_are_one_group_without_by(kind: str) -> None:
    out = plain(total(FRAMES[kind](numbers(30)), ScriptedProvider(add), rows=4))

    assert out == [{"total": sum(range(30)), "smelt_rows": 30, "smelt_error": None}]


def test_no_rows_are_no_group() -> None:
    assert len(total(pd.DataFrame({"n": []}), ScriptedProvider(add))) == 0


def test_an_appended_row_asks_few_requests(tmp_path: Path) -> None:
    provider, options = ScriptedProvider(add), {"rows": 20, "ledger": tmp_path / "answers.sqlite"}
    total(numbers(3_000), provider, **options)
    first = len(provider.requests)
    total(numbers(3_000), provider, **options)
    again = len(provider.requests) - first
    out = total(numbers(3_001), provider, **options)

    assert (first, again) == (150 + 19 + 3 + 1, 0)
    assert len(provider.requests) - first <= 4
    assert out[0]["total"] == sum(range(3_001))


def test_a_part_that_is_too_long_is_asked_in_halves() -> None:
    (out,) = total(numbers(20), Narrow(add), rows=10)

    assert (out["total"], out["smelt_rows"], out["smelt_error"]) == (sum(range(20)), 20, None)


class Narrow(ScriptedProvider):
    """Takes three rows in a part at most."""

    async def send(self, request: Request) -> Any:
        if any(len(row.get("rows", ())) > 3 for _, row in asked(request)):
            raise CallFailed("too_long", Billing.REJECTED, "Too many tokens.", status=400)
        return await super().send(request)


def test_a_part_that_is_too_long_is_no_failure_that_ends_the_run() -> None:
    (out,) = total(numbers(20), Narrow(add), rows=10, on_error="raise")

    assert (out["total"], out["smelt_rows"]) == (sum(range(20)), 20)
    with pytest.raises(smelt.SmeltExhaustionError, match=r"failed \(missing\)") as failed:
        total(numbers(20), ScriptedProvider(lambda row: None), by="half", on_error="raise", max_attempts=1)
    assert failed.value.partial_result is not None


class Late(ScriptedProvider):
    """Answers after a tenth of a second, and after a whole one if a part has a row of the even numbers' second half."""

    async def send(self, request: Request) -> Any:
        slow = any(one["n"] == 98 for _, row in asked(request) for one in row.get("rows", ()))
        await asyncio.sleep(1.0 if slow else 0.1)
        return await super().send(request)


def test_a_group_does_not_wait_for_the_parts_of_another() -> None:
    provider = Late(add)
    job = smelt.AggregateJob(
        "Add {n}.", {"total": int}, by="half", batch_size=10, fan_in=5, progress=False, concurrency=16
    )

    found = smelt.testing.run_jumping(job.arun(provider, data=numbers(100)))

    joined = [at for at, request in enumerate(provider.requests) if "answers" in request.user]
    assert found.result.metrics.successful_rows == 2
    assert joined == [9, 11]  # The odd numbers are joined before the slow part of the even ones is there.


@pytest.mark.parametrize("strategy", ["tree", "fold"])
def test_a_group_that_the_budget_cut_has_no_answer(strategy: str, tmp_path: Path) -> None:
    options: Any = {"by": "half", "rows": 5, "strategy": strategy, "ledger": tmp_path / "answers.sqlite"}
    with pytest.warns(smelt.SmeltWarning, match="stopped early|in no answer"):
        cut = total(numbers(400), ScriptedProvider(add), max_tokens_total=9_000, **options)
    whole = total(numbers(400), ScriptedProvider(add), **options)

    assert [one["smelt_rows"] for one in whole] == [200, 200]
    assert all(one["total"] is None and "budget" in one["smelt_error"] for one in cut if one["smelt_rows"] == 0)
    assert {one["smelt_rows"] for one in cut} <= {0, 200} and 0 in {one["smelt_rows"] for one in cut}


def test_equal_parts_are_asked_once() -> None:
    provider = ScriptedProvider(add)

    out = total([{"n": 1, "of": number % 3} for number in range(12)], provider, by="of", rows=2)

    assert [one["total"] for one in out] == [4, 4, 4]
    assert provider.rows_sent == 2  # One part and one node above it.


@pytest.mark.whole
def test_an_interrupted_tree_goes_on_without_asking_a_part_again(tmp_path: Path) -> None:
    job = smelt.AggregateJob("Add {n}.", Total, batch_size=5, progress=False, ledger=tmp_path / "answers.sqlite")
    providers = [Late(add), Late(add)]

    async def broken_off() -> None:
        task = asyncio.create_task(job.arun(providers[0], data=numbers(2_000)))
        await asyncio.sleep(0.65)
        task.cancel()
        await task

    with pytest.raises(asyncio.CancelledError):
        smelt.testing.run_jumping(broken_off())
    result = smelt.testing.run_jumping(job.arun(providers[1], data=numbers(2_000))).result

    assert result.data == [Total(total=sum(range(2_000)))]
    assert 0 < providers[0].rows_sent < 400 + 50 + 7 + 1 == sum(one.rows_sent for one in providers)


def test_a_refused_key_ends_a_tree() -> None:
    refused = ScriptedProvider(add, script=[CallFailed("auth", Billing.REJECTED, "No such key.", status=401)])

    with pytest.raises(AuthenticationError, match="No such key"):
        total(numbers(40), refused, rows=5)


def test_a_failed_part_is_left_out_counted_and_said() -> None:
    def some(row: Mapping[str, Any]) -> dict[str, int] | None:
        return None if any(one["n"] == 5 for one in row.get("rows", ())) else add(row)

    with pytest.warns(smelt.SmeltWarning, match=r"4 rows of 20 are in no answer.*smelt_rows"):
        (out,) = total(numbers(20), ScriptedProvider(some), rows=4, max_attempts=1)

    assert (out["total"], out["smelt_rows"]) == (sum(range(20)) - 4 - 5 - 6 - 7, 16)


def test_a_group_without_an_answer_has_its_reason() -> None:
    fails = ScriptedProvider(lambda row: None)

    with pytest.warns(smelt.SmeltWarning, match="in no answer"):
        result = (
            smelt.pipeline(model=fails, max_attempts=1, progress=False).aggregate("{n}", {"total": int}).run(numbers(3))
        )

    assert result.frame[0]["total"] is None
    assert result.frame[0]["smelt_error"].startswith("total: missing")
    assert [(error.step, error.kind) for error in result.errors] == [("total", "missing")]


def test_rows_that_failed_before_are_in_no_answer() -> None:
    first = ScriptedProvider(lambda row: None if row["n"] == 1 else {"seen": row["n"]})
    pipe = smelt.pipeline(model=ScriptedProvider(lambda row: {"total": len(row["rows"])}), progress=False)
    pipe = pipe.transform("See {n}.", {"seen": int}, model=first, max_attempts=1)

    with pytest.warns(smelt.SmeltWarning, match="in no answer"):
        out = pipe.aggregate("Count {seen}.", {"total": int}, by="half")(pl.DataFrame(numbers(6)))

    assert out.select("half", "total", "smelt_rows").rows() == [("even", 3, 3), ("odd", 2, 2)]


def test_an_aggregate_in_a_pipeline_and_a_step_after_it() -> None:
    provider = ScriptedProvider(lambda row: {"words": f"{row['total']}!"} if "total" in row else add(row))
    pipe = smelt.pipeline(model=provider, progress=False).aggregate("Add {n}.", {"total": int}, by="half")
    pipe = pipe.transform("Say {total}.", {"words": str})
    frame = pd.DataFrame(numbers(10), index=list("abcdefghij"))

    out = pipe(frame)

    assert out.columns.tolist() == ["half", "total", "smelt_rows", "words", "smelt_error"]
    assert out["words"].tolist() == ["20!", "25!"]
    assert out.index.tolist() == [0, 1]
    assert pipe.estimate(frame).steps["words"].rows == 2
    assert pipe.estimate(frame).steps["total"].requests == 2
    with pytest.raises(smelt.SmeltConfigError, match=r"\{n\}, which is not a column"):
        pipe.transform("Of {n}.", {"x": str}).inspect(frame)


def test_rows_are_read_with_the_text_of_any_other_call() -> None:
    provider = ScriptedProvider(add)

    total(pd.DataFrame(numbers(3)), provider)

    assert '"rows":[{"n":0},{"n":1},{"n":2}]' in provider.requests[0].user
    assert "Add `n`." in provider.requests[0].system


def test_an_accessor_and_bad_arguments() -> None:
    frame = pd.DataFrame(numbers(4))

    out = frame.smelt.aggregate("Add {n}.", {"total": int}, by=["half"], model=ScriptedProvider(add), progress=False)

    assert out["total"].tolist() == [2, 4]
    with pytest.raises(smelt.SmeltConfigError, match="strategy must be 'tree' or 'fold'"):
        total(frame, ScriptedProvider(add), strategy="pairs")
    with pytest.raises(smelt.SmeltConfigError, match=r"There is no column 'haf'.*'half'"):
        total(frame, ScriptedProvider(add), by="haf")
    with pytest.raises(smelt.SmeltConfigError, match="fan_in must be"):
        total(frame, ScriptedProvider(add), fan_in=1)
    with pytest.raises(smelt.SmeltConfigError, match="already has 'half'"):
        smelt.aggregate(frame, "Add {n}.", {"half": int}, by="half", model=ScriptedProvider(add))


@given(st.lists(st.integers(1, 30), max_size=60), st.integers(1, 9), st.integers(1, 60))
def test_leaves_have_each_row_once_in_order(lengths: list[int], rows: int, size: int) -> None:
    texts = [f"{at}{'x' * length}" for at, length in enumerate(lengths)]

    cut = list(leaves(0, texts, rows=rows, size=size))

    assert [text for leaf in cut for text in leaf.texts] == texts
    assert all(len(leaf.texts) <= rows for leaf in cut)
    assert all(len(leaf.texts) == 1 or sum(map(len, leaf.texts)) <= size for leaf in cut)


@given(st.integers(1, 200), st.integers(2, 9), st.randoms())
def test_answers_go_up_once_in_order_whenever_they_come(count: int, fan_in: int, draw: Any) -> None:
    gathered = Gathered()
    tree = Tree([node(str(number)) for number in range(count)], fan_in, gathered)
    ready, asked = list(tree.first()), 0

    while ready:
        one = ready.pop(draw.randrange(len(ready)))
        asked += one.column == ANSWERS
        assert one.column == ROWS or 1 < len(one.texts) <= fan_in
        ready += tree.after(one, Part(values=(), text=" ".join(one.texts), rows=one.rows))

    assert gathered.parts[0].text == " ".join(map(str, range(count)))
    assert gathered.parts[0].rows == count
    assert asked == tree.expected(ANSWERS)


def node(text: str) -> Leaf:
    return Leaf(group=0, column=ROWS, texts=(text,))


@given(st.integers(2, 120), st.integers(2, 9), st.data())
def test_a_failed_leaf_or_one_more_row_moves_no_other_node(count: int, fan_in: int, data: st.DataObject) -> None:
    failed = data.draw(st.sets(st.integers(0, count - 1), max_size=3))

    def texts(rows: int, without: set[int]) -> set[str]:
        tree = Tree([node(str(number)) for number in range(rows)], fan_in, Gathered())
        ready, found = list(tree.first()), set()
        while ready:
            one = ready.pop()
            found.add(one.text)
            is_lost = one.column == ROWS and int(one.texts[0]) in without
            lost = RowFailure("missing", "Left out.")
            ready += tree.after(one, lost if is_lost else Part(values=(), text="/".join(one.texts), rows=one.rows))
        return found

    whole, levels = texts(count, set()), 2 + ceil(log(count + 1, fan_in))
    assert len(texts(count + 1, set()) - whole) <= levels
    assert len(texts(count, failed) - whole) <= len(failed) * levels


class Total(BaseModel):
    total: int


@pytest.mark.parametrize("strategy", ["tree", "sequential"])
def test_an_aggregate_job_gives_instances(strategy: Any) -> None:
    job = smelt.AggregateJob("Add {n}.", Total, strategy=strategy, batch_size=2, max_retries=0, progress=False)

    result = job.run(ScriptedProvider(add), data=pl.DataFrame({"n": [1, 2, 3]}))

    assert result.data == [Total(total=6)]
    assert result.metrics.requests == (3 if strategy == "tree" else 2)
    assert result.frame["smelt_rows"].to_list() == [3]
    with pytest.raises(SmeltConfigError, match="has no report"):
        result.report("x.html")


def test_a_group_without_an_answer_is_none_in_an_aggregate_job() -> None:
    job = smelt.AggregateJob("Sum up {text}.", by="group", max_retries=0, progress=False)
    model = ScriptedProvider(lambda row: None if "b" in str(row) else {"text": "A."})

    with pytest.warns(smelt.SmeltWarning, match="in no answer"):
        result = job.run(model, data=[{"group": 1, "text": "a"}, {"group": 2, "text": "b"}])

    assert result.data == ["A.", None]
    assert [error.position for error in result.errors] == [1]


def test_an_empty_list_of_dicts_has_no_group() -> None:
    job = smelt.AggregateJob("Add {n}.", Total, progress=False)

    assert job.run(ScriptedProvider(add), data=[]).data == []
