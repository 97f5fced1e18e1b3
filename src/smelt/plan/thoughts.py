"""Finds inline reasoning ("thoughts", such as `<think>`) and the end of the model's turn in a reply's text.

Reasoning is in the text if the server has no reasoning parser for its model, or one that fails. It is a draft and no
answer. Often only its end is marked, because the chat template contains the begin mark.

If a server does not know its model's end-of-turn mark, the model continues: it makes up the next question, and answers
it.

Marks: vLLM's and SGLang's reasoning parsers, and OpenAI's harmony format
(https://docs.vllm.ai/en/latest/api/vllm/reasoning/, https://cookbook.openai.com/articles/openai-harmony), as of
2026-11.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Callable, Sequence
from typing import NamedTuple

_TAGS = "think|thinking|thought|thoughts|reason|reasoning|reflection|analysis|scratchpad"
# Where a mark may begin. A fast filter: trying all marks at a character takes a microsecond.
_BEGINNING = re.compile(
    r"<(?i:\|?/?\s{0,9}(?:\w{1,20}[:_])?(?:\|?>|think|thou|reas|refl|anal|scra|chan|start|begin|end|unused))"
    r"|\[(?i:/?think)|◁/?think|assistantfinal"
)
_MARK = re.compile(
    rf"""
      (?P<final><\|channel\|>\s{{0,9}}final\b[^\n{{\[]{{0,60}}<\|message\|> | assistantfinal
         | <\|START_(?:RESPONSE|TEXT)\|> | <\|begin_of_solution\|>)
    | (?P<channel><\|channel\|>\s{{0,9}}(?:analysis|commentary)\b)
    | (?P<message_end><\|end\|>)
    | (?P<close></\s{{0,9}}(?:\w{{1,20}}:)?(?:\w{{1,20}}_)?(?:{_TAGS})\s{{0,9}}> | \[/think(?:ing)?\] | ◁/think▷
         | <\|/think(?:ing)?\|> | <\|end_of_thought\|> | <\|END_THINKING\|> | <channel\|> | <unused95>)
    | (?P<open><(?:\w{{1,20}}:)?(?:\w{{1,20}}_)?(?:{_TAGS})(?:\s[^<>]{{0,60}})?> | \[think(?:ing)?\] | ◁think▷
         | <\|think(?:ing)?\|> | <\|begin_of_thought\|> | <\|START_THINKING\|>
         | <\|channel>\s{{0,9}}thought | <unused94>)
    """,
    re.VERBOSE | re.IGNORECASE,
)


# `<|im_start|>answer` begins no turn: some models end their reasoning with it.
_TURN = re.compile(
    r"""
      <\|(?:im_end|eot_id|eom_id|endoftext|end_of_text|return|end_of_turn_token)\|> | <end_of_turn>
    | <\uff5cend▁of▁sentence\uff5c>
    | <\|(?:user|assistant|system|human)\|> | <\uff5c(?:user|assistant)\uff5c> | \[INST\]
    | </s>\s{0,9}(?:<s>|\[INST\]|\Z)
    | <\|im_start\|>\s{0,9}(?:user|assistant|system|tool)\b | <start_of_turn>\s{0,9}(?:user|model)\b
    | <\|start_header_id\|>\s{0,9}(?:user|assistant|system|tool|ipython)\b
    """,
    re.VERBOSE | re.IGNORECASE,
)


_QUOTE = re.compile(r'(?<!\\)(?:\\\\)*"')


class Spoken(NamedTuple):
    """A part of a text outside the reasoning.

    Attributes:
        start: The position after the reasoning before it; 0 if there is none.
        end: Where the next reasoning begins; else the end of the text.
    """

    start: int
    end: int


def spoken(text: str, data: Sequence[tuple[int, int]]) -> list[Spoken]:
    """The parts of *text* outside the reasoning, in order; there is at least one.

    If an end mark has no begin mark, all text before it is reasoning. Reasoning without an end mark reaches to the end
    of the text.

    Args:
        text: A model's text.
        data: The spans of JSON in it, in order. Marks inside them are characters of a value.
    """
    parts: list[Spoken] = []
    start, opened, is_channel = 0, None, False
    is_data = _within(data)
    for beginning in _BEGINNING.finditer(text):
        mark = _MARK.match(text, beginning.start())
        if mark is None:
            continue
        if is_data(mark.start()):
            continue
        kind = mark.lastgroup
        if kind in ("final", "close") or (kind == "message_end" and is_channel):
            if opened is None or kind == "final":
                parts.clear()
            else:
                parts.append(Spoken(start, opened))
            start, opened, is_channel = mark.end(), None, False
        elif kind in ("open", "channel") and opened is None:
            opened, is_channel = mark.start(), kind == "channel"
    return [*parts, Spoken(start, len(text) if opened is None else opened)]


def turn_end(text: str, start: int, data: Sequence[tuple[int, int]]) -> int | None:
    """Where the model's turn ends after *start*, where its first document begins; None if no mark shows it.

    A mark inside JSON (*data*) is part of a value. A mark in a string of an unreadable row is part of that string, if
    the string ends before the next mark; otherwise the model stopped in the middle of the string.
    """
    is_data, ends = _within(data), [end for _, end in data]
    seen, quotes = start, 0
    for mark in _TURN.finditer(text, seen):
        at = mark.start()
        if is_data(at):
            continue
        known = bisect_right(ends, at)
        if known and ends[known - 1] > seen:
            seen, quotes = ends[known - 1], 0
        quotes += len(_QUOTE.findall(text, seen, at))
        seen = mark.end()
        if quotes % 2 == 0 or not _closes(text, seen):
            return at
    return None


def _closes(text: str, start: int) -> bool:
    """Whether a string that is open at *start* ends before the next end-of-turn mark."""
    closing = _QUOTE.search(text, start)
    return closing is not None and _TURN.search(text, start, closing.start()) is None


def _within(spans: Sequence[tuple[int, int]]) -> Callable[[int], bool]:
    """A function that tells whether a position is in one of *spans*, which are in order."""
    begins = [begin for begin, _ in spans]

    def is_within(place: int) -> bool:
        at = bisect_right(begins, place) - 1
        return at >= 0 and place < spans[at][1]

    return is_within
