"""What the names of columns say: which step needs which, and what is wrong before anything is sent."""

from __future__ import annotations

from typing import Any, Literal

import pandas as pd
import polars as pl
import pytest
from pydantic import BaseModel

import smelt
from smelt.testing import ScriptedProvider
from tests.pipelines.test_eager import FRAMES

NEVER = ScriptedProvider(lambda row: pytest.fail("Nothing is to be sent."))
SLIP: Any = {"batch_sise": 1}
NO_PIPELINE: Any = "b"
ROWS = [{"text": "a", "year": 2000}]


class Words(BaseModel):
    words: list[str]


class Tone(BaseModel):
    tone: Literal["warm", "cold"]


def pipe() -> smelt.Pipeline:
    return smelt.pipeline("graph", model=NEVER)


def after(one: smelt.Pipeline, frame: Any = None) -> dict[str, list[str]]:
    return {step["name"]: step["after"] for step in one.inspect(ROWS if frame is None else frame).to_dict()["steps"]}


def test_a_step_comes_after_those_whose_columns_it_reads() -> None:
    built = pipe().transform("Translate {text}.", {"fr": str}, step="fr")
    built = built.transform("Translate {text}.", {"es": str}, step="es")
    built = built.transform("Which is closer to {text}, {fr} or {es}?", Tone)

    assert after(built) == {"fr": [], "es": [], "tone": ["fr", "es"]}


def test_a_step_that_changes_the_rows_comes_before_all_later_ones() -> None:
    built = pipe().transform("Words of {text}.", Words).explode("words").transform("Tone of {text}.", Tone)

    assert after(built) == {"words": [], "explode words": ["words"], "tone": ["explode words"]}


def test_a_prompt_without_a_placeholder_waits_for_all() -> None:
    built = pipe().transform("Tone of {text}.", Tone).transform("Sum up.", {"summary": str}, step="sum")

    assert after(built)["sum"] == ["tone"]
    assert built.inspect(ROWS).to_dict()["steps"][1]["reads"] is None


@pytest.mark.parametrize(
    ("built", "words"),
    [
        (lambda: pipe().transform("Tone of {txet}.", Tone), r"Step 'tone': The prompt uses \{txet\}.*'text'"),
        (lambda: pipe().transform("Tone of {text}.", Tone).transform("Of {tune}.", {"a": str}), r"'tone'"),
        (lambda: pipe().transform("{text}", {"year": int}, step="y"), r"Step 'y': The frame already has 'year'"),
        (lambda: pipe().explode("txt"), r"Step 'explode txt': There is no column 'txt'.*'text'"),
        (lambda: pipe().transform("{text}", Tone).explode("tone"), r"holds choice"),
        (lambda: pipe().implode(), r"Step 'implode': implode goes back"),
        (lambda: pipe().filter(pl.col("yaer") > 1), r"Step 'filter': There is no column 'yaer'.*'year'"),
        (lambda: pipe().transform("{text}", {"a": set}), r"Step 'a': .*list\[\.\.\.\]"),
        (lambda: pipe().branch(a=pipe().filter(lambda row: True)), r"Step 'a\.filter': A branch keeps the rows"),
        (lambda: pipe().transform("{text}", Tone, columns=["year"]), r"Step 'tone': The prompt names 'text'"),
    ],
)
def test_what_is_wrong_is_said_before_anything_is_sent(built: Any, words: str) -> None:
    with pytest.raises(smelt.SmeltConfigError, match=words):
        built().run(ROWS)


def test_everything_wrong_is_said_at_once() -> None:
    built = pipe().transform("Tone of {txet}.", Tone).explode("txt").transform("{text}", {"year": int}, step="y")

    with pytest.raises(smelt.SmeltConfigError, match=r"3 things are wrong") as caught:
        built.run(ROWS)

    assert [line.split(":")[0] for line in str(caught.value).splitlines()[1:]] == [
        "Step 'tone'",
        "Step 'explode txt'",
        "Step 'y'",
    ]


def test_a_missing_key_is_said_once_for_all_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    built = smelt.pipeline(model="openai:gpt-4.1-nano").transform("Tone of {text}.", Tone)
    built = built.transform("Words of {text}.", Words)

    with pytest.raises(smelt.errors.AuthConfigError, match=r"Steps 'tone', 'words': .*OPENAI_API_KEY"):
        built.run(ROWS)
    assert built.estimate(ROWS).steps.keys() == {"tone", "words"}  # Needs no key.


def test_names_of_steps() -> None:
    built = pipe().transform("{text}", Tone, prefix="a_").transform("{text}", Tone, prefix="b_")
    built = built.transform("{text}", str, output="out").filter(lambda row: True).filter(lambda row: True)

    assert list(built) == ["a_tone", "b_tone", "out", "filter", "filter_2"]
    with pytest.raises(smelt.SmeltConfigError, match="There is a step 'out' already"):
        built.transform("{text}", str, output="other", step="out")


def test_a_step_is_a_job_and_a_slice_a_pipeline() -> None:
    built = pipe().transform("Tone of {text}.", Tone, batch_size=3).transform("Words of {text}.", Words)

    assert built["tone"].settings.batch_size == 3
    assert built["tone"].run(ScriptedProvider({"tone": "warm"}), data=ROWS).data == [Tone(tone="warm")]
    assert list(built[:1]) == ["tone"]
    assert list(built) == ["tone", "words"]  # A pipeline is never changed.
    with pytest.raises(KeyError, match="Did you mean 'tone'"):
        built["tune"]


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        (lambda: pipe().transform("{text}", Tone, max_cost=1), r"max_cost= is about the whole run"),
        (lambda: pipe().transform("{text}", Tone, **SLIP), r"There is no option 'batch_sise'.*batch_size"),
        (lambda: pipe().run(ROWS, mode="batch"), r"does not take mode=. For jobs"),
        (lambda: pipe().filter("year > 2"), r"test must be a function of the frame"),
        (lambda: pipe().branch(a=NO_PIPELINE), r"branch a must be a pipeline"),
        (lambda: pipe().branch(a=smelt.pipeline(max_cost=1)), r"A branch has max_cost="),
        (lambda: smelt.pipeline("a\n"), r"name must be a name"),
        (lambda: pipe().run({"text": "a"}), r"data must be"),
    ],
)
def test_bad_arguments(wrong: Any, words: str) -> None:
    with pytest.raises(smelt.SmeltConfigError, match=words):
        wrong()


def test_an_error_column_of_an_earlier_run_is_kept_or_replaced() -> None:
    frame = pd.DataFrame({"text": ["a"], "smelt_error": ["old"]})
    built = smelt.pipeline(model=ScriptedProvider({"tone": "warm"}), progress=False).transform("Of {text}.", Tone)

    with pytest.raises(smelt.errors.CollisionError, match="already has 'smelt_error'"):
        built.run(frame)
    assert built(frame, on_conflict="replace").columns.tolist() == ["text", "tone", "smelt_error"]
    assert built(frame, error_column="why").columns.tolist() == ["text", "smelt_error", "tone", "why"]


@pytest.mark.parametrize("values", [["xy"], [["a"], 3]], ids=["texts", "numbers"])
def test_what_is_no_list_is_not_exploded(values: list[Any]) -> None:
    rows = [{"tags": one} for one in values]
    pipe = smelt.pipeline(model=ScriptedProvider(lambda row: pytest.fail("Sent."))).transform("{tags}", str, output="a")

    with pytest.raises(smelt.SmeltConfigError, match="explode needs a column of lists, and 'tags' has"):
        pipe.explode("tags").run(rows)


class Claim(BaseModel):
    claim: str


class Claims(BaseModel):
    claims: list[Claim]


@pytest.mark.parametrize("kind", FRAMES)
def test_items_do_not_replace_a_column_of_the_input(kind: str) -> None:
    frame = FRAMES[kind]([{"text": "a", "claim": "b"}])
    pipe = smelt.pipeline(model=ScriptedProvider(lambda row: pytest.fail("Sent.")))
    pipe = pipe.transform("{text}", Claims)

    with pytest.raises(smelt.SmeltConfigError, match="Each item has 'claim', and there is such a column"):
        pipe.explode("claims").run(frame)
