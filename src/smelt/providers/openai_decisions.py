"""OpenAI's endpoint for decisions, `POST /v1/decisions`: its requests and answers (shapes: `types/decision*.py`, 3.52).

Only gpt-6-luna has it. Answers come in the order of the questions, but are found by name: each question has one.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from smelt.plan.decisions import Decision, Judgement
from smelt.providers.base import DECISIONS, Answer, Reply, Request, Usage, Wire
from smelt.providers.bodies import body_of, tables, useless, words
from smelt.providers.decisions import Told, one_each, reply_of
from smelt.providers.failures import limits_in, request_id
from smelt.providers.secrets import Secret
from smelt.providers.usage import usage_of_openai

_EXPLICIT = {"mode": "explicit"}


def _usage(body: Mapping[str, Any]) -> Usage:
    found = usage_of_openai(body, given="input", made="output")
    return replace(found, output_tokens=0, reasoning_tokens=0, tier=DECISIONS)  # Output is free.


def write(model: str, request: Request, params: Mapping[str, Any]) -> dict[str, Any]:
    """The body of a request. Nothing of it is written to the prompt cache, which would cost more."""
    assert request.decisions is not None
    return {
        "prompt_cache_options": _EXPLICIT,
        **params,
        "model": model,
        "input": [{"role": "developer", "content": request.system}, {"role": "user", "content": request.user}],
        "questions": [
            {"name": name, "instructions": asked, **_form(one)} for name, asked, one in request.decisions.questions()
        ],
    }


def _form(one: Decision) -> dict[str, Any]:
    if one.form == "yes":
        return {"type": "predicate"}
    name, many = ("value", "choices") if one.form == "choice" else ("label", "levels")
    offered = [{name: option.word, **({"description": option.about} if option.about else {})} for option in one.options]
    return {"type": one.form.replace("scale", "score"), many: offered}


def read(answer: Answer, secrets: Sequence[Secret] = ()) -> Reply:
    """Parse an answer into a reply.

    Raises:
        CallFailed: There is no reply in it.
    """
    body = body_of(answer, _usage, secrets)
    usage = _usage(body)
    if "answers" not in body:
        raise useless(answer, "the answer has no answers", secrets, usage)
    told = tables(body["answers"])
    reply = reply_of(answer, one_each((name, _said(one)) for one in told if (name := words(one.get("name")))))
    return replace(
        reply,
        usage=usage,
        model=words(body.get("model")),
        request_id=request_id(answer.headers),
        limits=limits_in(answer.headers),
    )


def _said(one: Mapping[str, Any]) -> Told:
    kind = one.get("type")
    if kind == "refusal":
        return Told(form=None)
    if kind == "predicate":
        chance = one.get("probability")
        return Told(form="yes", judgement=Judgement(chances=[("true", chance)]))
    chances = [*_chances(one)]
    if kind == "choice":
        return Told(form="choice", judgement=Judgement(chances=chances, chosen=one.get("choice", False)))
    return Told(form="scale" if kind == "score" else "", judgement=Judgement(chances=chances))


def _chances(one: Mapping[str, Any]) -> Iterator[tuple[object, object]]:
    for part in tables(one.get("probabilities")):
        yield part.get("label" if one.get("type") == "score" else "value"), part.get("probability")


DECIDER = Wire(write=write, read=read)
