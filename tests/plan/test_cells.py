"""The canonical text of cells: one rule per type, the same from pandas, Polars and plain Python."""

from __future__ import annotations

import enum
import json
import uuid
from collections.abc import Callable, Sequence
from datetime import UTC, date, datetime, time, timedelta, timezone
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from smelt.frames.adapt import adapt
from smelt.plan.cells import cell_text

NEW_YORK = ZoneInfo("America/New_York")


class Colour(enum.Enum):
    RED = "red"


class Level(enum.IntEnum):
    HIGH = 3


class Tag(enum.StrEnum):
    A = "a"


@pytest.mark.parametrize(
    ("value", "text"),
    [
        pytest.param(value, text, id=f"{type(value).__module__}.{type(value).__name__} {text[:24]!a}")
        for value, text in [
            (None, "null"),
            (float("nan"), "null"),
            (np.float64("nan"), "null"),
            (pd.NA, "null"),
            (pd.NaT, "null"),
            (np.datetime64("NaT", "ns"), "null"),
            (np.timedelta64("NaT", "ns"), "null"),
            (Decimal("NaN"), "null"),
            ('é"\n\x00\x7f', '"é\\"\\n\\u0000\x7f"'),
            (np.str_("x"), '"x"'),
            (True, "true"),
            (np.bool_(False), "false"),
            (2**70, str(2**70)),
            (np.uint8(200), "200"),
            (5.0, "5.0"),
            (1e300, "1e+300"),
            (np.float64(0.5), "0.5"),
            (np.float32(0.1), "0.1"),
            (float("inf"), '"inf"'),
            (float("-inf"), '"-inf"'),
            (Decimal("1.50"), '"1.50"'),
            (Decimal("1E+3"), '"1000"'),
            (Decimal("1E-7"), '"0.0000001"'),
            (Decimal("-0.00"), '"0.00"'),
            (Decimal("1E+999999"), '"1E+999999"'),
            (Decimal("-Infinity"), '"-inf"'),
            (datetime(2020, 1, 2, 3, 4, 5), '"2020-01-02T03:04:05"'),
            (datetime(2020, 7, 2, tzinfo=NEW_YORK), '"2020-07-02T00:00:00-04:00"'),
            (pd.Timestamp("2020-01-01T00:00:00.000000001Z"), '"2020-01-01T00:00:00.000000001+00:00"'),
            (np.datetime64("2020-01-01", "ns"), '"2020-01-01T00:00:00"'),
            (np.datetime64("2020-01-01", "D"), '"2020-01-01"'),
            (date(2020, 1, 2), '"2020-01-02"'),
            (time(3, 4, 5, 6), '"03:04:05.000006"'),
            (timedelta(0), '"PT0S"'),
            (timedelta(days=1), '"P1D"'),
            (timedelta(days=1, hours=2, minutes=3, seconds=4.5), '"P1DT2H3M4.5S"'),
            (-timedelta(seconds=90), '"-PT1M30S"'),
            (pd.Timedelta(1, "ns"), '"PT0.000000001S"'),
            (np.timedelta64(1, "ns"), '"PT0.000000001S"'),
            (uuid.UUID(int=1), '"00000000-0000-0000-0000-000000000001"'),
            (Colour.RED, '"red"'),
            (Level.HIGH, "3"),
            (Tag.A, '"a"'),
            (pd.Period("2020-02", "M"), '"2020-02"'),
            (pd.Interval(0, 1), '"(0, 1]"'),
            ([1, (2.0, None)], "[1,[2.0,null]]"),
            ({"a": {"b": [Decimal("1.0")]}}, '{"a":{"b":["1.0"]}}'),
            (np.array([[1, 2]]), "[[1,2]]"),
            (np.array([0.1], dtype=np.float32), "[0.1]"),
            (np.array(["2020-01-01"], dtype="M8[ns]"), '["2020-01-01T00:00:00"]'),
        ]
    ],
)
def test_a_value_has_one_text(value: Any, text: str) -> None:
    assert cell_text(value) == text
    json.loads(text)


WITHOUT_TEXT = {
    "bytes": b"x",
    "bytearray": bytearray(b"x"),
    "numpy bytes": np.bytes_(b"x"),
    "set": {1, 2},
    "object": object(),
    "complex": 1j,
    "long double": np.longdouble(1),
    "dict with numbers as keys": {1: "a"},
    "list of bytes": [b"x"],
    "dict of objects": {"a": object()},
}


@pytest.mark.parametrize("value", WITHOUT_TEXT.values(), ids=WITHOUT_TEXT.keys())
def test_a_type_without_text_is_a_type_error(value: Any) -> None:
    with pytest.raises(TypeError, match=r"value of type|keys that are not text"):
        cell_text(value)


@pytest.mark.parametrize("value", ["\ud800", ["a\udfff"], {"\ud800": 1}], ids=["text", "item", "key"])
def test_half_a_surrogate_pair_is_a_value_error_that_does_not_quote_it(value: Any) -> None:
    with pytest.raises(ValueError, match=r"^text with half of a surrogate pair$"):
        cell_text(value)


def frame_texts(frame: Any) -> list[Any]:
    rows = adapt(frame).rows()
    return rows.texts(list(reversed(range(len(rows)))))[::-1]


Make = Callable[[Sequence[Any]], Any]


def in_pandas(dtype: Any) -> Make:
    return lambda values: pd.Series(pd.array(list(values), dtype=dtype), name="x").to_frame()


def in_arrow(arrow: pa.DataType) -> Make:
    return lambda values: pd.DataFrame({"x": pd.arrays.ArrowExtensionArray(pa.array(values, type=arrow))})


def as_category(values: Sequence[Any]) -> pd.DataFrame:
    return pd.DataFrame({"x": pd.Categorical(values)})


def in_objects(values: Sequence[Any]) -> pd.DataFrame:
    return pd.DataFrame({"x": pd.Series(list(values), dtype=object)})


def in_numpy(dtype: str, absent: Any) -> Make:
    return lambda values: pd.DataFrame({"x": np.array([absent if v is None else v for v in values], dtype=dtype)})


def in_utc(unit: str, zone: str) -> Make:
    def make(values: Sequence[Any]) -> pd.DataFrame:
        naive = [value and value.astimezone(UTC).replace(tzinfo=None) for value in values]
        column = pd.Series(np.array(naive, dtype=f"M8[{unit}]")).dt.tz_localize("UTC").dt.tz_convert(zone)
        return pd.DataFrame({"x": column})

    return make


def in_records(values: Sequence[Any]) -> list[dict[str, Any]]:
    return [{"x": value} for value in values]


def in_polars(dtype: Any) -> Make:
    return lambda values: pl.DataFrame({"x": pl.Series(values, dtype=dtype, strict=False)})


def in_single_arrays(values: Sequence[Any]) -> pd.DataFrame:
    return in_objects([None if value is None else np.array(value, dtype=np.float32) for value in values])


def in_arrow_halves(values: Sequence[Any]) -> Any:
    return in_arrow(pa.float16())([None if value is None else np.float16(value) for value in values])


single = st.floats(width=32)
moments = st.datetimes(min_value=datetime(1700, 1, 1), max_value=datetime(2250, 1, 1))
instants = st.datetimes(
    min_value=datetime(1700, 1, 1), max_value=datetime(2250, 1, 1), timezones=st.just(NEW_YORK)
).map(lambda moment: moment.astimezone(UTC).astimezone(NEW_YORK))
decimals = st.decimals(min_value=-(10**9), max_value=10**9, places=3)
names = st.text(st.characters(exclude_categories=["Cs"]))
int64s = st.integers(-(2**63), 2**63 - 1)
structs = st.builds(lambda number, text: {"a%s": number, "b": text}, st.none() | int64s, st.none() | names)
STRUCT = pa.struct([("a%s", pa.int64()), ("b", pa.string())])
nested = st.lists(st.none() | structs, max_size=3)

TWINS: dict[str, tuple[st.SearchStrategy[Any], list[Make]]] = {
    "integer": (
        int64s,
        [in_objects, in_pandas("Int64"), in_arrow(pa.int64()), in_records, in_polars(pl.Int64), in_polars(pl.Int128)],
    ),
    "unsigned": (st.integers(0, 2**64 - 1), [in_pandas("UInt64"), in_arrow(pa.uint64()), in_polars(pl.UInt64)]),
    "float": (
        st.floats(),
        [
            in_objects,
            in_numpy("float64", np.nan),
            in_pandas("Float64"),
            in_arrow(pa.float64()),
            in_records,
            in_polars(pl.Float64),
        ],
    ),
    "float32": (
        single,
        [in_numpy("float32", np.nan), in_pandas("Float32"), in_arrow(pa.float32()), in_polars(pl.Float32)],
    ),
    "float16": (
        st.floats(width=16),
        [in_numpy("float16", np.nan), in_arrow_halves, in_polars(pl.Float16)],
    ),
    "text": (
        names,
        [
            in_objects,
            in_pandas("str"),
            in_pandas(pd.StringDtype("python")),
            in_pandas(pd.StringDtype("pyarrow")),
            in_arrow(pa.string()),
            in_arrow(pa.large_string()),
            in_arrow(pa.string_view()),
            in_arrow(pa.dictionary(pa.int32(), pa.string())),
            as_category,
            in_records,
            in_polars(pl.String),
            in_polars(pl.Categorical),
        ],
    ),
    "boolean": (
        st.booleans(),
        [in_objects, in_pandas("boolean"), in_arrow(pa.bool_()), in_records, in_polars(pl.Boolean)],
    ),
    "decimal": (
        decimals,
        [in_objects, in_arrow(pa.decimal128(38, 3)), in_records, in_polars(pl.Decimal(38, 3))],
    ),
    "datetime": (
        moments,
        [
            in_objects,
            in_numpy("M8[us]", None),
            in_numpy("M8[ns]", None),
            in_arrow(pa.timestamp("us")),
            in_records,
            in_polars(pl.Datetime("us")),
            in_polars(pl.Datetime("ns")),
        ],
    ),
    "datetime in a zone": (
        instants,
        [
            in_objects,
            in_utc("us", "America/New_York"),
            in_utc("ns", "America/New_York"),
            in_arrow(pa.timestamp("us", "America/New_York")),
            in_records,
            in_polars(pl.Datetime("us", "America/New_York")),
            in_polars(pl.Datetime("ns", "America/New_York")),
        ],
    ),
    "date": (st.dates(), [in_objects, in_arrow(pa.date32()), in_records, in_polars(pl.Date)]),
    "time": (st.times(), [in_objects, in_arrow(pa.time64("us")), in_records, in_polars(pl.Time)]),
    "duration": (
        st.timedeltas(timedelta(-100_000), timedelta(100_000)),
        [
            in_objects,
            in_numpy("m8[us]", None),
            in_numpy("m8[ns]", None),
            in_arrow(pa.duration("us")),
            in_records,
            in_polars(pl.Duration("us")),
            in_polars(pl.Duration("ns")),
        ],
    ),
    "list": (
        st.lists(st.none() | int64s, max_size=3),
        [
            in_objects,
            in_arrow(pa.list_(pa.int64())),
            in_arrow(pa.large_list(pa.int64())),
            in_records,
            in_polars(pl.List(pl.Int64)),
        ],
    ),
    "fixed list": (
        st.lists(st.none() | int64s, min_size=2, max_size=2),
        [in_objects, in_arrow(pa.list_(pa.int64(), 2)), in_polars(pl.Array(pl.Int64, 2))],
    ),
    "list of float32": (
        st.lists(single, max_size=3),
        [in_single_arrays, in_arrow(pa.list_(pa.float32())), in_polars(pl.List(pl.Float32))],
    ),
    "struct": (
        structs,
        [in_objects, in_arrow(STRUCT), in_records, in_polars(pl.Struct({"a%s": pl.Int64, "b": pl.String}))],
    ),
    "list of structs": (
        nested,
        [
            in_objects,
            in_arrow(pa.list_(STRUCT)),
            in_records,
            in_polars(pl.List(pl.Struct({"a%s": pl.Int64, "b": pl.String}))),
        ],
    ),
}


@pytest.mark.slow
@pytest.mark.parametrize("twins", TWINS)
@settings(max_examples=12)
@given(data=st.data())
def test_the_same_values_have_the_same_text_in_every_library(twins: str, data: st.DataObject) -> None:
    one, makes = TWINS[twins]
    values = data.draw(st.lists(st.none() | one, min_size=1, max_size=6))

    first, *others = (frame_texts(make(values)) for make in makes)

    assert all(texts == first for texts in others)
    assert all(list(json.loads(text)) == ["x"] for text in first)
    assert [json.loads(text)["x"] is None for text in first] == [
        value is None or (isinstance(value, float) and value != value) for value in values
    ]


@pytest.mark.parametrize(
    ("make", "dtype"),
    [
        (in_arrow(pa.timestamp("ns")), pl.Datetime("ns")),
        (in_arrow(pa.duration("ns")), pl.Duration("ns")),
        (in_arrow(pa.time64("ns")), pl.Time),
        (in_arrow(pa.list_(pa.timestamp("ns", "UTC"))), pl.List(pl.Datetime("ns", "UTC"))),
    ],
    ids=["timestamp", "duration", "time", "nested"],
)
def test_nanoseconds_are_kept(make: Make, dtype: Any) -> None:
    is_nested = dtype == pl.List
    values: list[Any] = [[1]] if is_nested else [1]
    of_polars = pl.DataFrame({"x": pl.Series(values, dtype=pl.List(pl.Int64) if is_nested else pl.Int64).cast(dtype)})

    texts = [frame_texts(make(values)), frame_texts(of_polars)]

    assert texts[0] == texts[1]
    assert ".000000001" in texts[0][0]


@pytest.mark.parametrize("unit", ["s", "ms", "us", "ns"])
def test_every_unit_of_pandas_is_read_as_it_is(unit: str) -> None:
    frame = pd.DataFrame(
        {
            "at": np.array(["2020-01-01T00:00:01", "NaT"], dtype=f"M8[{unit}]"),
            "took": np.array([61, "NaT"], dtype="m8[s]").astype(f"m8[{unit}]"),
        }
    )

    assert frame_texts(frame) == ['{"at":"2020-01-01T00:00:01","took":"PT1M1S"}', '{"at":null,"took":null}']


def test_a_fixed_offset_and_both_sides_of_a_clock_change_show_their_offset() -> None:
    hours = pd.date_range("2020-11-01T05:00Z", periods=2, freq="h", unit="us").tz_convert(NEW_YORK)
    fixed = hours.tz_convert(timezone(timedelta(hours=5, minutes=30)))

    texts = frame_texts(pd.DataFrame({"a": hours, "b": fixed}))

    assert texts == [
        '{"a":"2020-11-01T01:00:00-04:00","b":"2020-11-01T10:30:00+05:30"}',
        '{"a":"2020-11-01T01:00:00-05:00","b":"2020-11-01T11:30:00+05:30"}',
    ]


def test_pandas_types_without_a_twin_have_their_text() -> None:
    intervals: list[Any] = [pd.Interval(0.0, 1.0), None]
    frame = pd.DataFrame(
        {
            "period": pd.PeriodIndex(["2020-01", "NaT"], freq="M"),
            "interval": pd.arrays.IntervalArray(intervals),
            "sparse": pd.arrays.SparseArray([1.5, np.nan]),
            "number": pd.Categorical([2**53 + 1, None]),
            "enum": pd.Series([Colour.RED, None], dtype=object),
        }
    )

    texts = frame_texts(frame)

    assert texts == [
        '{"period":"2020-01","interval":"(0.0, 1.0]","sparse":1.5,"number":9007199254740993,"enum":"red"}',
        '{"period":null,"interval":null,"sparse":null,"number":null,"enum":null}',
    ]


def test_a_column_of_nothing_is_all_null() -> None:
    of_pandas = pd.DataFrame(
        {
            "category": pd.Categorical([None, None], categories=[]),
            "object": pd.Series([None, np.nan], dtype=object),
            "arrow": pd.arrays.ArrowExtensionArray(pa.nulls(2)),
        }
    )
    of_polars = pl.DataFrame({"category": [None, None], "object": [None, None], "arrow": [None, None]})

    assert frame_texts(of_pandas) == frame_texts(of_polars) == ['{"category":null,"object":null,"arrow":null}'] * 2


def test_polars_objects_are_written_one_by_one() -> None:
    frame = pl.DataFrame({"x": pl.Series([uuid.UUID(int=1), None, Colour.RED], dtype=pl.Object)})

    assert frame_texts(frame) == ['{"x":"00000000-0000-0000-0000-000000000001"}', '{"x":null}', '{"x":"red"}']


@pytest.mark.parametrize("make", [in_objects, in_records], ids=["pandas", "records"])
@pytest.mark.parametrize(
    ("bad", "reason"),
    [
        (b"secret", "column 'x': a value of type bytes"),
        ("secret\ud800", "column 'x': text with half of a surrogate pair"),
        (10**5000, "column 'x': Exceeds the limit"),
    ],
    ids=["type", "surrogate", "digits"],
)
def test_a_bad_cell_costs_only_its_own_row(make: Make, bad: Any, reason: str) -> None:
    good, worse, other = frame_texts(make(["a", bad, "b"]))

    assert (good, other) == ('{"x":"a"}', '{"x":"b"}')
    assert worse.reason.startswith(reason)
    assert "secret" not in worse.reason


def test_a_surrogate_in_a_column_of_python_strings_costs_only_its_own_row() -> None:
    texts = frame_texts(in_pandas(pd.StringDtype("python"))(["a", "\ud800"]))

    assert texts[0] == '{"x":"a"}'
    assert texts[1].reason == "column 'x': text with half of a surrogate pair"


@pytest.mark.parametrize(
    "frame",
    [
        pd.DataFrame({"x": np.array([0, 10**12], dtype="M8[s]")}),
        in_arrow(pa.timestamp("s"))([0, 10**12]),
        pl.DataFrame({"x": pl.Series([0, 10**15]).cast(pl.Datetime("ms"))}),
    ],
    ids=["numpy", "arrow", "polars"],
)
def test_a_time_that_the_calendar_does_not_have_costs_only_its_own_row(frame: Any) -> None:
    first, second = frame_texts(frame)

    assert first == '{"x":"1970-01-01T00:00:00"}'
    assert second.reason == "column 'x': a time outside the years 1 to 9999"


def test_a_list_that_holds_itself_costs_only_its_own_row() -> None:
    endless: list[Any] = []
    endless.append(endless)

    first, second = frame_texts([{"x": 1}, {"x": endless}])

    assert first == '{"x":1}'
    assert second.reason == "column 'x': nested too deeply"
