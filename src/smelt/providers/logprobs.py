"""Reads the probabilities of tokens that replies may carry, in the forms in which servers write them.

What cannot be right is left out, and never fails a reply: its text is paid for. Sources of November 2026: openai 3.57,
google-genai 3.6, vLLM's `protocol.py` (`-9999.0` stands for a token outside of the likeliest), llama.cpp's server.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import zip_longest
from typing import Any

from smelt.plan.numbers import LongNumber
from smelt.plan.scores import Token
from smelt.providers.bodies import table, tables


def tokens_of_chat(told: object) -> Sequence[Token]:
    """The tokens of a choice of chat completions; some hosts have lists of them beside lists of their probabilities."""
    found = table(told)
    texts, chances = found.get("tokens"), found.get("token_logprobs")
    if not isinstance(texts, list) or not isinstance(chances, list):
        return tokens_of(found.get("content"))
    beside = found.get("top_logprobs")
    others = beside if isinstance(beside, list) else []
    return tokens_of(
        [
            {"token": text, "logprob": chance, "top_logprobs": other}
            for text, chance, other in zip_longest(texts, chances[: len(texts)], others[: len(texts)])
        ]
    )


def tokens_of(told: object) -> Sequence[Token]:
    """The tokens of OpenAI's form: `{token, bytes, logprob, top_logprobs}` each."""
    found = [
        None if (data := _bytes(one)) is None else Token(data, _chance(one.get("logprob")), tuple(_others(one)))
        for one in tables(told)
    ]
    return _whole(found)


def tokens_of_gemini(told: object) -> Sequence[Token]:
    """The tokens of Gemini's form: a list of those that were chosen, and one of the likeliest at their places."""
    found = table(told)
    chosen = tables(found.get("chosenCandidates"))
    beside = [tables(one.get("candidates")) for one in tables(found.get("topCandidates"))]
    beside += [[] for _ in chosen[len(beside) :]]
    tokens: list[Token | None] = []
    for one, others in zip(chosen, beside, strict=False):
        data, pairs = _bytes(one), [_candidate(other) for other in others]
        known = tuple((other, chance) for other, chance in pairs if other is not None and chance is not None)
        tokens.append(None if data is None else Token(data, _chance(one.get("logProbability")), known))
    return _whole(tokens)


def _whole(tokens: Sequence[Token | None]) -> Sequence[Token]:
    """*tokens*, unless one of them has no text: then nobody knows where the others stand."""
    found = [one for one in tokens if one is not None]
    return found if len(found) == len(tokens) else ()


def _others(told: Mapping[str, Any]) -> Iterator[tuple[bytes, float]]:
    listed = told.get("top_logprobs")
    if isinstance(listed, dict):
        listed = [{"token": text, "logprob": chance} for text, chance in listed.items()]
    for one in tables(listed):
        data, chance = _bytes(one), _chance(one.get("logprob"))
        if data is not None and chance is not None:
            yield data, chance


def _candidate(told: Mapping[str, Any]) -> tuple[bytes | None, float | None]:
    return _bytes(told), _chance(told.get("logProbability"))


def _bytes(told: Mapping[str, Any]) -> bytes | None:
    """The bytes of a token: as a list, because a token may end in the middle of a character; else its text."""
    listed, text = told.get("bytes"), told.get("token")
    if isinstance(listed, list) and listed:
        try:
            return bytes(listed)
        except (TypeError, ValueError):
            return None
    return text.encode(errors="surrogatepass") if isinstance(text, str) else None


def _chance(told: object) -> float | None:
    """A logarithm of a probability; rounding may have made it a bit more than 0."""
    if isinstance(told, LongNumber):  # Most have more digits than a float keeps.
        told = float(told.text)
    if isinstance(told, bool) or not isinstance(told, int | float) or told != told:  # NaN.
        return None
    return min(0.0, float(told)) if told < 1 else None
