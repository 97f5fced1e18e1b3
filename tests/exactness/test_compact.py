"""The compact wire over every protocol: the same answers for fewer tokens, and a faulty row costs no other row."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Literal

import pytest
from pydantic import BaseModel, Field

import smelt
from smelt.plan.tokens import text_tokens
from smelt.providers.base import Capabilities, Reply, Request
from smelt.testing import ScriptedProvider, answered, asked
from tests.conftest import MakeScenario
from tests.economy_jobs import JOBS, Job
from tests.models import PROVIDERS, served

ROWS = 100
IDS = [job.name for job in JOBS]


def run(rows: Any, job: Job, model: Any, **options: Any) -> smelt.SmeltResult[Any]:
    return smelt.run(rows, job.prompt, job.model, model=model, **({"progress": False, "ledger": False} | options))


def wanted(job: Job, rows: list[dict[str, Any]]) -> list[BaseModel]:
    return [job.model.model_validate_json(job.model(**job.answer(row)).model_dump_json()) for row in rows]


@pytest.mark.parametrize("provider", PROVIDERS)
@pytest.mark.parametrize("job", JOBS, ids=IDS)
def test_the_answers_are_those_of_the_keyed_wire(job: Job, provider: str, scenario: MakeScenario) -> None:
    fake = scenario(answers=job.rules)
    rows = job.rows(30)

    result = run(rows, job, served(provider, fake), wire="compact")

    assert list(result.data) == wanted(job, rows)
    assert fake.stats().rows_sent == 30


@pytest.mark.parametrize("job", JOBS, ids=IDS)
def test_compact_takes_086_of_the_input_and_066_of_the_output(job: Job) -> None:
    spent = {}
    for wire in ("keyed", "compact"):
        model = ScriptedProvider(job.answer)
        run(job.rows(500), job, model, wire=wire, batch_size=25)
        # Providers put the schema before the instructions, as text.
        schemas = sum(len(json.dumps(one.schema, separators=(",", ":"))) for one in model.requests)
        sent = schemas + sum(len(one.system.encode()) + len(one.user.encode()) for one in model.requests)
        # The answers in JSON without blanks, as terse as the keyed form can be.
        terse = sum(len(_without_blanks(answered(one, job.answer).text)) for one in model.requests)
        spent[wire] = text_tokens(sent), text_tokens(terse)

    assert spent["compact"][0] <= 0.86 * spent["keyed"][0]
    assert spent["compact"][1] <= 0.66 * spent["keyed"][1]


def _without_blanks(text: str) -> str:
    return json.dumps(json.loads(text), separators=(",", ":"))


class Label(BaseModel):
    kind: Literal["a", "customer service"]
    stars: int = Field(ge=1, le=5)
    note: str


LINES = [{"at": at, "text": f'line {at}\n"quoted"', "country": "FR"} for at in range(20)]


def labelled(row: Any) -> dict[str, Any]:
    return {"kind": "customer service", "stars": row["at"] % 5 + 1, "note": row["text"]}


def label(model: Any, rows: Any = LINES, **options: Any) -> smelt.SmeltResult[Label]:
    given = {"wire": "compact", "progress": False, "ledger": False, "batch_size": 10, "shuffle": False} | options
    result: smelt.SmeltResult[Label] = smelt.run(rows, "Label {at}, {text} of {country}.", Label, model=model, **given)
    return result


def test_a_row_with_a_wrong_word_is_asked_again_in_the_keyed_form_and_told_what_was_wrong() -> None:
    def spoilt(request: Request) -> Reply:
        return Reply(text=answered(request, labelled).text.replace("customer_service 3 |", "customer_service three |"))

    model = ScriptedProvider(labelled, script=[spoilt])

    result = label(model, LINES[:10])

    assert [one and one.note for one in result.data] == [row["text"] for row in LINES[:10]]
    first, again = model.requests
    assert first.layout is not None
    assert again.layout is None
    assert [row["at"] for _, row in asked(again)] == [2, 7]
    assert '"problem":"stars: ' in again.user


def test_what_every_row_shares_is_sent_once_per_request_and_the_beginning_is_the_same() -> None:
    model = ScriptedProvider(labelled)

    label(model)

    first, second = model.requests
    assert (first.user.count("FR"), first.system) == (1, second.system)
    assert first.user.splitlines()[:2] == second.user.splitlines()[:2]
    assert asked(first)[0][1] == {"country": "FR", "at": 0, "text": LINES[0]["text"]}


def test_frames_of_a_stream_share_no_columns_that_a_later_one_may_change() -> None:
    model = ScriptedProvider(labelled)
    frames = [LINES[:10], [{**row, "country": "DE"} for row in LINES[10:]]]

    done = list(
        smelt.stream(frames, "Label {at}, {text} of {country}.", Label, model=model, wire="compact", progress=False)
    )

    assert sum(len(one) for one in done) == 20
    assert {row["country"] for one in model.requests for _, row in asked(one)} == {"FR", "DE"}


@pytest.mark.parametrize("wires", [("keyed", "compact"), ("compact", "keyed")], ids="-".join)
def test_answers_are_not_bought_again_when_the_wire_changes(wires: tuple[str, str], tmp_path: Path) -> None:
    models = [ScriptedProvider(labelled), ScriptedProvider(labelled)]

    first, second = (
        label(model, wire=wire, ledger=str(tmp_path / "ledger.sqlite"))
        for model, wire in zip(models, wires, strict=True)
    )

    assert models[1].requests == []
    assert list(second.data) == list(first.data)


def test_a_server_that_holds_rows_to_their_tokens_answers_by_name() -> None:
    model = ScriptedProvider(labelled, capabilities=Capabilities(codec="keyed"))

    result = label(model)

    assert [one and one.note for one in result.data] == [row["text"] for row in LINES]
    assert all(one.user.startswith("id [") and one.layout is None for one in model.requests)


def test_examples_show_answers_as_they_are_to_be_written() -> None:
    model = ScriptedProvider(labelled)
    examples = [{"at": 1, "text": "x", "country": "FR", "kind": "customer service", "stars": 2, "note": "a b"}]

    label(model, examples=examples)

    assert '"answer":"customer_service 2 | a b"' in model.requests[0].system


def test_an_estimate_and_the_first_request_are_those_of_the_wire() -> None:
    model = ScriptedProvider(labelled)
    options: dict[str, Any] = {"model": model, "progress": False, "shuffle": False, "batch_size": 20}
    asks = (LINES, "Label {at}, {text} of {country}.", Label)

    estimates = {wire: smelt.estimate(*asks, wire=wire, **options) for wire in ("keyed", "compact")}
    shown = smelt.explain(*asks, wire="compact", **options)
    sent = label(model, batch_size=20).metrics

    assert estimates["compact"].input_tokens < estimates["keyed"].input_tokens
    assert abs(estimates["compact"].input_tokens - sent.input_tokens) <= 0.05 * sent.input_tokens
    assert shown.user.splitlines()[1] == 'all {"country":"FR"}'
    assert shown.system == model.requests[0].system
