"""Validators that do anything, and what counts as an answer."""

from __future__ import annotations

import asyncio
import json
import signal
import sys
import warnings
from datetime import datetime
from decimal import Decimal
from typing import Any, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, field_validator, model_validator

from smelt.plan.schema import read_output
from smelt.plan.validate import Accepted, InvalidRow, Validator
from tests.plan.orders import Item, Order, answer, judged


class Plain(BaseModel):
    n: int
    word: str


BEFORE: Any = model_validator(mode="before")


WRAP: Any = model_validator(mode="wrap")


def after(check: Any) -> type[BaseModel]:
    return type("Checked", (Plain,), {"check": model_validator(mode="after")(check), "__module__": __name__})


def before(check: Any) -> type[BaseModel]:
    return type("Checked", (Plain,), {"check": BEFORE(classmethod(check)), "__module__": __name__})


def wrap(check: Any) -> type[BaseModel]:
    return type("Checked", (Plain,), {"check": WRAP(classmethod(check)), "__module__": __name__})


class Other(BaseModel):
    n: int = 1
    word: str = "other"


RETURNS = {
    "nothing": None,
    "a dict": {"n": 1, "word": "a"},
    "another model": Other(),
    "a text": "x",
    "a class": Plain,
    "a model without its fields": Plain.model_construct(),
}


@pytest.mark.parametrize("make", [after, wrap])
@pytest.mark.parametrize("returned", RETURNS.values(), ids=RETURNS.keys())
def test_a_model_validator_that_returns_something_else_costs_its_row(make: Any, returned: Any) -> None:
    model = make((lambda self: returned) if make is after else (lambda cls, value, handler: returned))

    outcome = judged(model, '{"n":1,"word":"a"}')

    assert isinstance(outcome, InvalidRow)
    assert outcome.is_final


@pytest.mark.parametrize("returned", [None, 5, "x", ["n"]], ids=repr)
def test_what_a_validator_before_makes_of_an_answer_is_validated_as_the_answer(returned: Any) -> None:
    assert isinstance(judged(before(lambda cls, value: returned), '{"n":1,"word":"a"}'), InvalidRow)


class Unshowable(ValueError):
    def __str__(self) -> str:
        raise RuntimeError("no text")


RAISED: list[BaseException] = [
    RecursionError(), AttributeError("n"), KeyError("n"), StopIteration(), StopAsyncIteration(), MemoryError(),
    OSError(), NotImplementedError(),
    RuntimeError(), TypeError(), SystemExit(2), GeneratorExit(), asyncio.CancelledError(), Unshowable(),
    ExceptionGroup("many", [ValueError()]),
    BaseException(),
]  # fmt: skip


@pytest.mark.parametrize("problem", RAISED, ids=lambda one: type(one).__name__)
def test_whatever_a_validator_raises_costs_its_row(problem: BaseException) -> None:
    def check(self: Any) -> Any:
        raise problem

    outcome = judged(after(check), '{"n":1,"word":"a"}')

    assert isinstance(outcome, InvalidRow)
    assert outcome.is_final


@pytest.mark.parametrize("problem", [ValueError("no"), AssertionError("no")], ids=repr)
def test_what_a_validator_says_of_an_answer_is_told_to_the_model(problem: Exception) -> None:
    def check(self: Any) -> Any:
        raise problem

    outcome = judged(after(check), '{"n":1,"word":"a"}')

    assert isinstance(outcome, InvalidRow)
    assert not outcome.is_final
    assert "no" in str(outcome)


def test_ctrl_c_in_a_validator_ends_the_run() -> None:
    def check(self: Any) -> Any:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        judged(after(check), '{"n":1,"word":"a"}')


def test_what_a_signal_handler_raises_while_a_validator_runs_ends_the_run() -> None:
    def stop(signum: int, frame: object) -> None:
        sys.exit(143)

    def check(self: Any) -> Any:
        signal.raise_signal(signal.SIGUSR1)
        return self

    earlier = signal.signal(signal.SIGUSR1, stop)
    try:
        with pytest.raises(SystemExit, match="143"):
            judged(after(check), '{"n":1,"word":"a"}')
    finally:
        signal.signal(signal.SIGUSR1, earlier)


async def _after(self: Any) -> Any:
    return self


async def _before(cls: Any, value: Any) -> Any:
    return value


async def _wrap(cls: Any, value: Any, handler: Any) -> Any:
    return handler(value)


class AsyncFields(BaseModel):
    n: int
    words: list[str]

    @field_validator("n")
    @classmethod
    async def _n(cls, value: int) -> int:
        return value

    @field_validator("words", mode="before")
    @classmethod
    async def _words(cls, value: Any) -> Any:
        return value


class AsyncAfter(BaseModel):
    n: int
    words: list[str]

    @field_validator("n", "words")
    @classmethod
    async def _all(cls, value: Any) -> Any:
        return value


class Hidden(BaseModel):
    """Whose coroutine nothing gives away before it is made."""

    n: int
    words: list[str]

    @field_validator("n", "words")
    @classmethod
    def _all(cls, value: Any) -> Any:
        return _before(cls, value)


@pytest.mark.parametrize(
    "model",
    [after(_after), before(_before), wrap(_wrap), AsyncFields, AsyncAfter, Hidden],
    ids=["after", "before", "wrap", "fields", "fields after", "hidden"],
)
def test_an_async_validator_costs_its_row_and_leaves_no_coroutine(model: Any) -> None:
    text = '{"n":1,"word":"a"}' if issubclass(model, Plain) else '{"n":1,"words":["a"]}'

    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        outcome = judged(model, text)

    assert not caught
    assert isinstance(outcome, InvalidRow)
    assert outcome.is_final


class Shared(BaseModel):
    item: Item
    words: list[str]

    @model_validator(mode="after")
    def _shares(self) -> Shared:
        self.item, self.words = KEPT
        self.words.append("more")
        return self


KEPT: tuple[Item, list[Any]] = (Item(howMany=1, price=Decimal(1)), [])


def test_a_validator_that_keeps_what_it_returned_changes_no_answer_later() -> None:
    first = judged(Shared, '{"item":{"howMany":1,"price":"1.00"},"words":[]}')
    judged(Shared, '{"item":{"howMany":1,"price":"1.00"},"words":[]}')
    KEPT[0].count = "many"  # type: ignore[assignment]  # As a validator may.

    assert isinstance(first, Accepted)
    assert first.values[1] == ["more"]
    assert first.values[0].count == 1


class Ranges(BaseModel):
    n: int
    moment: datetime
    word: str
    kind: Literal["a", "b"]

    @field_validator("n")
    @classmethod
    def _n(cls, value: int) -> int:
        return 2**70 if value == 1 else value

    @field_validator("word")
    @classmethod
    def _word(cls, value: str) -> str:
        return "\ud800" if value == "half" else value

    @field_validator("kind")
    @classmethod
    def _kind(cls, value: str) -> Any:
        class Equal:
            def __eq__(self, other: object) -> bool:
                return True

            __hash__ = None  # type: ignore[assignment]  # As of a mock.ANY.

        return Equal() if value == "b" else value


@pytest.mark.parametrize(
    ("n", "moment", "word", "kind", "is_final"),
    [
        (1, "2026-01-01T00:00:00Z", "a", "a", True),
        (2**70, "2026-01-01T00:00:00Z", "a", "a", False),
        (2, "0001-01-01T00:00:00+01:00", "a", "a", False),
        (2, "2026-01-01T00:00:00Z", "half", "a", True),
        (2, "2026-01-01T00:00:00Z", "a", "b", True),
    ],
    ids=["integer of the validator's", "integer of the model's", "instant of the model's", "surrogate", "equal to all"],
)
def test_a_value_out_of_range_is_asked_again_only_if_the_model_gave_it(
    n: int, moment: str, word: str, kind: str, is_final: bool
) -> None:
    outcome = judged(Ranges, json.dumps({"n": n, "moment": moment, "word": word, "kind": kind}))

    assert isinstance(outcome, InvalidRow)
    assert outcome.is_final is is_final


@given(st.lists(st.sampled_from([answer(), answer(number='"x"'), "no JSON", "{}", "[1]", None])))
def test_many_stored_answers_are_read_as_each_by_itself(texts: list[str | None]) -> None:
    validator = Validator(read_output(Order))

    def alone(text: str | None) -> Any:
        try:
            return None if text is None else validator.values(text)
        except InvalidRow:
            return None

    assert validator.all_values(texts) == [alone(text) for text in texts]


class Labelled(BaseModel):
    label: Literal["a", "b"]
    at: datetime


class Tagged(BaseModel):
    tags: list[str]


A, B = ('{"label":"a","at":"2026-01-01T00:00:00Z"}', '{"label":"b","at":"2026-01-01T00:00:00Z"}')


@given(st.lists(st.sampled_from([A, B, '{"label":"c","at":"2026-01-01T00:00:00Z"}', "no JSON", None]), max_size=12))
def test_many_stored_answers_that_repeat_are_read_as_each_by_itself(texts: list[str | None]) -> None:
    validator = Validator(read_output(Labelled))
    valid = {text: validator.values(text) for text in (A, B)}

    assert validator.all_values(texts) == [valid.get(text) if text else None for text in texts]


def test_rows_with_the_same_stored_list_have_a_list_each() -> None:
    one, other = Validator(read_output(Tagged)).all_values(['{"tags":["x"]}'] * 2)

    assert one == other == (["x"],)
    assert one is not None
    assert other is not None
    assert one[0] is not other[0]
