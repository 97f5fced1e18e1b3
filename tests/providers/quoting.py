"""A request, and errors that may quote it."""

from __future__ import annotations

import json
from typing import Any

from smelt.providers.base import Request


def error(message: str = "", **more: Any) -> dict[str, Any]:
    return {"error": {"message": message, **more}}


ASKED = Request(
    system="Check the grammar of {text}, and whether the tone fits our billing schema.",
    user=json.dumps(
        [
            {"id": "a", "row": {"text": "ticket 77 billing is wrong"}},
            {"id": "b", "row": {"text": "schema"}},
            {"id": "c", "row": {"text": 'He said: "context window"\nand the maximum context length is 4'}},
            {"id": "d", "row": {"text": "The quota per day; content policy of 2026, incorrect API key"}},
        ]
    )
    + "\nAnswer for every id.",
    schema={"properties": {"kind": {"description": "Which unknown model it is about", "enum": ["billing", "grammar"]}}},
    max_output_tokens=100,
)
