"""A JSON Schema as an output model."""

from __future__ import annotations

from datetime import date
from decimal import Decimal
from typing import Annotated, Any, Literal

import pytest
from pydantic import BaseModel, Field

from smelt.errors import SchemaError
from smelt.plan.jsonschema import model_of_schema
from smelt.plan.schema import read_output


class Part(BaseModel):
    """A part."""

    name: str
    size: Annotated[float, Field(gt=0)]


class Whole(BaseModel):
    """All of it."""

    sector: Literal["tech", "finance"] = Field(description="What it sells.")
    score: Annotated[int, Field(ge=0, le=10)] | None
    on: date
    tags: Annotated[list[str], Field(max_length=3)]
    parts: list[Part]
    best: Part | None


def shape(fields: Any) -> Any:
    """The fields, without the classes that they were made from."""
    return [(one.name, one.description, bare(one.kind)) for one in fields]


def bare(kind: Any) -> Any:
    inner = [shape(kind.fields)] if hasattr(kind, "fields") else [bare(kind.item)] if hasattr(kind, "item") else []
    return (type(kind).__name__, kind.nullable, dict(kind.constraints), getattr(kind, "values", None), *inner)


def test_the_schema_of_a_model_is_read_as_that_model() -> None:
    made = model_of_schema(Whole.model_json_schema())

    assert shape(read_output(made).fields) == shape(read_output(Whole).fields)
    assert read_output(made).description == "All of it."


def test_a_property_that_is_not_required_may_be_null() -> None:
    made = model_of_schema({"properties": {"note": {"type": ["string", "null"]}, "class": {"type": "integer"}}})

    assert [(one.key, one.kind.nullable) for one in read_output(made).fields] == [("note", True), ("class", True)]


@pytest.mark.parametrize(
    ("schema", "message"),
    [
        ([], "an object with properties"),
        ({"type": "string"}, "has no properties"),
        ({"properties": {"a": 5}}, "'a' of the schema is 5, and no schema"),
        ({"properties": {"a": {"type": "strin"}}}, "has the type 'strin'"),
        ({"properties": {"a": {}}}, "has the type None"),
        ({"properties": {"a": {"type": "object"}}}, "'a' of the schema has no properties"),
        ({"properties": {"a": {"type": ["string", "integer"]}}}, "has 2 types"),
        ({"properties": {"a": {"oneOf": []}}}, "uses 'oneOf'"),
        ({"properties": {"a": {"enum": [1, 2]}}}, "choices that are no strings"),
        ({"properties": {"a b": {"type": "string"}}}, "no usable name"),
        ({"properties": {"a": {"$ref": "#/$defs/B"}}}, "refers to '#/\\$defs/B'"),
        ({"properties": {"a": {"$ref": "https://x.org"}}}, "which is not in the schema"),
        (
            {"properties": {"a": {"$ref": "#/$defs/B"}}, "$defs": {"B": {"$ref": "#/$defs/B"}}},
            "refers to itself",
        ),
        (
            {"properties": {"a": {"$ref": "#/$defs/B"}}, "$defs": {"B": {"properties": {"b": {"$ref": "#/$defs/B"}}}}},
            "has the type None|contains itself",
        ),
    ],
)
def test_what_no_column_can_hold_is_refused_with_its_place(schema: Any, message: str) -> None:
    with pytest.raises(SchemaError, match=message):
        model_of_schema(schema)


def test_a_schema_that_contains_itself_ends() -> None:
    node = {"type": "object", "properties": {"next": {"$ref": "#/$defs/Node"}}}

    with pytest.raises(SchemaError, match="contains itself"):
        model_of_schema({"properties": {"a": {"$ref": "#/$defs/Node"}}, "$defs": {"Node": node}})


def test_a_money_format_stays_a_number() -> None:
    made = model_of_schema({"properties": {"price": {"type": "number", "multipleOf": 0.5}}, "required": ["price"]})

    assert made(price=Decimal("1.5")).model_dump() == {"price": 1.5}
