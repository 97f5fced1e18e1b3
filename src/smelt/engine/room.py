"""The output limit for reasoning models: tokens for reasoning on top of those for answers, learnt from replies.

A reasoning model spends its output limit on reasoning first, and answers with the rest. If the limit covers only the
answers, the reply is truncated before the first row, and every retry is billed.
"""

from __future__ import annotations

import re
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TypeVar

from smelt.engine.prefix import Prefix
from smelt.engine.rowroom import RowRoom
from smelt.plan.tokens import text_tokens
from smelt.providers.base import CallFailed, Reply

_FIRST_STEP = 4_000  # Reasoning tokens allowed after the first reply truncated before its first row.
# Truncated replies raise the reasoning allowance to this many tokens at most: a model that needs more is in a loop.
_MOST = 32_000
_LARGEST = 2  # The allowance is this many times the largest reasoning seen.
_EXPECTED = 0.25  # Expected share of the allowance that reasoning uses, before the first reply.
_MEMORY = 0.8  # Weight of the old value in the exponential mean of reasoning tokens.
_SLACK = 64  # Billed tokens beyond the estimate of the text that are not counted as reasoning.
_FEWEST = 64  # Tokens; a lower output limit in an error message is ignored, since no answer would fit.
_MOST_QUESTIONS = 64  # Kept; the least recently asked one is dropped.
T = TypeVar("T")
_OPENING = re.compile(r'\{\s*"rows"\s*:')


@dataclass(frozen=True, slots=True, kw_only=True)
class Grant:
    """The output limit of one request.

    Attributes:
        limit: The limit, in tokens.
        answers: The tokens that its rows need.
        input_tokens: The estimated tokens of its input.
    """

    limit: int
    answers: int
    input_tokens: int

    @property
    def thoughts(self) -> int:
        """The tokens left for reasoning."""
        return max(0, self.limit - self.answers)


@dataclass(kw_only=True, eq=False)
class Room:
    """What replies have shown of one model, such as its reasoning allowance. Runs that ask it in the same way share it.

    Attributes:
        tokens: Output tokens allowed for reasoning, on top of those for the answers.
        usual: The expected reasoning tokens of a request.
        most: The server's limit of output tokens, once it has refused more; None before.
        context: The server's limit of input and output tokens together, likewise.
        is_loose: Whether a reply showed that the server does not hold replies to the schema that it was sent.
    """

    tokens: int = 0
    usual: float = 0.0
    most: int | None = None
    context: int | None = None
    is_loose: bool = False
    _has_seen: bool = False
    _rows: OrderedDict[str, RowRoom] = field(default_factory=OrderedDict)
    _prefixes: OrderedDict[str, Prefix] = field(default_factory=OrderedDict)

    @classmethod
    def starting_at(cls, tokens: int) -> Room:
        """An initial allowance of *tokens*, before the first reply."""
        return cls(tokens=tokens, usual=tokens * _EXPECTED)

    def grant(self, answers: int, input_tokens: int) -> Grant:
        """The output limit of a request: *answers* tokens plus the reasoning allowance, within the server's limits."""
        limit = answers + self.tokens
        if self.most is not None:
            limit = min(limit, self.most)
        if self.context is not None:  # The input is only estimated; leave room for an input 25 % longer.
            limit = min(limit, max(_FEWEST, self.context - round(1.25 * input_tokens) - _SLACK))
        return Grant(limit=limit, answers=answers, input_tokens=input_tokens)

    def for_rows(self, question: str) -> RowRoom:
        """What the answers to *question* take."""
        return _of(self._rows, question, RowRoom)

    def prefix(self, question: str) -> Prefix:
        """What is known of *question*, the instructions, in the provider's prompt cache."""
        return _of(self._prefixes, question, Prefix)

    def learn(self, reply: Reply, grant: Grant, *, has_rows: bool, is_cut: bool) -> bool:
        """Take one reply into account.

        Args:
            reply: The reply.
            grant: Its output limit.
            has_rows: Whether a row was found in it.
            is_cut: Whether it was truncated.

        Returns:
            Whether reasoning used up the tokens of its answers, and the next request for them has a higher limit.
        """
        thoughts = thoughts_in(reply, limit=grant.limit, is_cut=is_cut)
        is_crowded = is_cut and thoughts > grant.thoughts
        self._expect(thoughts, is_over=not is_crowded)
        wanted = _LARGEST * thoughts
        if is_crowded and not has_rows:  # Truncated while reasoning: the length of the full reasoning is unknown.
            wanted = max(wanted, _LARGEST * grant.thoughts, _FIRST_STEP)
        self.tokens = max(self.tokens, min(wanted, _MOST) if is_cut else wanted)
        return is_crowded and self._has_grown(grant)

    def refused(self, failure: CallFailed, grant: Grant) -> bool:
        """Learn from a request refused for its output limit; return whether the next one has a lower limit."""
        found = refused_limit(failure.message, grant.limit)
        if found is None:
            return False
        self.most, self.context = _lower(self.most, found.most), _lower(self.context, found.context)
        lowered = self.grant(grant.answers, grant.input_tokens).limit
        return _FEWEST < lowered < grant.limit

    def _has_grown(self, grant: Grant) -> bool:
        return self.grant(grant.answers, grant.input_tokens).limit > grant.limit

    def _expect(self, thoughts: int, *, is_over: bool) -> None:
        if not is_over:  # The reasoning was truncated, so its full length is at least this.
            self.usual = max(self.usual, thoughts)
            return
        self.usual = self.usual * _MEMORY + thoughts * (1 - _MEMORY) if self._has_seen else float(thoughts)
        self._has_seen = True


def thoughts_in(reply: Reply, *, limit: int, is_cut: bool) -> int:
    """Reasoning tokens of *reply*: as reported, else the billed tokens that its text does not account for."""
    usage = reply.usage
    if usage.reasoning_tokens:
        return usage.reasoning_tokens
    spent = usage.output_tokens
    if spent is None:
        spent = limit if is_cut else 0
    answer = _answer(reply.text)
    size = len(answer.encode(errors="replace")) if spent > len(answer) + _SLACK else len(answer)
    if spent <= size + _SLACK:  # A token has one byte or more: the tokenizer may know this script badly.
        return 0
    return spent - text_tokens(size)


def _answer(text: str) -> str:
    """The text without inline reasoning: from the last start of an answer to the end; empty if there is none."""
    if text.lstrip()[:1] in ("{", "["):  # The usual case.
        return text
    starts = [opening.start() for opening in _OPENING.finditer(text)]
    return text[starts[-1] :] if starts else ""


@dataclass(frozen=True, kw_only=True)
class RefusedLimit:
    """The limit that an error message states.

    Attributes:
        most: The maximum of output tokens, or None.
        context: The maximum of input and output tokens together, or None.
    """

    most: int | None = None
    context: int | None = None


# The parameter names of the limit, and the wording of OpenAI, Anthropic, Google, vLLM, Groq, DeepSeek, Bedrock.
_LIMIT = re.compile(
    r"max[_ ]?(completion[_ ]?|output[_ ]?|new[_ ]?)?tokens|maximum tokens|(output|completion) tokens|in the "
    r"(completion|output)\b"
)
_SIZE = re.compile(r"too large|exceed|maximum|at most|above|greater than|less than|lower than|range|must be|<=|>")
_ABOUT_SOMETHING_ELSE = re.compile(r"unsupported|not supported|budget|unknown|unrecognized|not permitted")
_CONTEXT = re.compile(
    r"(?:context (?:length|window|size|limit)|max_model_len|max_total_tokens|max_new_tokens` must be)\D{0,40}(\d[\d,]*)"
)
_STATUS = re.compile(r"^http \d+:?")  # The prefix that smelt adds to messages.
_NUMBER = re.compile(r"\d[\d,_]*")


def refused_limit(message: str, limit: int) -> RefusedLimit | None:
    """The limit stated in *message*, if it refuses a request because its output *limit* is too high; else None."""
    text = _STATUS.sub("", message.lower())
    if not _LIMIT.search(text) or not _SIZE.search(text) or _ABOUT_SOMETHING_ELSE.search(text):
        return None
    if context := _CONTEXT.search(text):
        return RefusedLimit(context=_number(context[1]))
    named = [number for number in map(_number, _NUMBER.findall(text)) if _FEWEST <= number < limit]
    if named:
        return RefusedLimit(most=max(named) - bool(re.search(r"exclusive|lower than|less than (?!or)", text)))
    # Without a number, halve the limit, but only if the message clearly is about a size and not another setting.
    return RefusedLimit(most=limit // 2) if "too large" in text else None


def _number(digits: str) -> int:
    return int(re.sub("[,_]", "", digits)[:12])


def _lower(known: int | None, found: int | None) -> int | None:
    return found if known is None or (found is not None and found < known) else known


def _of(known: OrderedDict[str, T], question: str, make: Callable[[], T]) -> T:
    """What is known of *question*; new if nothing is."""
    found = known.get(question) or known.setdefault(question, make())
    known.move_to_end(question)
    while len(known) > _MOST_QUESTIONS:
        known.popitem(last=False)
    return found
