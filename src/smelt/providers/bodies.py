"""Parses the common parts of all providers' replies: the JSON object, an error in it, texts and finish reasons.

Gateways and self-hosted servers send the documented fields with other types: a finish reason as an object, a missing
list. Every field is read by one of the small functions here, none of which raises.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

from smelt.plan.numbers import LongNumber
from smelt.providers import failures
from smelt.providers.base import Answer, CallFailed, Finish, Usage
from smelt.providers.error_bodies import Complaint, complains, read_complaint
from smelt.providers.events import DECODER, joined, joined_chunks
from smelt.providers.secrets import Secret

_JSON = re.compile(r"[{\[]\s*[\"'“”{\[\\]")  # The start of JSON, also inside a JSON string, but not `{name}`.
_WORD = re.compile(r"[A-Za-z][A-Za-z_]{0,40}")
_DEPTH = 4  # Nesting levels of an unexpected value that are searched for a word.
# Types of a message's parts. A list of anything else is the answer itself, already parsed.
_PARTS = ("text", "output_text", "input_text", "refusal", "image_url", "tool_use", "audio", "file")
_THOUGHTS = ("thinking", "thought", "reasoning", "reasoning_content", "redacted_thinking", "reasoning_text")

# The finish reasons do not conflict, so one table serves all providers, and gateways that mix their words.
_ENDS: dict[str, Finish] = {
    "": "unknown",
    "null": "unknown",
    # A call of a tool that was not offered. Servers send it instead of the finish reason, even if that was the limit.
    "tool_calls": "unknown",
    "tool_use": "unknown",
    "function_call": "unknown",
    "length": "length",
    "max_tokens": "length",
    "max_output_tokens": "length",
    "model_length": "length",  # Mistral
    "model_context_window_exceeded": "length",
    "max_new_tokens": "length",
    "error_limit": "length",  # Cohere
    "maxpredictedtokensreached": "length",  # LM Studio
    "contextlengthreached": "length",
    "continuation": "length",
    # Broken off midway, which the text does not always show: vLLM and SGLang, DeepSeek, Zhipu, Cohere, Anthropic.
    "abort": "length",
    "aborted": "length",
    "cancelled": "length",
    "user_cancel": "length",
    "userstopped": "length",
    "error": "length",
    "timeout": "length",
    "network_error": "length",
    "insufficient_system_resource": "length",
    "pause_turn": "length",
    "in_progress": "length",
    "queued": "length",
    "refusal": "refused",
    "content_filter": "filtered",
    "content_filtered": "filtered",
    "safety": "filtered",
    "recitation": "filtered",
    "language": "filtered",
    "blocklist": "filtered",
    "prohibited_content": "filtered",
    "spii": "filtered",
    "image_safety": "filtered",
    "image_prohibited_content": "filtered",
    "image_recitation": "filtered",
    "model_armor": "filtered",
    "guardrail_intervened": "filtered",  # Bedrock
    "sensitive": "filtered",  # Zhipu
    "error_toxic": "filtered",
}


def body_of(
    answer: Answer, usage_of: Callable[[Mapping[str, Any]], Usage], secrets: Sequence[Secret]
) -> Mapping[str, Any]:
    """The JSON object of a successful answer; if the server streamed unasked, the object that its events form.

    Raises:
        CallFailed: The status, or an error object inside a 200, is an error; or the answer is no JSON object.
    """
    body = json_in(answer)
    if not 200 <= answer.status < 300:
        raise failures.from_status(
            answer.status, answer.headers, body, text=answer.text, secrets=secrets, asked=answer.asked
        )
    if isinstance(body, list):
        body = joined_chunks(body)
    if not isinstance(body, dict):
        raise useless(answer, _problem(answer, body), secrets)
    check_error(body, answer, usage_of, secrets)
    return body


def complaint_in(answer: Answer) -> Complaint:
    """The error object of an answer with an error status."""
    body = json_in(answer)
    return read_complaint(answer.text if body is None else body)


def check_error(
    body: Mapping[str, Any], answer: Answer, usage_of: Callable[[Mapping[str, Any]], Usage], secrets: Sequence[Secret]
) -> None:
    """Raise the failure for an error object in the *body* of a 200. An empty error object does not count.

    Raises:
        CallFailed: There is one.
    """
    if not complains(body.get("error")):
        return
    complaint = read_complaint(body)
    if complaint.status is None:
        raise useless(
            answer, f"it holds an error ({complaint.message or 'without a message'})", secrets, usage_of(body)
        )
    raise failures.from_status(
        complaint.status, answer.headers, body, secrets=secrets, usage=usage_of(body), asked=answer.asked
    )


def failed_generation(answer: Answer) -> tuple[str, Finish] | None:
    """The model's text and finish reason from a 400 of Groq, which refused the text because it does not fit the schema.

    It may hold rows, and is paid for.
    """
    error = table(table(json_in(answer)).get("error")) if answer.status == 400 else {}
    text = words(error.get("failed_generation"))
    if text is None or "{" not in text:
        return None
    return text, "length" if "max completion tokens" in str(error.get("message")) else "stop"


def useless(answer: Answer, problem: str, secrets: Sequence[Secret], usage: Usage | None = None) -> CallFailed:
    """The failure for a 200 that is no answer, because of *problem*."""
    return failures.no_answer(answer.status, answer.headers, answer.text, problem=problem, secrets=secrets, usage=usage)


def table(value: object) -> Mapping[str, Any]:
    """*value* if it is a JSON object, else an empty one, because providers leave out empty objects."""
    return value if isinstance(value, dict) else {}


def tables(value: object) -> list[Mapping[str, Any]]:
    """The JSON objects in *value*, which should be an array; a single object counts as an array of one."""
    if isinstance(value, dict):
        return [value]
    return [one for one in value if isinstance(one, dict)] if isinstance(value, list) else []


def words(value: object) -> str | None:
    """*value* if it is a non-empty string."""
    return value if isinstance(value, str) and value else None


def word_in(value: object, depth: int = _DEPTH) -> str | None:
    """The first word in *value*: `"stop"`, and also `{"type": "stop"}` and `["stop"]`."""
    if isinstance(value, str):
        return value or None
    if not depth or not isinstance(value, dict | list):
        return None
    inner = value if isinstance(value, list) else [value.get(name) for name in ("reason", "type")] + [*value.values()]
    return next((found for one in inner if (found := word_in(one, depth - 1))), None)


def finish_of(said: object) -> Finish:
    """Why the model stopped, from a word of any type and case. A word that is not in the table is a normal end."""
    return _ENDS.get((word_in(said) or "").lower(), "stop")


def text_of(content: object) -> str:
    """The text in a message's *content*: a string, one part, several parts, or JSON already parsed by a gateway."""
    if isinstance(content, str):
        return content
    if isinstance(content, list) and all(isinstance(part, str) for part in content):
        return "".join(content)
    parts = tables(content)
    if any("id" in part and not _is_part(part) for part in parts):  # Rows, which may have a field `text`.
        return written(content)
    found = [text for part in parts if (text := _text_in(part)) is not None]
    if found or not parts or any(map(_is_part, parts)):
        return "".join(found)
    return written(content)


def noted(pairs: Iterable[tuple[object, object]]) -> str:
    """Notes such as `HATE_SPEECH: LOW, VIOLENCE: LOW`: names with one word each. Nothing else, so no text of a row."""
    found = {name: word for name, word in pairs if _is_word(name) and _is_word(word)}
    return ", ".join(f"{name}: {word}" for name, word in found.items())


def _is_word(value: object) -> bool:
    return isinstance(value, str) and _WORD.fullmatch(value) is not None


def thoughts_of(content: object) -> str:
    """What the model thought: the text of the parts of *content* that hold thoughts. A string holds none."""
    return "\n".join(text for part in tables(content) if _is_thought(part) and (text := _thought_in(part)))


def _thought_in(part: Mapping[str, Any]) -> str:
    for name in ("thinking", "text", "reasoning", "summary", "content"):
        value = part.get(name)
        if text := words(value) or "\n".join(text for one in tables(value) if (text := words(one.get("text")))):
            return text
    return ""


def first_with_json(texts: Iterator[str]) -> str:
    """The first of *texts* that may hold an answer; if none may, the first with a bracket, else the first not empty."""
    found, bracketed = "", ""
    for text in texts:
        if _JSON.search(text):
            return text
        found = found or text
        if not bracketed and ("{" in text or "[" in text):
            bracketed = text
    return bracketed or found


def written(value: object) -> str:
    """Tool-call arguments, or JSON that a gateway parsed, as the JSON text that the model wrote; digits unchanged."""
    if isinstance(value, str):
        return value
    try:
        return _json(value) if isinstance(value, dict | list) else ""
    except RecursionError:
        return ""


def _json(value: object) -> str:
    """JSON of a *value* that may hold a `LongNumber`, which json.dumps would round or refuse."""
    match value:
        case dict():
            return (
                "{"
                + ",".join(f"{json.dumps(key, ensure_ascii=False)}:{_json(one)}" for key, one in value.items())
                + "}"
            )
        case list():
            return "[" + ",".join(map(_json, value)) + "]"
        case LongNumber(text=digits):
            return digits
        case _:
            return json.dumps(value, ensure_ascii=False)


def _text_in(part: Mapping[str, Any]) -> str | None:
    if _is_thought(part):
        return None
    text = part.get("text")
    if isinstance(text, dict):
        text = text.get("value")
    return text if isinstance(text, str) else None


def _is_part(part: Mapping[str, Any]) -> bool:
    return words(part.get("type")) in _PARTS + _THOUGHTS


def _is_thought(part: Mapping[str, Any]) -> bool:
    return words(part.get("type")) in _THOUGHTS or part.get("thought") is True


def json_in(answer: Answer) -> object:
    """The JSON of an answer; None if it is none."""
    return parsed(answer.text) if answer.parsed is None else answer.parsed


def parsed(text: str) -> object:
    """The JSON that *text* is, or that its events form; None if it is none."""
    text = text.removeprefix("\ufeff")
    try:
        return DECODER.decode(text)
    except (ValueError, RecursionError):  # Also JSON that is too deep, or a number with thousands of digits.
        return joined(text)


def _problem(answer: Answer, body: object) -> str:
    start = answer.text.lstrip("\ufeff \t\r\n")[:1]
    if not start:
        return "the answer is empty"
    if start == "<":
        return "the answer is a web page; something between here and the provider sent it"
    return "the answer is not JSON" if body is None else "the answer is not a JSON object"
