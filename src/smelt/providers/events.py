"""Joins the server-sent events of a reply that was streamed unasked into one body.

Some servers stream unless told not to, and some gateways always stream.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from smelt.plan.numbers import read_number
from smelt.providers.error_bodies import complains

Body = dict[str, Any]
DECODER = json.JSONDecoder(parse_float=read_number)
"""Decodes replies. A gateway may have parsed the answer inside one, so numbers keep all their digits."""

_EVENTS = ("message_", "content_block_", "response.", "ping")  # Prefixes of event types, which no body's type has.
_SIGNS = ("data:", "event:", ":", "{")  # Prefixes of a stream's lines.


def joined(text: str) -> Body | None:
    """The body that the events in *text* form, or None if it is no such stream."""
    text = text.lstrip()
    if not text.startswith(_SIGNS):
        return None
    if text.startswith("{"):  # A whole body, followed by the end of a stream.
        try:
            body, end = DECODER.raw_decode(text)
        except (ValueError, RecursionError):
            return None
        if text[end:].strip() in ("data: [DONE]", "data:[DONE]", "[DONE]"):
            return body if isinstance(body, dict) else None
    return joined_chunks(list(_chunks(text)))


def joined_chunks(chunks: Sequence[object]) -> Body | None:
    """The body that *chunks*, of any provider, form; None if they are no chunks."""
    found = [chunk for chunk in chunks if isinstance(chunk, dict)]
    if not found or len(found) < len(chunks):
        return None
    broken = next((chunk for chunk in found if complains(chunk.get("error"))), None)
    if broken is not None:
        return broken
    if len(found) == 1 and not str(found[0].get("type")).startswith(_EVENTS) and not _has_delta(found[0]):
        return found[0]  # A whole body in one event, or after comments.
    if any("choices" in chunk for chunk in found):
        return _chat(found)
    if any(isinstance(chunk.get("response"), dict) for chunk in found):
        return _responses(found)
    if any(chunk.get("type") == "message_start" for chunk in found):
        return _messages(found)
    return _gemini(found) if any("candidates" in chunk for chunk in found) else None


def _chunks(text: str) -> Iterator[Body]:
    """The JSON objects of the events. An event's data may span several lines and ends with a blank line."""
    held: list[str] = []
    # Not `splitlines`: a JSON string may contain U+2028 unescaped.
    for line in [*text.replace("\r\n", "\n").split("\n"), ""]:
        if line.startswith("data:"):
            held.append(line[5:].strip())
        elif line.startswith("{") and not held:
            yield from _events(line)
        elif not line.strip() and held:
            yield from _events("\n".join(held))
            held = []


def _events(data: str) -> Iterator[Body]:
    """The JSON objects in *data*: one, or one per line if the server sends no blank lines. Drops a truncated one."""
    for part in (data,) if "\n{" not in data else data.split("\n"):
        try:
            found = DECODER.decode(part)
        except (ValueError, RecursionError):
            continue
        if isinstance(found, dict):
            yield found


def _has_delta(chunk: Mapping[str, Any]) -> bool:
    return any("delta" in choice for choice in _dicts(chunk.get("choices")))


def _chat(chunks: Sequence[Body]) -> Body:
    message: Body = {"role": "assistant"}
    calls: dict[object, Body] = {}
    body: Body = {"choices": [{"index": 0, "message": message}]}
    for chunk in chunks:
        body |= {name: chunk[name] for name in ("id", "model", "usage") if chunk.get(name)}
        choice = next((one for one in _dicts(chunk.get("choices")) if not one.get("index")), {})
        if choice.get("finish_reason"):
            body["choices"][0]["finish_reason"] = choice["finish_reason"]
        delta = choice.get("delta") or choice.get("message")
        if not isinstance(delta, dict):
            continue
        for name, part in delta.items():
            if name != "role" and (text := _text(part)):
                message[name] = message.get(name, "") + text
        for call in _dicts(delta.get("tool_calls")):
            held = calls.setdefault(_key(call.get("index")), {"function": {"arguments": ""}})
            part = _dict(call.get("function")).get("arguments")
            held["function"]["arguments"] += part if isinstance(part, str) else ""
    if calls:
        message["tool_calls"] = list(calls.values())
    return body


def _responses(chunks: Sequence[Body]) -> Body | None:
    ends = ("response.completed", "response.incomplete", "response.failed")
    return next((_dict(chunk.get("response")) for chunk in reversed(chunks) if chunk.get("type") in ends), None)


def _messages(chunks: Sequence[Body]) -> Body:
    body: Body = {}
    blocks: dict[object, Body] = {}
    for chunk in chunks:
        delta = _dict(chunk.get("delta"))
        match chunk.get("type"):
            case "message_start":
                body = dict(_dict(chunk.get("message")))
            case "content_block_start":
                blocks[_key(chunk.get("index"))] = dict(_dict(chunk.get("content_block")))
            case "content_block_delta":
                block = blocks.setdefault(_key(chunk.get("index")), {"type": "text"})
                for name in ("text", "thinking", "partial_json"):
                    if isinstance(part := delta.get(name), str):
                        block[name] = str(block.get(name, "")) + part
            case "message_delta":
                body |= {name: value for name, value in delta.items() if value is not None}
                body["usage"] = {**_dict(body.get("usage")), **_dict(chunk.get("usage"))}
    for block in blocks.values():
        if "partial_json" in block:
            block["input"] = block.pop("partial_json")
    return {**body, "content": list(blocks.values())}


def _gemini(chunks: Sequence[Body]) -> Body:
    body: Body = {}
    parts: list[Body] = []
    candidate: Body = {}
    for chunk in chunks:
        body |= {name: value for name, value in chunk.items() if name != "candidates" and value}
        first = next(iter(_dicts(chunk.get("candidates"))), {})
        parts += _dicts(_dict(first.get("content")).get("parts"))
        candidate |= {name: value for name, value in first.items() if name != "content" and value is not None}
    return {**body, "candidates": [{**candidate, "content": {"role": "model", "parts": parts}}]}


def _text(part: object) -> str:
    """The text of a delta, which is a list of parts from Mistral's thinking models."""
    if isinstance(part, list):
        return "".join(str(one.get("text", "")) for one in _dicts(part) if one.get("type") == "text")
    return part if isinstance(part, str) else ""


def _dict(value: object) -> Body:
    return value if isinstance(value, dict) else {}


def _dicts(value: object) -> list[Body]:
    return [one for one in value if isinstance(one, dict)] if isinstance(value, list) else []


def _key(index: object) -> object:
    return index if isinstance(index, int | str) else None
