"""Parses a reply's text into rows, also if it is malformed. A row is accepted only under a token of the request.

A clean reply is one JSON document of the requested shape, and is parsed directly. Any other reply is searched for
documents that contain the request's tokens (`plan.documents`), with these rules:

- Text inside marked reasoning ("thoughts", such as `<think>`) is no answer. Reasoning without an end mark reaches to
  the end; reasoning without a begin mark starts at the beginning (`plan.thoughts`). Marks inside a JSON value are data.
- Text that the model generated after the end of its turn does not count (`plan.thoughts`).
- Of the parts between the reasoning, only the last one with a token of the request counts.
- The last document that answers every row of the request counts, and documents before it are drafts.
- If the model repeats the rows as they were sent between two documents, the second is not a correction of the first.
- If two documents give different answers to a row, the row counts as answered twice, and neither answer is accepted.
  Rows that only the earlier document has are not accepted either: it may be a draft whose correction left them out.
- The same answer in two documents is one answer. Twice in one document is none: an id may be at the wrong row.
- If the reply was truncated by the output limit, its rows count only if it consists of the JSON of one document and
  nothing else: other text may be reasoning whose end mark was truncated.
- If it is unknown whether the reply was truncated, its rows count only if its last document is complete and at the end,
  or if it consists of the JSON of one document: reasoning that is truncated after a draft ends in the middle of a
  sentence.
"""

from __future__ import annotations

import json
import re
from bisect import bisect_left
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from smelt.plan.kinds import ROW_ID
from smelt.plan.replyrows import DOUBTED, ReplyRows
from smelt.plan.rowsets import BROKEN, ROWS, Document, Row
from smelt.plan.scanner import flat, noting
from smelt.plan.wire import Codec

# `documents`, `spelling` and `thoughts` are imported at the first reply that is not clean: to compile their patterns
# takes 15 ms, which would delay the first request.
if TYPE_CHECKING:
    from smelt.plan.packed import Layout
    from smelt.plan.thoughts import Spoken

_ECHO = frozenset({"row", "problem"})  # The keys beside the id in a row that is sent.
_BEFORE = re.compile(r"[\s`\"\ufeff]*(?:json)?\s*(?:[\[{]\s*(?:[\"'“]?\w+[\"'”]?\s*[:：]\s*)?)*", re.IGNORECASE)
_BEHIND = re.compile(r"[\s,\]}]*`{0,3}[\s,\]}]*(?:[\"'“]\w*[\"'”]?\s*:?\s*)?")
# Text that may follow a document in a complete reply: brackets, fences, end marks, the last members of an object.
_END = re.compile(r"(?:[\s,\]})`~.;\"'”]|</?[\w:]{1,40}>|<\|\w{1,40}\|>|\"\w{1,40}\"\s{0,9}:\s{0,9}[\w.-]{1,40})*")
_ID_BEFORE = re.compile(r"id[\\\"'“”‘’\s]*[:：][\\\s]*$")
_KEYED = re.compile(r".\w+[\\\"'“”‘’]+\s*[:：]\s*\{")
_COMPACT = re.compile(rf'\s*(\{{)\s*"{ROWS}"\s*:\s*\[\s*["\[]')  # How a reply without field names begins.
_NEAR = 16  # Characters between a row's `id` and its token.
# Grammars let control characters into strings: xgrammar 0.2.8 does if the length of the string is bounded.
_LAX = json.JSONDecoder(strict=False, parse_int=str)
_CODES = re.compile(r"(?:\\u[0-9a-fA-F]{4})+")  # Adjacent codes together: an emoji is a surrogate pair.
_SHORT_ESCAPES = {'"': '"', "/": "/", "b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t"}


def read_reply(
    text: str,
    tokens: Sequence[str],
    codec: Codec,
    *,
    layout: Layout | None = None,
    is_cut: bool = False,
    may_be_cut: bool = False,
) -> ReplyRows:
    """Read the complete rows of a reply.

    Args:
        text: The model's text.
        tokens: The tokens of the request.
        codec: The requested shape.
        layout: The order of the fields if the reply may have no field names, as on the compact wire. It may then have
            either form.
        is_cut: Whether the provider reported that the reply was truncated at the output limit.
        may_be_cut: Whether it may be truncated, because the provider did not report why it ended.
    """
    text = text.removeprefix("\ufeff")
    known = frozenset(tokens)
    rows = (_clean_compact(text, known, layout) if layout is not None else None) or _clean(text, known, codec)
    if rows is not None and (rows.found or rows.problems or not _has_token(text, known)):
        return rows
    spell = partial(_spelled_out, layout=layout, tokens=known)
    rows = _searched(spell(text), known, is_cut=is_cut, may_be_cut=may_be_cut, spell=spell)
    if layout is not None:
        _tell_faults(rows)
    rows.is_whole = _is_asked_shape(text, known, codec)  # A duplicate key is a fault of one row, not of the server.
    return rows


def _spelled_out(text: str, *, layout: Layout | None, tokens: frozenset[str]) -> str:
    if layout is None:
        return text
    from smelt.plan.spelling import spelled_out

    return spelled_out(text, tokens, layout)


def _tell_faults(rows: ReplyRows) -> None:
    """Take the rows out that were spelled out with a fault, or that only repeat the request."""
    from smelt.plan.spelling import ECHO, FAULT

    for token, value in list(rows.found.items()):
        if value == ECHO:
            del rows.found[token]
        elif FAULT in value:
            del rows.found[token]
            rows.problems[token] = value[FAULT]


def _clean_compact(text: str, tokens: frozenset[str], layout: Layout) -> ReplyRows | None:
    """The rows of a clean reply without field names; None for any other reply."""
    opening = _COMPACT.match(text)
    values = _nested_rows(text, opening.start(1)) if opening is not None else None
    rows = layout.rows(values, tokens) if values else None
    if rows is None:
        return None
    document = Document(0, 0)
    for row in rows:
        if isinstance(row, Row):
            document.rows.append(row)
        else:
            document.strangers.append(row)
    found = ReplyRows.agreed([document], tokens)
    found.is_whole = True
    return found


def _is_asked_shape(text: str, tokens: frozenset[str], codec: Codec) -> bool:
    try:
        reply, end = _LAX.raw_decode(text, len(text) - len(text.lstrip()))
    except (json.JSONDecodeError, RecursionError):
        return False
    if not isinstance(reply, dict) or text[end:].strip():
        return False
    if codec == "keyed":
        return not tokens.isdisjoint(reply)
    return len(reply) == 1 and isinstance(reply.get(ROWS), list)


def _clean(text: str, tokens: frozenset[str], codec: Codec) -> ReplyRows | None:
    """The rows of a reply that is one document of the requested shape; None for any other reply."""
    start = len(text) - len(text.lstrip())
    if not text.startswith("{", start):
        return None
    if codec == "array":
        values = _flat_rows(text, start)
        values = _nested_rows(text, start) if values is None else values
        return None if values is None else _filed(values, tokens)
    reply = _whole(text, start)
    return None if reply is None else _filed_keyed(reply, tokens)


def _flat_rows(text: str, start: int) -> list[Any] | None:
    """The rows of a flat reply without duplicate keys, by a fast check; None for any other reply.

    A colon follows every key. If the text has as many colons as the parsed objects have keys, no duplicate was dropped.
    """
    try:
        reply, end = flat(text, start)
    except (ValueError, RecursionError):
        return None
    values = reply.get(ROWS)
    if not isinstance(values, list) or set(map(type, values)) != {dict} or text[end:].strip():
        return None
    return values if text.count(":", start, end) == 1 + sum(map(len, values)) else None


def _nested_rows(text: str, start: int) -> list[Any] | None:
    reply = _whole(text, start)
    if reply is None or len(reply) != 1 or not isinstance(values := reply.get(ROWS), list):
        return None
    return values


def _whole(text: str, start: int) -> dict[str, Any] | None:
    """The object that the text consists of from *start* on, if it has no fault such as a duplicate key."""
    faults: list[str] = []
    try:
        reply, end = noting(faults)(text, start)
    except (json.JSONDecodeError, RecursionError):
        return None
    return None if faults or text[end:].strip() else reply


def _filed(values: list[Any], tokens: frozenset[str]) -> ReplyRows:
    """The rows of a clean array reply, by token."""
    if set(map(type, values)) == {dict}:
        found = [value.pop(ROW_ID, None) for value in values]
    else:
        found = [value.pop(ROW_ID, None) if isinstance(value, dict) else None for value in values]
    if set(map(type, found)) == {str} and tokens.issuperset(found) and len(set(found)) == len(found):
        return ReplyRows(found=dict(zip(found, values, strict=True)), is_whole=True)
    pairs = list(zip(found, values, strict=True))
    return _entered(pairs, tokens)


def _filed_keyed(reply: dict[str, Any], tokens: frozenset[str]) -> ReplyRows:
    if tokens.issuperset(reply) and set(map(type, reply.values())) == {dict}:
        return ReplyRows(found=reply, is_whole=True)
    return _entered(reply.items(), tokens)


def _entered(pairs: Iterable[tuple[object, Any]], tokens: frozenset[str]) -> ReplyRows:
    """The rows of a clean reply that contains unknown or duplicate tokens."""
    document = Document(0, 0)
    for token, value in pairs:
        if isinstance(token, str) and token in tokens and isinstance(value, dict):
            document.rows.append(Row(token, value))
        else:
            document.strangers.append(token)
    rows = ReplyRows.agreed([document], tokens)
    rows.is_whole = True
    return rows


def _has_token(text: str, tokens: frozenset[str]) -> bool:
    return any(token in text for token in tokens)


def _searched(
    text: str,
    tokens: frozenset[str],
    *,
    is_cut: bool,
    may_be_cut: bool,
    is_over: bool = False,
    spell: Callable[[str], str] = lambda text: text,
) -> ReplyRows:
    """The rows of a reply that is not clean. If *is_over* (an end-of-turn mark follows), an unended row is broken."""
    from smelt.plan.documents import find_documents
    from smelt.plan.thoughts import Spoken, spoken, turn_end

    documents = find_documents(text, tokens)
    for _ in range(2):  # The JSON may be escaped as in a JSON string that has no quotes or is broken.
        if documents.found or '\\"' not in text:
            break
        text = spell(_unescaped(text))
        documents = find_documents(text, tokens)
    end = turn_end(text, documents.found[0].start, documents.data) if documents.found else None
    if end is not None:  # It does not matter whether the text after the end of the turn is truncated.
        turn = _searched(text[:end], tokens, is_cut=False, may_be_cut=False, is_over=True)
        if turn.found or turn.problems:  # Otherwise it contains only reasoning.
            return turn
    parts = spoken(text, documents.data) if documents.mentions else [Spoken(0, len(text))]
    part = _answering(parts, documents.mentions)
    found = [one for one in documents.found if part.start <= one.start < part.end]
    unended = [at for at in documents.unended if part.start <= at < part.end]
    is_open = may_be_cut and bool(found) and (bool(unended) or not _END.fullmatch(text, found[-1].end, part.end))
    if (is_cut or may_be_cut) and part.end < parts[-1].start and not _END.fullmatch(text, *parts[-1]):
        is_open, found = True, []  # After reasoning about these answers, the model may have started other answers.
    if (is_cut or is_open or any(one.is_row_cut for one in found)) and not _is_bare(text, part, found):
        found, is_cut = [], is_cut or is_open
    answers, is_asked_again = _answers(found)
    rows = ReplyRows.agreed(answers, tokens, unended, may_correct=not is_asked_again)
    rows.is_cut = not is_over and (is_cut or bool(unended) or any(one.is_row_cut for one in found) or _is_start(text))
    _drop_unconfirmed(text, rows, found, [one for one in documents.mentions if part.start <= one[0] < part.end])
    if not rows.is_cut:
        for at, token in documents.mentions:
            if part.start <= at < part.end and token not in rows.found:
                rows.problems.setdefault(token, BROKEN)
    return rows


def _unescaped(text: str) -> str:
    """*text* with its JSON escapes decoded."""
    backslash = next(mark for mark in map(chr, range(0xE000, 0xF900)) if mark not in text)  # A placeholder for it.
    text = text.replace("\\\\", backslash)
    for mark, meant in _SHORT_ESCAPES.items():
        text = text.replace(f"\\{mark}", meant)
    return _CODES.sub(lambda found: str(json.loads(f'"{found[0]}"')), text).replace(backslash, "\\")


def _drop_unconfirmed(text: str, rows: ReplyRows, found: list[Document], mentions: list[tuple[int, str]]) -> None:
    """Remove rows whose token is mentioned after the last document that was read: the text there may correct them.

    If that text is an unreadable document, it may correct every row before it, including rows that it lost or did not
    reach.
    """
    last = {row.token: one.end for one in found for row in one.rows}
    corrected = _corrected(text, found, last, mentions)
    for token in [one for one in rows.found if last[one] <= corrected]:
        del rows.found[token]
        rows.problems[token] = DOUBTED
    for at, token in mentions:
        if token in rows.found and at >= last[token]:
            del rows.found[token]
            rows.problems[token] = BROKEN


def _corrected(
    text: str, found: Sequence[Document], last: Mapping[str, int], mentions: Sequence[tuple[int, str]]
) -> int:
    """The position of the last document that could not be read, as far as its tokens show; -1 if there is none."""
    from smelt.plan.documents import NEW_DOCUMENT

    corrected, places = -1, [at for at, _ in mentions]
    for number, one in enumerate(found):
        behind = found[number + 1].start if number + 1 < len(found) else len(text)
        unread = mentions[bisect_left(places, one.end) : bisect_left(places, behind)]
        if not unread:
            continue
        if NEW_DOCUMENT.search(text, one.end, unread[-1][0]):
            corrected = unread[-1][0]
        again = [at for at, token in unread if last.get(token, behind) <= at and _is_head(text, at)]
        corrected = max([corrected, *again])
    return corrected


def _is_head(text: str, at: int) -> bool:
    """Whether the token at this position is the id or key of a row, and not only mentioned in prose."""
    return _ID_BEFORE.search(text, max(0, at - _NEAR), at) is not None or _KEYED.match(text, at) is not None


def _answering(parts: Sequence[Spoken], mentions: Sequence[tuple[int, str]]) -> Spoken:
    """The last of *parts* that contains a token of the request; if none does, the last one."""
    places = [at for at, _ in mentions]
    bearing = (one for one in reversed(parts) if bisect_left(places, one.start) < bisect_left(places, one.end))
    return next(bearing, parts[-1])


def _is_start(text: str) -> bool:
    """Whether a text ends before the first row of the requested shape."""
    squeezed = "".join(text.split())
    return bool(squeezed) and '{"rows":['.startswith(squeezed)


def _is_bare(text: str, part: Spoken, found: list[Document]) -> bool:
    """Whether the part outside the reasoning is the JSON of one document and nothing else."""
    if len(found) != 1:
        return False
    before, behind = _BEFORE.match(text, part.start), found[0].end
    assert before is not None  # It also matches the empty string.
    return before.end() >= found[0].start and (found[0].is_row_cut or _BEHIND.fullmatch(text, behind) is not None)


def _answers(documents: list[Document]) -> tuple[list[Document], bool]:
    """The *documents* that do not only repeat the rows of the request, and whether such a repetition is between them.

    If it is, the model repeated its question or made up another one, so it is unknown which answer is meant. A
    repetition after the last answer is kept: it may be a correction that wraps its fields like the rows of the request.
    """
    answers = [at for at, one in enumerate(documents) if not all(_is_echo(row.value) for row in one.rows)]
    if not answers:
        return documents, False
    first, last = answers[0], answers[-1]
    is_asked_again = len(answers) < last - first + 1
    return [*(documents[at] for at in answers), *documents[last + 1 :]], is_asked_again


def _is_echo(value: Mapping[str, Any] | None) -> bool:
    return value is not None and "row" in value and _ECHO.issuperset(value)
