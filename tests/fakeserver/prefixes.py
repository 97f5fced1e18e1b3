"""Prefixes of prompts that a provider keeps: what a request marks, who may read it, and for how long it is there.

The rules are those of the pages on prompt caching at developers.openai.com/api/docs/guides and platform.claude.com/docs
of November 2026. Only an exactly equal prefix is read. It can be read when the response of the request that wrote it
has begun, so requests that leave together each write it. A read renews its life.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from tests.fakeserver.messages import BadRequest

Json = Mapping[str, Any]
HALF_HOUR, FIVE_MINUTES, HOUR = 1_800.0, 300.0, 3_600.0
_LIVES = {"30m": HALF_HOUR, "12h": 12 * HOUR, "5m": FIVE_MINUTES, "1h": HOUR}
_MOST_MARKS = 4


class Now(NamedTuple):
    """The time: that of the scenario, which a test moves, and that of the server's loop, in which requests overlap."""

    scripted: float
    loop: float


@dataclass(kw_only=True)
class Entry:
    """A kept prefix: when it can be read, how long it is kept after each use, and until when."""

    ready: float
    life: float
    until: float


@dataclass(kw_only=True)
class Shelf:
    """The kept prefixes of one account."""

    _entries: dict[tuple[Any, ...], dict[str, Entry]] = field(default_factory=dict)

    def found(self, scope: tuple[Any, ...], prefixes: Sequence[str], now: Now) -> str:
        """The longest of *prefixes* that can be read; "" if there is none. Its life begins anew."""
        kept = self._entries.get(scope, {})
        there = [one for one in prefixes if one in kept and kept[one].ready <= now.loop]
        alive = [one for one in there if kept[one].until > now.scripted]
        if not alive:
            return ""
        found = max(alive, key=len)
        kept[found].until = now.scripted + kept[found].life
        return found

    def put(self, scope: tuple[Any, ...], prefix: str, *, life: float, now: Now, after: float) -> None:
        """Keep *prefix* for *life* seconds after each use; it can be read *after* so many seconds."""
        entry = Entry(ready=now.loop + after, life=life, until=now.scripted + life)
        known = self._entries.setdefault(scope, {})
        if prefix in known and known[prefix].until > now.scripted:
            entry.ready = min(entry.ready, known[prefix].ready)
        known[prefix] = entry


def scope_of(body: Json) -> tuple[Any, ...]:
    """What must be equal beside the prompt itself for a prefix to be read."""
    effort = (body.get("reasoning") or {}).get("effort"), (body.get("output_config") or {}).get("effort")
    return (*effort, body.get("prompt_cache_key"))


def marks_of(body: Json, head: str, prompt: str, *, is_all: bool) -> dict[str, float]:
    """The prefixes that the request has written, each with the seconds for which it is kept.

    Args:
        body: The request.
        head: Schema and instructions.
        prompt: These and the rows.
        is_all: Whether the model writes the whole prompt, unless it is told to write marked prefixes only.
    """
    options = body.get("prompt_cache_options") or {}
    life = _LIVES[options.get("ttl", "30m")]
    marks = {}
    for one in _items(body.get("system")):
        if one.get("cache_control"):
            marks[head] = _LIVES[one["cache_control"].get("ttl", "5m")]
    for message in _items(body.get("input")):
        for part in _items(message.get("content")):
            if part.get("prompt_cache_breakpoint"):
                marks[head if message.get("role") in ("developer", "system") else prompt] = life
    if is_all and options.get("mode") != "explicit":
        marks[prompt] = life
    return marks


def check(body: Json, *, may_mark: bool) -> None:
    """Refuse what OpenAI refuses of a request's words on caches.

    Raises:
        BadRequest: With the API's words.
    """
    parts = [part for message in _items(body.get("input")) for part in _items(message.get("content"))]
    marked = [part for part in parts if "prompt_cache_breakpoint" in part]
    if "prompt_cache_options" in body and not may_mark:
        raise BadRequest("Unsupported parameter: 'prompt_cache_options' is not supported with this model.")
    if marked and not may_mark:
        raise BadRequest("Unsupported parameter: 'prompt_cache_breakpoint' is not supported with this model.")
    if "prompt_cache_options" in body and "prompt_cache_retention" in body:
        raise BadRequest("'prompt_cache_options' cannot be used together with 'prompt_cache_retention'.")
    if len(marked) > _MOST_MARKS:
        raise BadRequest(f"A request can have at most {_MOST_MARKS} 'prompt_cache_breakpoint' markers.")
    for part in marked:
        if part.get("type") not in ("input_text", "input_image", "input_file") or part["prompt_cache_breakpoint"] != {
            "mode": "explicit"
        }:
            raise BadRequest("Invalid value for 'prompt_cache_breakpoint'.")


def _items(value: Any) -> list[Json]:
    return [one for one in value if isinstance(one, Mapping)] if isinstance(value, list) else []
