"""What is said of an answer that the output model refuses."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from pydantic import BaseModel, Field, ValidationError, field_validator

from smelt.plan.refusals import InvalidRow, close_all, no_instance, refusal


class Answer(BaseModel):
    stars: int = Field(le=5)
    word: str

    @field_validator("word")
    @classmethod
    def short(cls, word: str) -> str:
        if len(word) > 5:
            raise ValueError("a word has five letters at most")
        return word


def refused(**given: Any) -> InvalidRow:
    with pytest.raises(ValidationError, match="Answer") as caught:
        Answer(**given)
    return refusal(caught.value)


def test_a_field_that_does_not_fit_is_named_with_the_reason() -> None:
    told = str(refused(stars=9, word="a"))

    assert "stars" in told
    assert "less than or equal to 5" in told


def test_what_a_validator_says_is_told_to_the_model() -> None:
    assert "a word has five letters at most" in str(refused(stars=1, word="abcdefgh"))


def test_a_field_that_is_missing_is_named() -> None:
    assert "word" in str(refused(stars=1))


async def never_awaited() -> None: ...


@pytest.mark.parametrize(
    ("make", "count"),
    [
        (lambda: [never_awaited(), 1], 1),
        (lambda: {"a": (never_awaited(), never_awaited())}, 2),
        (lambda: ["a", {"b": 1}], 0),
    ],
    ids=["in a list", "deeper", "none"],
)
def test_coroutines_in_an_answer_are_closed(make: Any, count: int) -> None:
    found = make()

    assert close_all(found) is (count > 0)


def test_an_answer_that_is_no_instance_says_what_it_is() -> None:
    assert "int" in str(no_instance(5))


@pytest.mark.parametrize("problem", [RecursionError(), ZeroDivisionError("secret"), asyncio.InvalidStateError()])
def test_any_other_error_of_a_validator_is_a_refusal(problem: Exception) -> None:
    assert isinstance(refusal(problem), InvalidRow)
