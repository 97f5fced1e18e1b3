"""Fields that nobody asked for: the output model decides, whatever way the reply is read."""

from __future__ import annotations

import json
import warnings
from typing import Any

import pytest
from pydantic import AliasChoices, BaseModel, ConfigDict, Field

import smelt
from smelt.plan.wire import Codec
from smelt.providers.base import Capabilities, Reply, Request
from smelt.testing import ScriptedProvider, asked


class Plain(BaseModel):
    x: int


class Forbids(Plain):
    model_config = ConfigDict(extra="forbid")


class Ignores(Plain):
    model_config = ConfigDict(extra="ignore")


class Lenient(BaseModel):
    """Needs nothing."""

    model_config = ConfigDict(extra="ignore")
    x: int | None = None
    y: str = Field("none", validation_alias=AliasChoices("why", "y"))


class Outer(BaseModel):
    inner: Plain


class OuterIgnores(Outer):
    model_config = ConfigDict(extra="ignore")
    inner: Ignores


READERS = pytest.mark.parametrize(
    ("codec", "around"),
    [("array", "{}"), ("keyed", "{}"), ("array", "Sure:\n```json\n{}\n```"), ("keyed", "<think>Hm.</think>{}")],
    ids=["array", "keyed", "lenient-array", "lenient-keyed"],
)


def answers(model: type[BaseModel], fields: dict[str, Any], codec: Codec, around: str) -> tuple[Any, list[str]]:
    """The answers to two rows if each reply says *fields* of each row, and why there is none."""

    def reply(request: Request) -> Reply:
        rows = {token: fields for token, _ in asked(request)}
        array = {"rows": [{"id": token, **one} for token, one in rows.items()]}
        return Reply(text=around.replace("{}", json.dumps(rows if codec == "keyed" else array)))

    provider = ScriptedProvider({}, script=[reply] * 9, capabilities=Capabilities(codec=codec))
    with warnings.catch_warnings(action="ignore"):
        result = smelt.run([{"n": 1}, {"n": 2}], "Say {n}.", model, model=provider, progress=False, max_attempts=2)
    return result.data, [error.message for error in result.errors]


@READERS
@pytest.mark.parametrize(
    ("model", "fields"),
    [
        (Ignores, {"x": 1, "z": 2}),
        (Ignores, {"x": 1, "row": {"x": 9}}),
        (OuterIgnores, {"inner": {"x": 1, "z": 2}, "z": 3}),
    ],
    ids=["flat", "an object", "nested"],
)
def test_a_model_that_ignores_them_gets_its_own_fields(
    model: type[BaseModel], fields: dict[str, Any], codec: Codec, around: str
) -> None:
    data, problems = answers(model, fields, codec, around)

    assert problems == []
    assert data == [model.model_validate(fields)] * 2


@READERS
@pytest.mark.parametrize(
    ("model", "fields"),
    [(Plain, {"x": 1, "z": 2}), (Forbids, {"x": 1, "z": 2}), (Outer, {"inner": {"x": 1, "z": 2}})],
    ids=["silent", "forbids", "nested"],
)
def test_any_other_model_refuses_the_row(
    model: type[BaseModel], fields: dict[str, Any], codec: Codec, around: str
) -> None:
    data, problems = answers(model, fields, codec, around)

    assert data == [None, None]
    assert all("a field that was not asked for" in one for one in problems)


@READERS
@pytest.mark.parametrize(
    ("model", "fields", "why"),
    [
        (Plain, {"row": {"x": 1}}, "x: Field required"),
        (Ignores, {"row": {"x": 1}}, "x: Field required"),
        (Lenient, {"row": {"x": 1}}, "none of the fields that were asked for"),
        (Lenient, {"X": 1, "Why": "so"}, "none of the fields that were asked for"),
    ],
)
def test_fields_in_one_more_object_or_under_other_names_are_no_answer(
    model: type[BaseModel], fields: dict[str, Any], why: str, codec: Codec, around: str
) -> None:
    data, problems = answers(model, fields, codec, around)

    assert data == [None, None]
    assert all(why in one for one in problems)


@pytest.mark.parametrize("fields", [{}, {"x": None}, {"why": "so"}, {"y": "so", "z": 1}])
def test_what_a_model_has_a_default_for_may_be_left_out(fields: dict[str, Any]) -> None:
    data, problems = answers(Lenient, fields, "array", "{}")

    assert problems == []
    assert data == [Lenient.model_validate(fields)] * 2
