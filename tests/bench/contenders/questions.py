"""What a message of each library asks about, and how that library wants to read the answers."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from tests.fakeserver.answers import codec_of
from tests.fakeserver.model import render, rows_of
from tests.fakeserver.rowfaults import Entry

Fields = dict[str, Any]
Cells = Fields | str
Write = Callable[[Sequence[Fields]], str]

ACCRUE = re.compile(r"<row_data>\n(.*?)\n</row_data>", re.DOTALL)
ONDINE = re.compile(r"\AProcess these \d+ items and return a JSON array\.\n\nINPUT:\n(.*?)\n\nCRITICAL", re.DOTALL)


def asked(text: str, schema: Mapping[str, Any]) -> tuple[list[Cells], Write]:
    """The rows that a message asks about, and what writes their answers as the library wants to read them.

    A row is its cells by name, or a text if the library sends one text per row.
    """
    if rows := rows_of(text):  # smelt
        ids = [row.id for row in rows]
        return [dict(row.cells) for row in rows], lambda answers: render(
            [Entry(one, answer) for one, answer in zip(ids, answers, strict=True)], codec_of(schema)
        )
    if found := ACCRUE.search(text):
        return [json.loads(found[1])], _alone
    if found := ONDINE.match(text):  # The rows of the packed builder; ids are numbers from 1.
        items = json.loads(found[1])
        return [last_line(one["input"]) for one in items], lambda answers: written(
            {"items": [{**answer, "id": one["id"]} for one, answer in zip(items, answers, strict=True)]}
        )
    payload = json.loads(text) if text.startswith(("{", "[")) else text
    if isinstance(payload, dict):  # openaivec; its accessor of frames sends each row as JSON.
        messages = payload["user_messages"]
        return [opened(one["body"]) for one in messages], lambda answers: written(
            {
                "assistant_messages": [
                    {"id": one["id"], "body": answer} for one, answer in zip(messages, answers, strict=True)
                ]
            }
        )
    if isinstance(payload, list) and "input_id" in payload[0]:  # lmsyz-genai-ie-rfs
        ids = [one["input_id"] for one in payload]
        return [one["input_text"] for one in payload], lambda answers: written(
            {"all_results": [{"input_id": one, **answer} for one, answer in zip(ids, answers, strict=True)]}
        )
    if isinstance(payload, list):  # smelt-ai
        ids = [one["row_id"] for one in payload]
        return [one["name"] for one in payload], lambda answers: written(
            {"rows": [{**answer, "row_id": one} for one, answer in zip(ids, answers, strict=True)]}
        )
    # Daft, curator, ondine's `enrich`, dataframeit and the SDK by hand ask about one row at a time.
    return [last_line(text)], _alone


def last_line(text: str) -> str:
    """The row of a message that is the row, or ends with it."""
    return text.rpartition("\n")[2]


def opened(body: str) -> Cells:
    """The cells of a row that is sent as JSON; a text stays as it is."""
    return json.loads(body) if body.startswith("{") else body


def name_of(row: Cells) -> str:
    """The company of a row of `tests.bench.peers`."""
    return row if isinstance(row, str) else str(row["name"])


def written(reply: Any) -> str:
    """JSON as a model writes it."""
    return json.dumps(reply, ensure_ascii=False, separators=(",", ":"))


def _alone(answers: Sequence[Fields]) -> str:
    return written(answers[0])
