"""The functions of `frames.shaping` for Arrow tables and record batches. A function of the user gets one of these."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pyarrow as pa

from smelt.errors import ConfigTypeError
from smelt.frames.base import Frame, misfit


def view(frame: Frame, names: Mapping[str, str]) -> Any:
    """A table or batch with some columns only: new name to old name, in this order."""
    return frame.native.select(list(names.values())).rename_columns(list(names))


def computed(native: Any, value: Any, what: str) -> Any:
    """The column that *value* says: a function of the table or batch, or a constant."""
    found = value(native) if callable(value) else value
    if callable(value) and isinstance(found, bool):  # What == of two columns gives: Arrow compares them as a whole.
        raise ConfigTypeError(
            f"{what} gave {found} for all rows. Compare with pyarrow.compute, for example "
            'lambda table: pc.equal(table["kind"], "new").'
        )
    if isinstance(found, pa.Array | pa.ChunkedArray | list | tuple) or hasattr(found, "__array__"):
        column = found if isinstance(found, pa.Array | pa.ChunkedArray) else pa.array(found)
        if len(column) != native.num_rows:
            raise misfit(what, len(column), native.num_rows)
        return column
    return pa.array([found.as_py() if isinstance(found, pa.Scalar) else found] * native.num_rows)


def made(native: Any, values: list[Any], dtype: Any = None) -> Any:
    """A column of *values*, one for each row, of this *dtype* if one is given."""
    return pa.array(values, type=dtype)


def item_dtype(column: Any) -> Any:
    """The dtype of the items of a column of lists."""
    return getattr(column.type, "value_type", None) if pa.types.is_nested(column.type) else None


def list_dtype(column: Any) -> Any:
    """The dtype of lists of the values of a column."""
    return pa.list_(column.type)


def spread(column: Any, positions: Sequence[int], rows: int) -> Any:
    """The values of *column* at *positions* of a longer column; all others are null."""
    if len(positions) == rows:
        return column
    places: list[int | None] = [None] * rows
    for place, position in enumerate(positions):
        places[position] = place
    return column.take(pa.array(places, type=pa.int64()))


def with_column(native: Any, name: str, column: Any) -> Any:
    """*native* with *column*, which replaces one of the same name at its place."""
    column = column.combine_chunks() if isinstance(native, pa.RecordBatch) and hasattr(column, "chunks") else column
    if (at := native.schema.get_field_index(name)) >= 0:
        return native.set_column(at, name, column)
    return native.append_column(name, column)


def column(frame: Frame, name: str) -> Any:
    """The column *name*."""
    return frame.native.column(name)


def values(column: Any) -> list[Any]:
    """The Python values of a column; nulls are None."""
    found: list[Any] = column.to_pylist()
    return found


def renumbered(native: Any) -> Any:
    """*native*: there are no labels."""
    return native


def stacked(first: Any, second: Any) -> Any:
    """The rows of both; a column that one of them lacks is null there."""
    if not second.num_rows:
        return first
    whole = pa.concat_tables([_table(first), _table(second)], promote_options="permissive")
    return _batch(whole) if isinstance(first, pa.RecordBatch) else whole


def joined(natives: Sequence[Any]) -> Any:
    """The rows of pieces of one table or batch, one after the other."""
    whole = pa.concat_tables([_table(one) for one in natives], promote_options="permissive")
    return _batch(whole) if isinstance(natives[0], pa.RecordBatch) else whole


def labelled(native: Any, like: Any) -> Any:
    """*native*: there are no labels."""
    return native


def _table(native: Any) -> Any:
    return native if isinstance(native, pa.Table) else pa.Table.from_batches([native])


def _batch(table: Any) -> Any:
    """The rows of a table as one batch."""
    batches = table.combine_chunks().to_batches()
    return batches[0] if batches else pa.RecordBatch.from_pylist([], schema=table.schema)
