from __future__ import annotations

from typing import Any

import pytest

from smelt.providers.openapi import open_api

CASES: list[tuple[dict[str, Any], dict[str, Any]]] = [
    ({"type": "string"}, {"type": "STRING"}),
    ({"type": ["integer", "null"], "minimum": 1}, {"type": "INTEGER", "minimum": 1, "nullable": True}),
    (
        {"anyOf": [{"type": "number", "description": "euros"}, {"type": "null"}]},
        {"type": "NUMBER", "description": "euros", "nullable": True},
    ),
    ({"type": "string", "enum": ["a", "b"]}, {"type": "STRING", "format": "enum", "enum": ["a", "b"]}),
    ({"enum": ["a", None]}, {"type": "STRING", "format": "enum", "enum": ["a"], "nullable": True}),
    ({"type": "integer", "enum": [1, 2]}, {"type": "INTEGER"}),
    ({"type": "string", "format": "date"}, {"type": "STRING"}),
    ({"type": "string", "format": "date-time"}, {"type": "STRING", "format": "date-time"}),
    (
        {"anyOf": [{"type": "string"}, {"type": "integer"}, {"type": "null"}]},
        {"anyOf": [{"type": "STRING"}, {"type": "INTEGER"}], "nullable": True},
    ),
    (
        {"type": "array", "items": {"type": "boolean"}, "minItems": 1},
        {"type": "ARRAY", "items": {"type": "BOOLEAN"}, "minItems": 1},
    ),
    (
        {
            "type": "object",
            "properties": {"b": {"type": "string"}, "a": {"type": "string"}},
            "required": ["b", "a"],
            "additionalProperties": False,
        },
        {
            "type": "OBJECT",
            "properties": {"b": {"type": "STRING"}, "a": {"type": "STRING"}},
            "required": ["b", "a"],
            "propertyOrdering": ["b", "a"],
        },
    ),
]


@pytest.mark.parametrize(("schema", "found"), CASES)
def test_a_schema_is_said_in_the_subset(schema: dict[str, Any], found: dict[str, Any]) -> None:
    assert open_api(schema) == found
