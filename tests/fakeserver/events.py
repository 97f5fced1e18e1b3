"""A finished reply of each protocol as the events that it is streamed in."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

Json = dict[str, Any]


def events_of(body: Json, size: int) -> Iterator[Json | str]:
    """The data of the events for *body*, its text in pieces of *size* characters."""
    if "choices" in body:
        yield from _chat(body, size)
    elif "output" in body:
        yield from _responses(body, size)
    elif "stop_reason" in body:
        yield from _messages(body, size)
    else:
        yield from _gemini(body, size)


def _pieces(text: str, size: int) -> Iterator[str]:
    for start in range(0, len(text), size):
        yield text[start : start + size]


def _chat(body: Json, size: int) -> Iterator[Json | str]:
    head = {"id": body["id"], "object": "chat.completion.chunk", "model": body["model"]}
    choice = body["choices"][0]
    yield {**head, "choices": [{"index": 0, "delta": {"role": "assistant", "content": ""}, "finish_reason": None}]}
    for piece in _pieces(choice["message"]["content"] or "", size):
        yield {**head, "choices": [{"index": 0, "delta": {"content": piece}, "finish_reason": None}]}
    yield {**head, "choices": [{"index": 0, "delta": {}, "finish_reason": choice["finish_reason"]}]}
    yield {**head, "choices": [], "usage": body["usage"]}
    yield "[DONE]"


def _responses(body: Json, size: int) -> Iterator[Json]:
    yield {"type": "response.created", "response": {**body, "status": "in_progress", "output": []}}
    for item in body["output"]:
        for part in item.get("content", ()):
            for piece in _pieces(part.get("text", ""), size):
                yield {"type": "response.output_text.delta", "item_id": item.get("id"), "delta": piece}
    yield {"type": f"response.{body['status']}", "response": body}


def _messages(body: Json, size: int) -> Iterator[Json]:
    yield {"type": "message_start", "message": {**body, "content": [], "stop_reason": None}}
    for index, block in enumerate(body["content"]):
        yield {"type": "content_block_start", "index": index, "content_block": {**block, "text": ""}}
        for piece in _pieces(block["text"], size):
            yield {"type": "content_block_delta", "index": index, "delta": {"type": "text_delta", "text": piece}}
        yield {"type": "content_block_stop", "index": index}
    yield {"type": "message_delta", "delta": {"stop_reason": body["stop_reason"]}, "usage": body["usage"]}
    yield {"type": "message_stop"}


def _gemini(body: Json, size: int) -> Iterator[Json]:
    candidate = body["candidates"][0]
    for piece in _pieces(candidate["content"]["parts"][0]["text"], size):
        yield {"candidates": [{"content": {"role": "model", "parts": [{"text": piece}]}, "index": 0}]}
    yield {**body, "candidates": [{"finishReason": candidate["finishReason"], "index": 0}]}
