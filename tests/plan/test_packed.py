"""Rows of replies without field names: what is written is read again, and what has another length is no row."""

from __future__ import annotations

import json
import random
from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import Annotated, Any, Literal

import pydantic
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import BaseModel, Field

from smelt.plan.dialect import Dialect
from smelt.plan.packed import Layout
from smelt.plan.replies import read_reply
from smelt.plan.schema import Output, read_output
from smelt.plan.validate import Validator
from smelt.plan.wire import draw_tokens

TOKENS = draw_tokens(3, "", random.Random(1))
ONE, TWO, THREE = TOKENS
TEXTS = st.text(st.characters(codec="utf-8"), max_size=12) | st.sampled_from(
    ["", " ", "null", "a b", 'say "no"', "a\nb\u2028c", "\\", "true", '","', "NaN", "é 😀"]
)
CHOICES = ("", "null", "a b", "plain", "true", 'q"', "ü", "x\ty", "a_b", "5")
DAYS = st.dates(date(1, 1, 1)).map(date.isoformat)
MOMENTS = st.datetimes(datetime(1900, 1, 1), datetime(2100, 1, 1)).map(lambda one: one.isoformat())
WORDS: list[tuple[Any, st.SearchStrategy[Any]]] = [
    (bool, st.booleans()),
    (int, st.integers(-(2**63), 2**63 - 1)),
    (Annotated[int, Field(ge=1, le=5)], st.integers(1, 5)),
    (float, st.floats(allow_nan=False, allow_infinity=False)),
    (Literal[CHOICES], st.sampled_from(CHOICES)),
    (Annotated[Decimal, Field(decimal_places=3)], st.decimals(-(10**9), 10**9, places=3).map(str)),
    (date, DAYS),
    (datetime, MOMENTS.map(lambda text: f"{text}Z")),
    (timedelta, st.sampled_from(["PT0S", "P1DT2H", "-P3D"])),
]
ALL = [*WORDS, (str, TEXTS)]


def output_of(kinds: list[Any]) -> Output:
    return read_output(pydantic.create_model("Drawn", **{f"f{at}": (kind, ...) for at, kind in enumerate(kinds)}))


def layout_of(*kinds: Any) -> Layout:
    layout = Layout.of(output_of(list(kinds)).fields)
    assert layout is not None
    return layout


@st.composite
def answers(draw: st.DrawFn, *, is_packed: bool) -> tuple[Output, list[dict[str, Any]]]:
    drawn = draw(st.lists(st.sampled_from(WORDS if is_packed else ALL), min_size=1, max_size=5))
    pairs = [(kind | None, values | st.none()) if draw(st.booleans()) else (kind, values) for kind, values in drawn]
    if is_packed and draw(st.booleans()):
        pairs.append((str, TEXTS))
    rows = [{f"f{at}": draw(values) for at, (_, values) in enumerate(pairs)} for _ in TOKENS]
    return output_of([kind for kind, _ in pairs]), rows


@pytest.mark.parametrize("is_packed", [True, False], ids=["words", "any"])
@given(st.data())
@settings(max_examples=60, deadline=None)
def test_every_value_comes_back_as_it_was_written(is_packed: bool, data: st.DataObject) -> None:
    output, rows = data.draw(answers(is_packed=is_packed))
    layout = Layout.of(output.fields)
    assert layout is not None
    assert not is_packed or layout.shape == "packed"
    written = [layout.write(token, row) for token, row in zip(TOKENS, rows, strict=True)]
    text = json.dumps({"rows": data.draw(st.permutations(written))}, ensure_ascii=data.draw(st.booleans()))

    plain = read_reply(text, TOKENS, "array", layout=layout)
    searched = read_reply(f"Sure:\n```json\n{text}\n```", TOKENS, "array", layout=layout)

    validator = Validator(output)
    wanted = [validator.read(dict(row))[0] for row in rows]
    assert plain.is_whole
    for found in (plain, searched):
        assert found.problems == {}
        assert [validator.read(found.found[token])[0] for token in TOKENS] == wanted


@pytest.mark.parametrize(
    ("kinds", "shape"),
    [
        ((bool, int), "packed"),
        ((Literal["a", "b"], str), "packed"),
        ((str, bool), "positional"),
        ((bool, str | None), "positional"),
        ((str,), "packed"),
    ],
)
def test_only_one_text_behind_all_words_is_packed(kinds: tuple[Any, ...], shape: str) -> None:
    assert layout_of(*kinds).shape == shape


def test_a_nested_model_keeps_its_names() -> None:
    assert Layout.of(output_of([bool, list[int]]).fields) is None


def test_values_with_blanks_are_written_as_codes_that_say_what_they_mean() -> None:
    layout = layout_of(Literal["customer service", "customer_service", "price"], bool)

    assert layout.codes == {"f0": {"customer service": "customer_service_2"}}
    assert 'In "f0", write customer_service_2 for "customer service".' in layout.told


@pytest.mark.parametrize(
    ("row", "problem"),
    [
        (f"{ONE} 4", "it had 1 value instead of 2"),
        (f"{ONE} 4 true true", "it had 3 values instead of 2"),
        (f"{ONE}", "it had 0 values instead of 2"),
        (f"{ONE} 4 {TWO}", "it held the id of another row"),
        ([ONE, "4", "true"], "it was an array, not a string"),
    ],
)
def test_a_row_of_another_length_costs_no_other_row(row: Any, problem: str) -> None:
    reply = json.dumps({"rows": [row, f"{THREE} 5 false"]})

    rows = read_reply(reply, TOKENS, "array", layout=layout_of(int, bool))

    assert rows.found == {THREE: {"f0": 5, "f1": False}}
    assert rows.problems == {ONE: problem}


@pytest.mark.parametrize(
    ("row", "problem"),
    [
        ([ONE, "a"], "it had 1 value instead of 2"),
        ([ONE, "a", ["b"]], "a value was no string"),
        ([ONE, "a", f"b {TWO}"], "it held the id of another row"),
        (f"{ONE} a b", "it was a string, not an array"),
    ],
)
def test_an_array_of_another_length_costs_no_other_row(row: Any, problem: str) -> None:
    reply = json.dumps({"rows": [row, [THREE, "c", "d"]]})

    rows = read_reply(reply, TOKENS, "array", layout=layout_of(str, str))

    assert rows.found == {THREE: {"f0": "c", "f1": "d"}}
    assert rows.problems == {ONE: problem}


def test_a_text_that_was_left_out_is_no_empty_text() -> None:
    layout = layout_of(int, str)

    text = json.dumps({"rows": [f"{ONE} 4", f"{TWO} 4 | ", f"{THREE} 4 |"]})
    rows = read_reply(text, TOKENS, "array", layout=layout)

    assert rows.found == {token: {"f0": 4, "f1": ""} for token in (TWO, THREE)}
    assert rows.problems == {ONE: "the text behind | was missing"}


@pytest.mark.parametrize(("words", "found"), [("4", 1), ("4 true 9", 3)])
def test_no_word_becomes_part_of_the_text_behind_the_bar(words: str, found: int) -> None:
    text = json.dumps({"rows": [f"{ONE} {words} | 9 lives"]})
    rows = read_reply(text, TOKENS, "array", layout=layout_of(int, bool, str))

    assert rows.found == {}
    assert rows.problems == {ONE: f"it had {found} value{'s' * (found > 1)} before | instead of 2"}


def test_a_row_twice_is_no_row() -> None:
    text = json.dumps({"rows": [f"{ONE} 4", f"{ONE} 4", f"{TWO} 5"]})

    rows = read_reply(text, TOKENS, "array", layout=layout_of(int))

    assert rows.found == {TWO: {"f0": 5}}
    assert rows.doubled == {ONE}


def test_a_row_of_another_request_is_counted() -> None:
    (other,) = draw_tokens(1, "", random.Random(9))

    rows = read_reply(json.dumps({"rows": [f"{other} 4", "", 5]}), TOKENS, "array", layout=layout_of(int))
    strangers = read_reply(json.dumps({"rows": [f"{other} 4", ""]}), TOKENS, "array", layout=layout_of(int))

    assert rows.found == strangers.found == {}
    assert (strangers.strangers, strangers.foreign) == (2, 1)


def test_a_reply_with_names_is_read_too() -> None:
    rows = read_reply(json.dumps({"rows": [{"id": ONE, "f0": 4}]}), TOKENS, "array", layout=layout_of(int))

    assert rows.found == {ONE: {"f0": 4}}


def test_the_schema_fixes_the_length_of_an_array_if_the_provider_can() -> None:
    layout = layout_of(str | None, str)

    limited = layout.schema(Dialect(keywords=frozenset(["minItems", "maxItems"])))["properties"]["rows"]["items"]

    assert (limited["minItems"], limited["maxItems"]) == (3, 3)
    assert limited["items"] == {"anyOf": [{"type": "string"}, {"type": "null"}]}
    assert "minItems" not in layout.schema(Dialect())["properties"]["rows"]["items"]


class Strict(BaseModel):
    number: int
    note: str


def test_a_word_of_the_wrong_kind_is_refused_with_its_field() -> None:
    output = read_output(Strict)
    layout = Layout.of(output.fields)

    rows = read_reply(json.dumps({"rows": [f"{ONE} four | one"]}), TOKENS, "array", layout=layout)

    with pytest.raises(ValueError, match="number: "):
        Validator(output).read(rows.found[ONE])
