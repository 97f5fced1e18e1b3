"""What a text file holds of columns that are no text."""

from __future__ import annotations

import polars as pl

from smelt.cli.outputs import flat


def test_lists_and_nested_values_become_json_and_bytes_base64() -> None:
    frame = pl.DataFrame(
        {"a": [[1, None], None], "b": [{"x": "é"}, None], "c": [b"\xff", None], "d": [[{"y": [1.5]}], []], "e": [1, 2]}
    )

    found = flat(frame.lazy()).collect()

    assert found.to_dict(as_series=False) == {
        "a": ["[1, null]", None],
        "b": ['{"x": "é"}', None],
        "c": ["/w==", None],
        "d": ['[{"y": [1.5]}]', "[]"],
        "e": [1, 2],
    }
