"""What `inspect`, `estimate` and `explain` show of a pipeline, before anything is sent."""

from __future__ import annotations

from xml.etree import ElementTree

import polars as pl
import pytest
from pydantic import BaseModel

import smelt
from smelt.testing import ScriptedProvider

NEVER = ScriptedProvider(lambda row: pytest.fail("Nothing is to be sent."))
FRAME = pl.DataFrame({"text": ["one", "two two", "one"], "lang": ["en"] * 3, "tags": [["a"], ["b", "c"], []]})


class Draft(BaseModel):
    draft: str


def pipe() -> smelt.Pipeline:
    start = smelt.pipeline("translate", model=NEVER)
    start = start.transform("Put {text} into French.", Draft, prefix="fr_")
    start = start.transform("Put {text} into <Spanish>.", Draft, prefix="es_", batch_size=2)
    return start.transform("Which is closer to {text}, {fr_draft} or {es_draft}?", {"best": str}, step="best")


def test_the_text_names_steps_columns_and_models() -> None:
    assert str(pipe().inspect(FRAME)).splitlines() == [
        "translate: 3 steps",
        "fr_draft  transform  text → fr_draft                  scripted:script",
        "es_draft  transform  text → es_draft                  scripted:script  batch_size=2",
        "best      transform  text, fr_draft, es_draft → best  scripted:script",
    ]


def test_it_can_be_looked_at_without_an_input() -> None:
    assert str(pipe().inspect()) == str(pipe().inspect(FRAME))
    assert pipe().inspect().inputs is None


def test_mermaid_has_the_columns_on_its_edges() -> None:
    assert pipe().inspect(FRAME).mermaid().splitlines()[5:] == [
        "    input -->|text| s0",
        "    input -->|text| s1",
        "    s0 -->|fr_draft| s2",
        "    s1 -->|es_draft| s2",
    ]


def test_the_drawing_is_an_svg_that_escapes_names() -> None:
    html = pipe().filter(lambda df: df["best"] == "x").inspect(FRAME)._repr_html_()
    svg = ElementTree.fromstring(html[html.index("<svg") : html.index("</svg>") + 6])

    boxes = [box.text for box in svg.iter("text") if box.get("font-weight")]
    assert boxes == ["input", "fr_draft", "es_draft", "best", "filter"]
    places = {(box.get("x"), box.get("y")) for box in svg.iter("rect")}
    assert len(places) == 5


def test_steps_of_one_depth_are_below_each_other() -> None:
    from smelt.pipelines.drawing import places

    assert places(pipe().inspect(FRAME).edges) == {"": (0, 0), "fr_draft": (1, 0), "es_draft": (1, 1), "best": (2, 0)}


def test_a_line_that_a_longer_way_says_is_not_drawn() -> None:
    from smelt.pipelines.drawing import Edges, direct

    edges: Edges = {"a": [("", ())], "b": [("", ()), ("a", ("x",))], "c": [("a", ()), ("b", ("y",))]}

    assert direct(edges) == {"a": [("", ())], "b": [("a", ("x",))], "c": [("b", ("y",))]}


def test_an_estimate_has_a_line_for_each_step_and_the_sum() -> None:
    found = pipe().estimate(FRAME)

    assert [one.distinct_rows for one in found.steps.values()] == [2, 2, 3]
    assert found.requests == sum(one.requests for one in found.steps.values()) == 3
    assert str(found).splitlines()[-1].startswith("all steps: about 3 requests")
    alone = pipe()["fr_draft"].estimate(NEVER, data=FRAME)
    assert found.steps["fr_draft"].input_tokens == alone.input_tokens


def test_an_estimate_counts_the_items_of_lists_that_are_there() -> None:
    built = smelt.pipeline(model=NEVER).explode("tags").transform("Judge {tags}.", Draft)

    assert built.estimate(FRAME).steps["draft"].rows == 4


def test_an_estimate_says_what_it_assumes_of_lists_that_are_not_there_yet() -> None:
    built = smelt.pipeline(model=NEVER).transform("Words of {text}.", {"words": list[str]}, step="words")
    built = built.explode("words").transform("Judge {words} in {lang}.", Draft)

    found = built.estimate(FRAME)

    assert found.steps["draft"].rows == 9
    assert found.assumes == ("assumes that a list has 3 items",)


def test_the_first_request_of_a_later_step_has_stand_ins_for_answers() -> None:
    found = pipe().explain(FRAME)["best"]

    assert '"row":{"text":"one","fr_draft":"…","es_draft":"…"}' in found.user
    assert found.rows == 3
