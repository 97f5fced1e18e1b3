"""Frames as the caller knows them: left alone, in order, and refused in plain words."""

from __future__ import annotations

import copy
import subprocess
import sys
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest

from smelt.errors import ColumnError, SmeltConfigError
from smelt.frames.adapt import adapt, joined
from smelt.frames.base import OutputColumn
from smelt.plan.kinds import Boolean, Choice

LABEL = Choice(values=("a", "b"))


def outputs(count: int) -> list[OutputColumn]:
    return [
        OutputColumn(name="label", kind=LABEL, values=["a", "b", None, "a"][:count]),
        OutputColumn(name="flag", kind=Boolean(), values=[True, None, False, True][:count]),
        OutputColumn(name="smelt_error", kind=None, values=[None] * count),
    ]


def arrow(values: list[Any], kind: pa.DataType) -> Any:
    return pd.arrays.ArrowExtensionArray(pa.array(values, type=kind))


def as_dicts(columns: dict[str, list[Any]]) -> list[dict[str, Any]]:
    return [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]


LIBRARIES = pytest.mark.parametrize(
    "make",
    [pd.DataFrame, pl.DataFrame, as_dicts],
    ids=["pandas", "polars", "records"],
)


@LIBRARIES
def test_rows_come_in_the_order_asked_for_with_only_the_chosen_columns(make: Any) -> None:
    rows = adapt(make({"a": [1, 2, 3], "b": ["x", None, "z"], "c": [0, 0, 0]})).rows(["b", "a"])

    assert rows.names == ("b", "a")
    assert len(rows) == 3
    assert rows.texts([2, 0, 0]) == ['{"b":"z","a":3}', '{"b":"x","a":1}', '{"b":"x","a":1}']
    assert rows.texts([]) == []


@LIBRARIES
def test_names_that_look_like_protocol_or_template_are_ordinary_columns(make: Any) -> None:
    names = ["id", "rows", "row_id", "", "{x}", "%s", '"', "é" * 5_000]

    texts = adapt(make({name: [1] for name in names})).rows().texts([0])

    assert texts == ["{" + ",".join(f'"{name}":1'.replace('"""', '"\\""') for name in names) + "}"]


@LIBRARIES
def test_large_integers_are_not_corrupted_beside_floats(make: Any) -> None:
    rows = adapt(make({"n": [2**53 + 1, 2], "f": [0.5, None]})).rows()

    assert rows.texts([0, 1]) == ['{"n":9007199254740993,"f":0.5}', '{"n":2,"f":null}']


@LIBRARIES
@pytest.mark.parametrize(
    ("columns", "message"),
    [
        (["nam"], "There is no column 'nam'. Did you mean 'name'"),
        (["name", "name"], "More than one column is called 'name'"),
        ([], "columns is empty"),
        ("name", "columns must be a list of column names, not str 'name'"),
        ([1], "columns must be a list of column names"),
        (5, "columns must be a list of column names"),
    ],
    ids=["unknown", "twice", "empty", "text", "number", "no list"],
)
def test_columns_that_cannot_be_chosen_are_refused(make: Any, columns: Any, message: str) -> None:
    frame = adapt(make({"name": [1]}))

    with pytest.raises(ColumnError, match=message):
        frame.rows(columns)


@pytest.mark.parametrize(
    ("data", "way"),
    [
        (pd.Series([1]), r"call .to_frame\(\) on the Series.*not a Series"),
        (pl.Series([1]), r"call .to_frame\(\) on the Series"),
        (pd.DataFrame({"a": [1]}).groupby("a"), "before groupby"),
        (pl.DataFrame({"a": [1]}).group_by("a"), "before group_by"),
        (pl.DataFrame({"a": [1]}).lazy(), r"call .collect\(\)"),
        ({"a": 1}, "put the dict of one row into a list"),
        (None, "a pandas or Polars DataFrame, an Arrow table or a list of dicts, not None"),
        ("a", "not a str"),
        ([1, 2], "not a list"),
        ([{"a": 1}, None], "not a list"),
        (pd.DataFrame, "not the class DataFrame"),
    ],
    ids=[
        "series",
        "pl series",
        "groupby",
        "group_by",
        "lazy",
        "dict",
        "none",
        "text",
        "list",
        "mixed",
        "class",
    ],
)
def test_what_is_no_frame_is_a_type_error_that_names_the_way(data: Any, way: str) -> None:
    with pytest.raises(SmeltConfigError, match=way) as raised:
        adapt(data)

    assert isinstance(raised.value, TypeError)


@pytest.mark.parametrize(
    "columns",
    [["a", "a"], [1, "1"], ["a", "\ud800"], pd.MultiIndex.from_tuples([("a", 1), ("a", 2)])],
    ids=["doubled", "equal as text", "surrogate", "levels"],
)
def test_column_names_that_are_not_distinct_text_are_refused(columns: Any) -> None:
    frame = pd.DataFrame([[1, 2]])
    frame.columns = pd.Index(columns, dtype=object) if isinstance(columns, list) else columns

    with pytest.raises(ColumnError, match=r"called '[a1]'|surrogate|MultiIndex"):
        adapt(frame)


def test_column_names_that_are_not_text_are_sent_as_text_and_never_renamed() -> None:
    frame = pd.DataFrame({1: ["x"], None: ["y"], pd.Timestamp("2020"): ["z"]})

    adapted = adapt(frame)
    attached = adapted.attach(outputs(1))

    assert adapted.rows().texts([0]) == ['{"1":"x","None":"y","2020-01-01 00:00:00":"z"}']
    assert list(attached.columns[:3]) == list(frame.columns)


UNSENDABLE = {
    "pandas bytes": lambda: pd.DataFrame({"ok": [1], "raw": [b"x"]}),
    "pandas objects": lambda: pd.DataFrame({"ok": [1, 2], "raw": [None, object()]}),
    "pandas sets": lambda: pd.DataFrame({"ok": [1], "raw": [{1}]}),
    "pandas complex": lambda: pd.DataFrame({"ok": [1], "raw": [1j]}),
    "pandas long doubles": lambda: pd.DataFrame({"ok": [1], "raw": np.array([1], dtype=np.longdouble)}),
    "arrow binary": lambda: pd.DataFrame({"ok": [1], "raw": arrow([b"x"], pa.binary())}),
    "arrow nested": lambda: pd.DataFrame({"ok": [1], "raw": arrow([[b"x"]], pa.list_(pa.binary()))}),
    "polars binary": lambda: pl.DataFrame({"ok": [1], "raw": [b"x"]}),
    "polars nested": lambda: pl.DataFrame({"ok": [1], "raw": [[{"deep": b"x"}]]}),
    "polars objects": lambda: pl.DataFrame({"ok": [1], "raw": pl.Series([object()], dtype=pl.Object)}),
    "records": lambda: [{"ok": 1}, {"ok": 1, "raw": b"x"}],
}


@pytest.mark.parametrize("make", UNSENDABLE.values(), ids=UNSENDABLE.keys())
def test_a_column_without_text_is_refused_by_name_unless_it_is_left_out(make: Any) -> None:
    frame = adapt(make())

    with pytest.raises(ColumnError, match=r"Column 'raw' holds (a value of type|binary).*columns="):
        frame.rows()

    assert frame.rows(["ok"]).names == ("ok",)


@pytest.mark.parametrize(
    "frame",
    [pl.DataFrame(schema={"raw": pl.Binary}), pd.DataFrame({"raw": arrow([], pa.binary())})],
    ids=["polars", "pandas"],
)
def test_a_binary_column_without_a_value_may_get_media_in_a_later_frame(frame: Any) -> None:
    assert adapt(frame).rows().media_names == ("raw",)


INDEXES = {
    "duplicates": pd.Index([1, 1, 0, 1]),
    "levels": pd.MultiIndex.from_tuples([("x", 1), ("x", 1), ("a", 2), ("b", None)], names=["k", None]),
    "unsorted": pd.Index([3, 1, 2, 0], name="key"),
    "missing": pd.Index([np.nan, "b", None, np.nan], dtype=object),
    "times": pd.DatetimeIndex(["2021", "2020", "2020", None], tz="UTC"),
    "categories": pd.Index(pd.Categorical(["q", "q", None, "r"])),
    "text": pd.Index(["d", "c", "b", "a"]),
    "default": pd.RangeIndex(4),
}


@pytest.mark.parametrize("index", INDEXES.values(), ids=INDEXES.keys())
def test_any_index_is_kept_and_rows_stay_in_place(index: pd.Index) -> None:
    frame = pd.DataFrame({"n": [10, 11, 12, 13]}, index=index)
    frame.attrs = {"source": ["x"]}

    adapted = adapt(frame)
    attached = adapted.attach(outputs(4))

    assert attached.index.identical(index)
    assert attached.attrs == frame.attrs
    assert attached["n"].tolist() == [10, 11, 12, 13]
    assert attached["label"].astype(object).where(attached["label"].notna(), None).tolist() == ["a", "b", None, "a"]
    assert repr(adapted.labels([3, 0])) == repr(list(index[[3, 0]]))  # repr, since NaN is not equal to itself.
    pd.testing.assert_index_equal(adapted.take([2, 1]).index, index[[2, 1]])


COLUMNS = {
    "named": pd.Index(["x", "y"], name="measure"),
    "categories": pd.CategoricalIndex(["x", "y"]),
    "times": pd.DatetimeIndex(["2020", "2021"]),
    "numbers": pd.RangeIndex(2),
    "intervals": pd.IntervalIndex.from_breaks([0, 1, 2]),
}


@pytest.mark.parametrize("columns", COLUMNS.values(), ids=COLUMNS.keys())
def test_any_column_labels_are_kept(columns: pd.Index) -> None:
    frame = pd.DataFrame([[1, 2]], columns=columns)

    attached = adapt(frame).attach(outputs(1))

    assert list(attached.columns) == [*columns, "label", "flag", "smelt_error"]
    assert attached.columns.name == columns.name
    assert frame.columns.identical(columns)


def mixed() -> pd.DataFrame:
    return pd.DataFrame(
        {
            "i": [1, 2, 3],
            "f": np.array([1, 2, 3], dtype="float32"),
            "c": pd.Categorical(["u", None, "v"], ordered=True),
            "s": pd.array(["a", None, "c"], dtype="string[pyarrow]"),
            "l": arrow([[1], None, []], pa.list_(pa.int64())),
            "o": [[1], {"k": 1}, None],
            "t": pd.date_range("2020", periods=3, tz="Europe/Paris"),
        },
        index=[5, 5, 1],
    )


def test_a_pandas_frame_is_never_changed_and_its_columns_come_back_as_they_were() -> None:
    frame = mixed()
    before = copy.deepcopy(frame)

    attached = adapt(frame).attach(outputs(3))
    attached.loc[5, "i"] = 99

    pd.testing.assert_frame_equal(frame, before)
    pd.testing.assert_frame_equal(attached[list(frame.columns)].drop(columns="i"), before.drop(columns="i"))
    assert list(attached.columns) == [*before.columns, "label", "flag", "smelt_error"]


def test_a_polars_frame_is_never_changed_and_its_columns_come_back_as_they_were() -> None:
    frame = pl.from_pandas(mixed().drop(columns="o"))
    before = frame.clone()

    attached = adapt(frame).attach(outputs(3))

    assert frame.equals(before)
    assert frame.schema == before.schema
    assert attached.select(before.columns).equals(before)
    assert attached.columns[-3:] == ["label", "flag", "smelt_error"]


def test_dicts_are_never_changed_and_missing_keys_stay_missing() -> None:
    data = [{"a": 1}, {"b": [2]}]
    before = copy.deepcopy(data)

    adapted = adapt(data)
    attached = adapted.attach(outputs(2))

    assert adapted.names == ("a", "b")
    assert adapted.rows().texts([0, 1]) == ['{"a":1,"b":null}', '{"a":null,"b":[2]}']
    assert data == before
    assert attached == [
        {"a": 1, "label": "a", "flag": True, "smelt_error": None},
        {"b": [2], "label": "b", "flag": None, "smelt_error": None},
    ]
    assert adapted.labels([1]) == [1]
    assert adapted.take([1]) == [{"b": [2]}]


@LIBRARIES
def test_dropped_columns_make_room_and_outputs_stand_at_the_end(make: Any) -> None:
    attached = adapt(make({"label": ["old"], "n": [1]})).attach(outputs(1), dropped=["label"])

    names = list(attached[0]) if isinstance(attached, list) else list(attached.columns)
    assert names == ["n", "label", "flag", "smelt_error"]


@LIBRARIES
def test_a_column_of_another_length_is_never_stretched(make: Any) -> None:
    frame = adapt(make({"n": [1, 2]}))

    with pytest.raises(ValueError, match="Column 'label' has 1 values for 2 rows"):
        frame.attach(outputs(1))


@pytest.mark.parametrize(
    "frame",
    [
        pd.DataFrame(),
        pd.DataFrame(index=["x", "y"]),
        pd.DataFrame({"n": pd.array([], dtype="Int8")}),
        pl.DataFrame(),
        pl.DataFrame(height=2),
        pl.DataFrame(schema={"n": pl.Int8}),
        [],
        [{}, {}],
    ],
    ids=[
        "pandas",
        "pandas index",
        "pandas typed",
        "polars",
        "polars height",
        "polars typed",
        "no dicts",
        "empty dicts",
    ],
)
def test_frames_without_rows_or_columns_get_typed_columns(frame: Any) -> None:
    adapted = adapt(frame)
    count = len(adapted)

    rows = adapted.rows()
    attached = adapted.attach(outputs(count))

    assert rows.texts(range(count)) == ["{}"] * count
    assert len(attached) == count
    if isinstance(attached, pd.DataFrame):
        assert attached["flag"].dtype == "boolean"
        assert attached.index.identical(frame.index)
    elif isinstance(attached, pl.DataFrame):
        assert attached.schema["flag"] == pl.Boolean


def test_a_sliced_view_is_read_at_its_own_positions() -> None:
    of_pandas = mixed()[["i", "s", "c", "l"]].iloc[1:]
    of_polars = pl.from_pandas(mixed()[["i", "s", "c", "l"]])[1:]

    expected = ['{"i":3,"s":"c","c":"v","l":[]}', '{"i":2,"s":null,"c":null,"l":null}']
    assert adapt(of_pandas).rows().texts([1, 0]) == expected
    assert adapt(of_polars).rows().texts([1, 0]) == expected
    assert adapt(mixed()[["i"]].iloc[::-1]).rows().texts([0, 2]) == ['{"i":3}', '{"i":1}']


def test_columns_in_many_pieces_are_read_as_one() -> None:
    one = pd.DataFrame({"s": pd.array(["a", None], dtype="str"), "l": arrow([[1], []], pa.list_(pa.int64()))})

    pieces = pd.concat([one, one, one], ignore_index=True)

    assert adapt(pieces).rows().texts([4, 1]) == ['{"s":"a","l":[1]}', '{"s":null,"l":[]}']
    assert adapt(pl.concat([pl.from_pandas(one)] * 3, rechunk=False)).rows().texts([4, 1]) == [
        '{"s":"a","l":[1]}',
        '{"s":null,"l":[]}',
    ]


def test_a_change_of_the_frame_after_the_start_is_not_seen() -> None:
    of_pandas, of_polars, of_dicts = pd.DataFrame({"n": [1, 2]}), pl.DataFrame({"n": [1, 2]}), [{"n": 1}, {"n": 2}]
    started = [adapt(frame) for frame in (of_pandas, of_polars, of_dicts)]
    rows = [frame.rows() for frame in started]

    of_pandas.loc[0, "n"] = 9
    of_pandas["new"] = 0
    of_polars[0, "n"] = 9
    of_dicts.insert(0, {"n": 9})

    for frame, source in zip(started, rows, strict=True):
        assert source.texts([0]) == ['{"n":1}']
        attached = frame.attach([OutputColumn(name="out", kind=Boolean(), values=[True, False])])
        assert list(attached[0] if isinstance(attached, list) else attached.columns) == ["n", "out"]


def test_rows_alone_keep_the_snapshot() -> None:
    frame = pd.DataFrame({"n": [1], "s": ["a"], "m": pd.array([1], dtype="Int64"), "c": pd.Categorical(["u"])})
    rows = adapt(frame).rows()

    frame.loc[0, "n"] = 2
    frame.loc[0, "s"] = "b"
    frame.loc[0, "m"] = 2
    frame.loc[0, "c"] = None

    assert rows.texts([0]) == ['{"n":1,"s":"a","m":1,"c":"u"}']


@pytest.mark.slow
def test_only_the_chosen_columns_of_a_wide_frame_are_touched() -> None:
    wide: dict[str, Any] = {f"c{place}": [place] for place in range(10_000)}

    class Loud:
        def __getattribute__(self, name: str) -> Any:
            raise AssertionError("looked at")

    of_pandas = adapt(pd.DataFrame(wide | {"loud": pd.Series([Loud()], dtype=object)}))
    of_polars = adapt(pl.DataFrame(wide | {"raw": [b"x"]}))

    assert of_pandas.rows(["c7", "c9999"]).texts([0]) == ['{"c7":7,"c9999":9999}']
    assert of_polars.rows(["c7", "c9999"]).texts([0]) == ['{"c7":7,"c9999":9999}']


def test_a_subclass_of_a_pandas_frame_stays_one() -> None:
    class Special(pd.DataFrame):
        @property
        def _constructor(self) -> type[pd.DataFrame]:
            return Special

    attached = adapt(Special({"n": [1]})).attach(outputs(1))

    assert type(attached) is Special


@pytest.mark.slow
def test_adapting_imports_no_frame_library() -> None:
    script = (
        "import sys; from smelt.frames.adapt import adapt; adapt([{'a': 1}]).attach([]); "
        "print(sorted({'pandas', 'polars', 'pyarrow', 'numpy'} & set(sys.modules)))"
    )

    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)

    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize(
    "make",
    [pd.DataFrame, pl.DataFrame, pa.table, pa.RecordBatch.from_pydict],
    ids=["pandas", "polars", "arrow", "batch"],
)
def test_frames_are_joined_by_rows(make: Any) -> None:
    whole = joined([make({"a": [1]}), make({"a": [2, 3]})])

    assert list(map(int, whole["a"].to_pylist() if hasattr(whole["a"], "to_pylist") else whole["a"])) == [1, 2, 3]


def test_records_are_joined_and_one_frame_is_handed_back_itself() -> None:
    one = [{"a": 1}]

    assert joined([one, [{"a": 2}]]) == [{"a": 1}, {"a": 2}]
    assert joined([one]) is one
