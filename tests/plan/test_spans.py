"""Where the values of a JSON text stand."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from smelt.plan.spans import Node, located

plain = st.none() | st.booleans() | st.integers(-(10**9), 10**9) | st.floats(allow_nan=False) | st.text()
values = st.recursive(plain, lambda one: st.lists(one, max_size=4) | st.dictionaries(st.text(), one, max_size=4))


def read(text: str, node: Node) -> Any:
    """The value of *node*, by the places of its parts."""
    if node.fields is not None:
        return {key: read(text, one) for key, one in node.fields.items()}
    if node.items is not None:
        return [read(text, one) for one in node.items]
    value = json.loads(text[node.start : node.end])
    assert node.text is None or node.text == value
    return value


@given(values, st.sampled_from([None, 2]), st.booleans())
def test_each_value_stands_where_its_node_says(value: Any, indent: int | None, is_ascii: bool) -> None:
    text = json.dumps(value, indent=indent, ensure_ascii=is_ascii)

    node = located(f"  {text} and more", 0)

    assert node is not None
    assert (node.start, node.end) == (2, 2 + len(text))
    assert read(f"  {text}", node) == value


@pytest.mark.parametrize(
    "text",
    ["", "{", '{"a"', '{"a":', '{"a" 1}', '{"a":1', '{"a":1 "b":2}', "{1:2}", "[1", "[1 2]", "nope", '"a', "[" * 5_000],
    ids=str,
)
def test_a_text_that_is_no_json_has_no_places(text: str) -> None:
    assert located(text, 0) is None
