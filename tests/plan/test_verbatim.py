"""`smelt.Verbatim`: a text must stand in a column of its row."""

from __future__ import annotations

import dataclasses
import json
import sqlite3
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated, Any

import pandas as pd
import polars as pl
import pytest
from pydantic import BaseModel, Field

import smelt
from smelt.errors import ColumnError, SchemaError, SmeltConfigError, SmeltWarning
from smelt.ledger.keys import definition
from smelt.plan.dialect import Dialect, describe, row_schema
from smelt.plan.schema import read_output
from smelt.plan.verbatim import strayed
from smelt.providers.requested import rows_in
from smelt.testing import ScriptedProvider
from tests.batch.jobserver import BatchScripted, JobServer


class Quote(BaseModel):
    quote: Annotated[str, smelt.Verbatim("text")]


class Inner(BaseModel):
    names: list[Annotated[str, smelt.Verbatim("text")]]


class Nested(BaseModel):
    maybe: Annotated[str | None, smelt.Verbatim("text")] = None
    words: Annotated[list[str], smelt.Verbatim("text")]
    inner: Inner | None


ROWS = [{"text": f"parcel {number} came late"} for number in range(30)]


def neighbour(row: Mapping[str, Any]) -> dict[str, str]:
    """Answers with the words of another row, until it is told of it."""
    number = int(row["text"].split()[1])
    return {"quote": f"parcel {number if number % 10 or number in told else number + 1}"}


told: set[int] = set()


@pytest.fixture
def model() -> ScriptedProvider:
    told.clear()
    provider = ScriptedProvider(neighbour)
    send = provider.send

    async def hear(request: Any) -> Any:
        told.update(int(one["row"]["text"].split()[1]) for one in rows_in(request) if "problem" in one)
        return await send(request)

    provider.send = hear  # type: ignore[method-assign]
    return provider


@pytest.mark.parametrize(
    ("rule", "answer", "cell", "stands"),
    [
        (smelt.Verbatim("a"), "late", "came late", True),
        (smelt.Verbatim("a"), "Late", "came late", False),
        (smelt.Verbatim("a", ignore_case=True), "LATE", "came late", True),
        (smelt.Verbatim("a", ignore_case=True), "STRASSE", "Straße", True),
        (smelt.Verbatim("a"), "came late", "came\n late", False),
        (smelt.Verbatim("a", ignore_space=True), " came late\n", "it came\n\tlate.", True),
        (smelt.Verbatim("a", ignore_space=True), "came late", "camelate", False),
        (smelt.Verbatim("a"), "", None, True),
        (smelt.Verbatim("a"), "null", None, False),
        (smelt.Verbatim("a"), "12.50", "12.50", True),
        (smelt.Verbatim("a"), "true", True, True),
        (smelt.Verbatim("a"), "two", ["one", {"b": "two three"}], True),
        (smelt.Verbatim("a"), "one two", ["one", "two"], False),
    ],
)
def test_an_answer_stands_in_its_cell(rule: smelt.Verbatim, answer: str, cell: Any, stands: bool) -> None:
    assert rule.stands(answer, cell) is stands


def test_numbers_are_compared_as_they_were_sent() -> None:
    fields = read_output(Quote).fields

    assert strayed(fields, ["12.0"], '{"text":12.0}') is None
    assert strayed(fields, ["12.00"], '{"text":12.0}') is not None


@pytest.mark.parametrize(
    ("values", "at"),
    [
        ((None, [], None), None),
        ((None, ["a", "b"], Inner(names=["a"])), None),
        (("c", [], None), "maybe"),
        ((None, ["a", "c"], None), "words.1"),
        ((None, [], Inner(names=["a", "b", "c"])), "inner.names.2"),
    ],
)
def test_the_reason_names_the_place_and_no_value(values: tuple[Any, ...], at: str | None) -> None:
    found = strayed(read_output(Nested).fields, values, '{"text":"a b"}')

    assert found == (at and f"{at}: it is not in the row's `text`; copy it from there, character for character")


@pytest.mark.parametrize("make", [pd.DataFrame, pl.DataFrame, list], ids=["pandas", "polars", "records"])
def test_a_row_with_words_of_another_one_is_asked_again(make: Callable[[Any], Any], model: ScriptedProvider) -> None:
    result = smelt.run(make(ROWS), "Quote {text}.", Quote, model=model, progress=False)

    assert [one and one.quote for one in result.data] == [f"parcel {number}" for number in range(30)]
    assert told == {0, 10, 20}
    assert "copied character for character from the row's `text`" in model.requests[0].system


def test_a_row_that_is_never_right_fails() -> None:
    liar = ScriptedProvider({"quote": "nobody said this"})

    with pytest.warns(SmeltWarning, match="Every row failed"):
        result = smelt.run(ROWS[:2], "Quote {text}.", Quote, model=liar, max_attempts=2, progress=False)

    assert [one.kind for one in result.errors] == ["invalid", "invalid"]
    assert "quote: it is not in the row's `text`" in result.errors[0].message
    assert "nobody" not in result.errors[0].message


def test_streams_and_lazy_plans_hold_it(model: ScriptedProvider) -> None:
    frames = list(smelt.stream([ROWS[:15], ROWS[15:]], "Quote {text}.", Quote, model=model, progress=False))
    told.clear()
    plan: Any = pl.LazyFrame(ROWS)
    plan = plan.smelt.transform("Quote {text}.", Quote, model=model, progress=False)

    wanted = [f"parcel {number}" for number in range(30)]
    assert [row["quote"] for frame in frames for row in frame] == wanted
    assert plan.collect()["quote"].to_list() == wanted


def test_a_step_of_a_pipeline_may_copy_from_an_earlier_step(model: ScriptedProvider) -> None:
    class Said(BaseModel):
        text: str

    first = ScriptedProvider(lambda row: {"text": f"parcel {row['n']} came late"})
    pipe = (
        smelt.pipeline().transform("Write about {n}.", Said, model=first).transform("Quote {text}.", Quote, model=model)
    )

    result = pipe.run([{"n": number} for number in range(30)], progress=False)

    assert [row["quote"] for row in result.frame] == [f"parcel {number}" for number in range(30)]


def test_jobs_hold_it(tmp_path: Path) -> None:
    told.clear()
    provider = BatchScripted(lambda row: {"quote": "late" if row["text"] != ROWS[3]["text"] else "early"}, JobServer())

    result = smelt.run(
        ROWS[:5],
        "Quote {text}.",
        Quote,
        model=provider,
        mode="batch",
        ledger=tmp_path / "a.sqlite",
        progress=False,
        tail=0,
    )

    assert [one.position for one in result.errors] == [3]


def test_an_answer_in_the_ledger_that_does_not_stand_is_asked_again(tmp_path: Path) -> None:
    path, model = tmp_path / "a.sqlite", ScriptedProvider({"quote": "late"})
    options: dict[str, Any] = {"model": model, "ledger": path, "progress": False}
    smelt.run(ROWS[:3], "Quote {text}.", Quote, **options)
    with sqlite3.connect(path) as connection:  # As a reply would be that a killed run left unread.
        connection.execute(
            'UPDATE answers SET value = \'{"quote":"early"}\' WHERE key = (SELECT min(key) FROM answers)'
        )
    connection.close()

    result = smelt.run(ROWS[:3], "Quote {text}.", Quote, **options)

    assert model.rows_sent == 4
    assert result.metrics.ledger_rows == 2
    assert [row["quote"] for row in result.frame] == ["late"] * 3


def test_only_models_that_use_it_have_other_keys() -> None:
    plain, copied = (read_output({"quote": one}).fields[0] for one in (str, Annotated[str, smelt.Verbatim("text")]))
    folded = read_output({"quote": Annotated[str, smelt.Verbatim("text", ignore_case=True)]}).fields[0]

    keys = [json.dumps(definition(one), default=repr) for one in (plain, copied, folded)]

    assert keys[0] == '["quote", "", true, ["Text", false, [], []]]'
    assert keys[1] == '["quote", "", true, ["Text", false, [["verbatim", "Verbatim(\'text\')"]], []]]'
    assert len(set(keys)) == 3


def test_a_provider_gets_it_in_words_and_as_no_keyword() -> None:
    [field] = read_output(Quote).fields

    schema = row_schema([field], Dialect(keywords=frozenset({"verbatim"})), with_id=False)

    assert describe(field.kind) == "text, copied character for character from the row's `text`"
    assert schema["properties"]["quote"] == {
        "type": "string",
        "description": "copied character for character from the row's `text`",
    }


def test_the_forms_of_output_models_take_it() -> None:
    @dataclasses.dataclass
    class Said:
        quote: Annotated[str, smelt.Verbatim("text")]

    for model in (Said, {"quote": Annotated[str, smelt.Verbatim("text")]}):
        assert "verbatim" in read_output(model).fields[0].kind.constraints
    single = read_output(Annotated[str, smelt.Verbatim("text")], text_column="quote")
    assert "verbatim" in single.fields[0].kind.constraints


@pytest.mark.parametrize(
    ("prompt", "annotation", "error", "says"),
    [
        ("About {text}", Annotated[str, smelt.Verbatim("txt")], ColumnError, "txt.*no.* column.*Did you mean 'text'"),
        ("About {n}", Annotated[str, smelt.Verbatim("text")], ColumnError, "not sent.*Name {text} in the prompt"),
        ("About {text}", Annotated[int, smelt.Verbatim("text")], SchemaError, "Verbatim.*no text"),
        ("About {text}", Annotated[list[int], smelt.Verbatim("text")], SchemaError, "Verbatim.*no text"),
        ("About {text}", Annotated[Inner, smelt.Verbatim("text")], SchemaError, "Verbatim.*no text"),
    ],
)
def test_what_cannot_be_copied_is_refused_before_money(
    prompt: str, annotation: Any, error: type[SmeltConfigError], says: str
) -> None:
    model = ScriptedProvider({"quote": "a"})

    with pytest.raises(error, match=says):
        smelt.run(pd.DataFrame({"text": ["a"], "n": [1]}), prompt, {"quote": annotation}, model=model)

    assert model.requests == []


def test_a_pipeline_refuses_it_before_money() -> None:
    model = ScriptedProvider({"quote": "a"})
    pipe = smelt.pipeline().transform("About {n}.", Quote, model=model)
    total = smelt.pipeline().aggregate("All {text}.", Quote, by="n", model=model)

    with pytest.raises(SmeltConfigError, match="quote must stand in 'text'"):
        pipe.run([{"n": 1, "text": "a"}])
    with pytest.raises(SmeltConfigError, match="about many rows"):
        total.run([{"n": 1, "text": "a"}])
    assert model.requests == []


def test_an_example_must_keep_to_it() -> None:
    examples = [{"text": "good", "quote": "bad"}]

    with pytest.raises(SchemaError, match="example 1 is not valid: quote: it is not in the row's `text`"):
        smelt.run(ROWS, "Quote {text}.", Quote, model=ScriptedProvider({"quote": ""}), examples=examples)


def test_it_prints_as_it_was_written() -> None:
    assert str(smelt.Verbatim("a{b}", ignore_case=True)) == "Verbatim('a{b}', ignore_case=True)"


def test_texts_in_lists_of_models_are_looked_at_under_their_alias() -> None:
    class Item(BaseModel):
        what: Annotated[str, smelt.Verbatim("text"), Field(alias="thing")]

    class Order(BaseModel):
        items: list[Item]

    items = [Item.model_validate({"thing": one}) for one in "bc"]
    found = strayed(read_output(Order).fields, [items], '{"text":"a b"}')

    assert found is not None
    assert found.startswith("items.1.thing: ")


@pytest.mark.parametrize(
    "given",
    [lambda: smelt.Verbatim(""), lambda: smelt.Verbatim(3), lambda: smelt.Verbatim("a", ignore_case="yes")],  # type: ignore[arg-type]
)
def test_a_wrong_verbatim_is_refused(given: Callable[[], object]) -> None:
    with pytest.raises(SmeltConfigError, match=r"name of a column|ignore_case"):
        given()


def test_the_mock_model_copies() -> None:
    result = smelt.run(ROWS, "About {text}.", Nested, model="mock:any", progress=False)

    assert result.errors == []
