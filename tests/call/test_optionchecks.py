"""Every option: what it takes up to its limits, and what is refused, by name and before anything is sent."""

from __future__ import annotations

import math
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pytest

from smelt.call.options import checked
from smelt.errors import SmeltConfigError


async def asynchronous(event: object) -> None: ...


class Asynchronous:
    async def __call__(self, event: object) -> None: ...


NUMBERS = {
    "batch_size": (1, 1_000),
    "concurrency": (1, 10_000),
    "max_attempts": (1, 100),
    "seed": (0, 2**32 - 1),
}
WRONG_NUMBERS = [True, False, 1.0, math.nan, "3", b"3", None, [1], Decimal(3), np.float64(3), np.array([1, 2])]
CHOICES = {
    "isolation": ("batch", "row"),
    "null_rows": ("send", "skip"),
    "on_error": ("mark", "raise"),
    "on_conflict": ("raise", "suffix", "replace"),
}
FLAGS = ["shuffle", "flatten", "refresh", "extend", "any_key", "store_inputs"]
TIMES = ["timeout", "deadline", "max_wait"]


@pytest.mark.parametrize("name", NUMBERS)
def test_a_number_is_taken_up_to_both_its_limits(name: str) -> None:
    least, most = NUMBERS[name]

    assert [checked(name, value) for value in (least, most, np.int64(most), np.uint8(1))] == [least, most, most, 1]
    assert type(checked(name, np.int64(1))) is int


@pytest.mark.parametrize("name", NUMBERS)
def test_a_number_beyond_its_limits_is_a_value_error_with_the_range(name: str) -> None:
    least, most = NUMBERS[name]

    for value in (least - 1, most + 1, -(10**9), 10**12, 10**5_000):
        with pytest.raises(
            SmeltConfigError, match=f"{name} must be .*an integer from {least:,} to {most:,}, not"
        ) as caught:
            checked(name, value)
        assert isinstance(caught.value, ValueError)


@pytest.mark.parametrize("value", WRONG_NUMBERS, ids=repr)
@pytest.mark.parametrize("name", NUMBERS)
def test_what_is_no_integer_is_refused_with_the_range(name: str, value: Any) -> None:
    with pytest.raises(SmeltConfigError, match=f"{name} must be .*an integer from") as caught:
        checked(name, value)

    assert isinstance(caught.value, TypeError | ValueError)


@pytest.mark.parametrize("name", ["batch_size", "concurrency"])
def test_auto_is_the_only_word_for_a_number(name: str) -> None:
    assert checked(name, "auto") == "auto"

    with pytest.raises(SmeltConfigError, match=f"{name} must be \"auto\" or an integer from 1 to .*, not 'Auto'"):
        checked(name, "Auto")


@pytest.mark.parametrize("name", TIMES)
def test_seconds_are_taken_from_any_real_number_above_zero(name: str) -> None:
    values = [checked(name, value) for value in (0.001, 1, 604_800, np.float32(2), np.int64(3))]

    assert values == [0.001, 1.0, 604_800.0, 2.0, 3.0]
    assert {type(value) for value in values} == {float}


@pytest.mark.parametrize(
    "value", [0, -1, math.nan, math.inf, -math.inf, 604_801, 10**400], ids=lambda one: f"{one!r:.20}"
)
@pytest.mark.parametrize("name", TIMES)
def test_seconds_that_are_no_time_are_refused(name: str, value: Any) -> None:
    with pytest.raises(
        SmeltConfigError, match=f"{name} must be a number of seconds above 0 and up to 604,800"
    ) as caught:
        checked(name, value)

    assert isinstance(caught.value, ValueError)


@pytest.mark.parametrize("value", ["5", True, [5], pd.Timedelta("5s"), 5j], ids=repr)
@pytest.mark.parametrize("name", TIMES)
def test_seconds_are_a_number(name: str, value: Any) -> None:
    with pytest.raises(SmeltConfigError, match=f"{name} must be a number of seconds.*not (a|True)") as caught:
        checked(name, value)

    assert isinstance(caught.value, TypeError)


def test_only_the_deadline_may_be_absent() -> None:
    assert checked("deadline", None) is None

    for name in ("timeout", "max_wait"):
        with pytest.raises(SmeltConfigError, match=f"{name} must be a number of seconds.*not None"):
            checked(name, None)


@pytest.mark.parametrize(("name", "choice"), [(name, one) for name, choices in CHOICES.items() for one in choices])
def test_each_choice_is_taken(name: str, choice: str) -> None:
    assert checked(name, choice) == choice


@pytest.mark.parametrize(
    "value", ["", "Row", None, True, 1, ["row"], np.array(["row", "batch"]), pl.Series(["row"])], ids=repr
)
@pytest.mark.parametrize("name", CHOICES)
def test_anything_but_a_choice_is_refused_with_all_of_them(name: str, value: Any) -> None:
    *others, last = CHOICES[name]

    with pytest.raises(SmeltConfigError, match=f"{name} must be .*'{others[-1]}' or '{last}', not"):
        checked(name, value)


@pytest.mark.parametrize("name", FLAGS)
def test_a_flag_is_true_or_false(name: str) -> None:
    assert [checked(name, value) for value in (True, False)] == [True, False]

    for value, says in ((1, "1"), (None, "None"), ("yes", r"a str \('yes'\)"), (np.True_, "a numpy.bool")):
        with pytest.raises(SmeltConfigError, match=f"{name} must be True or False, not {says}") as caught:
            checked(name, value)
        assert isinstance(caught.value, TypeError)


def test_params_are_copied_when_they_are_given() -> None:
    given = {"temperature": 0}

    params = checked("params", given)
    given["temperature"] = 1

    assert params == {"temperature": 0}
    assert checked("params", None) == {}


@pytest.mark.parametrize(
    ("value", "says"), [(3, "not 3"), ("x", "not a str"), ([("a", 1)], "not a list"), ({1: 2}, "every key of params")]
)
def test_params_are_a_dict_with_names(value: Any, says: str) -> None:
    with pytest.raises(SmeltConfigError, match=f"params.*{says}|{says}.*not 1"):
        checked("params", value)


def test_the_ledger_is_a_path_or_a_switch() -> None:
    assert [checked("ledger", value) for value in (True, False, None, "x.sqlite", Path("y"))] == [
        *(True, False, None),
        *("x.sqlite", "y"),
    ]

    for value, says in (
        (1, "1"),
        (b"x", "a bytes"),
        (Path, "the class|a type"),
        ("", "''"),
        (" ", "' '"),
        ("a\0b", "'a"),
    ):
        with pytest.raises(SmeltConfigError, match=rf"ledger must be the path of a file, the URL of .*, not ({says})"):
            checked("ledger", value)


@pytest.mark.parametrize("value", [0, -1, math.nan, math.inf, 1e9, True, "5", Decimal(5)], ids=repr)
def test_dollars_are_a_positive_number(value: Any) -> None:
    assert [checked("max_cost", one) for one in (0.5, 3, np.float32(2), None)] == [0.5, 3.0, 2.0, None]

    with pytest.raises(SmeltConfigError, match=r"max_cost must be a number of dollars above 0 and up to 10,000,000"):
        checked("max_cost", value)


@pytest.mark.parametrize("value", [0, -1, math.nan, math.inf, 1e13, True, "5", Decimal(5)], ids=repr)
@pytest.mark.parametrize(("name", "unit"), [("rpm", "requests"), ("tpm", "tokens")])
def test_a_rate_is_a_positive_number_per_minute(name: str, unit: str, value: Any) -> None:
    assert [checked(name, one) for one in (0.5, 60, np.int64(600), None)] == [0.5, 60.0, 600.0, None]

    with pytest.raises(SmeltConfigError, match=f"{name} must be a number of {unit} per minute above 0 and up to"):
        checked(name, value)


@pytest.mark.parametrize("value", [0, -1, 1.5, True, "5", 10**16], ids=repr)
def test_tokens_are_a_positive_integer(value: Any) -> None:
    assert [checked("max_tokens_total", one) for one in (1, np.int64(7), None)] == [1, 7, None]

    with pytest.raises(SmeltConfigError, match="max_tokens_total must be an integer from 1 to"):
        checked("max_tokens_total", value)


def test_progress_is_a_switch_or_a_plain_function() -> None:
    value: Any
    for value in (True, False, None, print, lambda event: None):
        assert checked("progress", value) is value

    for wrong in (asynchronous, Asynchronous()):
        with pytest.raises(SmeltConfigError, match="progress must be .* not an async function") as caught:
            checked("progress", wrong)
        assert isinstance(caught.value, TypeError)
    for value in (3, "bar", []):
        with pytest.raises(SmeltConfigError, match="progress must be True, False, None or a function"):
            checked("progress", value)


@pytest.mark.parametrize("value", [0, None, "yes"])
def test_a_wait_that_is_none_names_true_and_false(value: Any) -> None:
    with pytest.raises(SmeltConfigError, match="wait must be True, False or a number of seconds above 0"):
        checked("wait", value)


def test_artefacts_are_refused_where_no_directory_can_be(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")

    assert checked("artefacts", tmp_path / "new" / "newer") == str(tmp_path / "new" / "newer")
    assert not (tmp_path / "new").exists()
    for path in (tmp_path / "file", tmp_path / "file" / "below"):
        with pytest.raises(SmeltConfigError, match="artefacts must be the path of a directory in which files can be"):
            checked("artefacts", path)
