"""Adapter for pandas: reads rows as canonical JSON and attaches typed columns, by position and never by label."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from datetime import date, datetime
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from smelt.errors import ColumnError, MissingDependencyError
from smelt.frames.base import (
    NONE_DECLARED,
    OutputColumn,
    Reader,
    Rows,
    chosen,
    no_text,
    require_distinct,
    require_lengths,
    require_text,
)
from smelt.frames.dtypes import load_arrow, pandas_dtype
from smelt.frames.mediacolumn import MediaColumn, has_media
from smelt.plan import cells
from smelt.plan.kinds import Boolean, Choice, Duration, Float, Integer, Kind, Text, Timestamp
from smelt.plan.mediacolumns import Declared
from smelt.plan.values import plain_all

if TYPE_CHECKING:
    import pyarrow as pa

_NAT = np.iinfo(np.int64).min  # How numpy stores NaT.


class PandasFrame:
    """A pandas DataFrame.

    The snapshot is a shallow copy: copy-on-write keeps it unchanged if the caller's frame changes.
    """

    def __init__(self, native: pd.DataFrame) -> None:
        if isinstance(native.columns, pd.MultiIndex):
            raise ColumnError(
                "The columns are a MultiIndex. Flatten them first, for example with "
                "df.columns = ['_'.join(map(str, label)) for label in df.columns]."
            )
        self._native = native
        self._snapshot = native.copy(deep=False)
        self._names = tuple(map(str, native.columns))
        require_distinct(self._names)

    @property
    def native(self) -> pd.DataFrame:
        """The caller's own frame."""
        return self._native

    @property
    def names(self) -> tuple[str, ...]:
        """All columns, as strings."""
        return self._names

    def __len__(self) -> int:
        return len(self._snapshot)

    def rows(self, columns: Sequence[str] | None = None, media: Mapping[str, Declared] = NONE_DECLARED) -> Rows:
        """The rows as JSON: the named columns, or all."""
        places = {name: place for place, name in enumerate(self._names)}
        readers = {
            name: _reader(name, self._snapshot.iloc[:, places[name]], media.get(name))
            for name in chosen(columns, self._names)
        }
        return Rows(readers, len(self), prepare=lambda positions: np.asarray(positions, dtype=np.intp))

    def labels(self, positions: Sequence[int]) -> list[object]:
        """The index labels at *positions*; tuples for a MultiIndex."""
        return list(self._snapshot.index.take(np.asarray(positions, dtype=np.intp)))

    def take(self, positions: Sequence[int]) -> pd.DataFrame:
        """The rows at *positions*, with their index labels."""
        return self._snapshot.iloc[list(positions)]

    def require(self, field: str, kind: Kind) -> None:
        """Refuse a *field* whose kind needs pyarrow, if pyarrow is not installed."""
        try:
            pandas_dtype(kind)
        except MissingDependencyError:
            raise MissingDependencyError.for_field(field) from None

    def attach(self, columns: Sequence[OutputColumn], dropped: Sequence[str] = ()) -> pd.DataFrame:
        """The frame without the *dropped* columns and with *columns* appended."""
        require_lengths(columns, len(self))
        gone = set(dropped)
        kept = [place for place, name in enumerate(self._names) if name not in gone]
        old = self._snapshot.iloc[:, kept] if gone else self._snapshot
        arrays = {column.name: _array(column.kind or Text(), column.values) for column in columns}
        new = pd.DataFrame(arrays, index=old.index, copy=False)
        new.columns.name = old.columns.name
        new.attrs = old.attrs  # concat keeps attrs that are equal in all its frames.
        # Both frames share one index object, so concat does not align: rows stay in place for any labels, even
        # duplicates.
        return pd.concat([old, new], axis=1)


def _reader(name: str, column: pd.Series[Any], declared: Declared | None = None) -> Reader:
    """A reader for *column*; raises `ColumnError` if its type has no text form.

    Readers keep the Series, not only its values: copy-on-write protects the values only while the Series is alive.
    """
    dtype = column.dtype
    if declared is not None or (_may_have_media(dtype) and _has_media(column)):
        return MediaColumn(name, lambda position: column.iloc[position], len(column), declared)
    if isinstance(dtype, pd.CategoricalDtype):
        return _categories_reader(_reader(name, pd.Series(dtype.categories)), column)
    if isinstance(dtype, pd.ArrowDtype):
        if problem := _arrow_problem(dtype.pyarrow_dtype):
            raise no_text(name, problem)
        column = _in_plain_types(column)
    elif dtype.kind in "biufmM" and dtype != np.longdouble:
        if isinstance(dtype, np.dtype):
            return lambda block: _numpy_texts(column.to_numpy().take(block))
    elif not isinstance(dtype, pd.StringDtype):
        require_text(name, column.array)
    return lambda block: _array_texts(column.array.take(block))


def _may_have_media(dtype: Any) -> bool:
    if isinstance(dtype, pd.CategoricalDtype):
        return _may_have_media(dtype.categories.dtype)
    if not isinstance(dtype, pd.ArrowDtype):
        return isinstance(dtype, np.dtype) and dtype.kind == "O"
    arrow, is_ = dtype.pyarrow_dtype, load_arrow().types
    if isinstance(arrow, load_arrow().BaseExtensionType):  # Those of Hugging Face's datasets store structs.
        arrow = arrow.storage_type
    if is_.is_dictionary(arrow):
        arrow = arrow.value_type
    return _is_binary(arrow) or (
        is_.is_struct(arrow)
        and {field.name for field in arrow} <= {"bytes", "path"}
        and any(field.name == "bytes" and _is_binary(field.type) for field in arrow)
    )


def _has_media(column: pd.Series[Any]) -> bool:
    """Whether *column* holds media. A binary one of nulls may, in a later frame of a stream."""
    if isinstance(column.dtype, pd.CategoricalDtype):
        return has_media(column.dtype.categories)
    is_binary = isinstance(column.dtype, pd.ArrowDtype)
    return has_media(column.array) or (is_binary and not column.notna().any())


def _categories_reader(categories: Reader, column: pd.Series[Any]) -> Reader:
    def read(block: Any) -> list[str]:
        codes = column.array.codes.take(block)
        texts = iter(categories(codes[codes >= 0]))
        return [next(texts) if code >= 0 else cells.NULL for code in codes.tolist()]

    return read


def _array_texts(block: Any) -> list[str]:
    dtype = block.dtype
    if isinstance(dtype, pd.ArrowDtype):
        return _arrow_texts(block.__arrow_array__())
    if isinstance(dtype, pd.StringDtype):
        return cells.string_texts(block.to_numpy(dtype=object, na_value=None))
    if isinstance(dtype, pd.DatetimeTZDtype):
        return cells.instant_texts(*_ticks(block.to_numpy(dtype=f"M8[{dtype.unit}]")), dtype.tz)
    if isinstance(dtype, pd.SparseDtype):
        return _numpy_texts(np.asarray(block))
    if dtype.kind == "f":
        return _numpy_texts(block.to_numpy(dtype=dtype.numpy_dtype, na_value=np.nan))
    values = block.to_numpy(dtype=object, na_value=None).tolist()
    match dtype.kind:
        case "i" | "u":
            return cells.integer_texts(values)
        case "b":
            return cells.boolean_texts(values)
        case _:
            return list(map(cells.cell_text, values))


def _numpy_texts(block: np.ndarray[Any, Any]) -> list[str]:
    match block.dtype.kind:
        case "i" | "u":
            return cells.integer_texts(block.tolist())
        case "f" if block.dtype.itemsize < 8:
            # NumPy prints the fewest digits that read back as the same float; 16-bit floats are printed as 32-bit.
            return cells.float_texts(map(float, block.astype(np.float32).astype(str)))
        case "f":
            return cells.float_texts(block.tolist())
        case "b":
            return cells.boolean_texts(block.tolist())
        case "M":
            return cells.instant_texts(*_ticks(block), None)
        case "m":
            return cells.duration_texts(*_ticks(block))
        case _:
            return list(map(cells.cell_text, block.tolist()))


def _ticks(block: np.ndarray[Any, Any]) -> tuple[list[int | None], Any]:
    unit, _ = np.datetime_data(block.dtype)
    ticks = block.astype(np.int64).tolist()
    return [None if tick == _NAT else tick for tick in ticks], unit


def _arrow_problem(arrow: pa.DataType) -> str | None:
    import pyarrow.types as is_

    if isinstance(arrow, load_arrow().BaseExtensionType):
        return None
    if _is_binary(arrow):
        return "binary values"
    inner = [arrow.field(place).type for place in range(arrow.num_fields)]
    if is_.is_dictionary(arrow) or is_.is_run_end_encoded(arrow):
        inner = [arrow.value_type]
    return next(filter(None, map(_arrow_problem, inner)), None)


def _is_binary(arrow: pa.DataType) -> bool:
    import pyarrow.types as is_

    binary = (is_.is_binary, is_.is_large_binary, is_.is_fixed_size_binary, is_.is_binary_view)
    return any(matches(arrow) for matches in binary)


def _in_plain_types(column: pd.Series[Any]) -> pd.Series[Any]:
    """An Arrow column converted from types that pyarrow cannot `take`, or that Polars maps to another type."""
    pa, dtype = load_arrow(), column.dtype
    assert isinstance(dtype, pd.ArrowDtype)
    arrow = dtype.pyarrow_dtype
    if (wanted := _plain_type(arrow)) == arrow:
        return column
    array = _converted(column.array.__arrow_array__(), wanted)
    return pd.Series(pd.arrays.ArrowExtensionArray(pa.chunked_array(array)))


def _converted(array: Any, wanted: pa.DataType) -> Any:
    pa = load_arrow()
    if "list_view" not in str(array.type):  # For list views, pyarrow's cast loses the items after a null.
        with suppress(pa.ArrowNotImplementedError, pa.ArrowInvalid):
            return array.cast(wanted)
    return pa.array(_with_times(array.to_pylist()), type=wanted)


def _with_times(value: Any) -> Any:
    """*value* with dates as datetimes at midnight: pyarrow converts a datetime to both types, a date to dates only."""
    if type(value) is date:
        return datetime(value.year, value.month, value.day)  # noqa: DTZ001  # A date has no time zone.
    if isinstance(value, list):
        return [_with_times(one) for one in value]
    if isinstance(value, tuple):
        return tuple(_with_times(one) for one in value)
    return {name: _with_times(one) for name, one in value.items()} if isinstance(value, dict) else value


def _plain_type(arrow: pa.DataType) -> pa.DataType:
    import pyarrow.types as is_

    pa = load_arrow()
    if is_.is_string_view(arrow):
        return pa.large_string()
    if is_.is_date64(arrow):
        return pa.timestamp("ms")  # As in Polars, which does not distinguish the two.
    if is_.is_run_end_encoded(arrow):
        return _plain_type(arrow.value_type)
    if is_.is_dictionary(arrow):
        inner = _plain_type(arrow.value_type)
        return arrow if inner == arrow.value_type else inner
    if is_.is_map(arrow):
        return _retyped(arrow, pa.map_, arrow.key_type, arrow.item_type)
    if is_.is_struct(arrow):
        names = [field.name for field in arrow]
        make = lambda *types: pa.struct(list(zip(names, types, strict=True)))  # noqa: E731  # One of five alike.
        return _retyped(arrow, make, *(field.type for field in arrow))
    if is_.is_fixed_size_list(arrow):
        return _retyped(arrow, lambda item: pa.list_(item, arrow.list_size), arrow.value_type)
    if is_.is_list(arrow):
        return _retyped(arrow, pa.list_, arrow.value_type)
    if is_.is_large_list(arrow):
        return _retyped(arrow, pa.large_list, arrow.value_type)
    if is_.is_list_view(arrow) or is_.is_large_list_view(arrow):
        return pa.large_list(_plain_type(arrow.value_type))
    return arrow


def _retyped(arrow: pa.DataType, make: Any, *inner: pa.DataType) -> pa.DataType:
    """*arrow* itself if its *inner* types are plain, else the type that *make* builds from their plain types."""
    plain = [_plain_type(one) for one in inner]
    return arrow if plain == list(inner) else make(*plain)


def _arrow_texts(block: Any) -> list[str]:
    """Serialise an Arrow array, children first, so that values inside lists and structs keep their exact type."""
    import pyarrow.types as is_

    pa = load_arrow()
    if isinstance(block, pa.ChunkedArray):
        block = block.combine_chunks()
    kind = block.type
    if is_.is_dictionary(kind):
        return _arrow_texts(block.dictionary_decode())
    if is_.is_string(kind) or is_.is_large_string(kind):
        return cells.string_texts(block.to_pylist())
    if is_.is_integer(kind):
        return cells.integer_texts(block.to_pylist())
    if is_.is_floating(kind):
        return _numpy_texts(block.to_numpy(zero_copy_only=False))  # Null and NaN become one here, and are one text.
    if is_.is_timestamp(kind):
        zone = pd.DatetimeTZDtype(kind.unit, kind.tz).tz if kind.tz else None
        return cells.instant_texts(_integers(block), kind.unit, zone)
    if is_.is_time(kind):
        return cells.clock_texts(_integers(block), kind.unit)
    if is_.is_duration(kind):
        return cells.duration_texts(_integers(block), kind.unit)
    if is_.is_list(kind) or is_.is_large_list(kind) or is_.is_fixed_size_list(kind):
        return cells.list_texts(_lengths(block), _arrow_texts(block.flatten()))
    if is_.is_map(kind):
        return [cells.cell_text(_as_objects(kind, pairs)) for pairs in block.to_pylist()]
    if is_.is_struct(kind):
        names = [field.name for field in kind]
        texts = cells.object_texts(names, list(map(_arrow_texts, block.flatten())), len(block))
        return cells.struct_texts(texts, block.is_valid().to_pylist())
    return list(map(cells.cell_text, block.to_pylist()))


def _as_objects(kind: pa.DataType, value: Any) -> Any:
    """A Python value of *kind* with maps as dicts, as in Polars, instead of lists of pairs."""
    import pyarrow.types as is_

    if value is None:
        return None
    if is_.is_map(kind):
        return {key: _as_objects(kind.item_type, item) for key, item in value}
    if is_.is_struct(kind):
        return {field.name: _as_objects(field.type, value[field.name]) for field in kind}
    if isinstance(value, list):
        return [_as_objects(kind.value_type, item) for item in value]
    return value


def _integers(block: Any) -> list[int | None]:
    pa = load_arrow()
    width = pa.int32() if block.type.bit_width == 32 else pa.int64()
    integers: list[int | None] = block.cast(width).to_pylist()
    return integers


def _lengths(block: Any) -> list[int | None]:
    import pyarrow.compute as pc

    lengths: list[int | None] = pc.list_value_length(block).to_pylist()
    return lengths


def _array(kind: Kind, values: Sequence[Any]) -> Any:
    """A pandas array of *values*, without loss of precision."""
    plain = plain_all(kind, values)
    dtype = pandas_dtype(kind)
    match kind:
        case Integer() | Float() | Boolean():
            # Not pd.array: it would turn the NaN of a Float into a missing value.
            absent = np.fromiter((value is None for value in plain), dtype=bool, count=len(plain))
            filled = (0 if value is None else value for value in plain)
            numbers = np.fromiter(filled, dtype=dtype.numpy_dtype, count=len(plain))
            return dtype.construct_array_type()(numbers, absent)
        case Choice(values=options):
            codes = {option: code for code, option in enumerate(options)} | {None: -1}
            return pd.Categorical.from_codes([codes[value] for value in plain], dtype=dtype)
        case Timestamp(aware=True):
            naive = [value and value.replace(tzinfo=None) for value in plain]
            return pd.DatetimeIndex(np.array(naive, dtype="M8[us]")).tz_localize("UTC").array
        case Timestamp():
            return pd.array(np.array(plain, dtype="M8[us]"))
        case Duration():
            return pd.array(np.array(plain, dtype="m8[us]"))
        case Text():
            return pd.array(plain, dtype=dtype)
        case _:
            return pd.arrays.ArrowExtensionArray(load_arrow().array(plain, type=dtype.pyarrow_dtype))
