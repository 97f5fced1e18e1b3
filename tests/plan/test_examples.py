"""Examples: shown to the model in every request, part of the question, and never asked when answers are graded."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import date
from typing import Any, Literal

import pandas as pd
import polars as pl
import pytest
from pydantic import BaseModel, Field

import smelt
from smelt.errors import ColumnError, SchemaError
from smelt.testing import ScriptedProvider


class Ticket(BaseModel):
    topic: Literal["bill", "other"]
    day: date | None = Field(alias="on")


ROWS = [{"text": "Pay me back.", "shop": "A"}, {"text": "Hi", "shop": "B"}]
EXAMPLES: list[dict[str, Any]] = [
    {"shop": "C", "text": "Charged twice “today”", "topic": "bill", "day": date(2026, 11, 1), "more": 1},
    {"shop": None, "text": "Nice", "topic": "other", "day": None, "more": 2},
]
LINES = """Rows with their right answers:
{"row":{"text":"Charged twice “today”","shop":"C"},"answer":{"topic":"bill","on":"2026-11-01"}}
{"row":{"text":"Nice","shop":null},"answer":{"topic":"other","on":null}}
"""


def scripted() -> ScriptedProvider:
    return ScriptedProvider({"topic": "other", "on": None})


def run(model: ScriptedProvider, examples: Any = None, **options: Any) -> Any:
    options = {"columns": ["text", "shop"], "progress": False, **options}
    return smelt.run(ROWS, "Sort the message.", Ticket, model=model, examples=examples, **options)


@pytest.mark.parametrize("make", [list, pd.DataFrame, pl.DataFrame], ids=["records", "pandas", "polars"])
def test_examples_stand_in_the_instructions_of_every_request(make: Callable[[Any], Any]) -> None:
    model = scripted()

    run(model, make(EXAMPLES), batch_size=1)

    assert len(model.requests) == 2
    assert all(LINES in request.system for request in model.requests)


def test_examples_are_part_of_what_makes_an_answer_known(tmp_path: Any) -> None:
    model, ledger = scripted(), tmp_path / "ledger.sqlite"

    def requests(examples: Any) -> int:
        return int(run(model, examples, ledger=ledger).metrics.requests)

    assert requests(None) == 1
    with pytest.warns(smelt.SmeltWarning, match=r"params \('examples=' added\) changed"):
        assert requests(EXAMPLES) == 1
    assert requests(pl.DataFrame(EXAMPLES)) == 0
    assert requests(None) == requests([]) == 0
    with pytest.warns(smelt.SmeltWarning, match="examples="):
        assert requests(EXAMPLES[::-1]) == 1


def test_an_example_is_shown_with_the_new_fields_only_when_only_those_are_asked(tmp_path: Any) -> None:
    class Less(BaseModel):
        topic: Literal["bill", "other"]

    model, ledger = scripted(), tmp_path / "ledger.sqlite"
    options: dict[str, Any] = {"columns": ["text"], "ledger": ledger, "progress": False}
    smelt.run(ROWS, "Sort.", Less, model=model, **options)

    smelt.run(ROWS, "Sort.", Ticket, model=model, extend=True, **options)
    assert "topic" not in model.requests[-1].system


def test_a_lazy_plan_takes_examples() -> None:
    model, lazy = scripted(), pl.DataFrame(ROWS).lazy()

    out: Any = smelt.transform(lazy, "Sort the message.", Ticket, model=model, examples=EXAMPLES)

    assert out.collect()["topic"].to_list() == ["other", "other"]
    assert LINES in model.requests[0].system


def test_a_plan_that_uses_one_column_finds_the_whole_answers(tmp_path: Any) -> None:
    model = scripted()
    options: dict[str, Any] = {"examples": EXAMPLES, "ledger": tmp_path / "ledger.sqlite", "progress": False}
    smelt.transform(pl.DataFrame(ROWS), "Sort the message.", Ticket, model=model, **options)

    plan: Any = smelt.transform(pl.DataFrame(ROWS).lazy(), "Sort the message.", Ticket, model=model, **options)

    assert plan.select("topic").collect()["topic"].to_list() == ["other", "other"]
    assert len(model.requests) == 1


@pytest.mark.parametrize(
    ("examples", "kind", "message"),
    [
        ([{"text": "a", "topic": "bill", "day": None}], ColumnError, "examples has no column 'shop', which is sent"),
        ([{"text": "a", "shop": "A", "day": None}], SchemaError, "examples has no column 'topic' with the right"),
        ([{**EXAMPLES[0], "topic": "none"}], SchemaError, "The answer of example 1 is not valid.*topic"),
        ([*EXAMPLES, {**EXAMPLES[0], "day": "soon"}], SchemaError, "The answer of example 3 is not valid"),
        (EXAMPLES * 26, smelt.SmeltConfigError, "examples has 52 rows; 50 are the most"),
        ("few", smelt.SmeltConfigError, "examples: data must be a pandas"),
        ([{"text": b"raw"}], smelt.SmeltConfigError, "value of type bytes"),
        ([*EXAMPLES, {"text": "half \ud800"}], smelt.SmeltConfigError, "examples, row 3: "),
    ],
    ids=["no column", "no answer", "no label", "third", "too many", "text", "bytes", "surrogate"],
)
def test_examples_that_teach_nothing_are_refused_before_anything_is_sent(
    examples: Any, kind: type[Exception], message: str
) -> None:
    model = scripted()

    with pytest.raises(kind, match=message):
        run(model, examples)

    assert model.requests == []


def labelled() -> pd.DataFrame:
    rows = [{"text": f"text {number}", "known": "bill"} for number in range(10)]
    return pd.DataFrame([*rows, {"text": "no label", "known": None}])


TOPIC = {"topic": Literal["bill", "other"]}
TAUGHT = [{"text": "text 3", "topic": "bill"}, {"text": "text 7", "topic": "bill"}, {"text": "new", "topic": "other"}]


def test_rows_that_are_examples_are_not_graded() -> None:
    model = ScriptedProvider({"topic": "bill"})

    found = smelt.evaluate(
        labelled(), "Sort {text}.", TOPIC, {"topic": "known"}, model=model, examples=TAUGHT, progress=False
    )

    assert (found.rows, found.unlabelled, found.taught) == (8, 1, 2)
    assert "2 rows that are examples" in repr(found)
    asked = "".join(request.user for request in model.requests)
    assert json.dumps("text 3") not in asked


def test_a_row_is_an_example_by_what_is_sent_of_it() -> None:
    taught = [{"number": 77, "text": "text 3", "topic": "bill"}]
    frame = labelled().assign(number=range(11))

    found = smelt.evaluate(
        frame, "Sort {text}.", TOPIC, {"topic": "known"}, model=ScriptedProvider({"topic": "bill"}), examples=taught
    )

    assert found.taught == 1


def test_each_variant_has_its_own_columns_and_examples() -> None:
    frame = pd.DataFrame(
        {"t": ["a", None, "c", "d"], "u": ["p", "q", "r", "s"], "known": ["bill", "other", "bill", "other"]}
    )
    variants = {
        "t": {"prompt": "T {t}", "examples": [{"t": "a", "topic": "bill"}]},
        "u": {"prompt": "U {u}", "examples": [{"u": "r", "topic": "bill"}]},
    }
    model = ScriptedProvider({"topic": "bill"})

    found = smelt.compare(frame, "T {t}", TOPIC, variants, truth={"topic": "known"}, model=model, progress=False)

    assert (found.rows, found.taught) == (2, 2)
    assert "2 rows that are examples left out" in repr(found)
    assert not any('"t":"a"' in one.user or '"u":"r"' in one.user for one in model.requests)


def test_a_frame_of_examples_alone_says_so() -> None:
    options: dict[str, Any] = {"model": "mock:", "examples": [{"text": "text 0", "topic": "bill"}]}

    with pytest.raises(smelt.SmeltConfigError, match="Every row with a known answer is an example"):
        smelt.evaluate(labelled().head(1), "{text}", TOPIC, {"topic": "known"}, **options)


def test_variants_with_examples_are_graded_on_rows_that_none_of_them_was_shown() -> None:
    variants = {"none": {}, "three": {"examples": TAUGHT}}

    found = smelt.compare(
        labelled(),
        "Sort {text}.",
        TOPIC,
        variants,
        truth={"topic": "known"},
        model=ScriptedProvider({"topic": "bill"}),
        progress=False,
    )

    assert found.taught == 2
    assert found.table["rows"].tolist() == [8, 8]


class Place(BaseModel):
    city: str
    code: int | None


class Order(BaseModel):
    paid: bool
    place: Place | None
    billing: Place


def test_a_flattened_result_is_taken_as_examples() -> None:
    whole = [
        {"text": "a", "paid": True, "place": {"city": "Bonn", "code": 1}, "billing": {"city": "Bern", "code": None}},
        {"text": "b", "paid": False, "place": None, "billing": {"city": "Ulm", "code": 2}},
    ]
    names = ["text", "paid", "place.city", "place.code", "billing.city", "billing.code"]
    cells = [("a", True, "Bonn", 1, "Bern", None), ("b", False, None, None, "Ulm", 2)]
    flat = [dict(zip(names, row, strict=True)) for row in cells]
    nested, flattened = (ScriptedProvider(whole[0]) for _ in range(2))
    for model, examples in ((nested, whole), (flattened, flat)):
        smelt.run(ROWS, "Read {text}.", Order, model=model, examples=examples, progress=False, flatten=True)

    assert flattened.requests[0].system == nested.requests[0].system
    assert '"place":null' in flattened.requests[0].system


def test_a_flattened_example_that_lacks_a_field_is_refused_by_its_column() -> None:
    flat = [{"text": "a", "paid": True, "place.city": "Bonn", "place.code": 1, "billing.city": "Bern"}]
    with pytest.raises(SchemaError, match=r"no column 'billing\.code' with the right answers"):
        smelt.run(ROWS, "Read {text}.", Order, model=scripted(), examples=flat, progress=False, flatten=True)
