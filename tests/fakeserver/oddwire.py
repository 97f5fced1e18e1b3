"""Odd envelopes: what a hostile server does around a good text, and what it sends in its place.

ENVELOPES   the JSON of a reply, by protocol   -> another one that holds the same text
THOUGHTS    tokens of thought that are spent before the text
RESPONSES   the HTTP reply                     -> another one, in `faults.py` and here
INSTEAD     what comes in place of an answer; None if the request is not struck
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from tests.fakeserver import errors
from tests.fakeserver.faults import JSON, Response, html, refused, unrequested_gzip
from tests.fakeserver.messages import Json, WireProtocol
from tests.fakeserver.model import Row
from tests.fakeserver.oddrows import bare_number
from tests.fakeserver.rowfaults import Scene

# Texts of a row that a firewall or a provider takes amiss.
FIREWALL = "<script>"
QUOTED = ("billing", "schema", "quota")

THOUGHTS = {"thoughts_300": 300, "thoughts_800": 800, "thoughts_3000": 3_000, "thoughts_untold": 3_000}


@dataclass(frozen=True)
class Letter:
    """A reply's JSON, the text in it, and a draft that is no answer."""

    body: Json
    text: str
    draft: str


# --- ENVELOPES: {protocol: (letter) -> body} --------------------------------------------------------------------------


def _message(letter: Letter) -> Json:
    message: Json = letter.body["choices"][0]["message"]
    return message


def in_field(name: str, content: Any = None) -> Callable[[Letter], None]:
    """The text is in another field of the message, and `content` is null or empty."""

    def move(letter: Letter) -> None:
        message = _message(letter)
        message.pop("reasoning_content", None)
        message[name], message["content"] = message["content"], content

    return move


def draft_in_field(letter: Letter) -> None:
    """The thoughts, with a draft in them, stand in a field of their own beside the answer."""
    _message(letter)["reasoning_content"] = f"First try: {letter.draft} No."


def in_tool_call(letter: Letter) -> None:
    """The text is the arguments of a tool that nobody offered."""
    message = _message(letter)
    if not isinstance(message["content"], str):  # It is in parts already, which no tool takes.
        return
    call = {"id": "call_1", "type": "function", "function": {"name": "rows", "arguments": message["content"]}}
    message |= {"content": None, "tool_calls": [call]}
    letter.body["choices"][0]["finish_reason"] = "tool_calls"


def thinking_part(letter: Letter) -> None:
    """`content` is a list: a thought with a draft, then the text (Mistral's Magistral)."""
    thought = {"type": "thinking", "thinking": [{"type": "text", "text": letter.draft}], "closed": True}
    _message(letter)["content"] = [thought, *_halves(letter.text)]


def _halves(text: str) -> list[Json]:
    half = len(text) // 2
    return [{"type": "text", "text": text[:half]}, {"type": "text", "text": text[half:]}]


def commentary(letter: Letter) -> None:
    """A message of the phase `commentary` holds a draft; the final one follows."""
    output: list[Json] = letter.body["output"]
    final = next((one for one in output if one["type"] == "message"), None)
    if final is None or "phase" in final:  # It was struck before.
        return
    words = {"type": "output_text", "text": letter.draft, "annotations": []}
    final["phase"] = "final_answer"
    output.insert(0, {**final, "id": "msg_comment", "phase": "commentary", "content": [words]})


def commentary_words(letter: Letter) -> None:
    """The same with words in place of a draft."""
    commentary(replace(letter, draft='I look at {"rows": [...]} first.'))


def reasoning_item(letter: Letter) -> None:
    """An item of reasoning holds a draft (vLLM and SGLang, whose Responses show the thoughts)."""
    part = {"type": "reasoning_text", "text": letter.draft}
    letter.body["output"].insert(0, {"id": "rs_1", "type": "reasoning", "summary": [], "content": [part]})


def text_in_parts(letter: Letter) -> None:
    """The text comes in two parts of one message."""
    for one in letter.body["output"]:
        if one["type"] == "message" and one["content"][0]["type"] == "output_text":
            one["content"] = [{**part, "type": "output_text", "annotations": []} for part in _halves(letter.text)]


def thinking_block(letter: Letter) -> None:
    """Blocks of thoughts, one of them with a draft, stand before the text, which comes in two blocks."""
    thoughts = [
        {"type": "thinking", "thinking": letter.draft, "signature": "c2ln"},
        {"type": "redacted_thinking", "data": "ZHJhZnQ="},
    ]
    letter.body["content"] = [*thoughts, *_halves(letter.text)]


def tool_use(letter: Letter) -> None:
    """The answer is the input of a tool that nobody offered."""
    try:
        value = json.loads(letter.text, parse_float=bare_number)
    except ValueError:
        return
    letter.body["content"] = [{"type": "tool_use", "id": "toolu_1", "name": "rows", "input": value}]
    letter.body["stop_reason"] = "tool_use"


def reasoning_block(letter: Letter) -> None:
    """Blocks of reasoning, one of them with a draft, stand before the text, which comes in two blocks."""
    thought = {"reasoningContent": {"reasoningText": {"text": letter.draft, "signature": "c2ln"}}}
    redacted = {"reasoningContent": {"redactedContent": "ZHJhZnQ="}}
    text = [{"text": part["text"]} for part in _halves(letter.text)]
    letter.body["output"]["message"]["content"] = [thought, redacted, *text]


def thought_part(letter: Letter) -> None:
    """A part marked as a thought holds a draft, and the text comes in two parts."""
    content = letter.body["candidates"][0]["content"]
    parts = [{"text": part["text"]} for part in _halves(letter.text)]
    content["parts"] = [{"text": letter.draft, "thought": True}, *parts]


def more_candidates(letter: Letter) -> None:
    """A second candidate that nobody asked for says something else; if the first was cut, the second is as good."""
    if letter.body["candidates"][0].get("finishReason") != "STOP":
        return
    other = {"content": {"role": "model", "parts": [{"text": letter.draft}]}, "finishReason": "STOP", "index": 1}
    letter.body["candidates"].append(other)


def more_choices(letter: Letter) -> None:
    """The same of chat completions."""
    first = letter.body["choices"][0]
    if first.get("finish_reason") != "stop" or not first["message"]["content"]:
        return
    message = {"role": "assistant", "content": letter.draft}
    letter.body["choices"].append({"index": 1, "finish_reason": "stop", "message": message})


def error_beside(letter: Letter) -> None:
    """An error object without anything in it stands beside a good answer."""
    letter.body["error"] = {"code": None, "message": None}


def _end(make: Callable[[Any], Any]) -> dict[str, Callable[[Letter], None]]:
    """The reason why the model stopped, in another type; of every choice or candidate."""

    def change(inside: str | None, name: str) -> Callable[[Letter], None]:
        def write(letter: Letter) -> None:
            places: Sequence[Json] = [letter.body] if inside is None else letter.body.get(inside, ())
            for place in places:
                place[name] = make(place.get(name))

        return write

    return {
        "openai": change(None, "status"),
        "compatible": change("choices", "finish_reason"),
        "anthropic": change(None, "stop_reason"),
        "bedrock": change(None, "stopReason"),
        "google": change("candidates", "finishReason"),
    }


def _usage(value: Any) -> Callable[[Letter], None]:
    def write(letter: Letter) -> None:
        for name in ("usage", "usageMetadata"):
            if name in letter.body:
                letter.body[name] = value

    return write


def _texts_of_usage(letter: Letter) -> None:
    for name in ("usage", "usageMetadata"):
        if isinstance(letter.body.get(name), dict):
            letter.body[name] = {key: str(value) for key, value in letter.body[name].items()}


def _everywhere(change: Callable[[Letter], None]) -> dict[str, Callable[[Letter], None]]:
    return dict.fromkeys(("openai", "compatible", "anthropic", "google", "bedrock"), change)


ENVELOPES: dict[str, Mapping[str, Callable[[Letter], None]]] = {
    "draft_beside": {"compatible": draft_in_field},
    "thought_before": {
        "openai": reasoning_item,
        "compatible": thinking_part,
        "anthropic": thinking_block,
        "google": thought_part,
        "bedrock": reasoning_block,
    },
    "in_reasoning": {"compatible": in_field("reasoning")},
    "in_reasoning_content": {"compatible": in_field("reasoning_content")},
    "in_reasoning_empty": {"compatible": in_field("reasoning_content", "")},
    "in_tool": {"compatible": in_tool_call, "anthropic": tool_use},
    "commentary": {"openai": commentary},
    "commentary_words": {"openai": commentary_words},
    "text_in_parts": {"openai": text_in_parts},
    "more_candidates": {"google": more_candidates, "compatible": more_choices},
    "error_beside": _everywhere(error_beside),
    "end_as_object": _end(lambda end: {"type": end}),
    "end_as_list": _end(lambda end: [end]),
    "end_empty": _end(lambda end: ""),
    "end_unknown": _end(lambda end: "eos_token" if end in ("stop", "completed", "end_turn", "STOP") else end),
    "usage_null": _everywhere(_usage(None)),
    "usage_as_list": _everywhere(_usage([])),
    "usage_as_text": _everywhere(_texts_of_usage),
}


# --- RESPONSES: (response) -> response --------------------------------------------------------------------------------


def deflated(response: Response) -> Response:
    """In zlib's format."""
    return _packed(response, "deflate", zlib.compress(response.body, 1))


def deflated_raw(response: Response) -> Response:
    """In raw deflate under the same name, as some servers have it."""
    packer = zlib.compressobj(1, wbits=-15)
    return _packed(response, "deflate", packer.compress(response.body) + packer.flush())


def packed_twice(response: Response) -> Response:
    """In gzip in gzip: the gateway's over the provider's."""
    once = unrequested_gzip(response, {})
    return _packed(response, "gzip, gzip", unrequested_gzip(once, {}).body)


def _packed(response: Response, name: str, body: bytes) -> Response:
    return replace(response, headers=response.headers | {"content-encoding": name}, body=body)


def created(response: Response) -> Response:
    """201 in place of 200."""
    return replace(response, status=201 if response.status == 200 else response.status)


def blank_lines(response: Response) -> Response:
    """Lines of blanks come first, which kept the connection alive."""
    return replace(response, body=b"\n         \n" * 30 + response.body)


def comment_lines(response: Response) -> Response:
    """Comments of an event stream come first."""
    return replace(response, body=b": OPENROUTER PROCESSING\n\n" * 3 + response.body)


def latin_type(response: Response) -> Response:
    """Another charset is claimed."""
    return replace(response, headers=response.headers | {"content-type": "text/html; charset=iso-8859-1"})


RESPONSES: dict[str, Callable[[Response], Response]] = {
    "gzipped": lambda response: unrequested_gzip(response, {}),
    "deflated": deflated,
    "deflated_raw": deflated_raw,
    "packed_twice": packed_twice,
    "created": created,
    "blank_lines": blank_lines,
    "comment_lines": comment_lines,
    "latin_type": latin_type,
}


def events(response: Response) -> Response:
    """The reply as a stream of events."""
    lines = f"data: {response.body.decode()}\n\ndata: [DONE]\n\n"
    return Response(200, {"content-type": "text/event-stream"}, lines.encode())


# --- INSTEAD: (rows, protocol, scene) -> response or None -------------------------------------------------------------


def firewall(rows: Sequence[Row], protocol: WireProtocol, scene: Scene) -> Response | None:
    """A firewall's page with a 403, for the rows whose text looks like an attack."""
    if not any(FIREWALL in text for text in _texts(rows)):
        return None
    page = (
        b"<!DOCTYPE html><html><head><title>Attention Required!</title></head><body>You have been blocked</body></html>"
    )
    return Response(403, {"content-type": "text/html", "content-encoding": "identity"}, page)


def quoting(rows: Sequence[Row], protocol: WireProtocol, scene: Scene) -> Response | None:
    """A 400 that quotes the row, which speaks of billing, a schema or a quota."""
    guilty = next((text for text in _texts(rows) if any(word in text for word in QUOTED)), None)
    if guilty is None:
        return None
    code, body = errors.bad_request(protocol.refusals, f"Could not process input {guilty!r}")
    return refused(code, body)


def _texts(rows: Sequence[Row]) -> list[str]:
    return [cell for row in rows for cell in row.cells.values() if isinstance(cell, str)]


def validate_failed(rows: Sequence[Row], protocol: WireProtocol, scene: Scene) -> Response | None:
    """Groq's 400 for a generation that did not keep to the schema."""
    if protocol.name != "compatible":
        return None
    error = {
        "message": "Failed to generate JSON. Please adjust your prompt. See 'failed_generation' for more details.",
        "type": "invalid_request_error",
        "code": "json_validate_failed",
        "failed_generation": '{"rows":[{"id":',
    }
    return Response(400, JSON, json.dumps({"error": error}).encode())


def page(rows: Sequence[Row], protocol: WireProtocol, scene: Scene) -> Response | None:
    """A page with a 200."""
    return html({}, protocol)


def bad_gateway(rows: Sequence[Row], protocol: WireProtocol, scene: Scene) -> Response | None:
    """A gateway's page with a 502."""
    return html({"code": 502}, protocol)


def no_answer_at_all(rows: Sequence[Row], protocol: WireProtocol, scene: Scene) -> Response | None:
    """Blanks and a dot, with a 200 (OpenRouter)."""
    return Response(200, JSON, b"\n   " * 10 + b".")


def no_choices(rows: Sequence[Row], protocol: WireProtocol, scene: Scene) -> Response | None:
    """`choices` is null."""
    if protocol.name != "compatible":
        return None
    return Response(200, JSON, json.dumps({"id": "c", "object": "chat.completion", "choices": None}).encode())


def no_parts(rows: Sequence[Row], protocol: WireProtocol, scene: Scene) -> Response | None:
    """A candidate without content, which ended for a reason that is none of ours."""
    if protocol.name != "google":
        return None
    body = {"candidates": [{"finishReason": "MALFORMED_FUNCTION_CALL", "index": 0}], "modelVersion": "m"}
    return Response(200, JSON, json.dumps(body).encode())


def no_candidates(rows: Sequence[Row], protocol: WireProtocol, scene: Scene) -> Response | None:
    """No candidates, and no reason why."""
    if protocol.name != "google":
        return None
    usage = {"promptTokenCount": 50, "totalTokenCount": 50}
    return Response(200, JSON, json.dumps({"usageMetadata": usage, "modelVersion": "m"}).encode())


def refusal_of(kind: str) -> Callable[[Sequence[Row], WireProtocol, Scene], Response | None]:
    """A refusal that concerns every request, if it were true."""

    def refuse(rows: Sequence[Row], protocol: WireProtocol, scene: Scene) -> Response | None:
        code, body = errors.refusal(protocol.refusals, kind)
        return refused(code, body)

    return refuse


Instead = Callable[[Sequence[Row], WireProtocol, Scene], Response | None]
INSTEAD: dict[str, Instead] = {
    "firewall": firewall,
    "quoting": quoting,
    "validate_failed": validate_failed,
    "page": page,
    "bad_gateway": bad_gateway,
    "blanks_and_dot": no_answer_at_all,
    "no_choices": no_choices,
    "no_parts": no_parts,
    "no_candidates": no_candidates,
    "one_401": refusal_of("auth"),
    "one_404": refusal_of("not_found"),
}
