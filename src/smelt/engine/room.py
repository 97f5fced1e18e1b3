"""Room for thoughts: output tokens that are allowed on top of what the answers take, learnt from replies.

A model that thinks spends its output limit on thoughts first, and answers with what is left. So a limit that is made for
the answers cuts it off before the first row, and every try is paid for.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from smelt.plan.tokens import text_tokens
from smelt.providers.base import CallFailed, Reply

_FIRST_STEP = 4_000  # Tokens of room after the first reply that was cut off before its first row.
# Tokens of room that replies which were cut off may bring about: a model that needs more than that runs in a circle.
_MOST = 32_000
_LARGEST = 2  # Times the largest thoughts seen that the next ones may take.
_EXPECTED = 0.25  # Share of the room that thoughts are expected to take before a reply shows it.
_MEMORY = 0.8  # How slowly earlier thoughts are forgotten.
_SLACK = 64  # Tokens beyond those of the text that no thoughts are inferred from.
_FEWEST = 64  # Tokens below which an answer cannot be written, whatever limit a message names.
_OPENING = re.compile(r'\{\s*"rows"\s*:')


@dataclass(frozen=True, slots=True, kw_only=True)
class Grant:
    """What the reply to one request was allowed.

    Attributes:
        limit: Its output limit, in tokens.
        answers: What its rows want of that.
        input_tokens: What its input was reckoned at.
    """

    limit: int
    answers: int
    input_tokens: int

    @property
    def thoughts(self) -> int:
        """What is left of the limit for thoughts."""
        return max(0, self.limit - self.answers)


@dataclass(kw_only=True, eq=False)
class Room:
    """How much the replies of one model may think. Runs that ask the same model in the same way share it.

    Attributes:
        tokens: Output tokens allowed for thoughts, on top of those for the answers.
        usual: Tokens of thought that a request is expected to take.
        most: Output tokens at the most, once the server has refused more; None before.
        context: Tokens of input and output together at the most, likewise.
    """

    tokens: int = 0
    usual: float = 0.0
    most: int | None = None
    context: int | None = None
    _has_seen: bool = False

    @classmethod
    def starting_at(cls, tokens: int) -> Room:
        """Room of so many tokens, before anything is known."""
        return cls(tokens=tokens, usual=tokens * _EXPECTED)

    def grant(self, answers: int, input_tokens: int) -> Grant:
        """The output limit of a request: *answers* tokens and the thoughts, as far as the server allows."""
        limit = answers + self.tokens
        if self.most is not None:
            limit = min(limit, self.most)
        if self.context is not None:  # The input is an estimate; more of it than was reckoned must fit, too.
            limit = min(limit, max(_FEWEST, self.context - round(1.25 * input_tokens) - _SLACK))
        return Grant(limit=limit, answers=answers, input_tokens=input_tokens)

    def learn(self, reply: Reply, grant: Grant, *, has_rows: bool, is_cut: bool) -> bool:
        """Take one reply into account.

        Args:
            reply: The reply.
            grant: What it was allowed.
            has_rows: Whether a row was found in it.
            is_cut: Whether it ended before its end.

        Returns:
            Whether thoughts took the place of its answers, and the next request for them has more room.
        """
        thoughts = thoughts_in(reply, limit=grant.limit, is_cut=is_cut)
        is_crowded = is_cut and thoughts > grant.thoughts
        self._expect(thoughts, is_over=not is_crowded)
        wanted = _LARGEST * thoughts
        if is_crowded and not has_rows:  # It was still thinking: for how long it would have, nobody knows.
            wanted = max(wanted, _LARGEST * grant.thoughts, _FIRST_STEP)
        self.tokens = max(self.tokens, min(wanted, _MOST) if is_cut else wanted)
        return is_crowded and self._has_grown(grant)

    def refused(self, failure: CallFailed, grant: Grant) -> bool:
        """Learn from a request that was refused for its output limit; whether the next one for its rows has a lower one."""
        found = refused_limit(failure.message, grant.limit)
        if found is None:
            return False
        self.most, self.context = _lower(self.most, found.most), _lower(self.context, found.context)
        lowered = self.grant(grant.answers, grant.input_tokens).limit
        return _FEWEST < lowered < grant.limit

    def _has_grown(self, grant: Grant) -> bool:
        return self.grant(grant.answers, grant.input_tokens).limit > grant.limit

    def _expect(self, thoughts: int, *, is_over: bool) -> None:
        if not is_over:  # They would have gone on.
            self.usual = max(self.usual, thoughts)
            return
        self.usual = self.usual * _MEMORY + thoughts * (1 - _MEMORY) if self._has_seen else float(thoughts)
        self._has_seen = True


def thoughts_in(reply: Reply, *, limit: int, is_cut: bool) -> int:
    """Tokens of thought in *reply*: as reported, else what its text leaves unexplained of the tokens that were billed."""
    usage = reply.usage
    if usage.reasoning_tokens:
        return usage.reasoning_tokens
    spent = usage.output_tokens
    if spent is None:
        spent = limit if is_cut else 0
    answer = _answer(reply.text)
    # A token takes two bytes at the least, which spares most replies a look at their letters.
    if spent <= len(answer) // 2 + _SLACK or spent <= _most_tokens(answer) + _SLACK:
        return 0
    return spent - text_tokens(len(answer.encode(errors="replace")))


def _answer(text: str) -> str:
    """The text without what was thought in it: from the last beginning of an answer, or none of it if there is none."""
    if text.lstrip()[:1] in ("{", "["):  # The usual case.
        return text
    starts = [opening.start() for opening in _OPENING.finditer(text)]
    return text[starts[-1] :] if starts else ""


def _most_tokens(text: str) -> int:
    """More tokens than *text* takes: a reply that runs away in blanks takes one for each, other text one for two bytes."""
    blanks = sum(map(text.count, " \n\t\r"))
    return blanks + (len(text.encode(errors="replace")) - blanks) // 2


@dataclass(frozen=True, kw_only=True)
class RefusedLimit:
    """What a refusal says of the output limit.

    Attributes:
        most: Output tokens at the most, or None.
        context: Input and output together at the most, or None.
    """

    most: int | None = None
    context: int | None = None


# The limit by its names on the wire, and in the words of OpenAI, Anthropic, Google, vLLM, Groq, DeepSeek, Bedrock.
_LIMIT = re.compile(
    r"max[_ ]?(completion[_ ]?|output[_ ]?|new[_ ]?)?tokens|maximum tokens|(output|completion) tokens|in the (completion|output)\b"
)
_SIZE = re.compile(r"too large|exceed|maximum|at most|above|greater than|less than|lower than|range|must be|<=|>")
_ABOUT_SOMETHING_ELSE = re.compile(r"unsupported|not supported|budget|unknown|unrecognized|not permitted")
_CONTEXT = re.compile(
    r"(?:context (?:length|window|size|limit)|max_model_len|max_total_tokens|max_new_tokens` must be)\D{0,40}(\d[\d,]*)"
)
_STATUS = re.compile(r"^http \d+:?")  # Our own beginning of the message.
_NUMBER = re.compile(r"\d[\d,_]*")


def refused_limit(message: str, limit: int) -> RefusedLimit | None:
    """What *message* says of the output limit, if it refuses a request for having *limit* of it; None if it does not."""
    text = _STATUS.sub("", message.lower())
    if not _LIMIT.search(text) or not _SIZE.search(text) or _ABOUT_SOMETHING_ELSE.search(text):
        return None
    if context := _CONTEXT.search(text):
        return RefusedLimit(context=_number(context[1]))
    named = [number for number in map(_number, _NUMBER.findall(text)) if _FEWEST <= number < limit]
    if named:
        return RefusedLimit(most=max(named) - bool(re.search(r"exclusive|lower than|less than (?!or)", text)))
    # Without a number, a smaller one is found by halves; but a message about another setting must not start that.
    return RefusedLimit(most=limit // 2) if "too large" in text else None


def _number(digits: str) -> int:
    return int(re.sub("[,_]", "", digits)[:12])


def _lower(known: int | None, found: int | None) -> int | None:
    return found if known is None or (found is not None and found < known) else known
