"""An output model gets a field with the probability of each of its fields, and stays what it was otherwise."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import pytest
from pydantic import BaseModel, ConfigDict, Field, model_validator
from pydantic.alias_generators import to_camel

from smelt.errors import SchemaError
from smelt.plan.forms import restored
from smelt.plan.instances import instance
from smelt.plan.probabilities import asked_output, declared, paired
from smelt.plan.schema import part_of
from smelt.plan.validate import InvalidRow, Validator


class Camel(BaseModel):
    model_config = ConfigDict(alias_generator=to_camel, extra="ignore")

    is_public: bool = False
    size: Literal["s", "l"] | None = None


class Strict(BaseModel):
    """What a company is."""

    a: bool
    b: bool

    @model_validator(mode="after")
    def _not_both(self) -> Strict:
        if self.a and self.b:
            raise ValueError("not both")
        return self


@dataclass
class Data:
    a: bool
    b: Literal["x", "y"]

    def __post_init__(self) -> None:
        if self.a and self.b == "y":
            raise ValueError("no y")


class Named(NamedTuple):
    a: bool


def test_without_decisions_nothing_is_added() -> None:
    assert [one.name for one in asked_output(Camel).fields] == ["is_public", "size"]


def test_each_field_gets_its_probability_behind_the_fields() -> None:
    output = asked_output(Camel, via="decisions")

    assert [(one.name, one.key, one.chance_of) for one in output.fields] == [
        ("is_public", "isPublic", ""),
        ("size", "size", ""),
        ("is_public_p", "isPublicP", "is_public"),
        ("size_p", "sizeP", "size"),
    ]
    assert [one.name for one in declared(output.fields)] == ["is_public", "size"]
    assert issubclass(output.model, Camel)


def test_a_default_never_stands_for_an_answer_that_is_missing() -> None:
    validator = Validator(asked_output(Camel, via="decisions"))

    with pytest.raises(InvalidRow, match="isPublicP: Field required"):
        validator.read({"size": "s", "sizeP": 0.9})


@pytest.mark.parametrize("chance", [-0.1, 1.1, "0.5", True, None])
def test_a_probability_is_a_number_from_0_to_1(chance: Any) -> None:
    with pytest.raises(InvalidRow, match="x_p"):
        Validator(asked_output({"x": bool}, via="decisions")).read({"x": True, "x_p": chance})


def test_validators_of_the_author_see_the_answer() -> None:
    validator = Validator(asked_output(Strict, via="decisions"))

    assert validator.read({"a": True, "b": False, "a_p": 1, "b_p": 0.5})[0] == (True, False, 1.0, 0.5)
    with pytest.raises(InvalidRow, match="not both"):
        validator.read({"a": True, "b": True, "a_p": 1, "b_p": 0.5})


@pytest.mark.parametrize(
    ("form", "made"),
    [
        (Data, lambda: Data(a=False, b="y")),
        (Named, lambda: Named(a=False)),
        ({"a": bool}, lambda: {"a": False}),
    ],
    ids=["dataclass", "NamedTuple", "dict"],
)
def test_an_answer_is_given_back_in_the_form_of_the_caller(form: Any, made: Callable[[], Any]) -> None:
    output = asked_output(form, via="decisions")
    answer = {one.key: "y" if one.name == "b" else 0.5 if one.chance_of else False for one in output.fields}

    values, _ = Validator(output).read(answer)

    names = tuple(output.model.model_fields)
    assert restored(instance(output.model, dict(zip(names, values, strict=True)))) == made()


@pytest.mark.parametrize("column", ["mood", "my mood", "class"])
def test_a_single_type_gets_a_column_beside_its_own(column: str) -> None:
    output = asked_output(Literal["a", "b"], text_column=column, via="decisions")

    assert [one.name for one in output.fields] == [column, f"{column}_p"]


def test_a_field_with_the_name_of_a_probability_is_refused() -> None:
    with pytest.raises(SchemaError, match="'x_p' has the name .* of 'x'"):
        asked_output({"x": bool, "x_p": bool}, via="decisions")


def test_a_part_of_the_fields_is_a_part_of_the_pairs() -> None:
    output = asked_output({"x": bool, "y": bool, "z": bool}, via="decisions")

    names = paired(output.fields, ["x", "y_p"])
    part = part_of(output, names)

    assert names == ["x", "y", "x_p", "y_p"]
    assert part is not None
    assert [(one.name, one.chance_of) for one in part.fields] == [("x", ""), ("y", ""), ("x_p", "x"), ("y_p", "y")]


def test_what_the_author_says_of_the_model_is_kept() -> None:
    class Told(BaseModel):
        """About the tone."""

        x: bool = Field(description="Is it kind?")

    output = asked_output(Told, via="decisions")

    assert (output.description, output.fields[0].description) == ("About the tone.", "Is it kind?")
    assert output.model.__name__ == "Told"
