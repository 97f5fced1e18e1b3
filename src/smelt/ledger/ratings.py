"""Stores the scores of answers: those of read replies by the keys of their rows, others beside the reply."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Mapping, Sequence
from typing import Any

from pydantic_core import from_json

from smelt.plan.scores import Scores

_AT_ONCE = 4_096  # Keys per query.
_FOUND = """
SELECT s.key, s.value FROM scores s LEFT JOIN answers a ON a.spec = s.spec AND a.key = s.key
WHERE s.spec = ? AND s.key IN ({}) AND coalesce(a.attempt, s.attempt) = s.attempt
"""


def keep_scores(connection: sqlite3.Connection, spec: int, attempt: int, scores: Mapping[bytes, Scores]) -> None:
    """Store the scores of the rows of a reply, by their keys."""
    rows = [(spec, key, _written(one), attempt) for key, one in sorted(scores.items())]
    connection.executemany("INSERT OR REPLACE INTO scores VALUES (?, ?, ?, ?)", rows)


def find_scores(connection: sqlite3.Connection, spec: int, keys: Sequence[bytes]) -> dict[bytes, Scores]:
    """The scores of the rows with these keys, if they are those of the stored answers."""
    found: dict[bytes, Scores] = {}
    for start in range(0, len(keys), _AT_ONCE):
        some = keys[start : start + _AT_ONCE]
        query = _FOUND.format(",".join("?" * len(some)))
        found.update({key: read_scores(text) for key, text in connection.execute(query, (spec, *some))})
    return found


def of_reply(scores: Mapping[str, Scores]) -> str | None:
    """What is kept beside a reply of its *scores*, which are by the tokens of its rows; None if there are none."""
    return _written(scores) if scores else None


def read_reply_scores(text: object) -> dict[str, Scores]:
    """The scores that were kept beside a reply."""
    return {token: _numbers(one) for token, one in _table(text).items()}


def read_scores(text: object) -> Scores:
    """The scores of a row."""
    return _numbers(_table(text))


def _written(scores: Mapping[str, Any]) -> str:
    return json.dumps(scores, separators=(",", ":"))


def _table(text: object) -> dict[str, Any]:
    """A JSON object; an empty one if the file was damaged."""
    try:
        found = from_json(text) if isinstance(text, str) else None
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def _numbers(found: object) -> Scores:
    table = found if isinstance(found, dict) else {}
    return {name: float(one) for name, one in table.items() if isinstance(one, int | float)}
