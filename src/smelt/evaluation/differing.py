"""Finds the rows that two results have in common, and their answers in a form that can be compared."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any
from unicodedata import normalize

from smelt.errors import SmeltConfigError
from smelt.frames.adapt import adapt
from smelt.frames.base import Frame
from smelt.messages import counted, shown_value

if TYPE_CHECKING:
    from smelt.result import ResultColumns, SmeltResult


@dataclass(frozen=True, kw_only=True)
class Pairs:
    """The rows of two results.

    Attributes:
        frames: The frame of each.
        places: For each row of the first, its position in both frames.
        columns: For each column of answers that both have, by its path: its name in both frames.
        lacking: The fields that only one of them has.
        added: The columns of the first frame that are not the caller's.
        answered: For each row, in the order of the first frame, whether each result answers it.
    """

    frames: tuple[Frame, Frame]
    places: Sequence[tuple[int, int]]
    columns: Mapping[str, tuple[str, str]]
    lacking: tuple[str, ...]
    added: frozenset[str]
    answered: tuple[Sequence[bool], Sequence[bool]]


def aligned(first: SmeltResult[Any], second: SmeltResult[Any]) -> Pairs:
    """The rows that *first* and *second* have in common: all, or it is an error.

    Raises:
        SmeltConfigError: They are not about the same rows, or have no field in common.
    """
    one, other = _columns_of(first), _columns_of(second)
    shared = {field: (column, other.answers[field]) for field, column in one.answers.items() if field in other.answers}
    lacking = [*(field for field in one.answers if field not in shared)]
    lacking += [field for field in other.answers if field not in shared]
    if not shared:
        raise SmeltConfigError(
            f"The results have no field in common: {', '.join(one.answers)}, and {', '.join(other.answers)}."
        )
    frames = adapt(first.frame), adapt(second.frame)
    places = _places(*frames)
    _require_equal(frames, places, _inputs(frames, one, other))
    failed = [{error.position for error in result.errors} for result in (first, second)]
    answered = tuple([row[at] not in failed[at] for row in places] for at in (0, 1))
    return Pairs(
        frames=frames,
        places=places,
        columns=shared,
        lacking=tuple(lacking),
        added=frozenset(one.added),
        answered=(answered[0], answered[1]),
    )


def cells_of(frame: Frame, column: str) -> list[Any]:
    """The cells of a column as JSON, in a form in which equal answers are equal."""
    texts = frame.rows([column]).texts(range(len(frame)))
    return [_plain(json.loads(text)[column]) if isinstance(text, str) else text for text in texts]


def parts_of(field: str, cells: Sequence[Any]) -> Iterator[tuple[str, Callable[[Sequence[Any]], list[Any]]]]:
    """The fields of a nested model in *cells*, with what reads them; *field* itself if it is none."""
    names = dict.fromkeys(name for cell in cells if isinstance(cell, dict) for name in cell)
    if not names:
        yield field, list
        return
    for name in names:
        read = partial(_inside, name=name)
        for path, part in parts_of(f"{field}.{name}", read(cells)):
            yield path, partial(_through, read, part)


def _inside(cells: Sequence[Any], name: str) -> list[Any]:
    return [cell.get(name) if isinstance(cell, dict) else None for cell in cells]


def _through(read: Callable[[Sequence[Any]], list[Any]], part: Callable[[Any], list[Any]], cells: Any) -> list[Any]:
    return part(read(cells))


def _columns_of(result: SmeltResult[Any]) -> ResultColumns:
    if result.columns is None:
        raise SmeltConfigError("Only results of smelt.run, on a whole frame, can be compared.")
    return result.columns


def _places(one: Frame, other: Frame) -> list[tuple[int, int]]:
    """The positions of each row in both frames: by label if all labels differ, else by position.

    Raises:
        SmeltConfigError: The frames do not have the same rows.
    """
    rows = range(len(one))
    if len(one) != len(other):
        raise SmeltConfigError(
            f"The results are about {len(one):,} and {counted(len(other), 'row')}. Only results about the same rows "
            "can be compared: run both on the same rows."
        )
    mine, theirs = one.labels(rows), other.labels(rows)
    if mine == theirs:
        return [(row, row) for row in rows]
    found = {label: row for row, label in enumerate(theirs)}
    if len(found) < len(theirs):
        raise SmeltConfigError(
            "The results have the same labels in another order, or other labels, and labels are there twice, so rows "
            "cannot be matched. Give the rows an index of their own before both runs."
        )
    if lost := [label for label in mine if label not in found]:
        raise SmeltConfigError(
            f"The results are about different rows: the second has no row with the label {shown_value(lost[0])}."
        )
    return [(row, found[label]) for row, label in zip(rows, mine, strict=True)]


def _inputs(frames: tuple[Frame, Frame], one: ResultColumns, other: ResultColumns) -> list[str]:
    """The columns that were sent in either run, and that both frames still have as the caller gave them."""
    added = {*one.added, *other.added}
    sent = dict.fromkeys([*one.sent, *other.sent])
    return [name for name in sent if name not in added and all(name in frame.names for frame in frames)]


def _require_equal(frames: tuple[Frame, Frame], places: Sequence[tuple[int, int]], names: Sequence[str]) -> None:
    for name in names:
        one, other = (cells_of(frame, name) for frame in frames)
        for mine, theirs in places:
            if one[mine] != other[theirs]:
                [label] = frames[0].labels([mine])
                raise SmeltConfigError(
                    f"The results are about different rows: row {shown_value(label)} does not have the same "
                    f"{shown_value(name)} in both."
                )


def _plain(value: Any) -> Any:
    match value:
        case str():
            return normalize("NFC", value).strip()
        case list():
            return [_plain(one) for one in value]
        case dict():
            return {name: _plain(one) for name, one in value.items()}
        case _:
            return value
