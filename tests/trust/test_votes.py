"""The answer that several votes about one row give."""

from __future__ import annotations

import random
from enum import StrEnum
from typing import Any, Literal

import pytest
from pydantic import BaseModel, Field, field_validator, model_validator

from smelt.plan.schema import read_output
from smelt.trust.votes import Panel, Vote


class Size(StrEnum):
    SMALL = "small"
    LARGE = "large"


class Place(BaseModel):
    city: str = Field(alias="town")
    size: Size


class Shop(BaseModel):
    sector: Literal["food", "books"]
    staff: int | None
    score: float
    tags: list[Literal["x", "y", "z"]]
    places: list[Place]
    place: Place | None


class Span(BaseModel):
    low: int
    high: int
    name: Literal["a", "b", "c"]

    @model_validator(mode="after")
    def _ordered(self) -> Span:
        if self.low > self.high:
            raise ValueError("low is above high")
        return self


def place(city: str, size: Size = Size.SMALL) -> Place:
    return Place(town=city, size=size)


def test_fields_are_voted_on_one_by_one_and_models_by_their_fields() -> None:
    panel = Panel(read_output(Shop))
    votes: list[Vote] = [
        ("food", 4, 1.0, ["x"], [], place("Oslo")),
        ("books", 4, 1.0, ["x", "y"], [place("Rome")], place("Oslo", Size.LARGE)),
        ("food", None, 2.0, ["y"], [], place("Bergen", Size.LARGE)),
    ]

    answer = panel.answer(votes)

    assert [leaf.name for leaf in panel.leaves][-2:] == ["place.city", "place.size"]
    assert answer is not None
    assert answer[:5] == ("food", 4, 1.0, ["x", "y"], [])
    assert answer[5] == place("Oslo", Size.LARGE)
    assert isinstance(answer[5], Place)


def test_a_nested_model_that_most_votes_lack_is_null() -> None:
    panel = Panel(read_output(Shop))
    bare: Vote = ("food", 4, 1.0, [], [], None)

    answer = panel.answer([bare, ("books", 4, 1.0, [], [], place("Oslo")), ("food", 5, 1.0, [], [], None)])

    assert answer == bare


def test_fields_that_do_not_fit_together_give_way_to_the_vote_that_is_nearest() -> None:
    panel = Panel(read_output(Span))
    votes: list[Vote] = [(1, 2, "a"), (5, 6, "b"), (7, 2, "c"), (5, 9, "b")]  # Medians: low 5, high 2.

    assert panel.answer(votes) == (5, 6, "b")


def test_a_validator_that_changes_what_it_made_itself_is_not_run_on_it_again() -> None:
    class Marked(BaseModel):
        name: str
        kind: Literal["a", "b"]

        @field_validator("name")
        @classmethod
        def _mark(cls, name: str) -> str:
            return f"{name}!"

    votes: list[Vote] = [("one!", "b"), ("two!", "a"), ("two!", "b")]

    assert Panel(read_output(Marked)).answer(votes) == ("two!", "b")
    assert Panel(read_output(Marked)).answer([*votes[:2], ("two!", "a"), ("one!", "b"), ("six!", "b")]) == ("one!", "b")


def test_without_a_vote_there_is_no_answer() -> None:
    assert Panel(read_output(Span)).answer([], 2) is None
    assert Panel(read_output(Span)).answer([]) is None


def test_one_vote_of_one_is_the_answer() -> None:
    assert Panel(read_output(Span)).answer([(1, 2, "a")]) == (1, 2, "a")
    assert Panel(read_output(Span)).answer([(1, 2, "a")], left=1) is None


def test_numbers_that_are_none_are_voted_on() -> None:
    class Score(BaseModel):
        value: float = Field(allow_inf_nan=True)

    nan = float("nan")
    panel = Panel(read_output(Score))

    assert str(panel.answer([(nan,), (1.0,), (float("nan"),)])) == "(nan,)"
    assert panel.answer([(nan,), (1.0,), (2.0,)]) == (1.0,)


@pytest.mark.parametrize("most", [2, 3, 5, 6])
@pytest.mark.parametrize("model", [Shop, Span])
def test_a_decided_answer_is_exactly_that_of_all_votes(model: type[BaseModel], most: int) -> None:
    rng = random.Random(7 * most)
    panel = Panel(read_output(model))
    makers = {Shop: _shop, Span: _span}
    early = 0
    for _ in range(150):
        votes = [makers[model](rng) for _ in range(most)]
        found = [panel.answer(votes[:count], most - count) for count in range(1, most + 1)]
        early += sum(one is not None for one in found[:-1])

        assert found[-1] is not None
        assert all(one in (None, found[-1]) for one in found)

    assert early or most == 2


def _shop(rng: random.Random) -> Vote:
    likely = rng.choices(range(4), weights=[12, 1, 1, 1], k=6)
    choices: list[list[Any]] = [
        ["food", "books", "books", "food"],
        [4, 7, None, 9],
        [1.0, 2.0, 1.5, 3.0],
        [["x"], ["x", "y"], ["y", "x"], []],
        [[], [place("Rome")], [place("Rome"), place("Oslo")], []],
        [place("Oslo"), None, place("Oslo", Size.LARGE), place("Bergen")],
    ]
    return tuple(values[at] for values, at in zip(choices, likely, strict=True))


def _span(rng: random.Random) -> Vote:
    low = rng.choice([1, 1, 1, 4])
    high: Any = rng.choice([one for one in (2, 2, 5, 6) if one >= low])
    return (low, high, rng.choice("aab"))
