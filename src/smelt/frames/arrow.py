"""Adapter for Arrow tables and record batches; rows are read with the installed frame library."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from typing import Any

import pyarrow as pa

from smelt.errors import MissingDependencyError
from smelt.frames.base import NONE_DECLARED, Frame, OutputColumn, Rows, require_distinct, require_lengths
from smelt.frames.dtypes import arrow_type
from smelt.plan.kinds import Choice, Kind, Text
from smelt.plan.mediacolumns import Declared
from smelt.plan.values import plain_all


class ArrowFrame:
    """An Arrow table or record batch. It is immutable, so it needs no copy as a snapshot."""

    def __init__(self, native: pa.Table | pa.RecordBatch) -> None:
        self._native = native
        require_distinct(native.schema.names)

    @property
    def native(self) -> Any:
        """The caller's own table or batch."""
        return self._native

    @property
    def names(self) -> tuple[str, ...]:
        """All columns."""
        return tuple(self._native.schema.names)

    def __len__(self) -> int:
        return int(self._native.num_rows)

    def rows(self, columns: Sequence[str] | None = None, media: Mapping[str, Declared] = NONE_DECLARED) -> Rows:
        """The rows as JSON: the named columns, or all."""
        return _readable(self._native).rows(columns, media)

    def labels(self, positions: Sequence[int]) -> list[object]:
        """The positions: Arrow has no index."""
        return list(positions)

    def take(self, positions: Sequence[int]) -> Any:
        """The rows at *positions*."""
        return self._native.take(pa.array(positions, type=pa.int64()))

    def require(self, field: str, kind: Kind) -> None:
        """Accept every kind: Arrow has a type for each."""

    def attach(self, columns: Sequence[OutputColumn], dropped: Sequence[str] = ()) -> Any:
        """A copy without the *dropped* columns and with *columns* appended."""
        require_lengths(columns, len(self))
        kept = [name for name in self.names if name not in dropped]
        old = self._native.select(kept)
        new = [_array(column) for column in columns]
        fields = [*old.schema, *(pa.field(column.name, one.type) for column, one in zip(columns, new, strict=True))]
        schema = pa.schema(fields, metadata=old.schema.metadata)
        return type(self._native).from_arrays([*old.columns, *new], schema=schema)


def _readable(native: Any) -> Frame:
    """The data as a pandas or Polars frame, with Arrow types unchanged."""
    table = native if isinstance(native, pa.Table) else pa.Table.from_batches([native])
    if find_spec("pandas") is not None:
        import pandas as pd

        from smelt.frames.pandas import PandasFrame

        return PandasFrame(table.to_pandas(types_mapper=pd.ArrowDtype, ignore_metadata=True))
    if find_spec("polars") is not None:
        import polars as pl

        from smelt.frames.polars import PolarsFrame

        return PolarsFrame(pl.DataFrame(table))
    raise MissingDependencyError.for_extra("pandas", "pandas")


def _array(column: OutputColumn) -> Any:
    """An Arrow array. A choice becomes a dictionary array of all options in declared order, the same in every batch."""
    kind = column.kind or Text()
    if isinstance(kind, Choice):
        codes = {option: code for code, option in enumerate(kind.values)} | {None: None}
        places = pa.array([codes[value] for value in plain_all(kind, column.values)], type=pa.int32())
        return pa.DictionaryArray.from_arrays(places, pa.array(kind.values, type=pa.string()))
    return pa.array(plain_all(kind, column.values), type=arrow_type(kind))
