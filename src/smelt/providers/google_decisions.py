"""Gemini's endpoint for decisions, `POST /v1beta/decisions`: its requests and answers.

Shapes: `_gaos/types/decisions/*.py` of google-genai 3.4. The SDK's own method runs a hook in a thread, so our HTTP
client sends the requests.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from smelt.plan.decisions import Decision, Judgement
from smelt.providers.base import DECISIONS, Answer, Reply, Request, Usage, Wire
from smelt.providers.bodies import body_of, table, useless, word_in
from smelt.providers.decisions import Told, one_each, reply_of
from smelt.providers.failures import limits_in, request_id
from smelt.providers.secrets import Secret
from smelt.providers.usage import tokens

PATH = "/v1beta/decisions"


def write(model: str, request: Request, params: Mapping[str, Any]) -> dict[str, Any]:
    """The body of a request."""
    assert request.decisions is not None
    return {
        **params,
        "model": f"models/{model.removeprefix('models/')}",
        "input": [{"type": "text", "text": request.system}, {"type": "text", "text": request.user}],
        "questions": {
            name: {"instructions": asked, **_form(one)} for name, asked, one in request.decisions.questions()
        },
    }


def _form(one: Decision) -> dict[str, Any]:
    match one.form:
        case "yes":
            return {"type": "noul"}
        case "choice":
            return {"type": "choice", "criteria": {option.word: option.about for option in one.options}}
        case _:
            return {"type": "score", "criteria": [option.word for option in one.options]}


def read(answer: Answer, secrets: Sequence[Secret] = ()) -> Reply:
    """Parse an answer into a reply.

    Raises:
        CallFailed: There is no reply in it.
    """
    body = body_of(answer, _usage, secrets)
    feedback = table(body.get("prompt_feedback"))
    usage, blocked = _usage(body), word_in(feedback.get("block_reason"))
    limits, name = limits_in(answer.headers), request_id(answer.headers)
    if blocked:
        detail = ": ".join(one for one in (blocked, word_in(feedback.get("block_reason_message"))) if one)
        return Reply(text="", usage=usage, finish="filtered", detail=detail, request_id=name, limits=limits)
    if "answers" not in body:
        raise useless(answer, "the answer has no answers", secrets, usage)
    asked = answer.asked.decisions if answer.asked is not None else None
    forms = {question: one for question, _, one in asked.questions()} if asked is not None else {}
    told = [(key, _said(one, forms.get(key))) for key, one in table(body["answers"]).items() if isinstance(one, dict)]
    reply = reply_of(answer, one_each(told))
    return replace(reply, usage=usage, request_id=name, limits=limits)


def _said(one: Mapping[str, Any], asked: Decision | None) -> Told:
    chances = [*table(one.get("probabilities")).items()]
    match one.get("type"):
        case "noul":
            return Told(form="yes", judgement=Judgement(chances=[("true", one.get("noul"))]))
        case "choice":
            return Told(form="choice", judgement=Judgement(chances=chances, chosen=one.get("choice", False)))
        case "score" if asked is not None:
            # Levels are named by their index, from 0, and the legend repeats their words.
            words = {str(at): option.word for at, option in enumerate(asked.options)}
            if any(words.get(level) != word for level, word in table(one.get("legend")).items()):
                return Told(form="")
            found = [(words.get(level), chance) for level, chance in chances]
            return Told(form="scale", judgement=Judgement(chances=found))
        case _:
            return Told(form="")


def _usage(body: Mapping[str, Any]) -> Usage:
    usage = table(body.get("usage"))
    return Usage(
        input_tokens=tokens(usage.get("total_input_tokens")),
        output_tokens=0,  # Output is free.
        cached_input_tokens=tokens(usage.get("total_cached_tokens")),
        tier=DECISIONS,
    )


DECIDER = Wire(write=write, read=read)
