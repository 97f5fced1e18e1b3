"""Scores of answers: how likely the model was to write each value of a reply, by the probabilities of its tokens.

A score is the log-odds of the tokens that make the value: of a label those from the first one that tells labels apart,
of true and false the probability of one beside that of the other, of a number, a date or a list all of them. Text has
none, because there are many ways to write the same. Scores rank answers; what they mean has to be learnt from labels
(`trust.calibration`), since a grammar changes probabilities, and models are surer than they are right.

Tokens belong to the text if their bytes, joined, are those of the text. A character may be split between tokens; some
servers then send the replacement character in both, and these tokens are left out. If anything else differs, nothing
has a score.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate, pairwise
from math import exp, expm1, fsum, log

from smelt.plan.kinds import ROW_ID, Boolean, Choice, Field, Kind, Struct, has_text
from smelt.plan.packed import Layout
from smelt.plan.rowsets import ROWS
from smelt.plan.spans import Node, located

LEAST, MOST = -200.0, 20.0
"""The lowest score and the highest. Beyond that one the probability is rounded to 1.

The lowest is far down: a server that holds a model to a grammar may tell how likely tokens were without it.
"""

_TORN = "\ufffd".encode()
_FAR = 64  # Bytes within which the token after a torn character begins.
_DIGITS = 4
_BESIDE_FLAGS = 5  # So that the other word is among them, however it is written.
_WORDS = ("true", "false", "null")
_LETTERS = re.compile(rb"[^A-Za-z]*([A-Za-z]+)")
_WORD = re.compile(r"\S+")

Scores = Mapping[str, float]
"""The score of each field of a row, by its dotted name; without fields that have none."""


@dataclass(frozen=True, slots=True)
class Token:
    """A token of a reply.

    Attributes:
        data: Its bytes.
        chance: The logarithm of its probability, 0 at most; None if it is not known.
        others: The likeliest tokens at its place, it may be one of them: bytes and logarithms.
    """

    data: bytes
    chance: float | None
    others: Sequence[tuple[bytes, float]] = ()


def wanted_beside(fields: Sequence[Field]) -> int:
    """How many of the likeliest tokens a request asks for to score *fields*: some servers send nothing if it is 0."""
    return _BESIDE_FLAGS if _has_flag(fields) else 1


def has_scores(fields: Sequence[Field]) -> bool:
    """Whether any of *fields* may have a score: not if all of them hold text."""
    return any(
        has_scores(one.kind.fields) if isinstance(one.kind, Struct) and one.kind.fields else not has_text(one.kind)
        for one in fields
    )


def log_odds(chance: float) -> float:
    """The log-odds of the probability whose logarithm is *chance*."""
    if chance >= 0:
        return MOST
    odds = chance - log(-expm1(chance))
    return round(max(LEAST, min(MOST, odds)), _DIGITS)


def scores_of(
    text: str, tokens: Sequence[Token], rows: Sequence[str], fields: Sequence[Field], layout: Layout | None = None
) -> dict[str, Scores]:
    """The scores of the rows of a reply, by the row tokens of the request.

    Args:
        text: The reply.
        tokens: Its tokens, in their order.
        rows: The row tokens.
        fields: The fields that were asked for.
        layout: The order of the fields, if the reply may have no field names.
    """
    places = _places(text, tokens)
    node = located(text, text.find("{", text.rfind("</think>") + 1)) if places else None
    if node is None or node.fields is None or _is_elsewhere(text, node, rows):
        return {}
    reader = _Reader(text, places)
    found = ((token, reader.row(row, fields, layout)) for token, row in _rows(node, frozenset(rows)))
    return {token: scores for token, scores in found if scores}


class _Reader:
    """Scores the values of one reply."""

    def __init__(self, text: str, places: Sequence[tuple[int, int, Token]]) -> None:
        self._text = text
        self._places = places
        self._starts = [start for start, _, _ in places]
        is_plain = text.isascii()
        self._bytes = range(len(text) + 1) if is_plain else [0, *accumulate(len(one.encode()) for one in text)]

    def row(self, node: Node, fields: Sequence[Field], layout: Layout | None) -> Scores:
        """The scores of the values of a row."""
        slots: Iterator[_Slot] = iter(())
        if node.fields is not None:
            slots = self._named(node.fields, fields)
        elif layout is not None and node.items is not None:
            slots = (_Slot.of(one.name, one.kind, item) for one, item in zip(fields, node.items[1:], strict=False))
        elif layout is not None and "\\" not in self._text[node.start : node.end]:
            slots = self._packed(node, layout)
        return {slot.name: score for slot in slots if (score := self._score(slot)) is not None}

    def _named(self, found: Mapping[str, Node], fields: Sequence[Field], above: str = "") -> Iterator[_Slot]:
        for one in fields:
            node, name = found.get(one.key) or found.get(one.name), f"{above}{one.name}"
            if node is None:
                continue
            if isinstance(one.kind, Struct) and one.kind.fields:
                yield from self._named(node.fields or {}, one.kind.fields, f"{name}.")
            else:
                yield _Slot.of(name, one.kind, node)

    def _packed(self, node: Node, layout: Layout) -> Iterator[_Slot]:
        """The words of a row that is one string."""
        words = _WORD.finditer(self._text, node.start + 1, node.end - 1)
        next(words, None)  # The row token.
        for one, word in zip(layout.fields, words, strict=False):
            labels = [layout.codes.get(one.key, {}).get(label, label) for label in _labels(one.kind)]
            labels += ["null"] if one.kind.nullable else []
            yield _Slot(one.name, one.kind, word.start(), word.end(), labels)

    def _score(self, slot: _Slot) -> float | None:
        match slot.kind:
            case Boolean():
                return self._flag(slot)
            case Choice():
                return self._label(slot)
            case kind:
                return None if has_text(kind) else self._all(slot.start, slot.end)

    def _label(self, slot: _Slot) -> float | None:
        if len(slot.labels) + slot.has_null < 2:
            return None
        word, start, end = self._text[slot.start : slot.end], slot.start, slot.end
        if slot.has_null and slot.is_quoted:
            start -= 1  # The quote tells a label from null.
        elif word in slot.labels:
            start += _shared(slot.labels)
        is_beginning = any(one != word and one.startswith(word) for one in slot.labels)
        return self._all(start, end + is_beginning)

    def _all(self, start: int, end: int) -> float | None:
        """The score of all tokens of this part of the text."""
        chances = [one.chance for one in self._covering(start, end)]
        known = [one for one in chances if one is not None]
        return log_odds(fsum(known)) if known and len(known) == len(chances) else None

    def _flag(self, slot: _Slot) -> float | None:
        covering, word = self._covering(slot.start, slot.end), self._text[slot.start : slot.end].lower()
        first = covering[0] if covering else None
        if first is None or first.chance is None:
            return None
        others = [(_word_of(data, word), exp(chance)) for data, chance in first.others if data != first.data]
        own = exp(first.chance) + fsum(chance for other, chance in others if other == word)
        rival = fsum(chance for other, chance in others if other not in (word, ""))
        if not own or not rival:
            return log_odds(log(own)) if own else LEAST
        return round(max(LEAST, min(MOST, log(own / rival))), _DIGITS)

    def _covering(self, start: int, end: int) -> list[Token]:
        """The tokens that hold this part of the text; none if a part of it is in no token that is known."""
        first, last = self._bytes[start], self._bytes[end]
        at = bisect_right(self._starts, first) - 1
        found, reached = [], first
        while 0 <= at < len(self._places) and reached < last:
            begin, stop, token = self._places[at]
            if begin > reached or stop < reached:
                return []
            if stop > reached:
                found.append(token)
            reached, at = max(reached, stop), at + 1
        return found if reached >= last else []


@dataclass(frozen=True, slots=True)
class _Slot:
    """Where a value stands.

    Attributes:
        name: The dotted name of its field.
        kind: Its kind.
        start: Where it begins, behind a quote.
        end: Where it ends, before a quote.
        labels: The words that it may be, if it is a label.
        is_quoted: Whether it is a string.
        has_null: Whether it may be null, which is written without quotes.
    """

    name: str
    kind: Kind
    start: int
    end: int
    labels: Sequence[str]
    is_quoted: bool = False
    has_null: bool = False

    @classmethod
    def of(cls, name: str, kind: Kind, node: Node) -> _Slot:
        is_quoted = node.text is not None
        return cls(name, kind, node.start + is_quoted, node.end - is_quoted, _labels(kind), is_quoted, kind.nullable)


def _labels(kind: Kind) -> list[str]:
    return list(kind.values) if isinstance(kind, Choice) else []


def _shared(labels: Sequence[str]) -> int:
    """How many characters all *labels* begin with alike."""
    first, last = min(labels), max(labels)
    return next((at for at, (one, other) in enumerate(zip(first, last, strict=False)) if one != other), len(first))


def _has_flag(fields: Sequence[Field]) -> bool:
    return any(
        isinstance(one.kind, Boolean) or (isinstance(one.kind, Struct) and _has_flag(one.kind.fields)) for one in fields
    )


def _word_of(data: bytes, own: str) -> str:
    """Which of true, false and null a token begins; empty if none. *own*: the one that the text has."""
    found = _LETTERS.match(data)
    letters = found[1].decode().lower() if found else ""
    if not letters:
        return ""
    return next((word for word in (own, *_WORDS) if word.startswith(letters) or letters.startswith(word)), "")


def _is_elsewhere(text: str, node: Node, rows: Sequence[str]) -> bool:
    """Whether the reply also has rows outside of *node*: a draft, or a correction of it."""
    rest = text[: node.start].strip() + text[node.end :].strip()
    return bool(rest) and any(token in rest for token in rows)


def _rows(node: Node, known: frozenset[str]) -> Iterator[tuple[str, Node]]:
    """The rows of a reply with the *known* tokens, each with its token."""
    listed = (node.fields or {}).get(ROWS)
    if listed is None or listed.items is None:
        yield from ((token, row) for token, row in (node.fields or {}).items() if token in known)
        return
    for row in listed.items:
        if row.fields is not None:
            token = row.fields[ROW_ID].text if ROW_ID in row.fields else None
        elif row.items:
            token = row.items[0].text
        else:
            token = (row.text or " ").partition(" ")[0]
        if token in known:
            yield token, row


def _places(text: str, tokens: Sequence[Token]) -> list[tuple[int, int, Token]]:
    """The tokens with the bytes of *text* that they are; empty if they are not those of the text."""
    data, joined = text.encode(errors="surrogatepass"), b"".join([one.data for one in tokens])
    before = joined.rfind(data)
    if before < 0:
        return _walked(data, tokens)
    ends = accumulate([len(one.data) for one in tokens], initial=-before)
    spans = zip(pairwise(ends), tokens, strict=True)
    return [(start, end, one) for (start, end), one in spans if end > 0 and start < len(data)]


def _walked(data: bytes, tokens: Sequence[Token]) -> list[tuple[int, int, Token]]:
    """The same if a character is split between tokens, or if the last tokens are missing."""
    found: list[tuple[int, int, Token]] = []
    at, is_torn = 0, False
    for token in tokens:
        piece = token.data
        if _TORN in piece:
            is_torn = True
            continue
        start = data.find(piece, at, at + _FAR + len(piece)) if is_torn else at
        if start < 0 or not data.startswith(piece, start):
            return [] if at < len(data) else found
        found.append((start, start + len(piece), token))
        at, is_torn = start + len(piece), False
    return found
