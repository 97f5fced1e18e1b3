"""`smelt.schema`: what is said beforehand is what `transform` returns, in each library, with no model in sight."""

from __future__ import annotations

import subprocess
import sys
from typing import Any, Literal

import pandas as pd
import polars as pl
import pyarrow as pa
import pytest

import smelt
from smelt.errors import CollisionError, ConfigTypeError, SchemaError, SmeltConfigError
from tests.scale.answers import EveryKind, provider

NAMES = ["0", "1", "2"]
FRAMES: dict[str, Any] = {
    "pandas": pd.DataFrame({"name": NAMES, "n": [1, 2, 3]}),
    "polars": pl.DataFrame({"name": NAMES, "n": [1, 2, 3]}),
    "arrow": pa.table({"name": NAMES, "n": [1, 2, 3]}),
}
OPTIONS: list[dict[str, Any]] = [{}, {"flatten": True}, {"error_column": "why"}]


def transformed(frame: Any, **options: Any) -> Any:
    [out] = smelt.stream([frame], "About {name}.", EveryKind, model=provider(), progress=False, **options)
    return out


@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_it_is_the_schema_of_what_transform_returns(options: dict[str, Any]) -> None:
    found = {name: smelt.schema(EveryKind, like=frame, **options) for name, frame in FRAMES.items()}

    assert found["pandas"].pandas.dtypes.to_dict() == transformed(FRAMES["pandas"], **options).dtypes.to_dict()
    assert found["polars"].polars == transformed(FRAMES["polars"], **options).schema
    assert found["arrow"].arrow == transformed(FRAMES["arrow"], **options).schema


def test_the_words_of_one_library_are_told_from_a_frame_of_another() -> None:
    told = {name: smelt.schema(EveryKind, like=frame) for name, frame in FRAMES.items()}

    assert {tuple(one.arrow.names) for one in told.values()} == {tuple(told["pandas"].pandas.columns)}
    assert {tuple(one.polars.names()) for one in told.values()} == {tuple(told["pandas"].pandas.columns)}
    assert told["polars"].pandas.dtypes["sector"] == "category"
    assert told["pandas"].polars["sector"] == pl.Enum(["tech", "health"])
    assert told["arrow"].arrow.field("n").type == pa.int64()


@pytest.mark.parametrize(
    "like",
    [
        FRAMES["polars"].lazy(),
        FRAMES["polars"].schema,
        FRAMES["arrow"].schema,
        FRAMES["arrow"].to_batches()[0],
    ],
    ids=["lazy frame", "polars schema", "arrow schema", "record batch"],
)
def test_a_schema_does_for_a_frame(like: Any) -> None:
    assert smelt.schema(EveryKind, like=like).arrow.names[:3] == ["name", "n", "word"]


def test_without_a_frame_only_what_is_added_is_told() -> None:
    added = smelt.schema(EveryKind)

    assert added.arrow.names == [*EveryKind.model_fields, "smelt_error"]
    assert list(added.pandas.columns) == added.polars.names() == added.arrow.names


def test_spark_is_told_in_its_own_words() -> None:
    like = pa.schema([("a`b", pa.large_string()), ("m", pa.map_(pa.string(), pa.int32())), ("t", pa.timestamp("us"))])

    assert smelt.schema(EveryKind, like=like).spark == (
        "`a``b` string, `m` map<string, int>, `t` timestamp_ntz, `word` string, `sector` string, `size` string, "
        "`number` bigint, `share` double, `is_open` boolean, `day` date, `moment` timestamp, "
        "`took` interval day to second, `price` decimal(38,2), `place` struct<`city`: string, `kind`: string>, "
        "`tags` array<string>, `smelt_error` string"
    )


def test_a_type_that_spark_lacks_is_refused_with_the_column() -> None:
    found = smelt.schema(EveryKind, like=pa.schema([("big", pa.uint64())]))

    with pytest.raises(SmeltConfigError, match="Spark has no type for the column 'big', which is uint64 in Arrow"):
        _ = found.spark


@pytest.mark.parametrize(
    ("model", "options", "error", "said"),
    [
        (EveryKind, {"like": 7}, ConfigTypeError, "like must be a pandas or Polars DataFrame"),
        (EveryKind, {"like": FRAMES["pandas"].assign(word=1)}, CollisionError, "word"),
        (object, {}, SchemaError, "object"),
        (EveryKind, {"flaten": True}, SmeltConfigError, "flatten"),
    ],
    ids=["no frame", "collision", "no model", "no option"],
)
def test_bad_arguments_are_refused_at_once(
    model: Any, options: dict[str, Any], error: type[Exception], said: str
) -> None:
    with pytest.raises(error, match=said):
        smelt.schema(model, **options)


def test_a_single_type_has_the_column_that_output_names() -> None:
    assert smelt.schema(Literal["a", "b"], output="label").arrow.names == ["label", "smelt_error"]


@pytest.mark.slow
def test_it_loads_no_sdk_and_needs_no_key() -> None:
    code = (
        "import sys, smelt, pyarrow as pa\n"
        "found = smelt.schema({'sector': str}, like=pa.schema([('name', pa.string())]))\n"
        "print(found.arrow.names, found.spark)\n"
        "print(sorted({'openai', 'anthropic', 'google.genai', 'polars', 'asyncio'} & set(sys.modules)))\n"
    )

    said = subprocess.run([sys.executable, "-c", code], env={}, capture_output=True, text=True, check=True).stdout

    assert said == "['name', 'sector', 'smelt_error'] `name` string, `sector` string, `smelt_error` string\n[]\n"
