"""Finds the JSON documents with rows of a request in a reply's text, wherever they are and however they are wrapped.

The text is parsed once, from left to right. At each object or array the parser tries to read the whole value; if that
fails, it reads the values inside one by one, so that a broken row loses only itself. A limit on the characters parsed
without success keeps the time linear for any text.
"""

from __future__ import annotations

import json
import re
from bisect import bisect_left, bisect_right
from dataclasses import dataclass, field
from typing import Any

from smelt.plan.kinds import ROW_ID
from smelt.plan.mending import BrokenJSON, mend
from smelt.plan.rowsets import BROKEN, Document, Row, RowSet, rows_in
from smelt.plan.scanner import noting, ran_out

_QUOTES = "[\"'“”‘’]"
_ESCAPED_QUOTE = r"\\u(?:002[27]|201[89cdCD])"  # Some writers escape all quotes in a JSON string like this.
_MENTION = re.compile(rf"(?:{_QUOTES}|{_ESCAPED_QUOTE})(\w{{1,64}})(?=\\*{_QUOTES}|\\*{_ESCAPED_QUOTE})")
# Does not begin with blanks: searching for them would take quadratic time.
_OPENING = re.compile(rf'\{{\s*"rows"\s*:\s*\[|\{{\s*(?={_QUOTES}|\w)|\[\s*(?=[{{\[])|[{{\[]\s*\Z')
_ID = re.compile(rf"\{{\s*{_QUOTES}?id{_QUOTES}?\s*[:：]\s*{_QUOTES}(\w{{1,64}}){_QUOTES}")
_KEYED = re.compile(rf"{_QUOTES}(\w{{1,64}}){_QUOTES}\s*[:：]\s*(?=\{{)")
_KEY_BEFORE = re.compile(rf"{_QUOTES}(\w{{1,64}}){_QUOTES}\s*[:：]\s*$")
_LONGEST_KEY = 120  # Characters between the beginning of a row's key and its value.
_BETWEEN = re.compile(r"[\s,，}]*")  # Between two rows of one document; a row may end with one brace too many.
NEW_DOCUMENT = re.compile(rf"```|{_QUOTES}rows\\*{_QUOTES}\s*[:：]|<|◁|\[/?think", re.IGNORECASE)
"""Text that occurs between two documents, and rarely between two rows of one."""
# The limit of characters parsed without success is _IN_VAIN times the text's length plus _ALWAYS.
_IN_VAIN = 3
_ALWAYS = 50_000
_LEAST_COST = 128  # Characters charged at least for one failure; more in a large text, because of the next two limits.
_MOST_FAILURES = 20_000  # Failures of the parser at most.
_MOST_MENDED = 4_000  # Failures to mend a value at most.
_DEEP_COST = 20_000  # Characters charged for a value that is nested too deep.
# Characters after which the parsed text is cut at the front: Python's JSON error counts the lines before it.
_WINDOW = 20_000
_LAST_TRIES = 20  # Openings after the last token that are tried, to find a document that the end of the text truncates.


@dataclass(slots=True)
class Documents:
    """The result of `find_documents`.

    Attributes:
        found: The documents, in the order of the text.
        data: The parts of the text that were read as JSON, in order.
        mentions: Position and token of each quoted token of the request.
        unended: Where documents begin that the end of the text truncates.
    """

    found: list[Document] = field(default_factory=list)
    data: list[tuple[int, int]] = field(default_factory=list)
    mentions: list[tuple[int, str]] = field(default_factory=list)
    unended: list[int] = field(default_factory=list)


def find_documents(text: str, tokens: frozenset[str]) -> Documents:
    """Find the documents in *text* that contain rows with any of *tokens*."""
    search = _Search(text, tokens)
    search.run()
    return search.documents


class _Search:
    def __init__(self, text: str, tokens: frozenset[str]) -> None:
        self.documents = Documents()
        self._text = text
        self._tokens = tokens
        self._left = _IN_VAIN * len(text) + _ALWAYS
        self._least_cost = max(_LEAST_COST, self._left // _MOST_FAILURES)
        self._mending_cost = max(_LEAST_COST, self._left // _MOST_MENDED)
        self._faults: list[str] = []
        self._scan = noting(self._faults, strict=False)
        self._rest, self._rest_start = text, 0
        self._open: Document | None = None  # The document that gets the next row, if that follows directly.
        self._is_broken = False  # Whether the last row of `_open` is broken, so that its end is unknown.
        self._anchors: list[int] | None = None  # Where rows begin, by their tokens; filled when first needed.

    def run(self) -> None:
        if any(token in self._text for token in self._tokens):
            found = _MENTION.finditer(self._text)
            self.documents.mentions = [(one.start(), one[1]) for one in found if one[1] in self._tokens]
        mentions = self.documents.mentions
        last = mentions[-1][0] if mentions else -_LONGEST_KEY
        at, tries = 0, 0
        while (opening := _OPENING.search(self._text, at)) is not None:
            if opening.start() > last + _LONGEST_KEY:
                tries += 1
                if tries > _LAST_TRIES:
                    return
            at = self._read(opening)
            if self._left <= 0:  # The unread rest may correct the documents found so far.
                self.documents.found.clear()
                return

    def _read(self, opening: re.Match[str]) -> int:
        """Read the value that begins at *opening*, if there is one; return where to continue."""
        start = opening.start()
        token = self._token_at(start)
        self._faults.clear()
        try:
            value, end = self._scanned(start)
        except json.JSONDecodeError as problem:
            return self._mended(opening, token, problem)
        except RecursionError:
            self._left -= _DEEP_COST
            return self._mended(opening, token, None)
        if self._faults and not self._is_row(value):  # Read the rows one by one to find the faulty one.
            self._left -= end - start
            return opening.end()
        return self._entered(start, end, value, token)

    def _scanned(self, start: int) -> tuple[Any, int]:
        if start - self._rest_start > _WINDOW:
            self._rest, self._rest_start = self._text[start:], start
        value, end = self._scan(self._rest, start - self._rest_start)
        return value, end + self._rest_start

    def _mended(self, opening: re.Match[str], token: str | None, problem: json.JSONDecodeError | None) -> int:
        start = opening.start()
        if problem is not None:
            self._left -= max(problem.pos + self._rest_start - start, self._least_cost)
            if ran_out(problem):
                self._enter_cut(start)
        if self._text[start] != "{" or not self.documents.mentions:
            return opening.end()
        limit = self._limit(start)
        if token is None and not self._is_mentioned(start, limit):
            return opening.end()
        self._faults.clear()
        try:
            value, end = mend(self._text, start, limit, self._faults)
        except BrokenJSON as broken:
            self._left -= max(broken.at - start, self._mending_cost)
            if token is None:
                return opening.end()
            is_cut = broken.ran_out or (problem is not None and ran_out(problem))
            self._enter_broken(start, token, broken.reason, is_cut=is_cut)
            return self._behind_head(start)
        return self._entered(start, end, value, token)

    def _entered(self, start: int, end: int, value: Any, token: str | None) -> int:
        """Add the rows of a *value* that was read; return the position after it."""
        self.documents.data.append((start, end))
        fault = "; ".join(dict.fromkeys(self._faults)) or None
        key_start = self._key_start(start) if token is not None else None
        if key_start is not None and token is not None and isinstance(value, dict):
            self._join(key_start, end, RowSet.of_keyed({token: value}, self._tokens, fault))
        elif isinstance(value, dict) and isinstance(name := value.get(ROW_ID), str):
            self._join(start, end, rows_in(value, self._tokens, fault) or RowSet(strangers=[name]))
        elif rows := rows_in(value, self._tokens, fault):
            self._open = None
            self.documents.found.append(Document(start, end, rows.rows, rows.strangers))
        elif self._open is not None and not self._is_broken:
            key = self._key(start)
            begin = start if key is None else key.start()
            if self._is_next(self._open.end, begin):
                self._join(begin, end, RowSet(strangers=[None if key is None else key[1]]))
        return end

    def _enter_broken(self, start: int, token: str, reason: str, *, is_cut: bool) -> None:
        row = Row(token, None, f"{BROKEN}: {reason}", is_cut=is_cut)
        key_start = self._key_start(start)
        self._join(start if key_start is None else key_start, self._behind_head(start), RowSet([row]))
        self._is_broken = True

    def _enter_cut(self, start: int) -> None:
        """Record a truncated value at *start*: a row of the open document, or a new document."""
        key = self._key(start)
        if self._open is not None and self._is_next(self._open.end, start if key is None else key.start()):
            self._open.is_row_cut = True
        else:
            self.documents.unended.append(start)

    def _is_row(self, value: Any) -> bool:
        return isinstance(value, dict) and isinstance(token := value.get(ROW_ID), str) and token in self._tokens

    def _join(self, start: int, end: int, rows: RowSet) -> None:
        """Add rows that are not in an array or object; they join the open document if they directly follow it."""
        if self._open is None or not self._is_next(self._open.end, start):
            self._open = Document(start, end)
            self.documents.found.append(self._open)
        self._open.rows += rows.rows
        self._open.strangers += rows.strangers
        self._open.end, self._is_broken = end, False

    def _is_next(self, end: int, start: int) -> bool:
        if self._is_broken:
            return NEW_DOCUMENT.search(self._text, end, start) is None
        return _BETWEEN.match(self._text, end).end() == start  # type: ignore[union-attr]  # It matches nothing, too.

    def _is_mentioned(self, start: int, end: int) -> bool:
        mentions = self.documents.mentions
        at = bisect_left(mentions, (start, ""))
        return at < len(mentions) and mentions[at][0] < end

    def _token_at(self, start: int) -> str | None:
        """The token of the row that begins at *start*, if the row begins with its id, or if its key is the token."""
        if (head := _ID.match(self._text, start)) is not None:
            return head[1] if head[1] in self._tokens else None
        key = self._key_start(start)
        return None if key is None else _MENTION.match(self._text, key)[1]  # type: ignore[index]  # A key is one.

    def _key_start(self, start: int) -> int | None:
        """The position of the key of the row that begins at *start*, if its key is a token."""
        if _ID.match(self._text, start):
            return None
        key = self._key(start)
        return key.start() if key is not None and key[1] in self._tokens else None

    def _key(self, start: int) -> re.Match[str] | None:
        """The key directly before *start*, if there is one."""
        return _KEY_BEFORE.search(self._text, max(0, start - _LONGEST_KEY), start)

    def _behind_head(self, start: int) -> int:
        head = _ID.match(self._text, start)
        return head.end() if head is not None else start + 1

    def _limit(self, start: int) -> int:
        """Where the next row begins: a broken row ends before that."""
        if self._anchors is None:
            heads = [*_ID.finditer(self._text), *_KEYED.finditer(self._text)]
            self._anchors = sorted(one.start() for one in heads if one[1] in self._tokens)
        at = bisect_right(self._anchors, start)
        return self._anchors[at] if at < len(self._anchors) else len(self._text)
