"""`classify`: `transform` with one choice, on frames, plans and Series."""

from __future__ import annotations

from enum import IntEnum, StrEnum
from typing import Annotated, Any, Literal

import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from pydantic import BaseModel, Field

import smelt
from smelt.testing import ScriptedProvider

TEXTS = ["fine", "awful", "so so"]
SAID = {"fine": "pos", "awful": "neg", "so so": "pos"}


class Mood(StrEnum):
    POS = "pos"
    NEG = "neg"


def judge(column: str, **options: Any) -> ScriptedProvider:
    return ScriptedProvider(lambda row: {column: SAID[next(iter(row.values()))]}, **options)


@pytest.mark.parametrize(
    "labels",
    [["pos", "neg"], ("pos", "neg"), {"pos": "happy", "neg": "angry"}, Mood, pd.Index(["pos", "neg"]), list(Mood)],
    ids=["list", "tuple", "dict", "enum", "index", "members"],
)
def test_a_label_is_a_categorical_column_of_all_labels(labels: Any) -> None:
    frame = pd.DataFrame({"text": TEXTS}, index=[7, 8, 9])

    out = smelt.classify(frame, "Tone of {text}?", labels, output="tone", model=judge("tone"))

    assert out["tone"].tolist() == ["pos", "neg", "pos"]
    assert out["tone"].cat.categories.tolist() == ["pos", "neg"]
    assert out.index.tolist() == [7, 8, 9]


def test_it_is_the_same_question_as_its_pydantic_twin(tmp_path: Any) -> None:
    meanings = "pos: happy; neg: angry"

    class Answer(BaseModel):
        tone: Annotated[Literal["pos", "neg"], Field(description=meanings)]

    model, ledger, frame = judge("tone"), tmp_path / "ledger.sqlite", pl.DataFrame({"text": TEXTS})

    twin = smelt.transform(frame, "Tone of {text}?", Answer, model=model, ledger=ledger)
    labels = {"pos": "happy", "neg": "angry"}
    out = smelt.classify(frame, "Tone of {text}?", labels, output="tone", model=model, ledger=ledger)

    assert out.equals(twin)
    assert len(model.requests) == 1
    assert meanings in model.requests[0].system


def test_several_labels_are_a_list_column() -> None:
    frame = pl.DataFrame({"text": TEXTS})

    out = smelt.classify(frame, "{text}", ["pos", "neg"], multi=True, model=ScriptedProvider({"label": ["neg", "pos"]}))

    assert out["label"].to_list() == [["neg", "pos"]] * 3
    assert out["label"].dtype == pl.List(pl.Enum(["pos", "neg"]))


def test_a_lazy_plan_classifies() -> None:
    lazy: Any = pl.DataFrame({"text": TEXTS}).lazy()

    out = lazy.smelt.classify("Tone of {text}?", ["pos", "neg"], model=judge("label")).collect()

    assert out["label"].to_list() == ["pos", "neg", "pos"]


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        ("pos", "labels must be a list of labels"),
        ([], "labels has 0 label"),
        (["pos"], "labels has 1 label. Give two"),
        (["pos", "pos"], "labels has 'pos' twice"),
        (["pos", " "], "every label must be a word, and not blank"),
        ([1, 2], "every label must be a string, not 1"),
        ({"pos": 1, "neg": "b"}, "the meaning of 'pos' must be a string"),
        (IntEnum("Level", ["LOW", "HIGH"]), "every label must be a string"),
        ({"pos", "neg"}, "labels must be a list of labels"),
        (["a\ud800", "b"], "half of a surrogate pair"),
    ],
    ids=["str", "none", "one", "twice", "blank", "numbers", "no meaning", "int enum", "set", "surrogate"],
)
def test_labels_that_are_none_are_refused_before_anything_is_sent(labels: Any, message: str) -> None:
    model = judge("label")

    with pytest.raises(smelt.SmeltConfigError, match=message):
        smelt.classify([{"text": "fine"}], "{text}", labels, model=model)

    assert model.requests == []


def series(library: str, name: Any = "text") -> Any:
    return pd.Series(TEXTS, index=[7, 8, 9], name=name) if library == "pandas" else pl.Series(name or "", TEXTS)


@pytest.mark.parametrize("library", ["pandas", "polars"])
@pytest.mark.parametrize("name", ["text", None, "label", "a {b}", "x: y"])
def test_a_series_is_classified_into_a_frame(library: str, name: Any) -> None:
    out = series(library, name).smelt.classify(["pos", "neg"], "Tone of {}?", model=judge("label"), output="label")

    assert list(out.columns) == ["label", "smelt_error"]
    assert list(out["label"]) == ["pos", "neg", "pos"]
    if library == "pandas":
        assert out.index.tolist() == [7, 8, 9]


@pytest.mark.parametrize("library", ["pandas", "polars"])
def test_a_series_is_transformed_into_a_frame(library: str) -> None:
    model = ScriptedProvider({"score": 3, "why": "so"})

    out = series(library).smelt.transform("Score {} of {{5}}.", {"score": int, "why": str}, model=model)

    assert list(out.columns) == ["score", "why", "smelt_error"]
    assert "Score `text` of {5}." in model.requests[0].system


@pytest.mark.parametrize("library", ["pandas", "polars"])
@pytest.mark.parametrize("options", [{}, {"on_conflict": "replace"}], ids=["usual", "replace"])
def test_an_output_with_the_name_of_the_series_is_no_conflict(library: str, options: dict[str, Any]) -> None:
    model = ScriptedProvider({"text": 1, "value": 2, "label": "pos"})

    out = series(library).smelt.transform("Score {}.", {"text": int, "value": int}, model=model, **options)
    labels = series(library, "label").smelt.classify(["pos", "neg"], model=model, **options)

    assert list(out.columns) == ["text", "value", "smelt_error"]
    assert list(labels.columns) == ["label", "smelt_error"]
    assert list(labels["label"]) == ["pos"] * 3


def test_a_prompt_of_a_series_names_no_other_column() -> None:
    with pytest.raises(smelt.SmeltConfigError, match="uses {other}, which is not a column"):
        series("pandas").smelt.transform("Compare {} with {other}.", str, model=judge("text"))


@pytest.mark.parametrize("bad", ["Tone of {", 5, ""], ids=["unbalanced", "number", "empty"])
def test_a_prompt_of_a_series_is_checked_as_any_other(bad: Any) -> None:
    with pytest.raises(smelt.SmeltConfigError, match="prompt"):
        series("pandas").smelt.transform(bad, str, model=judge("text"))


@pytest.mark.parametrize("kind", ["table", "batch"])
def test_an_arrow_table_is_taken_and_given_back(kind: str) -> None:
    table = pa.table({"text": TEXTS})
    data: Any = table if kind == "table" else table.to_batches()[0]

    out = smelt.classify(data, "Tone of {text}?", ["pos", "neg"], model=judge("label"))
    shown = smelt.preview(data, "Tone of {text}?", {"label": Literal["pos", "neg"]}, 2, model=judge("label"))

    assert type(out) is type(data)
    assert out.to_pydict()["label"] == ["pos", "neg", "pos"]
    assert shown.num_rows == 2
