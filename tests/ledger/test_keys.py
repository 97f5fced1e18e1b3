"""A key changes exactly when the request does."""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated, Any, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, Field, create_model

from smelt.ledger.keys import Spec, added_fields, as_chosen, count_differences, definition, describe_change, row_key
from smelt.plan.schema import read_output
from smelt.providers.secrets import Secret

SECRET = bytes(32)
KEY = Secret("sk-one")


class Base(BaseModel):
    sector: Literal["tech", "other"]
    size: Annotated[int, Field(ge=0, description="employees")]


def spec(output: type[BaseModel] = Base, **changes: Any) -> Spec:
    options: dict[str, Any] = {"provider": "openai", "model": "m", "prompt": "Classify.", "params": {"temperature": 0}}
    return Spec.of(**{**options, "fields": read_output(output).fields, **changes}, secret=SECRET)


def model(**fields: Any) -> type[BaseModel]:
    made: type[BaseModel] = create_model("Other", **fields)
    return made


SECTOR = (Literal["tech", "other"], ...)
SIZE = (Annotated[int, Field(ge=0, description="employees")], ...)
OTHERS: dict[str, tuple[Spec, str]] = {
    "provider": (spec(provider="google"), "the model (openai:m to google:m) changed"),
    "model": (spec(Base, model="n"), "the model (openai:m to openai:n) changed"),
    "prompt": (spec(prompt="Classify!"), "the prompt changed"),
    "a parameter": (spec(params={"temperature": 1}), "params ('temperature' changed) changed"),
    "another parameter": (spec(params={"top_p": 1}), "params ('top_p' added, 'temperature' removed) changed"),
    "a field more": (spec(model(sector=SECTOR, size=SIZE, old=(bool, ...))), "the output model ('old' added) changed"),
    "a field less": (spec(model(sector=SECTOR)), "the output model ('size' removed) changed"),
    "the order of fields": (spec(model(size=SIZE, sector=SECTOR)), "the output model (its order) changed"),
    "a description": (
        spec(model(sector=SECTOR, size=(Annotated[int, Field(ge=0, description="people")], ...))),
        "the output model ('size' changed) changed",
    ),
    "a bound": (
        spec(model(sector=SECTOR, size=(Annotated[int, Field(ge=1, description="employees")], ...))),
        "the output model ('size' changed) changed",
    ),
    "an example": (
        spec(model(sector=SECTOR, size=(Annotated[int, Field(ge=0, description="employees", examples=[5])], ...))),
        "the output model ('size' changed) changed",
    ),
    "the docstring": (spec(about="A company."), "the prompt changed"),
    "a choice": (
        spec(model(sector=(Literal["tech", "none"], ...), size=SIZE)),
        "the output model ('sector' changed) changed",
    ),
    "the words around it": (replace(spec(), codec=2), "the way in which smelt asks changed"),
    "the key": (spec(key=KEY), "the API key changed"),
    "two things": (
        spec(prompt="Now.", params={}),
        "the prompt and params ('temperature' removed) changed",
    ),
    "three things": (
        spec(prompt="Now.", params={}, provider="x"),
        "the prompt, the model (openai:m to x:m) and params ('temperature' removed) changed",
    ),
}


@pytest.mark.parametrize("what", list(OTHERS))
def test_what_changes_the_answers_changes_the_fingerprint_and_is_named(what: str) -> None:
    other, sentence = OTHERS[what]

    assert other.fingerprint(SECRET) != spec().fingerprint(SECRET)
    assert describe_change(spec(), other) == sentence


LOCAL = spec(provider="local", params={"temperature": 0})


@pytest.mark.parametrize(
    ("old", "new", "sentence"),
    [
        (LOCAL, spec(params={}), "the model (local:m to openai:m) changed"),
        (spec(params={}), LOCAL, "the model (openai:m to local:m) changed"),
        (spec(params={"temperature": 0}), LOCAL, "the model (openai:m to local:m) changed"),
        (spec(params={}, key=KEY), LOCAL, "the model (openai:m to local:m) changed"),
        (LOCAL, spec(provider="local", params={"temperature": 1}), "params ('temperature' added) changed"),
        (spec(provider="local", params={"temperature": 1}), LOCAL, "params ('temperature' removed) changed"),
    ],
    ids=["from local", "to local", "the same value", "a key less", "a choice", "a choice less"],
)
def test_only_what_the_caller_chose_is_named(old: Spec, new: Spec, sentence: str) -> None:
    assert describe_change(as_chosen(old, new, SECRET), as_chosen(new, old, SECRET)) == sentence


def test_details_tell_which_of_two_specs_is_nearer() -> None:
    base = spec(params={})
    near, far = spec(params={"top_p": 1}), spec(params={"top_p": 1, "seed": 2})

    assert count_differences(base, base) == (0, 0)
    assert count_differences(near, base) < count_differences(far, base) < count_differences(spec(prompt="x"), base)


def test_the_same_job_has_the_same_fingerprint() -> None:
    class Renamed(BaseModel):
        """Another name and a docstring, which nobody is told."""

        sector: Literal["tech", "other"]
        size: Annotated[int, Field(ge=0, description="employees")]

    assert spec(Renamed).fingerprint(SECRET) == spec().fingerprint(SECRET)
    assert spec(params={"a": 1, "b": 2}).fingerprint(SECRET) == spec(params={"b": 2, "a": 1}).fingerprint(SECRET)


def test_nothing_of_the_job_can_be_read_from_its_spec() -> None:
    shown = repr(spec(prompt="a secret plan", params={"token": "hunter2"}, key=KEY))

    assert "secret plan" not in shown
    assert "sk-one" not in shown
    assert "hunter2" not in shown


def test_added_fields_are_those_of_a_job_that_grew() -> None:
    grown = spec(model(sector=SECTOR, size=SIZE, old=(bool, ...)))

    assert added_fields(spec(), grown) == ("old",)
    assert added_fields(grown, spec()) == ()
    assert added_fields(spec(prompt="Other."), grown) == ()
    assert added_fields(spec(key=KEY), grown) == ()


@given(st.text(), st.text(), st.binary(min_size=32, max_size=32))
def test_two_rows_share_a_key_only_if_they_are_equal(one: str, other: str, secret: bytes) -> None:
    assert (row_key(one, secret) == row_key(other, secret)) == (one == other)


def test_keys_of_two_stores_differ() -> None:
    assert row_key("{}", SECRET) != row_key("{}", bytes(31) + b"\1")


def test_a_model_without_new_words_is_known_by_the_key_that_it_had() -> None:
    class Inner(BaseModel):
        size: Annotated[int, Field(ge=0, description="employees")]

    class Outer(BaseModel):
        inner: Inner

    (field,) = read_output(Outer).fields

    shape = ["Integer", False, [("minimum", 0)], []]
    assert definition(field) == ["inner", "", True, ["Struct", False, [], [["size", "employees", True, shape]]]]


def test_the_docstring_of_a_nested_model_is_part_of_the_key() -> None:
    class Inner(BaseModel):
        size: int

    class Told(BaseModel):
        """How large it is."""

        size: int

    def outer(inner: type[BaseModel]) -> Spec:
        return spec(create_model("Outer", inner=(list[inner], ...)))  # type: ignore[valid-type]  # It is a class.

    assert outer(Inner) != outer(Told)
