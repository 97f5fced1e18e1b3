"""The caller's async function as a model."""

from __future__ import annotations

import asyncio
import functools
import json
import math
import random
import signal
import subprocess
import sys
from collections import Counter
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple

import pandas as pd
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import BaseModel, Field

import smelt
from smelt.errors import AuthenticationError, SmeltConfigError
from smelt.providers import Billing, CallFailed
from smelt.testing import run_jumping


class Length(BaseModel):
    letters: int
    echo: str


class Inner(BaseModel):
    day: date = Field(alias="d")


class Odd(BaseModel):
    when: date
    price: Annotated[Decimal, Field(decimal_places=2)]
    inside: list[Inner]
    label: str = Field(alias="the label")
    part: float | None


NAMES = [f"name {number}" for number in range(50)]
FRAME = pd.DataFrame({"name": NAMES})


async def measured(row: dict[str, Any]) -> Length:
    return Length(letters=len(row["name"]), echo=row["name"])


def ask(function: Any, frame: Any = FRAME, output: Any = Length, **options: Any) -> smelt.SmeltResult[Any]:
    return smelt.run(frame, "Measure {name}.", output, model=function, progress=False, **options)


def test_a_row_goes_in_and_its_answer_comes_out() -> None:
    result = ask(measured)

    assert result.frame["echo"].tolist() == NAMES
    assert result.model == "worker:measured"
    assert result.metrics.requests == len(NAMES)  # A row a request.
    assert result.metrics.cost_usd is None


def test_a_row_has_the_sent_columns_as_a_model_reads_them() -> None:
    seen: list[dict[str, Any]] = []

    async def see(row: dict[str, Any]) -> str:
        seen.append(row)
        return "seen"

    frame: Any = pl.DataFrame({"a": [date(2026, 1, 31)], "b": [1.5], "c": [None], "d": [[1, 2]], "e": ["unsent"]})
    frame.smelt.transform("Look at {a}, {b}, {c} and {d}.", str, model=see)

    assert seen == [{"a": "2026-01-31", "b": 1.5, "c": None, "d": [1, 2]}]


ANSWER = {"when": date(2026, 1, 31), "price": Decimal("1.50"), "inside": [{"d": date(2026, 2, 1)}], "part": None}
MODEL = Odd.model_validate({**ANSWER, "the label": "x"})


@pytest.mark.parametrize(
    "answer",
    [
        MODEL,
        {**ANSWER, "label": "x"},
        {**ANSWER, "the label": "x"},
        {**ANSWER, "label": "x", "inside": MODEL.inside},
        MODEL.model_dump_json(by_alias=True),
    ],
    ids=["model", "by name", "by alias", "models inside", "JSON"],
)
def test_a_model_a_dict_or_json_is_an_answer(answer: Any) -> None:
    async def give(row: dict[str, Any]) -> Any:
        return answer

    result = ask(give, FRAME[:1], Odd)

    assert result.data == [MODEL]


def test_a_str_is_the_answer_where_text_is_asked_for() -> None:
    async def shout(row: dict[str, Any]) -> str:
        return f'{{"text": {row["name"].upper()}'  # Looks like JSON, and is text.

    assert ask(shout, FRAME[:2], str).data == ['{"text": NAME 0', '{"text": NAME 1']


def test_a_lazy_plan_may_use_only_some_of_the_fields() -> None:
    lazy: Any = pl.LazyFrame({"name": NAMES})
    lazy = lazy.smelt.transform("Measure {name}.", Length, model=measured)

    assert lazy.select("letters").collect()["letters"].to_list() == [len(name) for name in NAMES]


@dataclass
class Measured:
    letters: int
    echo: str


class Pair(NamedTuple):
    letters: int
    echo: str


@pytest.mark.parametrize("answer", [Measured(3, "x"), Pair(3, "x")], ids=["dataclass", "named tuple"])
@pytest.mark.parametrize("output", [Length, Measured, Pair], ids=["model", "dataclass", "named tuple"])
def test_an_object_with_fields_is_an_answer(answer: Any, output: Any) -> None:
    async def give(row: dict[str, Any]) -> Any:
        return answer

    assert ask(give, FRAME[:1], output).frame[["letters", "echo"]].values.tolist() == [[3, "x"]]


@pytest.mark.parametrize(
    ("kind", "answer"),
    [(Literal["a", "b"], "b"), (int, 3), (bool, True), (date, date(2026, 1, 31)), (int | None, None)],
    ids=str,
)
def test_a_value_alone_is_the_answer_if_one_value_is_asked_for(kind: Any, answer: Any) -> None:
    async def give(row: dict[str, Any]) -> Any:
        return answer

    result = smelt.run([{"name": "x"}], "Measure {name}.", kind, model=give, output="value", progress=False)

    assert result.frame[0]["value"] == answer


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (None, "returned None, not a model, a dict or a str"),
        ([1], "returned a list, not a model"),
        (7, "returned a int, not a model"),
        ("no JSON", "returned text that is not a JSON object"),
        ("[1]", "returned text that is not a JSON object"),
        ({1: 2}, "returned a dict with the key 1, which is not a str"),
        ({"id": 1, "letters": 1, "echo": ""}, "returned the field 'id', which the output model does not have"),
        ({"letters": object()}, "cannot be written as JSON"),
        ({"letters": 1, "echo": "\ud800"}, "cannot be written as JSON"),
    ],
)
def test_what_is_no_answer_fails_its_row_with_a_sentence(answer: Any, said: str) -> None:
    calls = Counter[str]()

    async def give(row: dict[str, Any]) -> Any:
        calls[row["name"]] += 1
        return answer if row["name"] == "name 3" else measured_now(row)

    result = ask(give)

    assert [(error.position, error.kind) for error in result.errors] == [(3, "own_code")]
    assert said in result.errors[0].message
    assert calls == Counter(NAMES)


def measured_now(row: dict[str, Any]) -> dict[str, Any]:
    return {"letters": len(row["name"]), "echo": row["name"]}


def test_a_nan_is_judged_by_the_output_model() -> None:
    class Half(BaseModel):
        part: float

    class Loose(BaseModel):
        part: Annotated[float, Field(allow_inf_nan=True)]

    async def give(row: dict[str, Any]) -> dict[str, float]:
        return {"part": math.nan}

    with pytest.warns(smelt.SmeltWarning, match="Every row failed"):
        strict = ask(give, FRAME[:1], Half)
    loose = ask(give, FRAME[:1], Loose)

    assert strict.errors[0].kind == "invalid"
    assert [math.isnan(one.part) for one in loose.data if one is not None] == [True]


def test_numpy_values_are_written_as_python_has_them() -> None:
    numpy = pytest.importorskip("numpy")

    class Scores(BaseModel):
        best: float
        all: list[int]

    async def give(row: dict[str, Any]) -> dict[str, Any]:
        return {"best": numpy.float64(0.5), "all": numpy.array([1, 2])}

    assert ask(give, FRAME[:1], Scores).data == [Scores(best=0.5, all=[1, 2])]


def test_a_huge_text_comes_back_whole() -> None:
    async def long(row: dict[str, Any]) -> str:
        return "ü" * 3_000_000

    assert ask(long, FRAME[:1], str).data == ["ü" * 3_000_000]


class Odds(Exception):
    def __str__(self) -> str:
        raise RuntimeError("no words")


@pytest.mark.parametrize(
    ("problem", "said"),
    [
        (ValueError("no such city, key sk-abcdefghijklmnop"), "ValueError: no such city, key [key]"),
        (Odds(), "Odds"),
        (KeyError("x"), "KeyError: 'x'"),
        (asyncio.CancelledError(), "CancelledError"),
        (StopIteration(), "RuntimeError: coroutine raised StopIteration"),
        (OSError(2, "No such file"), "FileNotFoundError: [Errno 2] No such file"),
    ],
    ids=lambda one: type(one).__name__,
)
def test_an_exception_fails_its_row_and_no_other(problem: BaseException, said: str) -> None:
    calls = Counter[str]()

    async def fail(row: dict[str, Any]) -> Length:
        calls[row["name"]] += 1
        if row["name"] == "name 7":
            raise problem
        return await measured(row)

    result = ask(fail)

    assert [(error.position, error.kind, error.message) for error in result.errors] == [(7, "own_code", said)]
    assert calls == Counter(NAMES)


def test_a_function_that_fails_on_every_row_ends_with_all_rows_marked() -> None:
    async def fail(row: dict[str, Any]) -> Length:
        raise NotImplementedError

    with pytest.warns(smelt.SmeltWarning, match=r"Every row failed; the first one \(own_code\): NotImplementedError"):
        result = ask(fail)

    assert len(result.errors) == len(NAMES)


class HTTPStatusError(Exception):
    """Like those of httpx, OpenAI and aiohttp."""

    def __init__(self, status: int) -> None:
        super().__init__(f"HTTP {status}")
        self.status_code = status
        self.response = type("Response", (), {"status_code": status, "headers": {"Retry-After": "2"}})()


class TransportError(Exception):
    """Like that of httpx."""


@pytest.mark.parametrize(
    ("problem", "is_limit"),
    [
        (HTTPStatusError(429), True),
        (HTTPStatusError(503), False),
        (TimeoutError(), False),
        (ConnectionResetError(), False),
        (TransportError("gone"), False),
        (CallFailed("rate_limit", Billing.REJECTED, "Slowly.", retry_after=1), True),
    ],
    ids=["429", "503", "timeout", "reset", "httpx", "own words"],
)
def test_a_failure_that_says_nothing_about_the_row_is_tried_again(problem: Exception, is_limit: bool) -> None:
    calls = Counter[str]()

    async def fail_once(row: dict[str, Any]) -> Length:
        calls[row["name"]] += 1
        if row["name"] == "name 7" and calls["name 7"] == 1:
            raise problem
        return await measured(row)

    result, _ = run_jumping(smelt.arun(FRAME, "Measure {name}.", Length, model=fail_once, progress=False))

    assert result.success
    assert calls == Counter(NAMES) + Counter(["name 7"])
    assert result.metrics.rate_limited == is_limit


def test_a_404_of_what_a_row_names_fails_only_the_row() -> None:
    async def fetch(row: dict[str, Any]) -> Length:
        if int(row["name"].split()[1]) % 2:
            raise HTTPStatusError(404)
        return await measured(row)

    result = ask(fetch)

    assert [error.position for error in result.errors] == list(range(1, 50, 2))
    assert {error.message for error in result.errors} == {"HTTPStatusError: HTTP 404"}


def test_a_refused_key_that_the_function_reports_stops_the_run() -> None:
    async def refuse(row: dict[str, Any]) -> Length:
        raise CallFailed("auth", Billing.REJECTED, "The key was refused.")

    with pytest.raises(AuthenticationError, match="The key was refused"):
        ask(refuse)


def test_a_function_that_is_too_slow_times_out() -> None:
    async def sleep(row: dict[str, Any]) -> Length:
        if row["name"] == "name 7":
            await asyncio.sleep(1_000)
        return await measured(row)

    result, _ = run_jumping(smelt.arun(FRAME, "Measure {name}.", Length, model=sleep, timeout=5, progress=False))

    assert [(error.position, error.kind) for error in result.errors] == [(7, "timeout")]


def test_an_invalid_answer_is_asked_again() -> None:
    calls = Counter[str]()

    async def wrong_once(row: dict[str, Any]) -> dict[str, Any]:
        calls[row["name"]] += 1
        return {"letters": "many", "echo": ""} if calls[row["name"]] == 1 else measured_now(row)

    assert ask(wrong_once, FRAME[:3]).success
    assert set(calls.values()) == {2}


def test_an_interrupt_inside_the_function_ends_the_run_with_what_it_has() -> None:
    calls = Counter[str]()

    async def stop(row: dict[str, Any]) -> Length:
        calls[row["name"]] += 1
        if len(calls) > 20:
            raise KeyboardInterrupt
        return await measured(row)

    with pytest.raises(smelt.SmeltInterrupt, match="Interrupted") as caught:
        ask(stop)

    assert caught.value.partial_result is not None
    assert caught.value.partial_result.metrics.successful_rows >= 15


def test_an_interrupt_inside_the_function_ends_the_run_of_a_program_that_ignores_sigint() -> None:
    async def stop(row: dict[str, Any]) -> Length:
        if row["name"] == "name 7":
            raise KeyboardInterrupt
        return await measured(row)

    before = signal.signal(signal.SIGINT, signal.SIG_IGN)  # As a shell does for what it starts in the background.
    try:
        with pytest.warns(smelt.SmeltWarning, match="The run was left by KeyboardInterrupt"):
            result = ask(stop, shuffle=False, concurrency=1)
    finally:
        signal.signal(signal.SIGINT, before)

    assert result.metrics.successful_rows == 7


def test_a_function_that_exits_ends_the_run_in_order() -> None:
    async def leave(row: dict[str, Any]) -> Length:
        if row["name"] == "name 7":
            sys.exit("enough")
        return await measured(row)

    with pytest.warns(smelt.SmeltWarning, match="The run stopped early: The run was left by SystemExit: enough"):
        result = ask(leave, shuffle=False, concurrency=1)

    assert result.metrics.successful_rows == 7


async def test_a_cancelled_call_cancels_the_function() -> None:
    began, ended = asyncio.Event(), []

    async def wait(row: dict[str, Any]) -> Length:
        began.set()
        try:
            await asyncio.Event().wait()
        finally:
            ended.append(row["name"])
        raise AssertionError

    task = asyncio.create_task(smelt.arun(FRAME[:1], "Measure {name}.", Length, model=wait, progress=False))
    await began.wait()
    task.cancel()

    with pytest.raises(asyncio.CancelledError):
        await task
    assert ended == ["name 0"]


def test_no_more_rows_than_the_function_takes_are_in_flight() -> None:
    now = most = 0

    async def count(row: dict[str, Any]) -> Length:
        nonlocal now, most
        now += 1
        most = max(most, now)
        await asyncio.sleep(0.1)
        now -= 1
        return await measured(row)

    model = smelt.worker(count, name="v1", concurrency=3)
    result, _ = run_jumping(smelt.arun(FRAME, "Measure {name}.", Length, model=model, ledger=False, progress=False))

    assert result.success
    assert most == 3


def test_batch_size_does_not_put_rows_together() -> None:
    assert ask(measured, batch_size=10).metrics.requests == len(NAMES)


def test_a_name_lets_the_ledger_keep_the_answers(tmp_path: Path) -> None:
    ledger, calls = str(tmp_path / "ledger.sqlite"), Counter[str]()

    async def fragile(row: dict[str, Any]) -> Length:
        calls[row["name"]] += 1
        if len(calls) > 20:
            raise KeyboardInterrupt
        return await measured(row)

    async def sound(row: dict[str, Any]) -> Length:
        calls[row["name"]] += 1
        return await measured(row)

    with pytest.raises(smelt.SmeltInterrupt, match="Interrupted"):
        ask(smelt.worker(fragile, name="v1"), ledger=ledger)
    kept = ask(smelt.worker(sound, name="v1"), ledger=ledger)
    again = ask(smelt.worker(sound, name="v1"), ledger=ledger)
    with pytest.warns(smelt.SmeltWarning, match="the model"):
        other = ask(smelt.worker(sound, name="v2"), ledger=ledger)

    assert kept.metrics.ledger_rows >= 15
    assert again.metrics.requests == 0
    assert again.model == "worker:v1"
    assert other.metrics.requests == len(NAMES)


CRASHING = """
import os, sys, smelt
asked = []
async def answer(row):
    asked.append(row)
    if len(asked) == 30 and sys.argv[2] == "crash":
        os._exit(9)
    return row["name"]
rows = [{"name": f"name {number}"} for number in range(50)]
model = smelt.worker(answer, name="v1", concurrency=1)
result = smelt.run(rows, "Repeat {name}.", str, model=model, ledger=sys.argv[1], progress=False)
print(len(asked), result.data == [row["name"] for row in rows])
"""


@pytest.mark.slow
@pytest.mark.whole
def test_after_a_crash_the_answered_rows_are_not_asked_again(tmp_path: Path) -> None:
    def run(how: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-c", CRASHING, str(tmp_path / "ledger.sqlite"), how]
        return subprocess.run(command, capture_output=True, text=True, check=False)

    crashed, resumed, again = run("crash"), run("go on"), run("go on")

    assert crashed.returncode == 9
    asked, is_whole = resumed.stdout.split()
    assert 21 <= int(asked) <= 22  # The row of the crash, and perhaps one whose answer was not yet on disk.
    assert is_whole == "True"
    assert again.stdout.split() == ["0", "True"]


THREADS = """
import asyncio, threading, smelt
started = []
start = threading.Thread.start
def watched(thread):
    started.append(thread.name)
    start(thread)
threading.Thread.start = watched
async def answer(row):
    await asyncio.sleep(0)
    return row["name"]
rows = [{"name": f"name {number}"} for number in range(50)]
hooks = {"before": lambda request: None, "after": lambda request, reply: None}
for model in ("mock:", answer, smelt.worker(answer, name="v1"), smelt.wrap(answer, **hooks, tag="v1")):
    options = {"model": model, "ledger": False, "progress": False}
    assert smelt.run(rows, "Repeat {name}.", str, **options).success
    assert asyncio.run(smelt.arun(rows, "Repeat {name}.", str, **options)).success
print(started)
"""


@pytest.mark.slow
def test_own_code_and_the_mock_start_no_thread_on_either_loop() -> None:
    done = subprocess.run([sys.executable, "-c", THREADS], capture_output=True, text=True, check=False)

    assert done.stdout.strip() == "[]", done.stderr


def test_the_doctor_asks_own_code() -> None:
    async def yes(row: dict[str, Any]) -> dict[str, bool]:
        return {"is_fruit": True}

    wrapped = smelt.wrap(yes, on_error=lambda request, failure: None)
    found = [one for one in smelt.doctor(models=["mock:", yes, wrapped]).findings if one.part == "live"]

    assert [one.name for one in found] == ["mock:", "worker:yes", "worker:yes"]
    assert {one.state for one in found} == {"fine"}


def test_a_ledger_for_a_function_without_a_name_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SmeltConfigError, match=r"cannot keep the answers of measured.*smelt\.worker\(\.\.\., name="):
        ask(measured, ledger=str(tmp_path / "ledger.sqlite"))


class Asker:
    async def __call__(self, row: dict[str, Any]) -> Length:
        return await measured(row)

    async def method(self, row: dict[str, Any]) -> Length:
        return await measured(row)


async def added(extra: str, row: dict[str, Any]) -> Length:
    return Length(letters=0, echo=row["name"])


@pytest.mark.parametrize(
    ("function", "model"),
    [(Asker(), "worker:Asker"), (Asker().method, "worker:method"), (functools.partial(added, "x"), "worker:added")],
    ids=["object", "method", "partial"],
)
def test_everything_async_that_can_be_called_is_a_model(function: Any, model: str) -> None:
    result = ask(function)

    assert result.frame["echo"].tolist() == NAMES
    assert result.model == model


def blocking(row: dict[str, Any]) -> dict[str, Any]:
    return row


@pytest.mark.parametrize("make", [lambda function: function, smelt.worker], ids=["bare", "worker"])
@pytest.mark.parametrize(
    ("function", "name"),
    [(blocking, "blocking"), (lambda row: row, "function"), (functools.partial(blocking), "blocking")],
)
def test_a_function_that_is_not_async_is_refused_with_the_cure(make: Any, function: Any, name: str) -> None:
    with pytest.raises(SmeltConfigError, match=rf"{name} is not async.*async def {name}\(row\)"):
        ask(make(function))


@pytest.mark.parametrize(
    ("options", "said"),
    [({"name": ""}, "name"), ({"name": "a b"}, "name"), ({"name": 1}, "name"), ({"concurrency": 0}, "concurrency")],
)
def test_a_wrong_argument_of_worker_is_refused(options: Any, said: str) -> None:
    with pytest.raises(SmeltConfigError, match=said):
        smelt.worker(measured, **options)


def test_the_same_function_may_be_registered_twice_under_a_name() -> None:
    smelt.register_model("measured", measured)
    smelt.register_model("measured", measured)
    try:
        with pytest.raises(SmeltConfigError, match="registered for another model"):
            smelt.register_model("measured", added)
        assert ask("measured", FRAME[:2]).success
    finally:
        smelt.register_model("measured", None)


def test_params_are_refused() -> None:
    with pytest.raises(SmeltConfigError, match="takes no params"):
        ask(measured, params={"temperature": 0})


async def act(row: dict[str, Any], plan: dict[str, list[str]]) -> Any:
    """Does with a row what its plan says; afterwards answers it."""
    steps = plan.get(row["name"], [])
    step = steps.pop(0) if steps else "answer"
    await asyncio.sleep(len(row["name"]) * 0.01 if step != "late" else 3)
    match step:
        case "raise":
            raise ValueError("bad")
        case "timeout":
            raise TimeoutError
        case "server":
            raise HTTPStatusError(503)
        case "limit":
            raise HTTPStatusError(429)
        case "list":
            return [1]
        case "nan":
            return {"letters": math.nan, "echo": row["name"]}
        case "huge":
            return {"letters": len(row["name"]), "echo": row["name"], "more": "x" * 100_000}
        case _:
            return measured_now(row)


STEPS = st.lists(
    st.sampled_from(["raise", "timeout", "server", "limit", "late", "list", "nan", "huge", "answer"]), max_size=3
)


@given(st.dictionaries(st.sampled_from(NAMES), STEPS, max_size=50), st.randoms(use_true_random=False))
@settings(max_examples=40, deadline=None)
def test_no_row_is_lost_or_put_in_another_place(plan: dict[str, list[str]], rng: random.Random) -> None:
    names = NAMES[:]
    rng.shuffle(names)
    steps = json.loads(json.dumps(plan))
    model = functools.partial(act, plan=steps)

    result, _ = run_jumping(
        smelt.arun([{"name": name} for name in names], "Measure {name}.", Length, model=model, progress=False)
    )

    failed = {error.position for error in result.errors}
    assert len(result.data) == len(names)
    for position, (name, answer) in enumerate(zip(names, result.data)):
        assert (answer is None) == (position in failed)
        assert answer is None or answer.echo == name
        if not plan.get(name) or plan[name] == ["late"]:
            assert answer is not None
        if plan.get(name, [""])[:1] in (["raise"], ["list"]):
            assert answer is None
