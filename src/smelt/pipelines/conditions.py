"""Tests of rows that are written as text, such as `urgency >= 3`: for files, which have no functions."""

from __future__ import annotations

import json
import operator
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from smelt.errors import SmeltConfigError
from smelt.messages import shown_value

_TEST = re.compile(r"\s*(?P<column>[^<>=!]+?)\s*(?P<sign>==|!=|<=|>=|<|>)\s*(?P<value>.+?)\s*")
_SIGNS: Mapping[str, Callable[[Any, Any], Any]] = {
    "==": operator.eq,
    "!=": operator.ne,
    "<=": operator.le,
    ">=": operator.ge,
    "<": operator.lt,
    ">": operator.gt,
}


def condition(texts: Sequence[str]) -> Callable[[Any], Any]:
    """A function of a frame, or of a row, that says which rows pass all tests. A null passes none.

    Raises:
        SmeltConfigError: A text is no test.
    """
    tests = [_test(text) for text in texts]

    def passes(rows: Any) -> Any:
        found = tests[0](rows)
        for test in tests[1:]:
            other = test(rows)
            found = (found and other) if isinstance(rows, Mapping) else found & other
        return found

    return passes


def _test(text: str) -> Callable[[Any], Any]:
    found = _TEST.fullmatch(text)
    if found is None:
        raise SmeltConfigError(
            f"{shown_value(text)} is no test. Write a column, a sign and a value, such as 'urgency >= 3'."
        )
    column, compare, value = found["column"], _SIGNS[found["sign"]], _value(found["value"])

    def test(rows: Any) -> Any:
        cells = rows[column]
        if isinstance(rows, Mapping):
            return None if cells is None else compare(cells, value)
        passed = compare(cells, value)
        return passed & cells.notna() if hasattr(cells, "notna") else passed  # In pandas a NaN differs from everything.

    return test


def _value(text: str) -> Any:
    """A number, true, false or a text, which may be quoted."""
    try:
        value = json.loads(text)
    except ValueError:
        return text[1:-1] if len(text) > 1 and text[0] == text[-1] == "'" else text
    return text if isinstance(value, list | dict) else value
