"""Fields become closed questions, and what a provider says of them becomes values or nothing."""

from __future__ import annotations

import json
from enum import Enum
from typing import Annotated, Any, Literal

import pytest
from pydantic import BaseModel, Field

from smelt.errors import SchemaError
from smelt.plan.decisions import Decision, Decisions, Judgement, questions_about
from smelt.plan.numbers import LongNumber
from smelt.plan.probabilities import asked_output


class Mood(Enum):
    GOOD = "good"
    FINE = "good"  # noqa: PIE796  # An alias.
    BAD = "bad"


def decided(annotation: Any, *, levels: int = 10) -> Decision:
    output = asked_output({"x": annotation}, via="decisions")
    (found,) = questions_about(output.fields, options=255, levels=levels, provider="vendor")
    return found


def words(one: Decision) -> list[str]:
    return [option.word for option in one.options]


@pytest.mark.parametrize(
    ("annotation", "form", "offered"),
    [
        (bool, "yes", {"true": True, "false": False}),
        (bool | None, "choice", {"true": True, "false": False, "null": None}),
        (Literal["a", "b"], "choice", {"a": "a", "b": "b"}),
        (Literal["a"] | None, "choice", {"a": "a", "null": None}),
        (Literal["null", "x"] | None, "choice", {"null": "null", "x": "x", "no answer": None}),
        (Mood, "choice", {"good": "good", "bad": "bad"}),
        (Literal["", " a", "a"], "choice", {"option 1": "", "option 2": " a", "a": "a"}),
        (Literal["", "option 1"], "choice", {"option 1.": "", "option 1": "option 1"}),
        (Literal["größe", "大", "🦊"], "choice", {"größe": "größe", "大": "大", "🦊": "🦊"}),
        (Annotated[int, Field(ge=1, le=3)], "scale", {"1": 1, "2": 2, "3": 3}),
        (Annotated[int, Field(gt=-2, lt=1)], "scale", {"-1": -1, "0": 0}),
        (Annotated[int, Field(ge=1, le=9, multiple_of=4)], "scale", {"4": 4, "8": 8}),
        (Annotated[int, Field(ge=1, le=2)] | None, "choice", {"1": 1, "2": 2, "null": None}),
    ],
)  # fmt: skip
def test_a_field_offers_its_values_and_no_others(annotation: Any, form: str, offered: dict[str, Any]) -> None:
    one = decided(annotation)

    assert one.form == form
    assert {option.word: option.value for option in one.options} == offered


@pytest.mark.parametrize(
    ("annotation", "said"),
    [
        (str, "'x' is text, and via=\"decisions\" asks only for bool, Literal, Enum, or int with bounds"),
        (float, "'x' is a number"),
        (list[bool], "'x' is a list"),
        (int, "'x' is an int without bounds"),
        (Annotated[int, Field(ge=0)], "without bounds"),
        (Annotated[int, Field(ge=1, le=11)], "'x' has 11 whole numbers; .* 10 at most with vendor"),
        (Annotated[int, Field(ge=-(2**62), le=2**62)], "whole numbers"),
        (Annotated[int, Field(ge=3, le=2)], "nothing to decide"),
        (Literal["a"], "only one value"),
        (Literal[tuple(str(at) for at in range(300))], "'x' has 300 values; .* 255 at most"),
        (Literal[tuple(str(at) for at in range(255))] | None, "'x' has 255 values; .* 254 at most"),
    ],
)
def test_a_field_that_cannot_be_decided_is_named(annotation: Any, said: str) -> None:
    with pytest.raises(SchemaError, match=said):
        decided(annotation)


def test_a_scale_may_be_longer_where_the_provider_takes_more() -> None:
    assert len(decided(Annotated[int, Field(ge=1, le=100)], levels=255).options) == 100


YES, SECTOR, STARS = decided(bool), decided(Literal["a", "b"] | None), decided(Annotated[int, Field(ge=1, le=3)])


@pytest.mark.parametrize(
    ("one", "chances", "chosen", "found"),
    [
        (YES, [("true", 0.8)], None, (True, 0.8)),
        (YES, [("true", 0.5)], None, (True, 0.5)),
        (YES, [("true", 0.25)], None, (False, 0.75)),
        (YES, [("true", 1)], None, (True, 1.0)),
        (YES, [("true", LongNumber("0.87500000000000000001"))], None, (True, 0.875)),
        (YES, [("true", 1.0000000001)], None, (True, 1.0)),
        (SECTOR, [("a", 0.2), ("b", 0.7), ("null", 0.1)], "b", ("b", 0.7)),
        (SECTOR, [("a", 0.2), ("b", 0.1), ("null", 0.7)], "null", (None, 0.7)),
        (SECTOR, [("b", 0.5), ("a", 0.5)], "b", ("b", 0.5)),
        (SECTOR, [("a", 0.33), ("b", 0.33), ("null", 0.33)], "a", ("a", 0.33)),
        (STARS, [("1", 0.4), ("2", 0.2), ("3", 0.4)], None, (1, 0.4)),
        (STARS, [("3", 0.7), ("1", 0.3)], None, (3, 0.7)),
    ],
)
def test_the_most_probable_value_is_taken(one: Decision, chances: Any, chosen: Any, found: Any) -> None:
    assert one.settled(Judgement(chances=chances, chosen=chosen)) == found


@pytest.mark.parametrize(
    ("one", "chances", "chosen"),
    [
        (YES, [], None),
        (YES, [("true", 1.1)], None),
        (YES, [("true", -0.1)], None),
        (YES, [("true", float("nan"))], None),
        (YES, [("true", float("inf"))], None),
        (YES, [("true", True)], None),
        (YES, [("true", "0.9")], None),
        (YES, [("true", None)], None),
        (YES, [("true", 10**400)], None),
        (SECTOR, [("a", 0.9), ("b", 0.1), ("c", 0.0)], "a"),
        (SECTOR, [("a", 0.4), ("a", 0.4), ("b", 0.2)], "a"),
        (SECTOR, [("a", 0.2), ("b", 0.2)], "a"),
        (SECTOR, [("a", 0.9), ("b", 0.9)], "a"),
        (SECTOR, [("a", 0.2), ("b", 0.8)], "a"),
        (SECTOR, [("a", 0.2), ("b", 0.8)], "c"),
        (SECTOR, [("a", 0.2), ("b", 0.8)], False),
        (SECTOR, [(True, 0.2), ("b", 0.8)], "b"),
        (STARS, [(None, 0.2), ("3", 0.8)], None),
        (STARS, [(3, 1.0)], None),
    ],
)
def test_what_cannot_be_right_is_no_answer(one: Decision, chances: Any, chosen: Any) -> None:
    assert one.settled(Judgement(chances=chances, chosen=chosen)) is None


def test_a_reply_has_the_rows_that_were_answered_and_only_pairs_of_value_and_probability() -> None:
    asked = Decisions(tokens=("k7f2x", "p3xwv", "zzzzz"), fields=(YES, SECTOR))
    good, bad = Judgement(chances=[("true", 0.75)]), Judgement(chances=[("a", 7)], chosen="a")

    text = asked.reply({"k7f2x_0": good, "k7f2x_1": bad, "p3xwv_0": good, "nobody_0": good})

    half = {"x": True, "x_p": 0.75}
    assert json.loads(text) == {"rows": [{"id": "k7f2x", **half}, {"id": "p3xwv", **half}]}


def test_questions_name_their_row_and_their_field() -> None:
    class Answer(BaseModel):
        is_public: bool = Field(alias="isPublic")
        sector: Literal["a", "b"]

    fields = asked_output(Answer, via="decisions").fields
    asked = Decisions(tokens=("k7f2x",), fields=questions_about(fields, options=9, levels=9, provider="vendor"))

    assert [(name, said) for name, said, _ in asked.questions()] == [
        ("k7f2x_0", 'In the answer to row k7f2x, "isPublic" is true.'),
        ("k7f2x_1", 'In the answer to row k7f2x, what is "sector"?'),
    ]
    assert all(one.bytes > 40 for one in asked.fields)
