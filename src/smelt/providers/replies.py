"""What the replies of all providers have in common: a JSON object, perhaps with an error in it, and counts of tokens."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from smelt.providers import failures
from smelt.providers.base import CallFailed, Usage
from smelt.providers.complaints import read_complaint
from smelt.providers.http import Answer
from smelt.providers.keys import Secret

_MOST_TOKENS = 10**9  # More than any context window: a count above it is a mistake.


def body_of(
    answer: Answer, usage_of: Callable[[Mapping[str, Any]], Usage], secrets: Sequence[Secret]
) -> Mapping[str, Any]:
    """The JSON object of a good answer.

    Raises:
        CallFailed: The status, or an error object inside a 200, says no; or the answer is no JSON object.
    """
    body = _parsed(answer.text)
    if not 200 <= answer.status < 300:
        raise failures.from_status(answer.status, answer.headers, body, text=answer.text, secrets=secrets)
    if answer.status != 200 or not isinstance(body, dict):
        raise useless(answer, _problem(answer, body), secrets)
    check_error(body, answer, usage_of, secrets)
    return body


def check_error(
    body: Mapping[str, Any], answer: Answer, usage_of: Callable[[Mapping[str, Any]], Usage], secrets: Sequence[Secret]
) -> None:
    """Raise what an error object in the *body* of a 200 stands for.

    Raises:
        CallFailed: There is one.
    """
    if not body.get("error"):
        return
    complaint = read_complaint(body)
    if complaint.status is None:
        raise useless(answer, f"it holds an error ({complaint.message or 'without words'})", secrets, usage_of(body))
    raise failures.from_status(complaint.status, answer.headers, body, secrets=secrets, usage=usage_of(body))


def useless(answer: Answer, problem: str, secrets: Sequence[Secret], usage: Usage | None = None) -> CallFailed:
    """The failure of a 200 that is no answer, because of *problem*."""
    return failures.no_answer(answer.status, answer.headers, answer.text, problem=problem, secrets=secrets, usage=usage)


def tokens(count: object) -> int | None:
    """A count of tokens, or None where it is missing or not believable."""
    return count if type(count) is int and 0 <= count <= _MOST_TOKENS else None


def table(value: object) -> Mapping[str, Any]:
    """*value* where it is a JSON object, else an empty one: providers leave out what they have nothing to say of."""
    return value if isinstance(value, dict) else {}


def tables(value: object) -> list[Mapping[str, Any]]:
    """The JSON objects in *value*, which should be an array."""
    return [one for one in value if isinstance(one, dict)] if isinstance(value, list) else []


def words(value: object) -> str | None:
    """*value* where it is text that says something."""
    return value if isinstance(value, str) and value else None


def _parsed(text: str) -> object:
    try:
        return json.loads(text.removeprefix("\ufeff"))
    except (ValueError, RecursionError):  # Too deep, or a number of thousands of digits, is no answer either.
        return None


def _problem(answer: Answer, body: object) -> str:
    if answer.status != 200:
        return "that is not the status of an answer"
    start = answer.text.lstrip("\ufeff \t\r\n")[:1]
    if not start:
        return "the answer is empty"
    if start == "<":
        return "the answer is a web page; something between here and the provider sent it"
    return "the answer is not JSON" if body is None else "the answer is not a JSON object"
