"""Which models have an endpoint for decisions, and what all such endpoints have in common."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from smelt.errors import SmeltConfigError
from smelt.plan.decisions import Form, Judgement
from smelt.providers.base import Answer, DecisionTerms, Provider, Reply


@dataclass(frozen=True, kw_only=True)
class Told:
    """What a provider said to one question.

    Attributes:
        form: The form of the answer; empty if it has none that is known; None if the model declined to answer.
        judgement: What it said.
    """

    form: Form | Literal[""] | None
    judgement: Judgement | None = None


def one_each(said: Iterable[tuple[str, Told]]) -> dict[str, Told]:
    """What was said, by the names of questions; nothing for a question that was answered twice."""
    found: dict[str, Told] = {}
    doubled = set()
    for name, told in said:
        if name in found:
            doubled.add(name)
        found[name] = told
    return {name: Told(form="") if name in doubled else told for name, told in found.items()}


def reply_of(answer: Answer, told: Mapping[str, Told]) -> Reply:
    """The reply to the questions of *answer*: a row of JSON for each row that was asked.

    An answer of another form than its question counts as none. If the model declined every question, it refused.
    """
    decisions = answer.asked.decisions if answer.asked is not None else None
    if decisions is None:
        return Reply(text="")
    judgements: dict[str, Judgement] = {}
    asked = {name: one for name, _, one in decisions.questions()}
    for name, one in asked.items():
        if name in told:
            said = told[name]
            judgements[name] = (said.form == one.form and said.judgement) or Judgement(chances=())
    is_refused = bool(asked) and all(name in told and told[name].form is None for name in asked)
    detail = "The model declined to decide." if is_refused else None
    return Reply(text=decisions.reply(judgements), finish="refused" if is_refused else "stop", detail=detail)


def decisions_of(provider: Provider, params: Mapping[str, Any]) -> DecisionTerms:
    """What the endpoint for decisions of *provider* takes.

    Args:
        provider: Whom it is sent to.
        params: The parameters of every request.

    Raises:
        SmeltConfigError: It has none, or it does not take one of *params*; says what to do.
    """
    terms = provider.capabilities.decisions
    if terms is None:
        raise SmeltConfigError(
            f'via="decisions" needs an endpoint for decisions, and smelt knows none of {provider.name}:'
            f"{provider.model} at {provider.origin}. OpenAI has one for gpt-6-luna, and Gemini for gemini-decision-1, "
            "each at its own address. Leave out via=, or use one of these models."
        )
    if strange := [name for name in params if name not in (*terms.takes, "extra_headers")]:
        raise SmeltConfigError(
            f'Requests with via="decisions" take no parameter {strange[0]!r}: they write no text. Leave it out.'
        )
    return terms
