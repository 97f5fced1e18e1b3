"""Types of fields written as text."""

from __future__ import annotations

from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import Any, Literal

import pytest

from smelt.errors import SchemaError
from smelt.plan.kinds import Choice, FixedPoint
from smelt.plan.schema import read_output
from smelt.plan.shorthand import fields_of, type_of


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("str", str),
        (" text ", str),
        ("int?", int | None),
        ("int|null", int | None),
        ("bool", bool),
        ("date", date),
        ("datetime", datetime),
        ("duration", timedelta),
        ("list[str]", list[str]),
        ("list[list[int?]]", list[list[int | None]]),
        ("yes|no", Literal["yes", "no"]),
        ("yes | no ?", Literal["yes", "no"] | None),
        ("list[tech|finance]", list[Literal["tech", "finance"]]),
        ("'int'|\"a|b\"", Literal["int", "a|b"]),
        ("a b|c-d", Literal["a b", "c-d"]),
        ("list[a|b]|null", list[Literal["a", "b"]] | None),
        ("a|b|null", Literal["a", "b"] | None),
    ],
)
def test_a_text_says_a_type(text: str, wanted: Any) -> None:
    assert type_of(text, "f") == wanted


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("strng", "Did you mean 'string'"),
        ("", "Write str, int"),
        ("int|str", "'int' is a type"),
        ("a|", "A value is missing"),
        ("a|b|a", "'a' is there twice"),
        ("decimal", "decimal\\(2\\)"),
        ("decimal(40)", "Write str, int"),
        ("list", "list\\[str\\]"),
        ("list[", "Write str, int"),
        ("int(5..1)", "above the upper one"),
        ("int(1.5..2)", "'1.5' is no whole number"),
        ("only", "a choice such as"),
    ],
)
def test_what_says_none_is_refused_with_a_way_out(text: str, said: str) -> None:
    with pytest.raises(SchemaError, match=f"for the field 'f'.*{said}"):
        type_of(text, "f")


def test_fields_make_an_output_model() -> None:
    output = read_output(
        fields_of(["sector: tech|finance # the main one", "score:int(1..5)?", "price: decimal(2)", "when : date"])
    )

    sector, _, price, _ = output.fields
    assert [one.name for one in output.fields] == ["sector", "score", "price", "when"]
    assert isinstance(sector.kind, Choice)
    assert sector.description == "the main one"
    answer = output.model.model_validate({"sector": "tech", "score": None, "price": "1.25", "when": "2026-11-30"})
    assert dict(answer) == {"sector": "tech", "score": None, "price": Decimal("1.25"), "when": date(2026, 11, 30)}
    with pytest.raises(ValueError, match="less than or equal to 5"):
        output.model.model_validate({"sector": "tech", "score": 6, "price": "1", "when": "2026-11-30"})
    assert isinstance(price.kind, FixedPoint)


@pytest.mark.parametrize(
    ("texts", "said"),
    [(["a"], "a name and a type"), (["a:int", "a:str"], "twice"), ([], "no field"), ([":int"], "a name")],
)
def test_fields_that_are_none_are_refused(texts: list[str], said: str) -> None:
    with pytest.raises(SchemaError, match=said):
        fields_of(texts)
