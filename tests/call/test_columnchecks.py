"""The options that name columns or hold rows: what they take, and what is refused by name."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest

from smelt.call.options import checked
from smelt.errors import ColumnError, SmeltConfigError


@pytest.mark.parametrize("value", [["a", "b"], ("a", "b"), pd.Index(["a", "b"]), np.array(["a", "b"])], ids=repr)
def test_columns_are_any_ordered_names(value: Any) -> None:
    assert checked("columns", value) == ("a", "b")


def test_ten_thousand_columns_are_checked_at_once() -> None:
    names = [f"column {number}" for number in range(10_000)]

    assert len(checked("columns", names)) == 10_000


@pytest.mark.parametrize(
    ("value", "says"),
    [
        ("a", r"Write columns=\['a'\]"),
        (b"ab", "not a bytes"),
        (3, "not 3"),
        ({"a"}, "not a set"),
        ({"a": 1}, "not a dict"),
        ((one for one in "ab"), "not a generator"),
        (np.zeros((2, 2)), "not a numpy.ndarray|not a ndarray|not an ndarray"),
        ([], "empty list"),
        (pd.Index([]), "empty list"),
        (["a", 1], "1 is of type int"),
        (["a", None], "None is of type NoneType"),
        (["a", "b", "a"], "'a' twice"),
    ],
    ids=lambda one: f"{one!r:.20}",
)
def test_columns_that_are_no_names_are_refused(value: Any, says: str) -> None:
    with pytest.raises(ColumnError, match=f"columns.*({says})"):
        checked("columns", value)


@pytest.mark.parametrize("name", ["error_column", "output"])
def test_the_name_of_a_column_is_any_text_that_can_be_one(name: str) -> None:
    value: Any
    for value in ("x", "a b", "ü", "{}", '"', "id", "x" * 10_000):
        assert checked(name, value) == value

    for value, says in (
        (3, "not 3"),
        (b"x", "not a bytes"),
        ("", "not blank, not ''"),
        (" \n", "not blank"),
        ("\ud800", "Unicode"),
    ):
        with pytest.raises(SmeltConfigError, match=f"{name} must be .*{says}"):
            checked(name, value)


def test_the_text_column_has_a_usual_name() -> None:
    assert checked("output", None) == "smelt_text"

    with pytest.raises(SmeltConfigError, match="error_column must be the name of a column, as a string, not None"):
        checked("error_column", None)
