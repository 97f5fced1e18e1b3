"""What goes wrong on our own side of the wire costs no row its place, and no answer its value."""

from __future__ import annotations

import asyncio
import pickle
import sys
import warnings
from decimal import Decimal
from typing import Annotated, Any, Literal

import pytest
from pydantic import BaseModel, Field, PrivateAttr, field_validator

import smelt
from smelt.errors import SmeltAPIError, SmeltInterrupt, SmeltWarning
from smelt.providers.base import Billing, CallFailed, Reply
from smelt.testing import ScriptedProvider, answered
from tests.exactness.companies import ask, companies

pytestmark = pytest.mark.filterwarnings("ignore:Every row failed:smelt.errors.SmeltWarning")


class Swapped(BaseModel):
    a: int = Field(alias="b")
    b: int = Field(alias="a")
    _seen: list[int] = PrivateAttr(default_factory=list)

    def model_post_init(self, context: Any) -> None:
        self.a += 1


class Plain(BaseModel):
    x: int


class Wordy(BaseModel):
    x: int

    @field_validator("x")
    @classmethod
    def _never(cls, x: int) -> int:
        raise ValueError("\x1b[31m" + "long " * 5_000)


class Stray(BaseModel):
    kind: Literal["a", "b"]

    @field_validator("kind")
    @classmethod
    def _an_array(cls, kind: str) -> Any:
        import numpy as np

        return np.array(["a", "b"])


class Price(BaseModel):
    amount: Annotated[Decimal, Field(max_digits=30, decimal_places=2)]


def test_instances_hold_what_the_frame_holds_whatever_the_model_does_when_it_is_made() -> None:
    result = smelt.run([{"x": 1}], "Of {x}.", Swapped, model=ScriptedProvider({"a": 10, "b": 20}), progress=False)

    (made,) = result.data
    assert made is not None
    assert (made.a, made.b, made._seen) == (21, 10, [])
    assert (result.frame[0]["a"], result.frame[0]["b"]) == (21, 10)
    assert pickle.loads(pickle.dumps(made)) == made


def test_a_reply_that_breaks_the_reader_leaves_no_row_without_an_outcome() -> None:
    def broken(request: Any) -> Reply:
        return Reply(text=None)  # type: ignore[arg-type]  # A provider of a user's own, which nobody checks.

    provider = ScriptedProvider({"x": 1}, script=[None, broken])

    with pytest.raises(SmeltAPIError, match="AttributeError was raised") as caught:
        smelt.run(companies(10), "Of {name}.", Plain, model=provider, progress=False, batch_size=5, concurrency=1)

    partial = caught.value.partial_result
    assert partial is not None
    assert partial.metrics.successful_rows == sum(one is not None for one in partial.data) == 5
    assert len(partial.errors) == 5


def test_no_text_of_an_answer_steers_an_error_or_swells_a_question() -> None:
    stray = {"x": 1, "\x1b[2Jsecret": 2}
    made_up = ScriptedProvider({}, script=[lambda request: answered(request, lambda row: stray)] * 2)
    wordy = ScriptedProvider({"x": 1})

    extra = smelt.run([{"a": 1}], "Of {a}.", Plain, model=made_up, progress=False, max_attempts=2, shuffle=False)
    long = smelt.run([{"a": 1}], "Of {a}.", Wordy, model=wordy, progress=False, max_attempts=2)

    assert "secret" not in extra.errors[0].message + made_up.requests[-1].user
    assert len(long.errors[0].message) < 400
    assert "\x1b" not in long.errors[0].message
    assert len(wordy.requests[-1].user) < 1_000


def test_a_value_that_refuses_to_be_compared_fails_its_row() -> None:
    result = smelt.run([{"a": 1}], "Of {a}.", Stray, model=ScriptedProvider({"kind": "a"}), progress=False)

    assert [error.kind for error in result.errors] == ["validator"]


@pytest.mark.parametrize("number", ["12.34", "12345678901234567.89", '"12345678901234567.89"'])
def test_a_decimal_that_json_rounds_is_read_as_it_was_written(number: str) -> None:
    def reply(request: Any) -> Reply:
        usual = answered(request, lambda row: {"amount": "@"})
        return Reply(text=usual.text.replace('"@"', number))

    result = smelt.run(
        [{"a": 1}], "Of {a}.", Price, model=ScriptedProvider({}, script=[reply]), progress=False, max_attempts=1
    )

    assert result.data == [Price(amount=Decimal(number.strip('"')))]


@pytest.mark.skipif(sys.version_info < (3, 12), reason="eager tasks came with Python 3.12")
@pytest.mark.whole
def test_many_workers_under_an_eager_task_factory_do_not_fill_the_stack() -> None:
    async def run() -> Any:
        asyncio.get_running_loop().set_task_factory(asyncio.eager_task_factory)  # type: ignore[attr-defined, unused-ignore]
        return await smelt.arun(
            companies(3_000), "Of {name}.", Plain, model=ScriptedProvider({"x": 1}), batch_size=1, progress=False
        )

    assert asyncio.run(run()).success


def test_where_warnings_are_errors_the_result_is_in_the_warning() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(SmeltWarning, match="Every row failed") as caught:
            ask(companies(2), ScriptedProvider(lambda row: None), max_attempts=1)

    assert caught.value.partial_result is not None
    assert len(caught.value.partial_result.errors) == 2


def test_skipped_rows_do_not_hide_a_bad_key() -> None:
    refused = CallFailed("auth", Billing.REJECTED, "no such key")
    provider = ScriptedProvider({}, script=[refused])

    with pytest.raises(smelt.errors.AuthenticationError, match="no such key"):
        smelt.run([{"a": None}, {"a": 1}], "Of {a}.", Plain, model=provider, null_rows="skip", progress=False)


def test_nothing_is_opened_for_no_rows() -> None:
    class Closed(ScriptedProvider):
        def connect(self, *, connections: int) -> Any:
            raise AssertionError("opened")

    assert smelt.run([], "Of them.", Plain, model=Closed({}), progress=False).success


def test_an_interrupt_can_be_pickled() -> None:
    again = pickle.loads(pickle.dumps(SmeltInterrupt("Interrupted.", None)))

    assert (str(again), again.partial_result) == ("Interrupted.", None)
