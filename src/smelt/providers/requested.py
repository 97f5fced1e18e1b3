"""The rows of a request, each medium in its cell: for code that answers rows itself."""

from __future__ import annotations

import json
from typing import Any

from smelt.plan.compact import HEAD, rows_of
from smelt.plan.media import Media
from smelt.providers.base import Request

_ROWS = json.JSONDecoder()


def rows_in(request: Request) -> list[dict[str, Any]]:
    """The rows as `{"id": …, "row": {…}}`; a cell that stands for a medium holds it, as a `Media`.

    Raises:
        ValueError: *request* was not made by smelt.
    """
    rows = rows_of_text(request.user)
    if request.parts:
        media = _named(request)
        for one in rows:
            one["row"] = {column: _medium(cell, media) for column, cell in one["row"].items()}
    return rows


def rows_of_text(text: str) -> list[dict[str, Any]]:
    """The rows in the text of a request, in either form, as `{"id": …, "row": {…}}`.

    Raises:
        ValueError: *text* was not made by smelt.
    """
    if text.startswith(HEAD):
        return [{"id": token, "row": row} for token, row in rows_of(text)]
    rows: list[dict[str, Any]] = _ROWS.raw_decode(text)[0]
    return rows


def _named(request: Request) -> dict[str, Media]:
    """The media of *request* by their names in the rows."""
    names = [one.rpartition("\n")[2].removesuffix(":") for one in request.parts if isinstance(one, str)]
    media = [one for one in request.parts if isinstance(one, Media)]
    return {json.loads(f'"{name}"'): one for name, one in zip(names, media, strict=False)}


def _medium(cell: Any, media: dict[str, Media]) -> Any:
    named = cell.get("as") if isinstance(cell, dict) else None
    return media.get(named, cell) if isinstance(named, str) else cell
