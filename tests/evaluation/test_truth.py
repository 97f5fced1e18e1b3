"""The fields with right answers: found by name or path, and compared as equals."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import BaseModel

from smelt.errors import ColumnError, ConfigTypeError, ConfigValueError, SmeltError
from smelt.evaluation.truth import find_targets, leaves
from smelt.plan.schema import read_output
from smelt.plan.values import comparable
from tests.evaluation.places import Place, Size


class Shop(BaseModel):
    size: Size
    place: Place


def test_fields_of_nested_models_are_named_by_their_path() -> None:
    answer = Shop(size=Size.LARGE, place=Place(city=" Oslo", floor=None))

    found = leaves(read_output(Shop))

    assert list(found) == ["size", "place.city", "place.floor"]
    assert [one.compared([answer, None]) for one in found.values()] == [["large", None], ["Oslo", None], [None, None]]


def test_free_text_is_a_field_of_its_column_s_name() -> None:
    found = leaves(read_output(str, text_column="summary"))

    assert found["summary"].compared(["Said ", None]) == ["Said", None]


@pytest.mark.parametrize(
    ("truth", "error", "says"),
    [
        (None, ConfigTypeError, "truth must be a dict from fields"),
        ("size", ConfigTypeError, "truth must be a dict from fields"),
        ({}, ConfigValueError, "truth must be a dict from fields"),
        ({1: "kind"}, ConfigTypeError, "every key of truth must be the name of a field"),
        ({"size": 1}, ConfigTypeError, r"truth\['size'\] must be the name of a column"),
        ({"sise": "kind"}, ConfigValueError, "no field 'sise' to compare. Did you mean 'size'"),
        ({"place": "kind"}, ConfigValueError, "'place', a nested model. Name its fields, such as 'place.city'"),
        ({"size": "kin"}, ColumnError, "'kin', which is not a column of the data. Did you mean 'kind'"),
    ],
    ids=["none", "text", "empty", "key", "column", "typo in a field", "nested model", "typo in a column"],
)
def test_a_mapping_that_fits_nothing_is_refused(truth: Any, error: type[SmeltError], says: str) -> None:
    with pytest.raises(error, match=says):
        find_targets(truth, read_output(Shop), ["name", "kind"])


def test_text_is_compared_with_its_case() -> None:
    kind = leaves(read_output(str))["smelt_text"].kind

    assert comparable(kind, "Oslo") != comparable(kind, "oslo")
    assert comparable(kind, "\tOslo\n") == comparable(kind, "Oslo")
