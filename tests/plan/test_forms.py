"""Output models that are no pydantic classes: each is its pydantic twin in fields, columns, dtypes and ledger keys."""

from __future__ import annotations

import dataclasses
import pickle
from collections.abc import Callable
from datetime import date
from decimal import Decimal
from enum import StrEnum
from typing import Annotated, Any, Literal, NamedTuple, NotRequired, TypedDict

import pandas as pd
import polars as pl
import pydantic
import pytest
from polars.testing import assert_frame_equal
from pydantic import BaseModel, Field

import smelt
from smelt.errors import SchemaError
from smelt.ledger.keys import definition
from smelt.plan.schema import read_output
from smelt.testing import ScriptedProvider

Money = Annotated[Decimal, Field(decimal_places=2)]
Tone = Literal["pos", "neg"]


class Line(BaseModel):
    what: str
    price: Money


class Twin(BaseModel):
    tone: Tone
    day: date
    lines: list[Line]
    stars: Annotated[int, Field(ge=1, le=5)] = 3


class LineDict(TypedDict):
    what: str
    price: Money


class LineTuple(NamedTuple):
    what: str
    price: Money


@dataclasses.dataclass
class LineData:
    what: str
    price: Money


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class AsDataclass:
    tone: Tone
    day: date
    lines: list[LineDict]
    stars: Annotated[int, Field(ge=1, le=5)] = 3


@pydantic.dataclasses.dataclass
class AsPydanticDataclass:
    tone: Tone
    day: date
    lines: list[LineData]
    stars: int = Field(default=3, ge=1, le=5)


class AsTuple(NamedTuple):
    tone: Tone
    day: date
    lines: list[LineTuple]
    stars: Annotated[int, Field(ge=1, le=5)] = 3


class AsTypedDict(TypedDict):
    tone: Tone
    day: date
    lines: list[LineTuple]
    stars: Annotated[int, Field(ge=1, le=5)]


AS_DICT = {"tone": Tone, "day": date, "lines": list[LineDict], "stars": Annotated[int, Field(ge=1, le=5)]}

FORMS: dict[str, Any] = {
    "dataclass": AsDataclass,
    "pydantic dataclass": AsPydanticDataclass,
    "NamedTuple": AsTuple,
    "TypedDict": AsTypedDict,
    "dict": AS_DICT,
}
ANSWER = {"tone": "neg", "day": "2026-11-29", "lines": [{"what": "tea", "price": "2.50"}], "stars": 4}
ROWS = [{"text": "Cold tea."}, {"text": "Late."}]
CELLS = {"tone": "neg", "day": date(2026, 11, 29), "lines": [{"what": "tea", "price": Decimal("2.50")}], "stars": 4}


def frame_of(kind: str) -> Any:
    return {"pandas": pd.DataFrame, "polars": pl.DataFrame, "records": list}[kind](ROWS)


@pytest.mark.parametrize("form", FORMS.values(), ids=FORMS)
def test_a_form_has_the_fields_of_its_pydantic_twin(form: Any) -> None:
    twin, formed = read_output(Twin), read_output(form)

    assert [one.name for one in formed.fields] == [one.name for one in twin.fields]
    # A dict and a TypedDict have no defaults, so all that may differ is whether a field may be left out.
    strip = [definition(dataclasses.replace(one, required=True)) for one in twin.fields]
    assert [definition(dataclasses.replace(one, required=True)) for one in formed.fields] == strip
    if form in (AsDataclass, AsPydanticDataclass, AsTuple):
        assert [definition(one) for one in formed.fields] == [definition(one) for one in twin.fields]
    assert formed.description == ""


@pytest.mark.parametrize("kind", ["pandas", "polars", "records"])
@pytest.mark.parametrize("form", FORMS.values(), ids=FORMS)
def test_a_form_gives_the_columns_of_its_pydantic_twin(form: Any, kind: str) -> None:
    model = ScriptedProvider(ANSWER)

    twin, formed = (smelt.transform(frame_of(kind), "Read {text}.", one, model=model) for one in (Twin, form))

    if kind == "pandas":
        pd.testing.assert_frame_equal(formed, twin)
    elif kind == "polars":
        assert_frame_equal(formed, twin)
    else:
        assert formed == twin


@pytest.mark.parametrize(
    ("form", "made"),
    [
        (AsDataclass, AsDataclass(**CELLS)),  # type: ignore[arg-type]
        (AsTuple, AsTuple("neg", date(2026, 11, 29), [LineTuple("tea", Decimal("2.50"))], 4)),
        (AsTypedDict, {**CELLS, "lines": [LineTuple("tea", Decimal("2.50"))]}),
        (AS_DICT, CELLS),
    ],
    ids=["dataclass", "NamedTuple", "TypedDict", "dict"],
)
def test_answers_come_back_in_the_form_that_was_given(form: Any, made: Any) -> None:
    result = smelt.run(ROWS, "Read {text}.", form, model=ScriptedProvider(ANSWER))

    assert result.data == [made, made]
    assert all(type(one) is type(made) for one in result.data)


def test_answers_of_a_pydantic_dataclass_are_made_by_it() -> None:
    result = smelt.run(ROWS[:1], "Read {text}.", AsPydanticDataclass, model=ScriptedProvider(ANSWER))

    assert result.data == [AsPydanticDataclass("neg", date(2026, 11, 29), [LineData("tea", Decimal("2.50"))], 4)]


def test_forms_and_twin_share_what_is_paid_for(tmp_path: Any) -> None:
    model, ledger = ScriptedProvider(ANSWER), tmp_path / "ledger.sqlite"

    for form in (Twin, AsDataclass, AsPydanticDataclass, AsTuple):
        smelt.run(ROWS, "Read {text}.", form, model=model, ledger=ledger)

    assert len(model.requests) == 1


@dataclasses.dataclass
class Span:
    """From a page to a page."""

    first: int
    last: int

    def __post_init__(self) -> None:
        if self.last < self.first:
            raise ValueError("the last page is before the first")


def test_what_a_dataclass_refuses_is_asked_again_with_the_reason() -> None:
    answers = iter([{"first": 5, "last": 2}, {"first": 2, "last": 5}])
    model = ScriptedProvider(lambda row: next(answers))

    result = smelt.run(ROWS[:1], "Which pages does {text} name?", Span, model=model)

    assert result.data == [Span(2, 5)]
    assert "the last page is before the first" in model.requests[1].user
    assert "From a page to a page." in model.requests[0].system


class Optional(TypedDict):
    tone: Tone
    stars: NotRequired[int]


def test_a_key_that_may_be_left_out_is_null_if_the_model_says_so() -> None:
    model = ScriptedProvider({"tone": "pos", "stars": None})

    result = smelt.run(pd.DataFrame(ROWS), "Read {text}.", Optional, model=model)

    assert result.data == [{"tone": "pos", "stars": None}] * 2
    assert str(result.frame["stars"].dtype) == "Int64"
    again = smelt.run(pd.DataFrame(ROWS), "Read {text}.", Optional, model=model, examples=result.frame)
    assert again.errors == []


@dataclasses.dataclass(frozen=True)
class Doubled:
    number: int
    word: str = "a"
    length: int = dataclasses.field(init=False, default=0)

    def __post_init__(self) -> None:
        object.__setattr__(self, "number", 2 * self.number)
        object.__setattr__(self, "length", len(self.word))


@dataclasses.dataclass
class Several:
    items: list[Doubled]


@pydantic.dataclasses.dataclass
class Tenfold:
    number: int

    @pydantic.field_validator("number")
    @classmethod
    def tenfold(cls, number: int) -> int:
        return 10 * number


def test_what_a_dataclass_makes_of_its_values_is_in_frame_and_data_alike(tmp_path: Any) -> None:
    said = {"items": [{"number": 1, "word": "abc"}]}
    nested: Any = smelt.run(pl.DataFrame(ROWS), "{text}", Several, model=ScriptedProvider(said))
    model, ledger = ScriptedProvider({"number": 1, "word": "abc"}), tmp_path / "ledger.sqlite"

    runs: list[Any] = [smelt.run(pl.DataFrame(ROWS), "{text}", Doubled, model=model, ledger=ledger) for _ in range(2)]
    tenfold: Any = smelt.run(pl.DataFrame(ROWS), "{text}", Tenfold, model=ScriptedProvider({"number": 1}))

    for result in runs:
        assert result.frame["number"].to_list() == [2, 2]
        assert [(one.number, one.length) for one in result.data] == [(2, 3), (2, 3)]
    assert nested.frame["items"].to_list()[0] == [{"number": 2, "word": "abc"}]
    assert [one.number for one in nested.data[0].items] == [2]
    assert (tenfold.frame["number"].to_list(), [one.number for one in tenfold.data]) == ([10, 10], [10, 10])


def test_a_dict_in_a_dict_and_a_default_in_a_type_are_fields_as_in_a_class() -> None:
    form: Any = {"place": {"town": str}, "all": list[{"n": int}], "stars": Annotated[int, Field(default=3)]}  # type: ignore[misc]  # noqa: F821

    result = smelt.run(ROWS, "{text}", form, model=ScriptedProvider({"place": {"town": "Ulm"}, "all": [{"n": 1}]}))

    assert result.data[0] == {"place": {"town": "Ulm"}, "all": [{"n": 1}], "stars": 3}


@pytest.mark.parametrize(
    "form", [int, {"number": int}, Doubled, AsTypedDict], ids=["one type", "dict", "data", "typed"]
)
def test_results_of_every_form_can_be_pickled(form: Any) -> None:
    output = {"output": "number"} if form is int else {}
    result = smelt.run(ROWS, "{text}", form, model="mock:", **output)

    assert pickle.loads(pickle.dumps(result)).data == result.data


class Mood(StrEnum):
    GOOD = "good"
    BAD = "bad"


SINGLE: list[tuple[Any, Any, Any]] = [
    (Tone, "pos", "pos"),
    (bool, True, True),
    (int, 3, 3),
    (list[str], ["a", "b"], ["a", "b"]),
    (date, "2026-11-29", date(2026, 11, 29)),
    (Mood, "bad", Mood.BAD),
    (Money, "1.50", Decimal("1.50")),
    (Tone | None, None, None),
    (list[LineDict], [{"what": "tea", "price": "2.50"}], [{"what": "tea", "price": Decimal("2.50")}]),
]


@pytest.mark.parametrize("column", ["tone", "a tone", "_tone", "copy"])
@pytest.mark.parametrize(("form", "said", "value"), SINGLE, ids=lambda one: None)
def test_a_single_type_gives_one_column_with_the_name_that_output_says(
    form: Any, said: Any, value: Any, column: str
) -> None:
    model = ScriptedProvider({column: said})

    result = smelt.run(pd.DataFrame(ROWS), "Read {text}.", form, output=column, model=model)

    assert result.data == [value, value]
    assert list(result.frame.columns) == ["text", column, "smelt_error"]
    assert result.errors == []


def test_a_single_type_is_its_pydantic_twin_in_dtype_and_ledger(tmp_path: Any) -> None:
    class Answer(BaseModel):
        tone: Tone

    model, ledger = ScriptedProvider({"tone": "pos"}), tmp_path / "ledger.sqlite"
    frame = pd.DataFrame(ROWS)

    twin = smelt.transform(frame, "Tone of {text}?", Answer, model=model, ledger=ledger)
    single: Callable[..., Any] = smelt.transform

    pd.testing.assert_frame_equal(
        single(frame, "Tone of {text}?", Tone, output="tone", model=model, ledger=ledger), twin
    )
    assert len(model.requests) == 1


def test_a_single_type_can_be_evaluated() -> None:
    frame = pd.DataFrame({**{name: [one[name] for one in ROWS] for name in ROWS[0]}, "known": ["pos", "neg"]})

    found = smelt.evaluate(
        frame, "Tone of {text}?", Tone, {"tone": "known"}, output="tone", model=ScriptedProvider({"tone": "pos"})
    )

    assert found.fields["tone"].accuracy.count == 1


class Unresolved(TypedDict):
    what: "Nowhere"  # type: ignore[name-defined]  # noqa: F821, UP037


@pytest.mark.parametrize(
    ("form", "message"),
    [
        (Unresolved, "A type in Unresolved does not resolve"),
        (AsDataclass(**CELLS), "must be a class with fields"),  # type: ignore[arg-type]
        ({1: str}, "has a field 1"),
        ({"id": str}, "has a field 'id'"),
        ({"a": dict[str, int]}, r"Answer\.a is of type dict"),
    ],
    ids=["unresolved", "instance", "number", "id", "dict of anything"],
)
def test_a_form_that_cannot_be_asked_for_is_refused(form: Any, message: str) -> None:
    with pytest.raises(SchemaError, match=message):
        read_output(form)
