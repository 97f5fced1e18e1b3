"""Rows one by one: each comes once, when it is durable, at the consumer's pace, however the consumer leaves."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import polars as pl
import pytest
from pydantic import BaseModel

import smelt
from smelt.errors import AuthenticationError, ConfigTypeError, SmeltConfigError, SmeltInterrupt, SmeltWarning
from smelt.providers.base import Billing, CallFailed, Reply, Request
from smelt.testing import ScriptedProvider, asked, run_jumping
from tests.patience import HANGING

PROMPT = "Double {n}."
REVOKED = CallFailed("auth", Billing.REJECTED, "HTTP 401: revoked", status=401)


class Twice(BaseModel):
    twice: int


class Model(ScriptedProvider):
    """Doubles all numbers but 7, and knows which rows were sent. A reply takes *latency* seconds."""

    def __init__(self, latency: float = 0.0, **options: Any) -> None:
        super().__init__(lambda row: {"twice": 2 * row["n"]} if row["n"] != 7 else None, **options)
        self.latency = latency
        self.sent: list[int] = []

    async def send(self, request: Request) -> Reply:
        self.sent += [row["n"] for _, row in asked(request)]
        reply = await super().send(request)
        await asyncio.sleep(self.latency)
        return reply


def frame(rows: int = 60) -> pd.DataFrame:
    return pd.DataFrame({"n": range(100, 100 + rows), "note": "x"})


async def awaited(*arguments: Any, **options: Any) -> list[smelt.RowAnswer[Any]]:
    return [one async for one in smelt.as_completed(*arguments, **options)]


def looped(*arguments: Any, **options: Any) -> list[smelt.RowAnswer[Any]]:
    return list(smelt.as_completed(*arguments, **options))


Collect = Callable[..., list[smelt.RowAnswer[Any]]]
WAYS = pytest.mark.parametrize(
    "collect", [looped, lambda *a, **o: run_jumping(awaited(*a, **o)).result], ids=["for", "async for"]
)


@WAYS
@pytest.mark.parametrize("kind", ["pandas", "polars", "records"])
def test_every_row_comes_once_with_what_run_says_of_it(collect: Collect, kind: str) -> None:
    numbers = [*range(30), 3, 3, 7, None, None]
    makers: dict[str, Callable[[], Any]] = {
        "pandas": lambda: pd.DataFrame({"n": pd.array(numbers, dtype="Int64"), "f": 0.5}, index=[0, *["x"] * 34]),
        "polars": lambda: pl.DataFrame({"n": numbers}).with_columns(f=0.5),
        "records": lambda: [{"n": n, "f": 0.5} for n in numbers],
    }
    data = makers[kind]()
    options: dict[str, Any] = {"model": Model(), "null_rows": "skip", "ledger": False, "on_error": "mark"}

    found = sorted(collect(data, PROMPT, Twice, **options), key=lambda one: one.position)

    result = smelt.run(data, PROMPT, Twice, **options)
    assert [one.position for one in found] == list(range(35))
    assert [one.value for one in found] == result.data
    assert [one.error for one in found if one.error] == result.errors
    assert [one.row["n"] for one in found[:33]] == numbers[:33]
    assert found[3].row == {"n": 3, "f": 0.5}
    assert (found[33].value, found[33].error) == (None, None)
    assert [one.label for one in found][:3] == ([0, "x", "x"] if kind == "pandas" else [0, 1, 2])


def test_rows_come_before_the_run_is_over_and_answers_of_the_ledger_first(tmp_path: Path) -> None:
    model = Model()
    options: dict[str, Any] = {"ledger": tmp_path / "l.sqlite", "batch_size": 5, "concurrency": 1}
    smelt.transform(frame(20), PROMPT, Twice, model=model, **options)
    model.sent.clear()
    answers = smelt.as_completed(frame(60), PROMPT, Twice, model=model, **options)

    known = [next(answers) for _ in range(20)]
    first = next(answers)

    assert all(one.from_ledger and one.value and one.value.twice == 2 * one.row["n"] for one in known)
    assert not first.from_ledger
    assert len(model.sent) <= 10
    assert len(list(answers)) == 39
    assert answers.metrics is not None
    assert (answers.metrics.ledger_rows, answers.metrics.total_rows) == (20, 60)


@pytest.mark.parametrize("way", ["break", "exception", "close"])
def test_what_was_paid_is_in_the_ledger_however_the_consumer_leaves(way: str, tmp_path: Path) -> None:
    model = Model()
    options: dict[str, Any] = {"ledger": tmp_path / "l.sqlite", "batch_size": 4, "concurrency": 2}

    def leave() -> None:
        answers = smelt.as_completed(frame(), PROMPT, Twice, model=model, **options)
        for count, _ in enumerate(answers):
            if count == 9 and way == "exception":
                raise KeyError(way)
            if count == 9:
                break
        answers.close()

    if way == "exception":
        with pytest.raises(KeyError, match="exception"):
            leave()
    else:
        leave()
    paid = set(model.sent)
    model.sent.clear()
    after = looped(frame(), PROMPT, Twice, model=model, **options)

    assert 10 <= len(paid) < 40
    assert {one.row["n"] for one in after if one.from_ledger} == paid
    assert sorted(model.sent) == sorted(set(range(100, 160)) - paid)


def test_a_break_ends_the_run_at_once_also_if_nobody_closes_it(tmp_path: Path) -> None:
    model, events = Model(), list[str]()

    for _ in smelt.as_completed(
        frame(), PROMPT, Twice, model=model, batch_size=4, observers=[lambda e: events.append(type(e).__name__)]
    ):
        break

    assert events[-1] == "RunEnded"
    assert len(model.sent) < 40


def test_nothing_is_sent_while_rows_wait_for_a_consumer_that_awaits_something_else() -> None:
    model = Model(latency=0.1)

    async def slowly() -> int:
        async with smelt.as_completed(
            frame(1_000), PROMPT, Twice, model=model, batch_size=10, concurrency=4, ledger=False
        ) as answers:
            await anext(answers)
            await asyncio.sleep(3600)
            ahead = len(model.sent)
            rest = [one async for one in answers]
            assert len(rest) == 999
            return ahead

    # 200 rows wait, and those of four requests come on top, and of the one whose turn it was.
    assert 200 < run_jumping(slowly()).result <= 290


def test_a_paused_loop_uses_up_no_deadline_and_no_timeout(tmp_path: Path) -> None:
    events: list[Any] = []
    answers = smelt.as_completed(
        frame(40), PROMPT, Twice, model=Model(), batch_size=4, concurrency=1, ledger=False, observers=[events.append]
    )

    next(answers)
    before = len(events)
    sum(range(300_000))

    assert len(events) == before
    answers.close()


def test_a_killed_consumer_finds_every_row_that_it_had_in_the_ledger(tmp_path: Path) -> None:
    code = f"""
import os, signal, smelt
from pydantic import BaseModel
from smelt.testing import ScriptedProvider
class Twice(BaseModel):
    twice: int
model = ScriptedProvider(lambda row: {{"twice": 2 * row["n"]}})
for count, one in enumerate(smelt.as_completed(
    [{{"n": n, "note": "x"}} for n in range(100, 160)], "Double {{n}}.", Twice, model=model,
    ledger={str(tmp_path / "l.sqlite")!r}, batch_size=4)):
    os.write(1, f"{{one.row['n']}} ".encode())
    if count == 17:
        os.kill(os.getpid(), signal.SIGKILL)
"""
    killed = subprocess.run([sys.executable, "-c", code], check=False, capture_output=True, text=True, timeout=HANGING)
    had = set(map(int, killed.stdout.split()))

    after = looped(frame(), PROMPT, Twice, model=Model(), ledger=tmp_path / "l.sqlite")

    assert (killed.returncode, len(had)) == (-signal.SIGKILL, 18), killed.stderr
    assert had <= {one.row["n"] for one in after if one.from_ledger}
    assert len(after) == 60


def test_an_answer_that_the_ledger_cannot_store_is_not_handed_out(tmp_path: Path) -> None:
    path = tmp_path / "l.sqlite"
    answers = smelt.as_completed(
        frame(), PROMPT, Twice, model=Model(), ledger=path, batch_size=4, concurrency=1, shuffle=False
    )
    had = [next(answers).position for _ in range(4)]

    os.truncate(path, 0)
    os.truncate(f"{path}-wal", 0)
    with pytest.raises(smelt.StoreError, match="ledger") as caught:
        had += [one.position for one in answers]

    assert len(had) < 60
    assert caught.value.partial_result is not None
    assert next(answers, None) is None


def test_ctrl_c_in_the_body_ends_it_and_carries_what_was_answered(tmp_path: Path) -> None:
    class Interrupting(Model):
        async def send(self, request: Request) -> Reply:
            if len(self.sent) > 20:
                asyncio.get_running_loop().call_soon(signal.raise_signal, signal.SIGINT)
            return await super().send(request)

    answers = smelt.as_completed(frame(), PROMPT, Twice, model=Interrupting(0.01), batch_size=4, ledger=False)
    with pytest.raises(SmeltInterrupt, match="of 60 rows answered") as caught:
        list(answers)

    partial = caught.value.partial_result
    assert partial is not None
    assert 0 < partial.metrics.successful_rows < 60


def test_rows_that_were_answered_come_before_the_error_of_the_run() -> None:
    model = Model(script=[None, *[REVOKED] * 99])
    had = list[Any]()

    with pytest.raises(AuthenticationError, match="revoked"):
        answers = smelt.as_completed(
            frame(), PROMPT, Twice, model=model, batch_size=4, concurrency=1, ledger=False, on_error="raise"
        )
        had.extend(one.value for one in answers)

    assert [type(one) for one in had] == [Twice] * 4


def test_a_run_that_stops_early_marks_the_rest_and_warns() -> None:
    model = Model(script=[None, *[REVOKED] * 99])

    with pytest.warns(SmeltWarning, match="stopped early.*revoked"):
        found = looped(frame(), PROMPT, Twice, model=model, batch_size=4, concurrency=1, ledger=False)

    assert [sum(one.error is None for one in found), len(found)] == [4, 60]


def test_what_cannot_work_is_refused_before_the_first_row() -> None:
    with pytest.raises(SmeltConfigError, match=r"(?s)batch.*run or transform"):
        smelt.as_completed(frame(), PROMPT, Twice, model="openai:gpt-4.1-mini", mode="batch")
    with pytest.raises(smelt.errors.PromptError, match="name"):
        smelt.as_completed(frame(), "Double {name}.", Twice, model=Model())

    async def mixed() -> None:
        answers = smelt.as_completed(frame(), PROMPT, Twice, model=Model(), ledger=False)
        await anext(answers)
        next(answers)

    with pytest.raises(ConfigTypeError, match="async for` already"):
        run_jumping(mixed())
