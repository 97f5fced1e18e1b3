"""How servers of OpenAI's kind are asked for JSON, and what becomes of a request that they refuse to be asked so."""

from __future__ import annotations

import json
from typing import Any

import pytest

from smelt.providers import compatible, openai
from smelt.providers.shapes import Manner, Shape, named_shape
from smelt.providers.vendor import Vendor
from tests.providers.asking import SCHEMA, request

SHAPES: tuple[Shape, ...] = ("strict", "json_schema", "json_object", "words")


def body_in(shape: Shape, **manner: Any) -> dict[str, Any]:
    return compatible.write("m", request(), {}, Manner(shape=shape, **manner))


def test_a_schema_is_sent_in_its_field_or_in_words() -> None:
    strict, plain, json_object, words = map(body_in, SHAPES)

    assert strict["response_format"]["json_schema"] == {"name": "rows", "schema": SCHEMA, "strict": True}
    assert plain["response_format"]["json_schema"] == {"name": "rows", "schema": SCHEMA}
    assert json_object["response_format"] == {"type": "json_object"}
    assert "response_format" not in words
    for body in (strict, plain):
        assert body["messages"][0]["content"] == "Label each row."
    for body in (json_object, words):
        told = body["messages"][0]["content"].partition("JSON Schema: ")[2]
        assert json.loads(told) == SCHEMA


def test_the_responses_api_has_the_same_shapes() -> None:
    formats = [openai.write("m", request(), {}, Manner(shape=shape))["text"]["format"] for shape in SHAPES]

    assert formats == [
        {"type": "json_schema", "name": "rows", "schema": SCHEMA, "strict": True},
        {"type": "json_schema", "name": "rows", "schema": SCHEMA},
        {"type": "json_object"},
        {"type": "text"},
    ]


def test_the_output_limit_has_the_name_that_the_host_knows() -> None:
    body = body_in("strict", cap="max_completion_tokens")

    assert body["max_completion_tokens"] == 500
    assert "max_tokens" not in body


def test_a_shape_that_the_caller_names_does_not_reach_the_server_as_it_is() -> None:
    named = {"response_format": {"type": "text"}}

    assert "response_format" not in compatible.write("m", request(), named, Manner(shape="words"))


@pytest.mark.parametrize(
    ("value", "shape"),
    [
        ({"type": "json_schema"}, "json_schema"),
        ({"type": "json_object"}, "json_object"),
        ({"type": "text"}, "words"),
        ({"type": "xml"}, None),
        ({"type": ["text"]}, None),
        ("json_object", None),
        (None, None),
    ],
)
def test_the_shape_is_named_as_the_api_names_it(value: Any, shape: Shape | None) -> None:
    assert named_shape({"response_format": value}) == shape


def test_the_longest_beginning_of_a_model_counts() -> None:
    vendor = Vendor(name="v", base_url=None, shape="words", shapes={"a/": "json_object", "a/big": "strict"})

    assert [vendor.manner_for(model).shape for model in ("a/BIG-1", "a/small", "b")] == [
        "strict",
        "json_object",
        "words",
    ]
