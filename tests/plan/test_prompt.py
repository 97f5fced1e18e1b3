"""Placeholders choose columns; everything else about braces is refused with the way out."""

from __future__ import annotations

import pytest

from smelt.errors import PromptError, SmeltConfigError
from smelt.plan.prompt import read_prompt


def test_placeholders_name_the_columns_in_order_of_first_use() -> None:
    prompt = read_prompt("Is {b} a {a}? Look at {b}.", ["a", "b", "c"])

    assert prompt.columns == ("b", "a")
    assert prompt.text == "Is `b` a `a`? Look at `b`."


def test_doubled_braces_are_braces() -> None:
    assert read_prompt('Say {{"x": 1}}.', ["x"]).text == 'Say {"x": 1}.'


@pytest.mark.parametrize("name", ["my col", "a:b", "a!r", "a.b", "a[0]", "ü"])
def test_a_column_may_have_any_name(name: str) -> None:
    assert read_prompt(f"Read {{{name}}}.", [name]).columns == (name,)


@pytest.mark.parametrize(
    ("prompt", "says"),
    [
        ("Classify {nmae}.", "Did you mean 'name'"),
        ("Classify {name.upper}.", "write {name}"),
        ("Classify {name[0]}.", "write {name}"),
        ("Classify {name:>10}.", "write {name}"),
        ("Classify {name!r}.", "write {name}"),
        ("Classify {}.", "empty placeholder"),
        ("Classify {name.", "do not balance"),
        ("Classify name}.", "do not balance"),
        ("  \n", "is empty"),
    ],
)
def test_a_bad_prompt_is_refused_with_the_way_out(prompt: str, says: str) -> None:
    with pytest.raises(PromptError, match=says):
        read_prompt(prompt, ["name", "desc"])


@pytest.mark.parametrize("prompt", [None, 3, b"x", ["x"]])
def test_a_prompt_is_a_string(prompt: object) -> None:
    with pytest.raises(SmeltConfigError, match="prompt must be a string") as caught:
        read_prompt(prompt, ["name"])  # type: ignore[arg-type]

    assert isinstance(caught.value, TypeError)
