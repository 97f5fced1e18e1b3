"""A reply's text back into rows, whatever is wrong with it. A row is taken only under a token that was sent.

A clean reply is one JSON document of the shape that was asked for, and is read at once. Every other one is searched for
documents that bear the request's tokens (`plan.documents`), and then:

- What stands inside of a marked thought is no answer, and neither is a thought without an end, nor the text before an end
  whose beginning is not marked (`plan.thoughts`). Marks of thoughts inside of a JSON value are data.
- If the model went on behind the end of its turn, what it made up there does not count (`plan.thoughts`).
- Of the parts between the thoughts the last one that bears a token of the request counts.
- The last document that answers every row of the request counts, and those before it are drafts.
- If the rows as they were sent stand between two documents, the second one is no correction of the first.
- If rows still differ between two documents, they are answered twice, so not at all. What the earlier of the two says
  about rows that no later document repeats is not taken either: it may be a draft whose correction left them out.
- An equal answer in two documents is one answer. Twice in one document it is none: an id may stand at the wrong row.
- If the reply was cut by the output limit, its rows count only if nothing but the JSON of one document stands in it:
  the end of the thought that the words around it belong to may have been cut off.
- If nobody says whether it was cut, its rows count only if its last document is whole and stands at the end, or if nothing
  but its JSON stands in it: what is cut off in a thought, behind a draft, ends in the middle of a sentence.
"""

from __future__ import annotations

import json
import re
from bisect import bisect_left
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from smelt.plan.kinds import ROW_ID
from smelt.plan.replyrows import DOUBTED, ReplyRows
from smelt.plan.rowsets import BROKEN, ROWS, Document, Row
from smelt.plan.scanner import flat, noting
from smelt.plan.wire import Codec

# `documents` and `thoughts` are loaded with the first reply that is not clean: to compile their patterns takes 15 ms of the
# time until the first request leaves.
if TYPE_CHECKING:
    from smelt.plan.thoughts import Spoken

_ECHO = frozenset({"row", "problem"})  # What stands beside the token of a row that is sent.
_BEFORE = re.compile(r"[\s`\"\ufeff]*(?:json)?\s*(?:[\[{]\s*(?:[\"'“]?\w+[\"'”]?\s*[:：]\s*)?)*", re.IGNORECASE)
_BEHIND = re.compile(r"[\s,\]}]*`{0,3}[\s,\]}]*(?:[\"'“]\w*[\"'”]?\s*:?\s*)?")
# What stands behind a document in a text that is whole: brackets, fences, marks of an end, and the last members of an object.
_END = re.compile(r"(?:[\s,\]})`~.;\"'”]|</?[\w:]{1,40}>|<\|\w{1,40}\|>|\"\w{1,40}\"\s{0,9}:\s{0,9}[\w.-]{1,40})*")
_ID_BEFORE = re.compile(r"id[\\\"'“”‘’\s]*[:：][\\\s]*$")
_KEYED = re.compile(r".\w+[\\\"'“”‘’]+\s*[:：]\s*\{")
_NEAR = 16  # Characters between a row's `id` and its token.
_CODES = re.compile(r"(?:\\u[0-9a-fA-F]{4})+")  # Of two together: an emoji is a pair.
_SHORT_ESCAPES = {'"': '"', "/": "/", "b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t"}


def read_reply(
    text: str, tokens: Sequence[str], codec: Codec, *, is_cut: bool = False, may_be_cut: bool = False
) -> ReplyRows:
    """Read the rows of a reply as far as they are complete.

    Args:
        text: The model's text.
        tokens: The tokens of the request.
        codec: The shape that was asked for.
        is_cut: Whether the provider said that the reply ends at the output limit.
        may_be_cut: Whether it may, because the provider did not say why it ends.
    """
    text = text.removeprefix("\ufeff")
    known = frozenset(tokens)
    rows = _clean(text, known, codec)
    if rows is not None and (rows.found or rows.problems or not _has_token(text, known)):
        return rows
    rows = _searched(text, known, is_cut=is_cut, may_be_cut=may_be_cut)
    rows.is_whole = _is_asked_shape(text, codec)  # A key in it twice is a row's fault, not the server's.
    return rows


def _is_asked_shape(text: str, codec: Codec) -> bool:
    try:
        reply, end = noting([])(text, len(text) - len(text.lstrip()))
    except (json.JSONDecodeError, RecursionError):
        return False
    if not isinstance(reply, dict) or text[end:].strip():
        return False
    return codec == "keyed" or (len(reply) == 1 and isinstance(reply.get(ROWS), list))


def _clean(text: str, tokens: frozenset[str], codec: Codec) -> ReplyRows | None:
    """The rows of a reply that is one document of the shape that was asked for; None of any other."""
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
    """The rows of a reply that shows without a look at every pair that no key is in it twice; None of any other.

    Every key has a colon behind it, so where there are no more colons than keys were kept, none was dropped.
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
    """The object that the text is from *start* to its end, if no key is in it twice."""
    faults: list[str] = []
    try:
        reply, end = noting(faults)(text, start)
    except (json.JSONDecodeError, RecursionError):
        return None
    return None if faults or text[end:].strip() else reply


def _filed(values: list[Any], tokens: frozenset[str]) -> ReplyRows:
    """The rows of a clean reply, where they belong."""
    found = [value.pop(ROW_ID, None) if isinstance(value, dict) else None for value in values]
    if set(map(type, found)) == {str} and tokens.issuperset(found) and len(set(found)) == len(found):
        return ReplyRows(found=dict(zip(found, values, strict=True)), is_whole=True)  # type: ignore[arg-type]  # All are.
    pairs = list(zip(found, values, strict=True))
    return _entered(pairs, tokens)


def _filed_keyed(reply: dict[str, Any], tokens: frozenset[str]) -> ReplyRows:
    if tokens.issuperset(reply) and set(map(type, reply.values())) == {dict}:
        return ReplyRows(found=reply, is_whole=True)
    return _entered(reply.items(), tokens)


def _entered(pairs: Iterable[tuple[object, Any]], tokens: frozenset[str]) -> ReplyRows:
    """The rows of a clean reply with strangers or doubles in it."""
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


def _searched(text: str, tokens: frozenset[str], *, is_cut: bool, may_be_cut: bool, is_over: bool = False) -> ReplyRows:
    """The rows of a reply that is not clean; one that *is_over*, as a mark of its end shows, is broken where it has no end."""
    from smelt.plan.documents import find_documents
    from smelt.plan.thoughts import Spoken, spoken, turn_end

    documents = find_documents(text, tokens)
    for _ in range(2):  # JSON as a string of JSON, without the quotes around it, or cut, or broken.
        if documents.found or '\\"' not in text:
            break
        text = _unescaped(text)
        documents = find_documents(text, tokens)
    end = turn_end(text, [(one.start, one.end) for one in documents.found], documents.data)
    if end is not None:  # Whether what the model made up behind it was cut does not matter.
        turn = _searched(text[:end], tokens, is_cut=False, may_be_cut=False, is_over=True)
        if turn.found or turn.problems:  # Else all that it holds is thoughts.
            return turn
    parts = spoken(text, documents.data) if documents.mentions else [Spoken(0, len(text))]
    part = _answering(parts, documents.mentions)
    found = [one for one in documents.found if part.start <= one.start < part.end]
    unended = [at for at in documents.unended if part.start <= at < part.end]
    is_open = may_be_cut and bool(found) and (bool(unended) or not _END.fullmatch(text, found[-1].end, part.end))
    if (is_cut or may_be_cut) and part.end < parts[-1].start and not _END.fullmatch(text, *parts[-1]):
        is_open, found = True, []  # Behind a thought about them, other answers may have begun.
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
    """*text* without its escapes, each of which is taken for what JSON means by it."""
    backslash = next(mark for mark in map(chr, range(0xE000, 0xF900)) if mark not in text)  # Meant as one.
    text = text.replace("\\\\", backslash)
    for mark, meant in _SHORT_ESCAPES.items():
        text = text.replace(f"\\{mark}", meant)
    return _CODES.sub(lambda found: str(json.loads(f'"{found[0]}"')), text).replace(backslash, "\\")


def _drop_unconfirmed(text: str, rows: ReplyRows, found: list[Document], mentions: list[tuple[int, str]]) -> None:
    """Take out the rows whose token stands behind the last document that was read: what is said there may correct it.

    Where that is a document of its own it may correct every row before it, also those that it lost or does not come to.
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
    """The last place where a document begins that could not be read, as far as its tokens show it; -1 without one."""
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
    """Whether the token that is mentioned at this place names a row, rather than being spoken of."""
    return _ID_BEFORE.search(text, max(0, at - _NEAR), at) is not None or _KEYED.match(text, at) is not None


def _answering(parts: Sequence[Spoken], mentions: Sequence[tuple[int, str]]) -> Spoken:
    """The last of *parts* in which a token of the request stands; without one, the last."""
    places = [at for at, _ in mentions]
    bearing = (one for one in reversed(parts) if bisect_left(places, one.start) < bisect_left(places, one.end))
    return next(bearing, parts[-1])


def _is_start(text: str) -> bool:
    """Whether a text ends before the first row of the shape that is asked for."""
    squeezed = "".join(text.split())
    return bool(squeezed) and '{"rows":['.startswith(squeezed)


def _is_bare(text: str, part: Spoken, found: list[Document]) -> bool:
    """Whether the spoken part of a text is JSON of one document and nothing else."""
    if len(found) != 1:
        return False
    before, behind = _BEFORE.match(text, part.start), found[0].end
    assert before is not None  # It matches nothing, too.
    return before.end() >= found[0].start and (found[0].is_row_cut or _BEHIND.fullmatch(text, behind) is not None)


def _answers(documents: list[Document]) -> tuple[list[Document], bool]:
    """Those of *documents* that do not only repeat the rows as they were sent; and whether rows stand between two of them.

    If they do, the model looked at its question again, or made up another one: which answer is meant, nobody knows. A
    repetition behind the last answer may be a correction that wraps its fields as the rows are, so it is kept.
    """
    answers = [at for at, one in enumerate(documents) if not all(_is_echo(row.value) for row in one.rows)]
    if not answers:
        return documents, False
    first, last = answers[0], answers[-1]
    is_asked_again = len(answers) < last - first + 1
    return [*(documents[at] for at in answers), *documents[last + 1 :]], is_asked_again


def _is_echo(value: Mapping[str, Any] | None) -> bool:
    return value is not None and "row" in value and _ECHO.issuperset(value)
