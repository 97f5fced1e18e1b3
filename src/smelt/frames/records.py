"""Adapter for a list of dicts: reads rows as canonical JSON, and returns new dicts with the answers."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from typing import Any

from smelt.frames.base import (
    NONE_DECLARED,
    OutputColumn,
    Reader,
    Rows,
    chosen,
    require_distinct,
    require_lengths,
    require_text,
)
from smelt.frames.mediacolumn import MediaColumn, has_media
from smelt.plan.cells import cell_text
from smelt.plan.kinds import Kind
from smelt.plan.mediacolumns import Declared
from smelt.plan.values import plain_all


class RecordsFrame:
    """A list of dicts. Keys may differ from row to row; a missing key is null.

    The list is copied as a snapshot; the dicts in it are not copied.
    """

    def __init__(self, native: Sequence[Mapping[Any, Any]]) -> None:
        self._native = native
        self._snapshot = tuple(native)
        keys: dict[Hashable, None] = {}
        for row in self._snapshot:
            keys.update(dict.fromkeys(row))
        names = list(map(str, keys))
        require_distinct(names)
        self._keys = dict(zip(names, keys, strict=True))

    @property
    def native(self) -> Sequence[Mapping[Any, Any]]:
        """The caller's own list."""
        return self._native

    @property
    def names(self) -> tuple[str, ...]:
        """All keys, in order of first appearance."""
        return tuple(self._keys)

    def know(self, other: RecordsFrame) -> None:
        """Add the keys of *other* as columns."""
        for name, key in other._keys.items():
            self._keys.setdefault(name, key)

    def __len__(self) -> int:
        return len(self._snapshot)

    def rows(self, columns: Sequence[str] | None = None, media: Mapping[str, Declared] = NONE_DECLARED) -> Rows:
        """The rows as JSON: the named keys, or all."""
        return Rows({name: self._reader(name, media.get(name)) for name in chosen(columns, self.names)}, len(self))

    def labels(self, positions: Sequence[int]) -> list[object]:
        """The positions: a list has no other labels."""
        return list(positions)

    def take(self, positions: Sequence[int]) -> list[dict[Any, Any]]:
        """New dicts of the rows at *positions*."""
        return [dict(self._snapshot[position]) for position in positions]

    def require(self, field: str, kind: Kind) -> None:
        """Accept every kind: a dict takes any value."""

    def attach(self, columns: Sequence[OutputColumn], dropped: Sequence[str] = ()) -> list[dict[Any, Any]]:
        """New dicts without the *dropped* keys and with *columns* appended."""
        require_lengths(columns, len(self))
        # In a stream the names were chosen for the first frame, which may have keys that these rows lack.
        gone = {self._keys[name] for name in dropped if name in self._keys}
        rows = [{key: value for key, value in row.items() if key not in gone} for row in self._snapshot]
        for column in columns:
            values = plain_all(column.kind, column.values) if column.kind else column.values
            for row, value in zip(rows, values, strict=True):
                row[column.name] = value
        return rows

    def _reader(self, name: str, declared: Declared | None) -> Reader:
        snapshot, key = self._snapshot, self._keys[name]
        if declared is not None or has_media(row.get(key) for row in snapshot):
            return MediaColumn(name, lambda position: snapshot[position].get(key), len(snapshot), declared)
        require_text(name, (row.get(key) for row in snapshot))
        return lambda positions: [cell_text(snapshot[position].get(key)) for position in positions]
