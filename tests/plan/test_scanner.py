"""Python's own JSON scanner, and what it would keep to itself."""

from __future__ import annotations

import json
from typing import Any

import pytest

from smelt.plan.scanner import LONGEST_INTEGER, flat, noting, ran_out, whole_number

LONG = "1" * (LONGEST_INTEGER + 1)


@pytest.mark.parametrize(
    ("text", "value", "faults"),
    [
        ('{"a": 1}', {"a": 1}, []),
        ('{"a": 1, "a": 2}', {"a": 2}, ["the same key twice"]),
        ('[{"a": 1, "a": 1}]', [{"a": 1}], ["the same key twice"]),
        (LONG, None, ["an integer of 41 digits"]),
        ('{"a": 1} behind', {"a": 1}, []),
    ],
)
def test_what_python_accepts_in_silence_is_noted(text: str, value: Any, faults: list[str]) -> None:
    found: list[str] = []

    read, end = noting(found)(text, 0)

    assert (read, found) == (value, faults)
    assert not text[end:] or text[end:] == " behind"


def test_control_characters_in_strings_are_refused_unless_they_are_allowed() -> None:
    with pytest.raises(json.JSONDecodeError, match="Invalid control character"):
        noting([])('"a\nb"', 0)

    assert noting([], strict=False)('"a\nb"', 0) == ("a\nb", 5)


def test_the_fast_scanner_fails_on_a_huge_integer_before_it_is_made() -> None:
    assert flat("1" * LONGEST_INTEGER, 0)[0] == int("1" * LONGEST_INTEGER)
    with pytest.raises(ValueError):  # noqa: PT011  # For another reader to try; it says nothing.
        flat(LONG, 0)


def test_a_number_at_the_limit_is_read() -> None:
    faults: list[str] = []

    assert whole_number("9" * LONGEST_INTEGER, faults) == 10**LONGEST_INTEGER - 1
    assert faults == []


@pytest.mark.parametrize("whole", ['{"a": [true, false, null, -1.5e-7, "b\\u00e9\\\\"]}'])
def test_a_text_that_ends_anywhere_ran_out(whole: str) -> None:
    for end in range(1, len(whole)):
        with pytest.raises(json.JSONDecodeError, match=r"\w") as caught:
            noting([])(whole[:end], 0)
        assert ran_out(caught.value), whole[:end]


@pytest.mark.parametrize(
    "text", ['{"a": nope, "b": 1}', '{"a" 1, "b": 1}', "[1 2, 3, 4, 5, 6]", '{"a": 1,, "b": 22222}']
)
def test_a_fault_before_the_end_is_a_fault(text: str) -> None:
    with pytest.raises(json.JSONDecodeError, match=r"\w") as caught:
        noting([])(text, 0)

    assert not ran_out(caught.value)
