"""JSON that is almost JSON: read if there is one reading, refused if there are two."""

from __future__ import annotations

from typing import Any

import pytest

from smelt.plan.mending import BrokenJSON, mend


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ('{"a": 1, "b": [true, null]}', {"a": 1, "b": [True, None]}),
        ("{'a': 'b'}", {"a": "b"}),
        ("{a: 1}", {"a": 1}),
        ('{"a": True, "b": None}', {"a": True, "b": None}),
        ('{"a": 1,}', {"a": 1}),
        ("[1, 2,]", [1, 2]),
        ("{“a”: “b”}", {"a": "b"}),
    ],
    ids=["json", "python quotes", "bare key", "python words", "comma at the end", "comma in an array", "curly quotes"],
)
def test_what_has_one_reading_is_read(text: str, value: Any) -> None:
    assert mend(text, 0, len(text), []) == (value, len(text))


@pytest.mark.parametrize("text", ['{"a": "b', '{"a": ', "[1, 2", '{"a'])
def test_a_value_that_only_ends_too_soon_says_so(text: str) -> None:
    with pytest.raises(BrokenJSON, match=r"\w") as caught:
        mend(text, 0, len(text), [])

    assert caught.value.ran_out


@pytest.mark.parametrize("text", ['{"a": "\\x41"}', '{"a": nothing at all}', '{"a": }'])
def test_what_has_two_readings_or_none_is_refused_without_being_quoted(text: str) -> None:
    with pytest.raises(BrokenJSON, match=r"\w") as caught:
        mend(text, 0, len(text), [])

    assert not caught.value.ran_out
    assert "x41" not in caught.value.reason
    assert "nothing" not in caught.value.reason


def test_the_same_key_twice_is_a_fault_here_too() -> None:
    faults: list[str] = []

    mend("{'a': 1, 'a': 2}", 0, 16, faults)

    assert faults == ["the same key twice"]
