"""Rows in a value of JSON, wherever their tokens are."""

from __future__ import annotations

from typing import Any

import pytest

from smelt.plan.rowsets import BROKEN, Row, rows_in

TOKENS = frozenset({"k1", "k2"})


@pytest.mark.parametrize(
    ("value", "rows", "strangers"),
    [
        ({"rows": [{"id": "k1", "n": 1}]}, [Row("k1", {"n": 1})], []),
        ([{"id": "k1", "n": 1}, {"id": "zz", "n": 2}, 7], [Row("k1", {"n": 1})], ["zz", None]),
        ({"k1": {"n": 1}, "k2": {"n": 2}}, [Row("k1", {"n": 1}), Row("k2", {"n": 2})], []),
        ({"k1": {"n": 1}, "zz": {"n": 2}}, [Row("k1", {"n": 1})], ["zz"]),
        ({"k1": {"id": "k1", "n": 1}}, [Row("k1", {"n": 1})], []),
        ({"data": {"items": [{"id": "k2", "n": 1}]}}, [Row("k2", {"n": 1})], []),
        ({"rows": '[{"id": "k1", "n": 1}]'}, [Row("k1", {"n": 1})], []),
        ('no JSON, but of "k1"', [Row("k1", None, BROKEN)], []),
    ],
    ids=["array", "strangers", "keyed", "a strange key", "id repeated", "deeper", "as text", "broken text"],
)
def test_rows_are_found_by_their_tokens(value: Any, rows: list[Row], strangers: list[object]) -> None:
    found = rows_in(value, TOKENS)

    assert found is not None
    assert (found.rows, found.strangers) == (rows, strangers)


def test_a_row_with_two_ids_is_no_answer_to_either() -> None:
    found = rows_in({"k1": {"id": "k2", "n": 1}}, TOKENS)

    assert found is not None
    assert [(row.token, row.value) for row in found.rows] == [("k1", None), ("k2", None)]
    assert all(row.fault for row in found.rows)


@pytest.mark.parametrize("value", [None, 5, "k1 unquoted", [], {}, {"id": "zz"}, [[[[[[[{"id": "k1"}]]]]]]]])
def test_where_no_token_is_there_is_no_row(value: Any) -> None:
    assert rows_in(value, TOKENS) is None
