"""What the endpoints for decisions are asked, and what is read of their answers."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Annotated, Any, Literal

import pytest
from pydantic import Field

from smelt.call.resolve import resolve_model
from smelt.errors import SmeltConfigError
from smelt.model import Model
from smelt.plan.decisions import Decisions, questions_about
from smelt.plan.probabilities import asked_output
from smelt.providers import google_decisions, openai_decisions
from smelt.providers.base import DECISIONS, Answer, CallFailed, Request
from smelt.providers.decisions import decisions_of
from tests.providers.asking import request

FIELDS = questions_about(
    asked_output({"ok": bool, "kind": Literal["a", " b"], "stars": Annotated[int, Field(ge=1, le=2)]}, via="decisions")
    .fields,
    options=255,
    levels=10,
    provider="vendor",
)  # fmt: skip
ASKED: Request = replace(request(), decisions=Decisions(tokens=("k7f2x",), fields=FIELDS))
SIDES: dict[str, Any] = {"openai": openai_decisions, "google": google_decisions}
SAID: dict[str, Any] = {
    "openai": [
        {
            "type": "score",
            "name": "k7f2x_2",
            "score": 0.25,
            "confidence": 0.75,
            "probabilities": [
                {"label": "1", "value": 0, "probability": 0.75},
                {"label": "2", "value": 1, "probability": 0.25},
            ],
        },
        {"type": "predicate", "name": "k7f2x_0", "probability": 0.125},
        {
            "type": "choice",
            "name": "k7f2x_1",
            "choice": "option 2",
            "confidence": 0.5,
            "probabilities": [{"value": "a", "probability": 0.5}, {"value": "option 2", "probability": 0.5}],
        },
    ],
    "google": {
        "k7f2x_2": {"type": "score", "probabilities": {"1": 0.25, "0": 0.75}, "legend": {"0": "1", "1": "2"}},
        "k7f2x_0": {"type": "noul", "noul": 0.125, "confidence": 0.875},
        "k7f2x_1": {"type": "choice", "choice": "option 2", "probabilities": {"a": 0.5, "option 2": 0.5}},
    },
}


def read(side: str, body: Any) -> Any:
    text = body if isinstance(body, str) else json.dumps(body)
    return SIDES[side].read(Answer(status=200, headers={"x-request-id": "r1"}, text=text, asked=ASKED))


def test_the_body_for_openai() -> None:
    body = openai_decisions.write("gpt-6-luna", ASKED, {"prompt_cache_key": "mine"})

    assert body == {
        "model": "gpt-6-luna",
        "prompt_cache_key": "mine",
        "prompt_cache_options": {"mode": "explicit"},
        "input": [{"role": "developer", "content": ASKED.system}, {"role": "user", "content": ASKED.user}],
        "questions": [
            {"type": "predicate", "name": "k7f2x_0", "instructions": 'In the answer to row k7f2x, "ok" is true.'},
            {
                "type": "choice",
                "name": "k7f2x_1",
                "instructions": 'In the answer to row k7f2x, what is "kind"?',
                "choices": [{"value": "a"}, {"value": "option 2", "description": 'The text " b".'}],
            },
            {
                "type": "score",
                "name": "k7f2x_2",
                "instructions": 'In the answer to row k7f2x, what is "stars"?',
                "levels": [{"label": "1"}, {"label": "2"}],
            },
        ],
    }


def test_the_body_for_gemini() -> None:
    body = google_decisions.write("gemini-decision-1", ASKED, {})

    assert body["model"] == "models/gemini-decision-1"
    assert body["input"] == [{"type": "text", "text": ASKED.system}, {"type": "text", "text": ASKED.user}]
    assert [(name, one["type"], one.get("criteria")) for name, one in body["questions"].items()] == [
        ("k7f2x_0", "noul", None),
        ("k7f2x_1", "choice", {"a": "", "option 2": 'The text " b".'}),
        ("k7f2x_2", "score", ["1", "2"]),
    ]


@pytest.mark.parametrize("side", SIDES)
def test_answers_are_found_by_name(side: str) -> None:
    usage = {"input_tokens": 90, "output_tokens": 3, "total_input_tokens": 90, "total_output_tokens": 3}

    reply = read(side, {"answers": SAID[side], "model": "m", "usage": usage})

    said = {"ok": False, "ok_p": 0.875, "kind": " b", "kind_p": 0.5, "stars": 1, "stars_p": 0.75}
    assert json.loads(reply.text) == {"rows": [{"id": "k7f2x", **said}]}
    assert (reply.usage.input_tokens, reply.usage.output_tokens, reply.usage.tier) == (90, 0, DECISIONS)
    assert (reply.finish, reply.request_id) == ("stop", "r1")


@pytest.mark.parametrize("side", SIDES)
@pytest.mark.parametrize(
    "answers", [None, [], {}, "x", 7, [7, None], {"k7f2x_0": 7}, [{}], {"": {}}, [{"name": 7, "type": []}]]
)
def test_answers_of_any_shape_are_read(side: str, answers: Any) -> None:
    assert json.loads(read(side, {"answers": answers}).text) == {"rows": []}


@pytest.mark.parametrize("side", SIDES)
@pytest.mark.parametrize("body", ["", "<html>", "[]", "{}", '{"error": {"message": "no"}}', '{"answers": [{"na'])
def test_what_is_no_answer_is_a_failure(side: str, body: str) -> None:
    with pytest.raises(CallFailed, match=r"."):
        read(side, body)


@pytest.mark.parametrize(
    "change",
    [
        {"type": "choice"},
        {"legend": {"0": "2", "1": "1"}},
        {"probabilities": {"0": 0.75, "2": 0.25}},
        {"probabilities": {"0": 0.75, "1": 0.25, "2": 0.0}},
        {"probabilities": [0.75, 0.25]},
    ],
)
def test_a_scale_of_gemini_is_that_which_was_asked(change: dict[str, Any]) -> None:
    answers = {**SAID["google"], "k7f2x_2": {**SAID["google"]["k7f2x_2"], **change}}

    (row,) = json.loads(read("google", {"answers": answers}).text)["rows"]

    assert "stars" not in row
    assert row["ok_p"] == 0.875


def test_a_refusal_of_every_question_is_one_of_the_reply() -> None:
    refusals = [{"type": "refusal", "name": f"k7f2x_{at}"} for at in range(3)]

    assert read("openai", {"answers": refusals}).finish == "refused"
    assert read("openai", {"answers": refusals[:2]}).finish == "stop"


def test_a_blocked_prompt_of_gemini_is_filtered() -> None:
    reply = read("google", {"prompt_feedback": {"block_reason": "safety", "block_reason_message": "No."}})

    assert (reply.finish, reply.detail) == ("filtered", "safety: No.")


@pytest.mark.parametrize(
    ("model", "url", "is_there"),
    [
        ("gpt-6-luna", None, True),
        ("gpt-6-luna-2026-09-01", "https://eu.api.openai.com/v1", True),
        ("gpt-6-luna", "http://127.0.0.1:9/v1", True),
        ("gpt-6-luna", "https://api.openai.com.evil.example/v1", False),
        ("gpt-6-luna-mini", None, False),
        ("ft:gpt-6-luna:acme", None, False),
    ],
)
def test_the_endpoint_is_asked_at_its_own_address_and_for_its_own_models(
    model: str, url: str | None, is_there: bool
) -> None:
    provider = resolve_model(Model("openai", model, api_key="k", base_url=url))

    if is_there:
        assert decisions_of(provider, {"safety_identifier": "x", "extra_headers": {}}).questions == 400
        return
    with pytest.raises(SmeltConfigError, match="needs an endpoint for decisions"):
        decisions_of(provider, {})
