"""Every type of Arrow is sent as documented, in one text for both libraries, or refused before the first request."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.compute as pc
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from smelt.errors import ColumnTypeError
from smelt.frames.adapt import adapt

# What Polars cannot hold at all, so there is nothing to be the same as.
PANDAS_ONLY = ("list_view", "run_end_encoded", "decimal256", "month_day_nano", "union", "decimal32", "decimal64")

LEAVES: list[tuple[pa.DataType, Any]] = [
    *((make(), 1) for make in (pa.int8, pa.int16, pa.int32, pa.int64, pa.uint8, pa.uint16, pa.uint32, pa.uint64)),
    (pa.float16(), np.float16(0.5)), (pa.float32(), 0.1), (pa.float64(), 0.1), (pa.bool_(), True), (pa.null(), None),
    (pa.string(), "a"), (pa.large_string(), "a"), (pa.string_view(), "a"), (pa.date32(), date(2026, 1, 2)),
    (pa.date64(), date(2026, 1, 2)),
    *((pa.timestamp(unit), datetime(2026, 1, 2, 3)) for unit in ("s", "ms", "us", "ns")),
    *((pa.timestamp(unit, "Europe/Berlin"), datetime(2026, 1, 2, 3)) for unit in ("s", "ms", "us", "ns")),
    *((pa.duration(unit), timedelta(1, 2)) for unit in ("s", "ms", "us", "ns")),
    (pa.time32("s"), time(1, 2, 3)), (pa.time32("ms"), time(1, 2, 3)), (pa.time64("us"), time(1, 2, 3)),
    (pa.time64("ns"), time(1, 2, 3)),
    (pa.decimal32(9, 2), Decimal("1.50")), (pa.decimal64(18, 2), Decimal("1.50")),
    (pa.decimal128(38, 2), Decimal("1.50")),
    (pa.decimal256(60, 2), Decimal("1.50")), (pa.month_day_nano_interval(), (1, 2, 3)),
    (pa.dictionary(pa.int32(), pa.string()), "a"), (pa.dictionary(pa.int8(), pa.int64()), 5),
]  # fmt: skip
BINARY = [(pa.binary(), b"a"), (pa.large_binary(), b"a"), (pa.binary_view(), b"a"), (pa.binary(1), b"a")]


def nested(inner: tuple[pa.DataType, Any]) -> st.SearchStrategy[tuple[pa.DataType, Any]]:
    kind, value = inner
    return st.sampled_from([
        (pa.list_(kind), [value, None]), (pa.large_list(kind), [value]), (pa.list_(kind, 2), [value, None]),
        (pa.list_view(kind), [value]),
        (pa.large_list_view(kind), []), (pa.struct([("f", kind), ("g", pa.string_view())]), {"f": value, "g": "b"}),
        (pa.map_(pa.string(), kind), [("k", value)]), (pa.map_(pa.string_view(), kind), [("k", value)]),
    ])  # fmt: skip


def array(kind: pa.DataType, values: list[Any]) -> pa.Array:
    try:
        return pa.array(values, type=kind)
    except (pa.ArrowNotImplementedError, pa.ArrowInvalid, TypeError, ValueError):
        pytest.skip(f"pyarrow cannot make {kind}")


def texts(frame: Any) -> list[Any]:
    return adapt(frame).rows().texts([1, 0, 2])


def in_pandas(values: pa.Array) -> Any:
    return pd.DataFrame({"x": pd.arrays.ArrowExtensionArray(pa.chunked_array([values]))})


def assert_one_text(kind: pa.DataType, values: pa.Array) -> None:
    found = texts(in_pandas(values))
    assert all(isinstance(text, str) for text in found)
    if not any(name in str(kind) for name in PANDAS_ONLY):
        assert found == texts(pl.DataFrame({"x": pl.from_arrow(values)}))


@pytest.mark.parametrize(("kind", "value"), LEAVES, ids=[str(kind) for kind, _ in LEAVES])
def test_a_type_has_one_text(kind: pa.DataType, value: Any) -> None:
    assert_one_text(kind, array(kind, [value, None, value]))


# A dictionary inside a list or a map cannot be made by `pa.array`.
@given(st.sampled_from(LEAVES[:-2]).flatmap(nested) | st.sampled_from(LEAVES[:-2]).flatmap(nested).flatmap(nested))
@example((pa.list_view(pa.list_view(pa.date64())), [[date(2026, 1, 2)]]))
def test_a_type_inside_others_has_one_text(made: tuple[pa.DataType, Any]) -> None:
    kind, value = made
    try:
        values = pa.array([value, None, value], type=kind)
    except (pa.ArrowNotImplementedError, pa.ArrowInvalid, TypeError, ValueError):
        return  # Not every type can be made of Python objects.
    assert_one_text(kind, values)


CODED: dict[str, Callable[[], pa.Array]] = {
    "dictionary of views": lambda: pa.DictionaryArray.from_arrays(pa.array([0, None, 0]),
        pa.array(["a"], pa.string_view())),
    "runs": lambda: pc.run_end_encode(pa.array(["a", None, "a"])),
    "runs of views": lambda: pa.RunEndEncodedArray.from_arrays(pa.array([1, 2, 3], pa.int32()),
        pa.array(["a", None, "a"], pa.string_view())),
    "runs in a struct": lambda: pa.StructArray.from_arrays([pc.run_end_encode(pa.array(["a", None, "a"]))],
        names=["f"]),
    "dictionary in a list": lambda: pa.ListArray.from_arrays(pa.array([0, 1, 2, 3], pa.int32()),
        pa.array(["a", None, "a"]).dictionary_encode()),
    "dictionary of views in a list": lambda: pa.ListArray.from_arrays(pa.array([0, 1, 2, 3], pa.int32()),
        CODED["dictionary of views"]()),
}  # fmt: skip


@pytest.mark.parametrize("make", CODED.values(), ids=CODED.keys())
def test_a_coded_column_is_sent_as_its_values(make: Callable[[], pa.Array]) -> None:
    found = texts(in_pandas(make()))

    assert [text.count('"a"') for text in found] == [0, 1, 1]


@pytest.mark.parametrize(("kind", "value"), BINARY, ids=[str(kind) for kind, _ in BINARY])
@pytest.mark.parametrize(
    "wrap", [lambda kind: kind, pa.list_, lambda kind: pa.struct([("f", kind)])], ids=["", "list", "struct"]
)
def test_binary_values_are_refused_in_the_same_words(kind: pa.DataType, value: Any, wrap: Any) -> None:
    whole = wrap(kind)
    made = [value] if pa.types.is_list(whole) else {"f": value} if pa.types.is_struct(whole) else value
    values = pa.array([made, None, made], type=whole)

    said = []
    for frame in (in_pandas(values), pl.DataFrame({"x": pl.from_arrow(values)})):
        with pytest.raises(ColumnTypeError, match="binary values") as caught:
            texts(frame)
        said.append(str(caught.value))

    assert said[0] == said[1]
