"""Pipelines from files: what a file can say, and what is said of a wrong one."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

import smelt
from smelt.errors import SmeltConfigError
from smelt.testing import ScriptedProvider
from tests.pipelines.test_eager import FRAMES, plain

CLAIMS = """\
name: claims
max_attempts: 1
progress: no
steps:
  - transform: List what {article} claims.
    step: extract
    fields:
      claims:
        - claim: str
          weight: int(1..5)?
  - explode: claims
  - filter: weight >= 2
  - assign: {source: news}
  - transform: Is {claim} about {topic}?
    where: [claim != short, source == news]
    fields: {stance: for|against}
    batch_size: 3
  - transform: Answer {claim}.
    output: reply
    model: openai:gpt-4.1-nano
  - implode
"""


def answer(row: Mapping[str, Any]) -> dict[str, Any]:
    claims = [{"claim": "tea is good", "weight": 3}, {"claim": "short", "weight": 2}, {"claim": "x", "weight": None}]
    return {"claims": claims, "stance": "for", "reply": "ok", "about": "tea", "text": "ok"}


def write(folder: Path, text: str, name: str = "claims.yml") -> Path:
    path = folder / name
    path.write_text(text)
    return path


def only(pipe: smelt.Pipeline) -> smelt.Pipeline:
    return pipe.using(ScriptedProvider(answer))


@pytest.mark.parametrize("kind", FRAMES)
def test_a_file_says_what_python_says(kind: str, tmp_path: Path) -> None:
    text = CLAIMS.replace("progress: no\n", "").replace("    model: openai:gpt-4.1-nano\n", "")
    pipe = only(smelt.load_pipeline(write(tmp_path, text)))

    out = plain(pipe.run(FRAMES[kind]([{"article": "a", "topic": "tea"}]), progress=False).frame)

    assert out == [
        {
            "article": "a",
            "topic": "tea",
            "claim": ["tea is good", "short"],
            "weight": [3, 2],
            "source": ["news", "news"],
            "stance": ["for", None],
            "reply": ["ok", "ok"],
            "smelt_error": None,
        }
    ]
    assert list(pipe) == ["extract", "explode claims", "filter", "assign", "stance", "reply", "implode"]


def test_branches_and_aggregates(tmp_path: Path) -> None:
    text = """
steps:
- branch:
    fr: [{transform: "Put {text} into French.", output: draft}]
    es: [{transform: "Put {text} into Spanish.", output: draft}]
- aggregate: Sum up {fr_draft} and {es_draft}.
  fields: ["about: str # in one word"]
  by: lang
"""
    pipe = only(smelt.load_pipeline(write(tmp_path, text)))
    model = ScriptedProvider({"text": "d", "about": "tea"})

    out = pipe.using(model).run(pd.DataFrame({"text": ["a", "b"], "lang": ["x", "x"]}), progress=False).frame

    assert plain(out) == [{"lang": "x", "about": "tea", "smelt_rows": 2, "smelt_error": None}]


def test_all_mistakes_are_said_at_once_with_their_lines(tmp_path: Path) -> None:
    text = """\
nam: claims
steps:
  - transform: List {article}.
    fields: {sector: strng}
    batchsize: 3
  - explod: claims
  - filter: urgency
  - map: mine:clean
  - transform: 3
  - transform: x
    max_cost: 5
  - branch: [a]
"""
    with pytest.raises(SmeltConfigError, match="9 things are wrong") as caught:
        smelt.load_pipeline(write(tmp_path, text))

    lines = str(caught.value).splitlines()[1:]
    assert [(line.split(":")[0], said in line) for line, said in zip(lines, SAID, strict=True)] == [
        (f"line {number}", True) for number in (1, 4, 5, 6, 7, 8, 9, 10, 12)
    ], lines


SAID = [
    "no 'nam' in a pipeline. Did you mean 'name'",
    "no type for the field 'sector'",
    "no 'batchsize'. Did you mean 'batch_size'",
    "one verb",
    "'urgency' is no test",
    "imports=['mine']",
    "must be a string",
    "about the whole run",
    "branch needs names",
]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("steps: [", "line 1: |line 2: "),
        ("a: !!python/object/apply:os.system [echo]", "line 1: the tag .*os.system is not read"),
        ("steps:\n- implode\nsteps:\n- implode", "line 3: 'steps' is there twice"),
        ("name: x", "has a list of 'steps'"),
        ("", "has a list of 'steps'"),
        (
            "a: &a [1]\nb: &b [" + "*a," * 200 + "]\nc: &c [" + "*b," * 200 + "]\nd: [" + "*c," * 200 + "]",
            "repeat too much",
        ),
        ("a: &a [*a]", "repeat too much|no YAML"),
        ("steps:\n- transform: '{a}'\n  model: {provider: x}", "line 3: a model is a registered name"),
        ("steps:\n- transform: '{a}'\n  fields: {a: [int, str]}", "line 3: .*list of one"),
    ],
)
def test_a_file_that_is_none_is_refused(text: str, said: str, tmp_path: Path) -> None:
    with pytest.raises(SmeltConfigError, match=said):
        smelt.load_pipeline(write(tmp_path, text))


def test_a_file_that_is_not_there_or_no_yaml_file(tmp_path: Path) -> None:
    with pytest.raises(SmeltConfigError, match="cannot be read"):
        smelt.load_pipeline(tmp_path / "none.yml")
    with pytest.raises(SmeltConfigError, match="must be a file of a pipeline"):
        smelt.load_pipeline(write(tmp_path, "x", "pipe.py"))


CHAIN = """\
name: Translate & Summarise
batch_size: 1
steps:
  - steps_of_chain:qa
  - double
  - - steps_of_chain:fr
    - steps_of_chain:es
"""
MODULE = """\
import smelt

RAN = True
qa = smelt.pipeline().transform("Answer {text}.", {"about": str})
fr = smelt.pipeline().transform("Put {about} into French.", str, output="draft")
es = smelt.Job("Put {about} into Spanish.", str, output="draft")
"""


def double(frame: Any) -> Any:
    return frame + frame


def test_a_chain_file_of_chainette_names_python_objects(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path, MODULE, "steps_of_chain.py")
    path = write(tmp_path, CHAIN, "chain.yml")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(SmeltConfigError, match=r"line 4: .*imports=\['steps_of_chain'\]"):
        smelt.load_pipeline(path, symbols={"double": double})

    pipe = smelt.load_pipeline(path, symbols={"double": double}, imports=["steps_of_chain"])
    out = pipe.using(ScriptedProvider({"about": "tea", "text": "thé"})).run([{"text": "a"}], progress=False).frame

    assert pipe.name == "Translate - Summarise"
    row = {"text": "a", "about": "tea", "fr_draft": "thé", "es_draft": "thé", "smelt_error": None}
    assert out == [row, row]


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("steps_of_chain:RAN", "names a smelt.Pipeline"),
        ("steps_of_chain:none", "the module has no 'none'"),
        ("steps_of_chain:smelt.errors", "has no 'smelt.errors'"),
        ("no_such_module_here:x", "cannot be found"),
        ("duble", "Did you mean 'double'"),
    ],
)
def test_a_name_of_a_chain_file_that_is_none(
    name: str, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path, MODULE, "steps_of_chain.py")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(SmeltConfigError, match=f"chain.yml, line 2: .*{said}"):
        smelt.load_pipeline(write(tmp_path, f"steps:\n- {name}", "chain.yml"), symbols={"double": double}, imports=True)
