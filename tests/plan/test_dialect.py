"""The schema that a provider is sent, and what is said in words because it cannot enforce it."""

from __future__ import annotations

import enum
import json

import pytest
from pydantic import (
    BaseModel,
    Field,
    create_model,
)

from smelt.errors import SchemaError
from smelt.plan.dialect import Dialect, array_schema, check_limits, keyed_schema
from smelt.plan.schema import read_output
from smelt.plan.wire import system_text


class Colour(str, enum.Enum):
    RED = "red"
    BLUE = "blue"


class Person(BaseModel):
    name: str
    age: int | None


def test_the_reply_schema_is_closed_and_asks_for_every_field() -> None:
    schema = array_schema(read_output(Person).fields, Dialect())

    row = schema["properties"]["rows"]["items"]
    assert list(row["properties"]) == row["required"] == ["id", "name", "age"]
    assert row["additionalProperties"] is False is schema["additionalProperties"]
    assert row["properties"]["age"] == {"anyOf": [{"type": "integer"}, {"type": "null"}]}


def test_a_keyed_schema_has_one_property_per_row() -> None:
    schema = keyed_schema(read_output(Person).fields, Dialect(), ["k1", "k2"])

    assert schema["required"] == ["k1", "k2"]
    assert "id" not in schema["properties"]["k1"]["properties"]


def test_what_the_provider_cannot_enforce_is_said_in_words() -> None:
    fields = read_output(create_model("A", x=(int, Field(ge=1, le=5, description="Stars")))).fields

    can = array_schema(fields, Dialect(keywords=frozenset({"minimum", "maximum"})))
    cannot = array_schema(fields, Dialect())

    assert can["properties"]["rows"]["items"]["properties"]["x"] == {
        "type": "integer", "minimum": 1, "maximum": 5, "description": "Stars",
    }  # fmt: skip
    assert cannot["properties"]["rows"]["items"]["properties"]["x"] == {
        "type": "integer", "description": "Stars; at least 1; at most 5",
    }  # fmt: skip


def test_a_pattern_with_groups_that_decoders_read_differently_stays_here() -> None:
    fields = read_output(create_model("A", x=(str, Field(pattern="(?i)a")))).fields

    schema = array_schema(fields, Dialect(keywords=frozenset({"pattern"})))

    assert "pattern" not in schema["properties"]["rows"]["items"]["properties"]["x"]


@pytest.mark.parametrize(
    ("dialect", "says"),
    [
        (Dialect(max_properties=3), "4 properties; acme takes 3"),
        (Dialect(max_depth=2), "3 levels of nesting; acme takes 2"),
        (Dialect(max_enum_values=1), "2 enum values; acme takes 1"),
    ],
    ids=["properties", "depth", "choices"],
)
def test_a_schema_over_the_providers_limits_is_refused_with_the_counts(dialect: Dialect, says: str) -> None:
    fields = read_output(create_model("A", x=(Colour, ...), y=(int, ...))).fields

    with pytest.raises(SchemaError, match=says):
        check_limits(fields, dialect, "acme")


class Street(BaseModel):
    """Where a letter goes."""

    name: str = Field(description="without the number", examples=["Mainzer Gasse", "Broadway"])


class Letter(BaseModel):
    """What a letter
    says."""

    to: Street
    copies: list[Street] = Field(description="everybody else")


def test_all_that_the_author_says_is_in_the_words_and_in_the_schema() -> None:
    output = read_output(Letter)

    words = system_text("Read it.", output.fields, "array", about=output.description)
    schema = json.dumps(array_schema(output.fields, Dialect()))

    name = 'text: without the number; for example "Mainzer Gasse", "Broadway"'
    assert "What an answer is: What a letter says." in words
    assert f'- "to": an object with "name" ({name}). Where a letter goes.' in words
    assert f'- "copies": a list, each an object with "name" ({name}). everybody else; Where a letter goes.' in words
    assert schema.count("Where a letter goes.") == schema.count("without the number; for example") == 2
