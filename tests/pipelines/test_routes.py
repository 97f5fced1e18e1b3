"""A step with several models (`route=`), and one answer to all items of a row (`implode` with a prompt)."""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum
from pathlib import Path
from typing import Any, Literal

import pandas as pd
import polars as pl
import pytest

import smelt
from smelt.testing import ScriptedProvider
from tests.pipelines.test_eager import FRAMES, plain

pytestmark = pytest.mark.filterwarnings("ignore::smelt.SmeltWarning")

MAILS = [{"mail": f"mail {at}", "tier": tier} for at, tier in enumerate(["easy", "hard", "easy", None, "hard"])]


def answering(name: str, fails: str = "") -> ScriptedProvider:
    return ScriptedProvider(
        lambda row: None if fails and fails in str(row) else {"reply": f"{name}: {row['mail']}"}, model=name
    )


def models(**fails: str) -> dict[str, ScriptedProvider]:
    return {name: answering(name, fails.get(name, "")) for name in ("easy", "hard")}


def routed(route: Any, given: Mapping[Any, Any], **options: Any) -> smelt.Pipeline:
    start = smelt.pipeline(progress=False, max_attempts=1)
    return start.transform("Answer {mail}.", {"reply": str}, model=given, route=route, **options)


@pytest.mark.parametrize("kind", FRAMES)
@pytest.mark.parametrize("is_function", [False, True])
def test_a_row_goes_to_the_model_that_its_label_names(kind: str, is_function: bool) -> None:
    given = models()

    result = routed((lambda df: df["tier"]) if is_function else "tier", given).run(FRAMES[kind](MAILS))

    assert [row["reply"] for row in plain(result.frame)] == [
        "easy: mail 0",
        "hard: mail 1",
        "easy: mail 2",
        None,
        "hard: mail 4",
    ]
    assert result.success and list(result.steps) == ["reply.easy", "reply.hard"]
    assert [one.metrics.successful_rows for one in result.steps.values()] == [2, 2]
    assert [one.rows_sent for one in given.values()] == [2, 2]
    assert all("tier" not in request.user for one in given.values() for request in one.requests)


@pytest.mark.parametrize("kind", FRAMES)
def test_labels_may_be_answers_of_the_same_stage_and_later_steps_read_both(kind: str) -> None:
    class Tier(Enum):
        EASY = "easy"
        HARD = "hard"

    judge = ScriptedProvider(lambda row: {"tier": "hard" if row["mail"] in ("mail 1", "mail 2") else "easy"})
    last = ScriptedProvider(lambda row: {"short": row["reply"][:4]})
    pipe = smelt.pipeline(progress=False, max_attempts=1).transform("Judge {mail}.", {"tier": Tier}, model=judge)
    given = {Tier.EASY: answering("easy"), Tier.HARD: answering("hard", fails="mail 2")}
    pipe = pipe.transform("Answer {mail}.", {"reply": str}, model=given, route="tier")
    pipe = pipe.transform("Shorten {reply}.", {"short": str}, model=last)

    result = pipe.run(FRAMES[kind]([{"mail": one["mail"]} for one in MAILS]))

    rows = plain(result.frame)
    assert [row["short"] for row in rows] == ["easy", "hard", None, "easy", "easy"]
    assert [(one.step, one.position) for one in result.errors] == [("reply.hard", 2)]
    assert rows[2]["smelt_error"].startswith("reply.hard: missing")
    assert result.steps["short"].skipped == 1


def test_a_label_without_a_model_fails_its_row_only() -> None:
    given = models()
    pipe = smelt.pipeline(progress=False, max_attempts=1).assign(kind=lambda row: row["tier"] or "none")

    result = pipe.transform("Answer {mail}.", {"reply": str}, model=given, route="kind").run(MAILS)

    assert [row["reply"] is None for row in result.frame] == [False, False, False, True, False]
    assert [(one.step, one.kind, one.position) for one in result.errors] == [("reply.easy", "unsendable", 3)]
    assert "names no model" in result.frame[3]["smelt_error"]


@pytest.mark.parametrize(
    ("build", "words"),
    [
        (lambda: routed("tier", {"easy": "x"}).run(MAILS), "'tier' can be 'hard', for which model= names no model"),
        (lambda: routed("tyer", models()).run(MAILS), "There is no column 'tyer'"),
        (lambda: routed(None, models()), "Say which row goes to which"),
        (lambda: routed("tier", ScriptedProvider({})), "a dict of labels and models"),  # type: ignore[arg-type]
        (lambda: routed("tier", {}), "a dict of labels and models"),
        (lambda: routed(3, models()), "must be a function of the frame"),
        (lambda: routed("tier", {1.5: "x"}), "labels of model= are texts"),
        (
            lambda: (
                smelt.pipeline(model=ScriptedProvider({}))
                .transform("{mail}", {"size": Literal["S", "M"]})
                .transform("{mail}", str, model={"S": ScriptedProvider({})}, route="size")
                .run(MAILS)
            ),
            "'size' can be 'M'",
        ),
    ],
)
def test_what_is_wrong_with_a_route_is_said_before_anything_is_sent(build: Any, words: str) -> None:
    with pytest.raises(smelt.SmeltConfigError, match=words):
        build()


def test_a_routed_step_in_branches_estimates_pictures_and_files(tmp_path: Path) -> None:
    two = smelt.pipeline().transform("Answer {mail}.", {"reply": str}, model=models(), route="tier")
    pipe = smelt.pipeline(progress=False, max_attempts=1).branch(a=two, b=two)
    frame = pd.DataFrame(MAILS)

    result = pipe.run(frame, artefacts=tmp_path / "run")

    assert list(result.steps) == ["a.reply.easy", "a.reply.hard", "b.reply.easy", "b.reply.hard"]
    assert (
        result.frame["a_reply"].tolist()[:2] == result.frame["b_reply"].tolist()[:2] == ["easy: mail 0", "hard: mail 1"]
    )
    assert [one.rows for one in pipe.estimate(frame).steps.values()] == [2, 2, 2, 2]
    assert "route=tier is easy" in str(pipe.inspect(frame))
    assert "reply.hard" in pipe.inspect(frame)._repr_html_()
    after = pipe.transform("Judge {a_reply}.", {"verdict": str}, model=ScriptedProvider({})).inspect(frame)
    assert after.edges["verdict"] == [("a.reply.easy", ("a_reply",)), ("a.reply.hard", ("a_reply",))]
    assert sorted(one.name for one in (tmp_path / "run").iterdir()) == [
        ".lock",
        "a.reply",
        "b.reply",
        "flat",
        "graph.json",
    ]
    lines = (tmp_path / "run" / "a.reply" / "000000.jsonl").read_text().splitlines()
    assert len(lines) == len(MAILS) and '"a_reply":"hard: mail 1"' in lines[1]


def test_a_routed_step_asks_what_a_chained_call_would_ask(tmp_path: Path) -> None:
    options: Any = {"ledger": tmp_path / "answers.sqlite", "progress": False}
    given, frame = models(), pl.DataFrame(MAILS)
    for tier, model in given.items():
        smelt.transform(frame.filter(pl.col("tier") == tier), "Answer {mail}.", {"reply": str}, model=model, **options)

    result = routed("tier", given).run(frame, **options)

    assert result.metrics.requests == 0 and result.metrics.ledger_rows == 4


DOCS = [{"doc": 1, "tags": ["a", "b", "c"]}, {"doc": 2, "tags": []}, {"doc": 3, "tags": ["d", "bad"]}]


def count(row: Mapping[str, Any]) -> dict[str, Any] | None:
    if "rows" in row or "answers" in row:
        texts = [one["tags"] for one in row.get("rows", ())] + [one["all"] for one in row.get("answers", ())]
        return {"all": "".join(texts)}
    return None if row.get("tags") == "bad" else {"upper": str(row.get("tags")).upper()}


@pytest.mark.parametrize("kind", FRAMES)
def test_implode_with_a_prompt_answers_on_the_row_that_was_exploded(kind: str) -> None:
    provider = ScriptedProvider(count)
    pipe = smelt.pipeline(model=provider, progress=False, max_attempts=1).explode("tags")
    pipe = pipe.transform("Shout {tags}.", {"upper": str})

    result = pipe.implode("Join {tags} by {upper}.", {"all": str}, rows=2).run(FRAMES[kind](DOCS))

    rows = plain(result.frame)
    assert [(row["doc"], row["all"], row["smelt_rows"]) for row in rows] == [(1, "abc", 3), (2, None, 0), (3, "d", 1)]
    assert list(rows[0]) == ["doc", "all", "smelt_rows", "smelt_error"]
    assert [row["smelt_error"] for row in rows] == [None, None, None]
    assert [one.step for one in result.errors] == ["upper"]
    assert result.steps["all"].metrics.failed_rows == 0


@pytest.mark.parametrize("kind", FRAMES)
def test_windows_of_exploded_rows_join_before_they_are_imploded(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = [{"doc": at, "lists": [[f"{at}x", f"{at}y"]] * (at % 3)} for at in range(20)]
    provider = ScriptedProvider(lambda row: {"all": "".join(str(one["lists"]) for one in row["rows"])})
    asking = smelt.pipeline(model=ScriptedProvider({"k": 1}), progress=False).transform("Of {doc}.", {"k": int})
    pipe = asking.explode("lists").explode("lists").filter(lambda df: df["doc"] >= 0).assign(n=lambda df: df["doc"])
    pipe = pipe.implode("Join {lists}.", {"all": str}, rows=100, model=provider).implode()
    whole = plain(pipe(FRAMES[kind](rows)))

    monkeypatch.setattr("smelt.pipelines.passage.WINDOW", 3)
    pieces = plain(pipe(FRAMES[kind](rows)))

    assert [row["doc"] for row in whole] == list(range(20))
    assert [row["all"] for row in whole if row["doc"] == 2] == [["2x2y", "2x2y"]]
    assert pieces == whole


def test_what_implode_refuses() -> None:
    pipe = smelt.pipeline(model=ScriptedProvider(count), progress=False).explode("tags")

    with pytest.raises(smelt.SmeltConfigError, match="implode asks only with a prompt, so output_model= needs one"):
        pipe.implode(output_model={"all": str})
    with pytest.raises(smelt.SmeltConfigError, match="there is none before it"):
        smelt.pipeline(model=ScriptedProvider(count)).implode("{doc}").run(DOCS)
    with pytest.raises(smelt.SmeltConfigError, match="is not a column"):
        pipe.implode("Join {tag}.").run(DOCS)
    with pytest.raises(smelt.SmeltConfigError, match="tags.*not a column|no column 'tags'"):
        pipe.implode("Join {tags}.", {"all": str}).transform("Of {tags}.", {"x": str}).run(DOCS)


@pytest.mark.parametrize(
    "build",
    [
        lambda pipe: pipe.aggregate("Add {n}.", {"total": int}, by="k").transform("Of {total}.", {"x": str}),
        lambda pipe: pipe.transform("Of {n}.", {"x": str}).aggregate("Add {x}.", {"total": int}, by="k"),
        lambda pipe: pipe.transform("Of {n}.", {"x": str}, model={"a": ScriptedProvider({})}, route="k"),
        lambda pipe: pipe.transform("Of {n}.", {"l": list[str]}).explode("l").implode("Of {l}.", {"x": str}),
        lambda pipe: pipe.transform("Of {n}.", {"l": list[str]}).explode("l").filter(lambda df: df["n"] > 1).implode(),
    ],
)
def test_frames_without_rows_go_through_every_verb(build: Any) -> None:
    pipe = build(smelt.pipeline(model=ScriptedProvider({}), progress=False))
    empty = [pd.DataFrame({"n": [1], "k": ["a"]})[:0], pl.DataFrame({"n": [1], "k": ["a"]})[:0], []]

    assert [len(pipe(frame)) for frame in empty] == [0, 0, 0]
    assert [pipe.estimate(frame).requests for frame in empty] == [0, 0, 0]


@pytest.mark.parametrize("kind", FRAMES)
def test_a_text_that_assign_made_is_not_exploded_into_letters(kind: str) -> None:
    pipe = smelt.pipeline(progress=False).assign(t="abc").explode("t")

    with pytest.raises(smelt.SmeltConfigError, match="explode needs a column of lists, and 't' has a str"):
        pipe(FRAMES[kind]([{"doc": 1}]))
