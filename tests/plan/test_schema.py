"""Output models become kinds, or are refused with the field and the way out."""

from __future__ import annotations

import enum
import functools
import re
from collections.abc import Sequence
from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import Annotated, Any, Generic, Literal, Optional, TypeVar, Union

import pytest
from pydantic import (
    AliasPath,
    AwareDatetime,
    BaseModel,
    ConfigDict,
    Field,
    NaiveDatetime,
    PrivateAttr,
    RootModel,
    create_model,
)

from smelt.errors import SchemaError
from smelt.plan.kinds import (
    Array,
    Boolean,
    Choice,
    Date,
    Duration,
    FixedPoint,
    Float,
    Integer,
    Kind,
    Struct,
    Text,
    Timestamp,
)
from smelt.plan.schema import read_output


class Colour(str, enum.Enum):
    RED = "red"
    BLUE = "blue"


class Number(enum.Enum):
    ONE = 1


class Person(BaseModel):
    name: str
    age: int | None


class Forward(BaseModel):
    x: Unknown  # type: ignore[name-defined]  # noqa: F821  # On purpose.


class Node(BaseModel):
    children: list[Node]


T = TypeVar("T")


class Box(BaseModel, Generic[T]):
    value: T


def kind_of(annotation: Any, **info: Any) -> Kind:
    model = create_model("Answer", x=(annotation, Field(**info)))
    return read_output(model).fields[0].kind


@pytest.mark.parametrize(
    ("annotation", "kind"),
    [
        (str, Text()),
        (int, Integer()),
        (float, Float()),
        (bool, Boolean()),
        (datetime, Timestamp()),
        (AwareDatetime, Timestamp()),
        (NaiveDatetime, Timestamp(aware=False)),
        (date, Date()),
        (timedelta, Duration()),
        (Literal["a", "b"], Choice(values=("a", "b"))),
        (Literal["a", None], Choice(values=("a",), nullable=True)),
        (Colour, Choice(values=("red", "blue"))),
        (Optional[int], Integer(nullable=True)),
        (int | None, Integer(nullable=True)),
        (list[int | None], Array(item=Integer(nullable=True))),
        (Annotated[Decimal, Field(decimal_places=2)], FixedPoint(places=2)),
        (
            Annotated[Decimal, Field(max_digits=9, decimal_places=2)] | None,
            FixedPoint(places=2, digits=9, nullable=True),
        ),
        (Annotated[int, Field(ge=1, lt=9)], Integer(constraints={"minimum": 1, "exclusiveMaximum": 9})),
        (Annotated[str, Field(max_length=5, pattern="^a")], Text(constraints={"maxLength": 5, "pattern": "^a"})),
        (Annotated[list[str], Field(max_length=5)], Array(item=Text(), constraints={"maxItems": 5})),
        (Annotated[float, Field(allow_inf_nan=True)], Float(allow_inf_nan=True)),
    ],
    ids=str,
)
def test_a_field_has_the_kind_that_it_declares(annotation: Any, kind: Kind) -> None:
    assert kind_of(annotation) == kind


def test_nested_models_are_structs() -> None:
    kind = kind_of(list[Person])

    assert isinstance(kind, Array)
    assert isinstance(kind.item, Struct)
    assert [field.name for field in kind.item.fields] == ["name", "age"]


def test_a_parametrised_generic_model_is_like_any_other() -> None:
    assert read_output(Box[int]).fields[0].kind == Integer()


@pytest.mark.parametrize(
    ("annotation", "says"),
    [
        (dict[str, int], "nested model"),
        (dict, "nested model"),
        (Any, "concrete type"),
        (object, "concrete type"),
        (set[int], r"list\[...\]"),
        (frozenset[int], r"list\[...\]"),
        (tuple[int, str], "nested model"),
        (Sequence[int], r"list\[...\]"),
        (bytes, "Use str"),
        (list, "bare list"),
        (int | str, "union of types"),
        (Union[int, str, None], "union of types"),
        (Person | int, "union of types"),
        (Literal[1, 2], "Literal with values that are not strings"),
        (Literal["a", 2], "Literal with values that are not strings"),
        (Number, "values are not strings"),
        (Decimal, "decimal_places"),
        (Annotated[Decimal, Field(max_digits=50, decimal_places=2)], "38 digits"),
    ],
    ids=str,
)
def test_a_type_without_a_typed_column_is_refused_with_its_field(annotation: Any, says: str) -> None:
    with pytest.raises(SchemaError, match=r"Answer\.x.*" + says):
        kind_of(annotation)


@pytest.mark.parametrize(
    ("model", "says"),
    [
        (Person(name="A", age=1), "not an instance of Person. Pass the class itself"),
        ({"a": 5}, "has 5 as the type of 'a'"),
        (dict, "not the class dict"),
        ("Person", "not a str"),
        (None, "not None"),
        (create_model("Empty"), "no fields"),
        (RootModel[list[int]], "RootModel"),
        (Node, "contains itself"),
        (create_model("Id", id=(int, ...)), "field 'id'"),
        (create_model("Aliased", x=(int, Field(alias="id"))), "field 'id'"),
        (create_model("Twice", x=(int, Field(alias="a")), y=(int, Field(alias="a"))), "alias 'a'"),
        (create_model("Path", x=(int, Field(validation_alias=AliasPath("a", 0)))), "AliasPath"),
        (create_model("Loose", __config__=ConfigDict(extra="allow"), x=(int, ...)), "extra"),
        (Forward, "forward reference"),
    ],
    ids=lambda one: getattr(one, "__name__", str(one))[:20],
)
def test_a_model_that_cannot_be_asked_for_is_refused(model: Any, says: str) -> None:
    with pytest.raises(SchemaError, match=says) as caught:
        read_output(model)

    assert isinstance(caught.value, TypeError)


def test_str_asks_for_one_column_of_free_text() -> None:
    output = read_output(str, text_column="summary")

    assert output.is_text
    assert [(field.name, field.key) for field in output.fields] == [("summary", "text")]


class AsyncPost(BaseModel):
    n: int

    async def model_post_init(self, context: Any, /) -> None:  # type: ignore[override]
        raise AssertionError


class AsyncPostWithPrivate(AsyncPost):
    _seen: int = PrivateAttr(default=0)


class AsyncInit(BaseModel):
    n: int

    async def __init__(self, **values: Any) -> None:  # type: ignore[misc]
        raise AssertionError


class Holding(BaseModel):
    parts: list[AsyncPost | None]


def awaiting(hook: Any) -> Any:
    @functools.wraps(hook)
    def run(self: Any, context: Any) -> None:
        hook(self, context).close()

    return run


@pytest.mark.parametrize(
    ("model", "named"),
    [
        (AsyncPost, "AsyncPost.model_post_init"),
        (AsyncPostWithPrivate, "AsyncPostWithPrivate.model_post_init"),
        (AsyncInit, "AsyncInit.__init__"),
        (Holding, "AsyncPost.model_post_init"),
    ],
)
def test_an_async_hook_that_nobody_would_await_is_refused_by_name(model: type[BaseModel], named: str) -> None:
    with pytest.raises(SchemaError, match=rf"{re.escape(named)} is async, and pydantic never awaits it"):
        read_output(model)


def test_a_hook_whose_wrapper_awaits_it_is_taken() -> None:
    class Wrapped(BaseModel):
        n: int
        _seen: int = PrivateAttr(default=0)

        @awaiting
        async def model_post_init(self, context: Any, /) -> None:
            raise AssertionError

    assert [field.name for field in read_output(Wrapped).fields] == ["n"]
