"""Envelopes as gateways and users' own servers write them: an answer of any type is found, or its absence told."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from smelt.providers import anthropic, compatible, google, openai
from smelt.providers.base import ENDED, Answer, Billing, CallFailed, Finish, Reply, Usage
from smelt.providers.events import joined

ROWS = '{"rows": [{"id": "k7f2", "label": "a"}]}'
DRAFT = '{"rows": [{"id": "k7f2", "label": "draft"}]}'
READERS: dict[str, Callable[[Answer], Reply]] = {
    "chat": compatible.read,
    "responses": openai.read,
    "messages": anthropic.read,
    "gemini": google.read,
}


def read(protocol: str, body: Any, status: int = 200) -> Reply:
    return READERS[protocol](
        Answer(status=status, headers={}, text=body if isinstance(body, str) else json.dumps(body))
    )


def chat(message: Any = None, **more: Any) -> dict[str, Any]:
    choice = {"index": 0, "finish_reason": "stop", "message": message or {"role": "assistant", "content": ROWS}}
    return {"id": "c1", "model": "m", "choices": [{**choice, **more}]}


def responses(*items: Any, **more: Any) -> dict[str, Any]:
    return {"id": "r1", "model": "m", "status": "completed", "output": list(items), **more}


def said(text: str, **more: Any) -> dict[str, Any]:
    part = {"type": "output_text", "text": text}
    return {"type": "message", "role": "assistant", "content": [part], **more}


def messages(*blocks: Any, **more: Any) -> dict[str, Any]:
    return {"id": "a1", "model": "m", "stop_reason": "end_turn", "content": list(blocks), **more}


def gemini(*parts: Any, **more: Any) -> dict[str, Any]:
    return {"candidates": [{"content": {"parts": list(parts)}, "finishReason": "STOP", **more}], "modelVersion": "m"}


CALL = {"function": {"name": "rows", "arguments": ROWS}}
WHERE: list[tuple[str, str, Any]] = [
    ("the usual", "chat", chat()),
    ("parts", "chat", chat({"content": [{"type": "text", "text": ROWS[:9]}, {"type": "text", "text": ROWS[9:]}]})),
    ("one part", "chat", chat({"content": {"type": "text", "text": ROWS}})),
    ("text as an object", "chat", chat({"content": [{"type": "text", "text": {"value": ROWS, "annotations": []}}]})),
    ("thoughts among the parts", "chat", chat({"content": [
        {"type": "thinking", "thinking": [{"type": "text", "text": DRAFT}]}, {"type": "text", "text": ROWS},
    ]})),
    ("thoughts of another type", "chat",
     chat({"content": [{"type": "thought", "text": DRAFT}, {"type": "text", "text": ROWS}]})),
    ("thoughts by a mark", "chat",
     chat({"content": [{"thought": True, "text": DRAFT}, {"type": "text", "text": ROWS}]})),
    ("words in braces and a tool call", "chat", chat({"content": "I used {rows} [twice].", "tool_calls": [CALL]})),
    ("an object of JavaScript", "chat", chat({"content": "[object Object]", "tool_calls": [CALL]})),
    ("parsed content", "chat", chat({"content": json.loads(ROWS)})),
    ("a parsed list", "chat", chat({"content": json.loads(ROWS)["rows"]})),
    ("strings", "chat", chat({"content": [ROWS]})),
    ("reasoning", "chat", chat({"content": None, "reasoning": ROWS})),
    ("reasoning content", "chat", chat({"content": "", "reasoning_content": "So:\n" + ROWS})),
    ("an empty part", "chat", chat({"content": [], "reasoning_content": ROWS})),
    ("parsed", "chat", chat({"content": None, "parsed": json.loads(ROWS)})),
    ("a tool call", "chat", chat({"content": None, "tool_calls": [CALL]}, finish_reason="tool_calls")),
    ("a tool call with an object", "chat", chat({"tool_calls": [{"function": {"arguments": json.loads(ROWS)}}]})),
    ("a function call", "chat", chat({"content": None, "function_call": CALL["function"]})),
    ("a completion", "chat", {"choices": [{"text": ROWS, "finish_reason": "stop"}]}),
    ("a chunk", "chat", {"choices": [{"delta": {"content": ROWS}, "finish_reason": "stop"}]}),
    ("choices as an object", "chat", {"choices": chat()["choices"][0]}),
    ("the second choice is whole", "chat", {"choices": [
        {"message": {"content": DRAFT[:20]}, "finish_reason": "length"}, *chat()["choices"],
    ]}),
    ("two whole choices", "chat", {"choices": [*chat()["choices"], {"message": {"content": DRAFT}}]}),
    ("the usual", "responses", responses(said(ROWS))),
    ("commentary first", "responses", responses(said(DRAFT, phase="commentary"), said(ROWS, phase="final_answer"))),
    ("an unknown phase", "responses", responses(said(DRAFT, phase="analysis"), said(ROWS))),
    ("a phase as an object", "responses", responses(said(DRAFT, phase={"type": "commentary"}), said(ROWS))),
    ("thoughts first", "responses", responses(
        {"type": "reasoning", "content": [{"type": "reasoning_text", "text": DRAFT}]}, said(ROWS))),
    ("the input again", "responses", responses(said(DRAFT, role="user"), said(ROWS))),
    ("a function call", "responses", responses({"type": "function_call", "name": "rows", "arguments": ROWS})),
    ("an item in place of a list", "responses", {"output": said(ROWS), "status": "completed"}),
    ("the usual", "messages", messages({"type": "text", "text": ROWS})),
    ("thoughts first", "messages", messages({"type": "thinking", "thinking": DRAFT}, {"type": "text", "text": ROWS})),
    ("a tool use", "messages", messages({"type": "tool_use", "name": "rows", "input": json.loads(ROWS)})),
    ("words and a tool use", "messages", messages(
        {"type": "text", "text": "Here."}, {"type": "tool_use", "input": json.loads(ROWS)})),
    ("a block in place of a list", "messages", {"content": {"type": "text", "text": ROWS}, "stop_reason": "end_turn"}),
    ("a string", "messages", {"content": ROWS}),
    ("the usual", "gemini", gemini({"text": ROWS})),
    ("thoughts first", "gemini", gemini({"text": DRAFT, "thought": True}, {"text": ROWS})),
    ("a function call", "gemini", gemini({"functionCall": {"name": "rows", "args": json.loads(ROWS)}})),
    ("a part in place of a list", "gemini", {"candidates": {"content": {"parts": {"text": ROWS}}}}),
    ("the second is whole", "gemini", {"candidates": [
        {"content": {"parts": [{"text": "{"}]}, "finishReason": "MAX_TOKENS"}, gemini({"text": ROWS})["candidates"][0],
    ]}),
]  # fmt: skip


@pytest.mark.parametrize(
    ("protocol", "body"), [case[1:] for case in WHERE], ids=[f"{case[1]}: {case[0]}" for case in WHERE]
)
def test_the_answer_is_found_where_it_was_put(protocol: str, body: Any) -> None:
    reply = read(protocol, body)

    found = (
        json.loads(reply.text[reply.text.index("{") :]) if reply.text[0] != "[" else {"rows": json.loads(reply.text)}
    )
    assert found == json.loads(ROWS)
    assert reply.finish in ENDED


# More digits than a float holds, as a gateway writes them that has parsed the answer.
LONG = '{"rows": [{"id": "k7f2", "sum": 1234567890123.456789, "parts": [{"share": 0.12345678901234567890}]}]}'
PARSED = {
    "input of a tool": ("messages", json.dumps(messages({"type": "tool_use", "input": "@"}))),
    "arguments as an object": ("chat", json.dumps(chat({"tool_calls": [{"function": {"arguments": "@"}}]}))),
    "parsed": ("chat", json.dumps(chat({"content": None, "parsed": "@"}))),
    "content as an object": ("chat", json.dumps(chat({"content": "@"}))),
    "arguments of a call": ("gemini", json.dumps(gemini({"functionCall": {"args": "@"}}))),
    "item of a call": ("responses", json.dumps(responses({"type": "function_call", "arguments": "@"}))),
    "chunks": ("gemini", json.dumps([gemini({"functionCall": {"args": "@"}})])),
    "events": ("gemini", f"data: {json.dumps(gemini({'functionCall': {'args': '@'}}))}\n\n"),
    "end of a stream behind": ("messages", f"{json.dumps(messages({'type': 'tool_use', 'input': '@'}))}\ndata: [DONE]"),
}


@pytest.mark.parametrize(("protocol", "body"), PARSED.values(), ids=PARSED.keys())
def test_an_answer_that_is_parsed_already_keeps_every_digit(protocol: str, body: str) -> None:
    text = read(protocol, body.replace('"@"', LONG)).text

    assert json.loads(text, parse_float=str) == json.loads(LONG, parse_float=str)


def test_parsed_rows_with_a_field_called_text_are_no_parts_of_a_message() -> None:
    rows = [{"id": "k7f2", "text": "a", "type": "b"}, {"id": "p3xw", "text": "c", "type": "d"}]

    assert json.loads(read("chat", chat({"content": rows})).text) == rows


def test_values_that_are_nested_without_end_are_no_answer() -> None:
    deep = '{"a":' * 700 + "1.00000000000000000001" + "}" * 700

    assert read("messages", json.dumps(messages({"type": "tool_use", "input": "@"})).replace('"@"', deep)).text == ""


FULL, UNHEARD_OF = {"reason": "max_output_tokens"}, {"reason": "who knows"}
TOLD: list[tuple[str, Any, Usage, Finish]] = [
    ("responses", responses(said(ROWS), status=""), Usage(), "unknown"),
    ("responses", responses(said(ROWS), status="", incomplete_details=FULL), Usage(), "length"),
    ("responses", responses(said(ROWS), incomplete_details={"reason": "content_filter"}), Usage(), "filtered"),
    ("responses", responses(said(ROWS), status="incomplete"), Usage(), "length"),
    ("responses", responses(said(ROWS), status="incomplete", incomplete_details=UNHEARD_OF), Usage(), "length"),
    ("chat", chat(finish_reason=None), Usage(), "unknown"),
    ("chat", chat(finish_reason=""), Usage(output_tokens=499), "stop"),
    ("chat", chat(finish_reason="tool_calls"), Usage(output_tokens=500), "unknown"),
    ("chat", chat(finish_reason="eos"), Usage(), "stop"),
    ("chat", chat(), Usage(output_tokens=499), "stop"),
    ("chat", chat(), Usage(output_tokens=500), "unknown"),
    ("chat", chat(finish_reason="length"), Usage(output_tokens=3), "length"),
    ("messages", messages({"type": "text", "text": ROWS}, stop_reason=""), Usage(output_tokens=0), "unknown"),
    ("gemini", gemini({"text": ROWS}, finishReason=None), Usage(), "unknown"),
]


@pytest.mark.parametrize(("protocol", "body", "usage", "finish"), TOLD)
def test_a_reply_ends_as_all_that_is_told_of_it_says(protocol: str, body: Any, usage: Usage, finish: Finish) -> None:
    assert replace(read(protocol, body), usage=usage).with_end(500).finish == finish


NOT_THERE: list[tuple[str, str, Any]] = [
    ("content that is a number", "chat", chat({"content": 5})),
    ("no message", "chat", {"choices": [{"finish_reason": "stop", "message": None}]}),
    ("no choices", "chat", {"choices": [], "usage": {}}),
    ("null choices", "chat", {"choices": None}),
    ("choices that are text", "chat", {"choices": "none"}),
    ("a choice that is a number", "chat", {"choices": [3]}),
    ("thoughts without an answer", "chat", chat({"content": None, "reasoning": "Let me see."})),
    ("a draft where the tokens ran out", "chat", chat({"content": None, "reasoning": DRAFT}, finish_reason="length")),
    ("no output", "responses", responses()),
    ("null output", "responses", {"output": None, "status": "completed"}),
    ("commentary alone", "responses", responses(said(DRAFT, phase="commentary"))),
    ("content that is text", "responses", responses({"type": "message", "content": "x"})),
    ("no blocks", "messages", messages()),
    ("null content", "messages", {"content": None, "stop_reason": "end_turn"}),
    ("no candidates", "gemini", {"usageMetadata": {"promptTokenCount": 5}}),
    ("null candidates", "gemini", {"candidates": None, "modelVersion": 3}),
    ("a block reason that is none", "gemini", {"promptFeedback": {"blockReason": None}, "candidates": []}),
    ("parts that are text", "gemini", {"candidates": [{"content": {"parts": "x"}}]}),
    ("thoughts alone", "gemini", gemini({"text": DRAFT, "thought": True})),
]


@pytest.mark.parametrize(
    ("protocol", "body"), [case[1:] for case in NOT_THERE], ids=[f"{case[1]}: {case[0]}" for case in NOT_THERE]
)
def test_a_reply_without_an_answer_is_empty(protocol: str, body: Any) -> None:
    reply = read(protocol, body)

    assert reply.text == ""
    assert reply.finish in (*ENDED, "length")


@pytest.mark.parametrize("protocol", READERS)
def test_json_of_another_kind_is_no_reply(protocol: str) -> None:
    with pytest.raises(CallFailed, match="the answer has no") as caught:
        read(protocol, {"status": "queued", "id": 7})
    assert caught.value.billing is Billing.PAID_BAD


ODD: list[Any] = [None, 3, -1.5, True, "", "…", [], ["stop"], [[["x"]]], {}, {"type": "stop"}, {"a": {"b": {"c": {}}}}]
PLACES: dict[str, tuple[Any, list[str]]] = {
    "chat": (chat(), ["id", "model", "usage", "choices.0.finish_reason", "choices.0.message", "choices.0", "choices"]),
    "responses": (
        responses(said(ROWS)),
        ["id", "model", "usage", "status", "incomplete_details", "output.0.phase", "output.0.type", "output.0.role"]
        + ["output.0.content", "output.0.content.0.type", "output.0.content.0.refusal", "output.0", "output"],
    ),
    "messages": (
        messages({"type": "text", "text": ROWS}),
        ["id", "model", "usage", "stop_reason", "stop_details", "content.0.type", "content.0.text", "content"],
    ),
    "gemini": (
        gemini({"text": ROWS}),
        ["responseId", "modelVersion", "usageMetadata", "promptFeedback", "candidates.0.finishReason"]
        + ["candidates.0.content", "candidates.0.content.parts", "candidates.0.content.parts.0.thought", "candidates"],
    ),
}
CASES = [(protocol, place) for protocol, (_, places) in PLACES.items() for place in places]


@pytest.mark.parametrize(("protocol", "place"), CASES, ids=[f"{one}: {two}" for one, two in CASES])
def test_no_type_of_a_field_ends_the_run(protocol: str, place: str) -> None:
    for value in ODD:
        body = json.loads(json.dumps(PLACES[protocol][0]))
        *steps, last = [int(step) if step.isdigit() else step for step in place.split(".")]
        holder = body
        for step in steps:
            holder = holder[step]
        holder[last] = value

        outcome = outcome_of(protocol, body)

        if isinstance(outcome, CallFailed):
            assert outcome.kind == "protocol"
        else:
            assert isinstance(outcome.text, str)
            assert outcome.model is None or isinstance(outcome.model, str)


def outcome_of(protocol: str, body: Any) -> Reply | CallFailed:
    try:
        return read(protocol, body)
    except CallFailed as failure:
        return failure


ENDS: list[tuple[str, Any, Finish]] = [
    ("chat", "length", "length"),
    ("chat", "LENGTH", "length"),
    ("chat", {"type": "length"}, "length"),
    ("chat", {"type": "stop", "reason": "content_filter"}, "filtered"),
    ("chat", ["max_tokens"], "length"),
    ("chat", "model_length", "length"),
    ("chat", "tool_calls", "unknown"),
    ("chat", 2, "unknown"),
    ("messages", {"type": "max_tokens", "sequence": None}, "length"),
    ("messages", "refusal", "refused"),
    ("gemini", "MAX_TOKENS", "length"),
    ("gemini", {"name": "SAFETY"}, "filtered"),
    ("gemini", 2, "length"),
    ("gemini", 8, "filtered"),
    ("gemini", 1, "stop"),
    ("gemini", "OTHER", "stop"),
]


@pytest.mark.parametrize(("protocol", "end", "finish"), ENDS, ids=[f"{one}: {two}" for one, two, _ in ENDS])
def test_the_end_is_read_in_whatever_type(protocol: str, end: Any, finish: Finish) -> None:
    bodies: dict[str, Any] = {
        "chat": lambda: chat(finish_reason=end),
        "messages": lambda: messages({"type": "text", "text": ROWS}, stop_reason=end),
        "gemini": lambda: gemini({"text": ROWS}, finishReason=end),
    }

    assert read(protocol, bodies[protocol]()).finish == finish


@pytest.mark.parametrize(
    ("count", "tokens"),
    [(7, 7), ("7", 7), (7.0, 7), (7.5, None), (-7, None), (None, None), ({"total": 7}, None), (True, None)]
    + [("\u0667", None), ("1_0", None), ("9" * 400, None), (1e300, None)],
    ids=str,
)
def test_a_count_of_tokens_is_read_or_unknown(count: Any, tokens: int | None) -> None:
    usage = {
        "prompt_tokens": count,
        "completion_tokens": count,
        "completion_tokens_details": {"reasoning_tokens": count},
    }

    found = read("chat", {**chat(), "usage": usage}).usage

    assert found == Usage(input_tokens=tokens, output_tokens=tokens, reasoning_tokens=tokens)


def test_rows_in_an_answer_that_groq_refuses_are_read() -> None:
    """langchain#31459: what `failed_generation` holds is often right."""
    message = "Failed to generate JSON. Please adjust your prompt. See 'failed_generation' for more details."
    error = {"message": message, "type": "invalid_request_error", "code": "json_validate_failed"}

    reply = read("chat", {"error": {**error, "failed_generation": ROWS}}, status=400)

    assert (reply.text, reply.finish) == (ROWS, "stop")
    with pytest.raises(CallFailed, match="Failed to generate JSON") as caught:
        read("chat", {"error": {**error, "failed_generation": ""}}, status=400)
    assert (caught.value.kind, caught.value.billing) == ("protocol", Billing.PAID_BAD)


def test_an_answer_of_groq_that_met_the_limit_is_cut() -> None:
    error = {"code": "json_validate_failed", "failed_generation": ROWS[:20]}
    error["message"] = "Failed to validate JSON. max completion tokens reached before generating a valid document."

    assert read("chat", {"error": error}, status=400).finish == "length"


@pytest.mark.parametrize(
    "text",
    [
        json.dumps(chat()) + "\n\ndata: [DONE]\n\n",
        "data: " + json.dumps(chat()) + "\n\ndata: [DONE]\n\n",
        json.dumps({"choices": [{"delta": {"content": ROWS[:9]}}]})
        + "\n"
        + json.dumps({"choices": [{"delta": {"content": ROWS[9:]}, "finish_reason": "stop"}]}),
        "event: x\r\ndata: " + json.dumps({"choices": [{"index": 0, "delta": {"content": ROWS}}]}) + "\r\n\r\n",
        ": OPENROUTER PROCESSING\n\n" + json.dumps(chat()),
    ],
    ids=["a body and an end", "one event", "lines of JSON", "CRLF", "a comment and a body"],
)
def test_a_stream_is_read_however_it_is_written(text: str) -> None:
    assert read("chat", text).text == ROWS


@pytest.mark.parametrize("protocol", READERS)
def test_a_whole_body_in_an_event_or_behind_comments_is_read(protocol: str) -> None:
    body = {**PLACES[protocol][0], "type": "message"} if protocol == "messages" else PLACES[protocol][0]

    for text in (f": OPENROUTER PROCESSING\n\n{json.dumps(body)}", f"data: {json.dumps(body)}\n\ndata: [DONE]\n\n"):
        assert read(protocol, text).text == ROWS


def test_an_error_in_a_stream_is_the_error() -> None:
    text = 'data: {"choices": [{"delta": {"content": "x"}}]}\n\ndata: {"error": {"message": "Busy.", "code": 503}}\n\n'

    with pytest.raises(CallFailed, match="Busy") as caught:
        read("chat", text)
    assert (caught.value.kind, caught.value.status) == ("server", 503)


@pytest.mark.parametrize("text", ["", "data:", "{", "data: [DONE]\n\n", "data: 3\n\n", "<html>", ": only a comment"])
def test_what_is_no_stream_adds_up_to_nothing(text: str) -> None:
    assert joined(text) is None


def test_chunks_of_gemini_in_a_list_are_one_reply() -> None:
    chunks = [gemini({"text": ROWS[:9]}), gemini({"text": ROWS[9:]})]

    assert read("gemini", chunks).text == ROWS


@pytest.mark.parametrize(
    ("said", "finish"),
    [
        ("abort", "length"),
        ("network_error", "length"),
        ("insufficient_system_resource", "length"),
        ("ERROR_LIMIT", "length"),
        ("contextLengthReached", "length"),
        ("pause_turn", "length"),
        ("sensitive", "filtered"),
        ("guardrail_intervened", "filtered"),
        ("null", "unknown"),
        ("eos_token", "stop"),
        ("STOP_SEQUENCE", "stop"),
        ("COMPLETE", "stop"),
    ],
)
def test_an_end_in_the_words_of_another_server_is_known(said: str, finish: Finish) -> None:
    assert read("chat", chat(finish_reason=said)).finish == finish


@pytest.mark.parametrize("status", ["in_progress", "queued", "cancelled", "incomplete"])
def test_a_response_that_is_not_over_is_cut(status: str) -> None:
    assert read("responses", responses(said(ROWS[:20]), status=status)).finish == "length"
