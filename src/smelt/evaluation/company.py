"""Which rows shared a request: by what a result remembers, and by what the ledger does."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import Any

from smelt.call.gauge import made_for
from smelt.call.outcome import value_of
from smelt.call.preparation import Preparation
from smelt.call.wiring import stored
from smelt.errors import SmeltConfigError
from smelt.evaluation.waves import compared_fields, keys_of
from smelt.frames.adapt import adapt
from smelt.result import SmeltResult

_SAME = ("prompt", "output model", "model", "params")  # What a result and the call of its audit have in common.


def check_result(call: Preparation, result: SmeltResult[Any]) -> None:
    """Raise SmeltConfigError if *result* is not that of *call*."""
    if not isinstance(result, SmeltResult):
        raise SmeltConfigError.for_type("result", result, "the result of smelt.run with the same arguments")
    if result.columns is None or len(result.company) != len(call.source):
        raise SmeltConfigError(
            "result is not about these rows: pass the frame that it was made of, and the result of smelt.run on it."
        )
    own = made_for(call)
    if other := [name for name in _SAME if result.columns.made_for.get(name) != own[name]]:
        raise SmeltConfigError(
            f"result was made with another {' and another '.join(other)}, so its answers cannot be compared with those "
            "of this call. Pass the arguments of that run."
        )
    frame = adapt(result.frame)
    sent = [name for name in call.source.names if name in frame.names]
    rows = range(len(frame))
    if len(sent) == len(call.source.names):
        pairs = zip(frame.rows(sent, call.settings.media).texts(rows), call.source.texts(rows), strict=True)
        if (strange := next((at for at, (one, other) in enumerate(pairs) if one != other), None)) is not None:
            raise SmeltConfigError(f"result is about other rows: the row at position {strange} has another text.")


def requests_of(call: Preparation, result: SmeltResult[Any]) -> dict[int, list[int]]:
    """The rows of each request that had several, by its number in *result*, or by its number in the ledger.

    The ledger may have other answers than *result* by now; the rows of these are left out.

    Raises:
        SmeltConfigError: There is no such request.
        StoreError: The ledger cannot be read.
    """
    company, data = result.company, result.data
    requests: dict[int, list[int]] = {}
    rows = [row for row in call.folded.distinct if data[row] is not None]
    for row in rows:
        if (number := company[row]) is not None:
            requests.setdefault(number, []).append(row)
    recalled = [row for row in rows if company[row] is None]
    known = _keys(call, [data[row] for row in recalled])
    for row, key, one in zip(recalled, known, _stored(call, recalled), strict=True):
        if one is not None and one[1] == key:
            requests.setdefault(one[0], []).append(row)
    found = {number: rows for number, rows in requests.items() if len(rows) > 1}
    if not found:
        raise SmeltConfigError(
            "No request answered two rows or more, so no row had company that could change its answer. The requests "
            "of answers that the ledger does not have, or has from another machine, are not known."
        )
    return found


def votes_of(call: Preparation) -> dict[int, list[tuple[int, Hashable]]]:
    """The votes for each distinct row that the ledger has: the number of the request, and the answer.

    Raises:
        SmeltConfigError: The ledger has no votes for these rows.
        StoreError: The ledger cannot be read.
    """
    rows = list(call.folded.distinct)
    votes: dict[int, list[tuple[int, Hashable]]] = {row: [] for row in rows}
    for number in range(call.settings.votes):
        found = _stored(call.of_round(number, rows, wire="keyed"), rows)
        for row, one in zip(rows, found, strict=True):
            if one is not None:
                votes[row].append(one)
        if not any(found):
            break  # No row was asked so often.
    if not any(len(ones) > 1 for ones in votes.values()):
        raise SmeltConfigError(
            "The ledger has no votes for these rows. An audit compares the votes that it kept: pass the arguments of "
            "the run, and its ledger=."
        )
    return votes


def _stored(call: Preparation, rows: Sequence[int]) -> list[tuple[int, Hashable] | None]:
    """What the ledger has for *rows*: the number of the request, and the answer in a form that can be compared."""
    found = stored(call, range(len(rows)) if call.round else rows) if rows else []
    data = [None if one is None else value_of(call.output, one[0]) for one in found]
    keys = _keys(call, data)
    return [None if one is None else (one[1], key) for one, key in zip(found, keys, strict=True)]


def _keys(call: Preparation, data: Sequence[Any]) -> list[Hashable]:
    return keys_of(compared_fields(call.output), data)
