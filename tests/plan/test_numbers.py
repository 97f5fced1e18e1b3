"""Numbers as JSON Schema has them: read to the last digit, at every depth."""

from __future__ import annotations

import json
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, ConfigDict

from smelt.plan.numbers import LongNumber, coerced_numbers, read_number
from smelt.plan.schema import read_output
from smelt.plan.validate import Accepted, InvalidRow, Validator
from tests.plan.orders import Item, Order, answer, judged


@pytest.mark.parametrize(
    ("number", "value"),
    [
        ("5.0", 5),
        ("5e0", 5),
        ("-0.0", 0),
        ("1.0E2", 100),
        ("1.5e1", 15),
        ("9007199254740993.0", 9007199254740993),
        ("1.23456789012345678e17", 123456789012345678),
        ("123456789012345e3", 123456789012345000),
        ("9223372036854775807.000", 2**63 - 1),
    ],
)
def test_a_number_without_a_fraction_is_an_integer_at_every_depth(number: str, value: int) -> None:
    outcome = judged(Order, answer(number))

    assert isinstance(outcome, Accepted)
    order = outcome.values
    assert (order[0], order[1], order[2]) == (value, value, [[value], []])
    assert [one.count for one in (order[3], *order[4])] == [value] * 3
    assert all(type(one) is int for one in (order[0], order[1], order[2][0][0], order[3].count))
    assert json.loads(outcome.text)["item"]["howMany"] == value  # The ledger reads it as it was read here.


@pytest.mark.parametrize(
    "number",
    ["5.5", '"5"', '"5.0"', "true", "1e400", "1e-400", "9007199254740993.5", "5.00000000000000000001", "1e999999999",
     "1e99999999999999999999", "9223372036854775808.0", "-6.0"],
)  # fmt: skip
def test_nothing_else_is_an_integer(number: str) -> None:
    assert isinstance(judged(Order, answer(number)), InvalidRow)


@pytest.mark.parametrize("price", ["12345678901234567.89", "-12345678901234567.89", "1234567890123456789e-2", "0.10"])
def test_a_decimal_is_exact_at_every_depth(price: str) -> None:
    outcome = judged(Order, answer(price=price))

    assert isinstance(outcome, Accepted)
    _, _, _, item, items, total, _ = outcome.values
    assert [total, item.price, *(one.price for one in items)] == [Decimal(price)] * 4
    assert Validator(read_output(Order)).values(outcome.text) == outcome.values


def test_a_long_number_is_a_float_to_a_float() -> None:
    outcome = judged(Order, answer(share="0.12345678901234567890123"))

    assert isinstance(outcome, Accepted)
    assert outcome.values[-1] == 0.12345678901234567890123


def test_a_number_is_no_text_however_long_it_is() -> None:
    class Said(BaseModel):
        word: str

    assert isinstance(judged(Said, '{"word":12345678901234567.89}'), InvalidRow)


def test_a_model_that_is_not_strict_reads_long_integers_to_the_last_digit() -> None:
    class Lax(BaseModel):
        model_config = ConfigDict(strict=False)
        n: int

    outcome = judged(Lax, '{"n":9007199254740993.0}')

    assert isinstance(outcome, Accepted)
    assert outcome.values == (9007199254740993,)


def test_a_field_that_was_not_asked_for_is_refused_beside_an_integral_float() -> None:
    outcome = judged(Item, '{"howMany":5.0,"price":"1.00","more":12345678901234567.89}')

    assert isinstance(outcome, InvalidRow)
    assert str(outcome) == "a field that was not asked for"


@given(st.decimals(allow_nan=False, allow_infinity=False), st.sampled_from(["f", "e"]))
def test_a_number_is_read_to_the_last_digit_or_kept_as_its_text(value: Decimal, form: str) -> None:
    text = format(value, form)
    if not {".", "e", "E"} & set(text):
        text += ".0"

    found = read_number(text)

    assert isinstance(found, LongNumber) or Decimal(repr(found)) == Decimal(text) or found in (0, float("inf"))
    fields = read_output(Item).fields
    coerced = coerced_numbers(fields, {"howMany": found, "price": found})
    if type(coerced["howMany"]) is int:
        assert coerced["howMany"] == Decimal(text)
    if type(coerced["price"]) is str:
        assert Decimal(coerced["price"]) == Decimal(text)
