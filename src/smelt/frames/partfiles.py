"""Writes a native frame as a Parquet file. The frame itself writes, so that no library is imported for it."""

from __future__ import annotations

from typing import IO, Any

from smelt.frames.adapt import kind_of
from smelt.frames.dtypes import load_arrow


def check_parquet(native: Any) -> None:
    """Check that such a frame can be written.

    Raises:
        MissingDependencyError: pyarrow is not installed. Polars does not need it.
    """
    if kind_of(native) != "polars.DataFrame":
        load_arrow()


def write_parquet(native: Any, file: IO[bytes]) -> None:
    """Write a frame; the labels of a pandas frame are left out."""
    kind = kind_of(native)
    if kind == "polars.DataFrame":
        native.write_parquet(file)
        return
    arrow = load_arrow()
    from pyarrow.parquet import write_table

    if kind == "pandas.DataFrame":
        # Without pandas' own notes, which name dtypes that pandas itself cannot read back (lists of structs).
        table = arrow.Table.from_pandas(native, preserve_index=False).replace_schema_metadata(None)
    else:
        names = list(dict.fromkeys(str(name) for row in native for name in row))
        table = arrow.table({name: [row.get(name) for row in native] for name in names})
    write_table(table, file)
