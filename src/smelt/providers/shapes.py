"""How a server is asked for JSON: hosts and models differ in the structured output that they bear.

They also differ in the name of the output limit. What is known stands in the table of vendors.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from smelt.providers.base import Request

Shape = Literal["strict", "json_schema", "json_object", "words"]
"""How the schema is sent: with the key `strict`, without it, or in words; then JSON may be asked for or not."""
Cap = Literal["max_tokens", "max_completion_tokens"]
"""The name of the output limit in chat completions."""


@dataclass(frozen=True, kw_only=True)
class Manner:
    """How a request is written.

    Attributes:
        shape: How the schema is sent.
        cap: The name of the output limit.
        is_other_cap: Whether the other name was refused.
        names_cache: Whether it may say how the prompt is cached.
        asks_scores: Whether it may ask for the probabilities of tokens.
    """

    shape: Shape = "strict"
    cap: Cap = "max_tokens"
    is_other_cap: bool = False
    names_cache: bool = True
    asks_scores: bool = True


STRICT = Manner()


def scores_in(manner: Manner, request: Request) -> int:
    """How many of the likeliest tokens *request* asks for; 0 if it may not, or need not."""
    return request.scores if manner.asks_scores else 0


def named_shape(params: Mapping[str, Any]) -> Shape | None:
    """The shape that the caller's parameter `response_format` names, or None."""
    named = params.get("response_format")
    kind = named.get("type") if isinstance(named, Mapping) else None
    return _KINDS.get(kind) if isinstance(kind, str) else None


_KINDS: dict[str, Shape] = {"json_schema": "json_schema", "json_object": "json_object", "text": "words"}


def bears_schema(manner: Manner) -> bool:
    """Whether a field carries the schema; else the instructions do."""
    return manner.shape in ("strict", "json_schema")


def system_in(manner: Manner, request: Request) -> str:
    """The instructions, with the schema if no field carries it. They say "JSON", which some hosts require."""
    if bears_schema(manner):
        return request.system
    import json  # Imported late: `import smelt` reads the table of vendors, and needs no JSON.

    schema = json.dumps(request.schema, ensure_ascii=False, separators=(",", ":"))
    return f"{request.system}\nThe reply is one JSON object that fits this JSON Schema: {schema}"


def type_in(manner: Manner) -> str:
    """The type of the reply's format."""
    return {"json_object": "json_object", "words": "text"}.get(manner.shape, "json_schema")


def schema_in(manner: Manner, request: Request) -> dict[str, Any]:
    """The fields that carry the schema; none if it stands in the instructions."""
    match manner.shape:
        case "strict":
            return {"name": "rows", "schema": request.schema, "strict": True}
        case "json_schema":
            return {"name": "rows", "schema": request.schema}
        case _:
            return {}
