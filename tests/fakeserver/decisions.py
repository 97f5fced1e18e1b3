"""The endpoints for decisions: `POST /v1/decisions` of OpenAI and `POST /v1beta/decisions` of Gemini.

Shapes as in `openai/types/decision*.py` 3.52 and `google/genai/_gaos/types/decisions` 3.4. The fake model answers by
the rules of its scenario like any other, and says each value with a probability (`chance_of`). What goes wrong beside
the faults of rows: the fault `decide`, with `what` one of `BAD_DAYS`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any
from zlib import crc32

from tests.fakeserver.messages import BadRequest, Completion, Json, Prompt, WireProtocol
from tests.fakeserver.protocols import Google, OpenAI

_ABOUT = re.compile(r'answer to row (\w+), (?:what is )?"((?:[^"\\]|\\.)*)"')
_NULL = "null"
RATE = 0.10
"""Dollars per million input tokens; output is free."""


@dataclass(frozen=True)
class Question:
    """A question, whatever protocol it came by.

    Attributes:
        name: Its name.
        form: yes, choice or scale.
        row: The id of the row that it is about.
        field: The field that it is about.
        options: What it offers.
    """

    name: str
    form: str
    row: str
    field: str
    options: tuple[str, ...] = ()


def chance_of(value: Any) -> float:
    """The probability of *value*, by a stable hash: from 0.51 to 0.98."""
    return 0.51 + crc32(f"{value}".encode()) % 48 / 100


class OpenAIDecisions(OpenAI):
    """`POST /v1/decisions`; only gpt-6-luna."""

    def read(self, body: Json, model: str) -> Prompt:
        if unknown := body.keys() - {*_OPENAI, "safety_identifier", "prompt_cache_key", "prompt_cache_options"}:
            raise BadRequest(f"Unknown parameter: '{min(unknown)}'.")
        if not body["model"].startswith("gpt-6-luna"):
            raise BadRequest(f"The model '{body['model']}' is not supported with this endpoint.")
        questions = [self._question(one) for one in body["questions"]]
        _check(questions, most=400)
        system = "".join(one["content"] for one in body["input"] if one["role"] == "developer")
        user = "".join(one["content"] for one in body["input"] if one["role"] == "user")
        return _prompt(body["model"], system, user, questions, body["questions"])

    @staticmethod
    def _question(one: Json) -> Question:
        form = {"predicate": "yes", "choice": "choice", "score": "scale"}[one["type"]]
        options: tuple[str, ...] = ()
        if form == "choice":
            options = tuple(each["value"] for each in one["choices"])
        elif form == "scale":
            options = tuple(each["label"] for each in one["levels"])
            if len(options) > 10:
                raise BadRequest("'levels' must have between 2 and 10 items.")
        return _question(one["name"], form, one["instructions"], options)

    def write(self, completion: Completion) -> Json:
        if completion.finish == "refused":
            answers: list[Json] = [{"type": "refusal", "name": one.name} for one in completion.questions]
        else:
            answers = [self._said(one, *said) for one, said in _answered(completion)]
        usage = {"usage": self._usage(completion.usage)} if completion.usage is not None else {}
        return {"answers": answers, "model": completion.model, **usage}

    def _said(self, one: Question, value: Any, chances: Sequence[tuple[str, float]]) -> Json:
        if one.form == "yes":
            return {"type": "predicate", "name": one.name, "probability": dict(chances)["true"]}
        best = max(chance for _, chance in chances)
        if one.form == "choice":
            parts = [{"value": word, "probability": chance} for word, chance in chances]
            return {"type": "choice", "name": one.name, "choice": value, "confidence": best, "probabilities": parts}
        parts = [{"label": word, "value": at, "probability": chance} for at, (word, chance) in enumerate(chances)]
        mean = sum(at * chance for at, (_, chance) in enumerate(chances))
        return {"type": "score", "name": one.name, "score": mean, "confidence": best, "probabilities": parts}


class GoogleDecisions(Google):
    """`POST /v1beta/decisions`; only gemini-decision-1."""

    def read(self, body: Json, model: str) -> Prompt:
        if unknown := body.keys() - {"model", "input", "questions"}:
            raise BadRequest(f'Invalid JSON payload received. Unknown name "{min(unknown)}": Cannot find field.')
        model = body["model"].removeprefix("models/")
        if not model.startswith("gemini-decision-1"):
            raise BadRequest(f"Model {model} does not support decisions.")
        questions = [self._question(name, one) for name, one in body["questions"].items()]
        _check(questions, most=1_000)
        system, user = (one["text"] for one in body["input"])
        return _prompt(model, system, user, questions, body["questions"])

    @staticmethod
    def _question(name: str, one: Json) -> Question:
        form = {"noul": "yes", "choice": "choice", "score": "scale"}[one["type"]]
        options = tuple(one.get("criteria", ())) if form != "yes" else ()
        if any(not word or word != word.strip() or not word.isprintable() for word in options):
            raise BadRequest("Option IDs must be non-empty with no control characters or surrounding whitespace.")
        return _question(name, form, one["instructions"], options)

    def write(self, completion: Completion) -> Json:
        usage = completion.usage
        told = {} if usage is None else {"usage": {"total_input_tokens": usage["input"], "total_output_tokens": 1}}
        if completion.finish in ("blocked", "filtered", "refused"):
            return {"prompt_feedback": {"block_reason": (completion.reason or "safety").lower()}, **told}
        return {"answers": {one.name: self._said(one, *said) for one, said in _answered(completion)}, **told}

    def _said(self, one: Question, value: Any, chances: Sequence[tuple[str, float]]) -> Json:
        best = max(chance for _, chance in chances)
        if one.form == "yes":
            return {"type": "noul", "noul": dict(chances)["true"], "confidence": best}
        if one.form == "choice":
            return {"type": "choice", "choice": value, "confidence": best, "probabilities": dict(chances)}
        return {
            "type": "score",
            "score": sum(at * chance for at, (_, chance) in enumerate(chances)),
            "confidence": best,
            "probabilities": {str(at): chance for at, (_, chance) in enumerate(chances)},
            "legend": {str(at): word for at, (word, _) in enumerate(chances)},
        }


_OPENAI = ("model", "input", "questions")
DECISIONS: dict[str, WireProtocol] = {"openai-decisions": OpenAIDecisions(), "google-decisions": GoogleDecisions()}


def _question(name: str, form: str, words: str, options: tuple[str, ...]) -> Question:
    found = _ABOUT.search(words)
    if found is None:
        raise BadRequest(f"The fake model does not understand {words!r}.")
    return Question(name, form, found[1], found[2], options)


def _check(questions: Sequence[Question], *, most: int) -> None:
    if not 1 <= len(questions) <= most:
        raise BadRequest(f"'questions' must have between 1 and {most} items.")
    for one in questions:
        if one.form != "yes" and not 2 <= len(one.options) <= 255:
            raise BadRequest("A question must have between 2 and 255 options.")
        if len(set(one.options)) < len(one.options):
            raise BadRequest("Each option must be unique.")


def _prompt(model: str, system: str, user: str, questions: Sequence[Question], told: Any) -> Prompt:
    """The prompt of an array of rows with the fields that are asked for; the questions are billed as JSON."""
    fields = {one.field: {"type": "string"} for one in questions}
    row = {"type": "object", "properties": {"id": {"type": "string"}, **fields}}
    return Prompt(
        model=model,
        system=system,
        user=user,
        schema={"type": "object", "properties": {"rows": {"type": "array", "items": row}}},
        max_tokens=None,
        questions=tuple(questions),
        questions_text=json.dumps(told, ensure_ascii=False, separators=(",", ":")),
    )


def _answered(completion: Completion) -> list[tuple[Question, tuple[Any, list[tuple[str, float]]]]]:
    """Each question with its answer: a value, and the probability of each option. Rows that were lost have none."""
    try:
        rows = json.loads(completion.text)["rows"]
    except (ValueError, KeyError, TypeError):
        return []
    asked = ((one, row) for one in completion.questions for row in rows if row.get("id") == one.row)
    return [(one, _judged(one, row[one.field])) for one, row in asked if one.field in row]


def _judged(one: Question, value: Any) -> tuple[Any, list[tuple[str, float]]]:
    options = one.options or ("true", "false")
    word = _NULL if value is None else value if isinstance(value, str) else json.dumps(value)
    chance = chance_of(value)
    rest = (1 - chance) / (len(options) - 1)
    chances = [(option, chance if option == word else rest) for option in options]
    return word, chances if word in options else [*chances, (word, chance)]


# --- bad days: (answers as a list of (name, answer)) -> the same ------------------------------------------------------

Said = list[tuple[str, Json]]


def _each(said: Said, change: Callable[[Json], Json]) -> Said:
    """The first answer of each form, changed."""
    seen: set[str] = set()
    found = []
    for name, one in said:
        found.append((name, one if one["type"] in seen else change(dict(one))))
        seen.add(one["type"])
    return found


def _with_chance(one: Json, change: Callable[[float], Any]) -> Json:
    """*one* with a changed probability of its most probable option."""
    for member in ("probability", "noul"):
        if member in one:
            return {**one, member: change(one[member])}
    parts = one["probabilities"]
    if isinstance(parts, dict):
        best = max(parts, key=lambda name: parts[name])
        return {**one, "probabilities": {**parts, best: change(parts[best])}}
    best = max(range(len(parts)), key=lambda at: parts[at]["probability"])
    changed = {**parts[best], "probability": change(parts[best]["probability"])}
    return {**one, "probabilities": [changed if at == best else part for at, part in enumerate(parts)]}


def _unknown(one: Json) -> Json:
    parts = one.get("probabilities")
    if isinstance(parts, dict):
        return {**one, "choice": "martian", "probabilities": {**parts, "martian": 0.0}}
    if isinstance(parts, list):
        name = "label" if one["type"] == "score" else "value"
        return {**one, "choice": "martian", "probabilities": [*parts, {name: "martian", "probability": 0.0}]}
    return {**one, "type": "choice", "choice": "martian", "probabilities": []}


def _not_the_best(one: Json) -> Json:
    """A choice that is not the most probable one."""
    parts = one.get("probabilities")
    if one["type"] != "choice" or parts is None:
        return _with_chance(one, lambda chance: chance)
    words = [*parts] if isinstance(parts, dict) else [part["value"] for part in parts]
    return {**one, "choice": next(word for word in words if word != one["choice"])}


BAD_DAYS: dict[str, Callable[[Said], Said]] = {
    "reversed": lambda said: said[::-1],
    "missing": lambda said: said[1:],
    "nan": lambda said: _each(said, lambda one: _with_chance(one, lambda chance: float("nan"))),
    "above": lambda said: _each(said, lambda one: _with_chance(one, lambda chance: 1.5)),
    "negative": lambda said: _each(said, lambda one: _with_chance(one, lambda chance: -0.2)),
    "text": lambda said: _each(said, lambda one: _with_chance(one, str)),
    "true": lambda said: _each(said, lambda one: _with_chance(one, lambda chance: True)),
    "null": lambda said: _each(said, lambda one: _with_chance(one, lambda chance: None)),
    "sum": lambda said: _each(said, lambda one: _with_chance(one, lambda chance: chance / 4)),
    "unknown": lambda said: _each(said, _unknown),
    "other": lambda said: _each(said, _not_the_best),
    "refusal": lambda said: _each(said, lambda one: {"type": "refusal", "name": one.get("name")}),
    "form": lambda said: _each(said, lambda one: {**one, "type": "text"}),
    "extra": lambda said: [*said, ("x9x9x_0", said[0][1])],
    "twice": lambda said: [said[0], *said],
    "fields": lambda said: _each(said, lambda one: {**one, "rationale": "because", "id": 7}),
    "empty": lambda said: [],
}


def decided(data: bytes, what: str) -> bytes:
    """The body of a response on a bad day."""
    body = json.loads(data)
    change, answers = BAD_DAYS[what], body.get("answers")
    if isinstance(answers, dict):
        body["answers"] = dict(change(list(answers.items())))
    elif isinstance(answers, list):
        changed = change([(one["name"], one) for one in answers])
        body["answers"] = [{**one, "name": name} for name, one in changed]
    return json.dumps(body).encode()
