"""The instructions of a call: one text for all its requests, for whichever fields are asked."""

from __future__ import annotations

from typing import Literal

import pytest
from pydantic import BaseModel

from smelt.call.instructions import Instructions, check_unicode
from smelt.errors import SchemaError
from smelt.plan.compact import Table
from smelt.plan.examples import Example
from smelt.plan.schema import read_output


class Shop(BaseModel):
    """What a shop sells."""

    sector: Literal["food", "books"]
    size: int


OUTPUT = read_output(Shop)
TAUGHT = Example({"name": "Chez Paul"}, {"sector": "food", "size": 3})


def told(*, examples: tuple[Example, ...] = (), is_decided: bool = False, is_prompts: bool = False) -> Instructions:
    return Instructions(
        prompt="Which sector?",
        about=OUTPUT.description,
        examples=examples,
        has_media=False,
        is_decided=is_decided,
        is_prompts=is_prompts,
    )


def test_they_ask_for_the_given_fields_and_show_their_values_in_examples() -> None:
    whole = told(examples=(TAUGHT,)).text(OUTPUT.fields, "keyed")
    part = told(examples=(TAUGHT,)).text(OUTPUT.fields[1:], "keyed")

    assert '"sector"' in whole
    assert '"answer":{"sector":"food","size":3}' in whole
    assert '"sector"' not in part
    assert '"answer":{"size":3}' in part
    assert all("Which sector?" in one and "What a shop sells." in one for one in (whole, part))


@pytest.mark.parametrize(("codec", "is_packed"), [("array", True), ("keyed", False)])
def test_the_compact_ones_name_the_fields_of_answers_only_if_a_grammar_needs_them(
    codec: Literal["array", "keyed"], is_packed: bool
) -> None:
    found = told(examples=(TAUGHT,)).compact(OUTPUT.fields, codec, Table(names=("name",)))

    assert (found.layout is not None) is is_packed
    assert ('"answer":{"sector":"food","size":3}' not in found.system) is is_packed


def test_each_way_to_ask_has_its_own_words() -> None:
    texts = [one.text(OUTPUT.fields[:1], "array") for one in (told(), told(is_decided=True), told(is_prompts=True))]

    assert len(set(texts)) == 3


def test_half_of_a_surrogate_pair_is_refused_with_the_text_before_it() -> None:
    with pytest.raises(SchemaError, match="surrogate pair in a description or a choice, after 'a label '"):
        check_unicode("a label \ud800")
