"""A reply's JSON Schema as the OpenAPI subset that Gemini's `responseSchema` takes.

Live requests send JSON Schema as it is. In the lines of a job that was seen to be dropped without a word: 0 of 502
answers had the shape, and all had it with this form (crmne/ruby_llm#894).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

# ai.google.dev/api/caching#Schema, November 2026. Other keywords make the API refuse the schema.
_KEPT = ("description", "minItems", "maxItems", "minimum", "maximum", "pattern", "required")
_FORMATS = ("date-time",)


def open_api(schema: Mapping[str, Any]) -> dict[str, Any]:
    """*schema* in this form. What it cannot say is left out; answers are validated here anyway."""
    kinds = schema.get("type", [])
    kinds = [kinds] if isinstance(kinds, str) else list(kinds)
    options = [one for one in schema.get("anyOf", ()) if one.get("type") != "null"]
    values = [one for one in schema.get("enum", ()) if one is not None]
    found = {name: schema[name] for name in _KEPT if name in schema}
    if len(options) == 1:
        found = {**open_api(options[0]), **found}
    elif options:
        found["anyOf"] = [open_api(one) for one in options]
    if kind := next((one for one in kinds if one != "null"), None):
        found["type"] = kind.upper()
    if values and all(isinstance(one, str) for one in values):  # An enum of numbers is none in OpenAPI's subset.
        found |= {"type": "STRING", "format": "enum", "enum": values}
    elif schema.get("format") in _FORMATS:
        found["format"] = schema["format"]
    if _is_nullable(schema, kinds):
        found["nullable"] = True
    if "items" in schema:
        found["items"] = open_api(schema["items"])
    if "properties" in schema:
        found["properties"] = {name: open_api(part) for name, part in schema["properties"].items()}
        found["propertyOrdering"] = list(schema["properties"])
    return found


def _is_nullable(schema: Mapping[str, Any], kinds: list[str]) -> bool:
    nulls = [one for one in schema.get("anyOf", ()) if one.get("type") == "null"]
    return "null" in kinds or bool(nulls) or None in schema.get("enum", ())
