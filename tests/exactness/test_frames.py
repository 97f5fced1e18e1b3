"""Frames, end to end: every answer on its own row, the caller's frame as it was, dtypes by declaration."""

from __future__ import annotations

import copy
import json
import math
import uuid
import warnings
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Annotated, Any, Literal

import numpy as np
import pandas as pd
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import AfterValidator, BaseModel, Field, create_model

from smelt.api.job import Job
from smelt.errors import SmeltWarning
from smelt.plan.dialect import Dialect
from smelt.providers.base import Capabilities
from smelt.testing import ScriptedProvider, asked


class Part(BaseModel):
    name: str
    size: int


class Every(BaseModel):
    """A field of every kind."""

    text: str
    count: int
    share: float
    flag: bool
    label: Literal["a", "b"]
    price: Annotated[Decimal, Field(decimal_places=2)]
    at: datetime
    day: date
    span: timedelta
    tags: list[str]
    part: Part


class Echo(BaseModel):
    echo: str


EVERY: dict[str, Any] = {
    "text": "t", "count": 2**53 + 1, "share": 0.5, "flag": True, "label": "b", "price": "1.25",
    "at": "2026-01-31T09:30:00Z", "day": "2026-01-31", "span": "P1D", "tags": ["x"], "part": {"name": "n", "size": 1},
}  # fmt: skip


def echo(row: Any) -> dict[str, Any]:
    """An answer that belongs to this row and no other."""
    return {"echo": json.dumps(row, sort_keys=True)}


def run(
    data: Any, answer: Any = echo, model: Any = Echo, *, prompt: str = "Read it.", **options: Any
) -> tuple[Any, ScriptedProvider]:
    provider = ScriptedProvider(answer, capabilities=options.pop("capabilities", None))
    before = copy.deepcopy(data)
    out = Job(prompt, model, progress=False, **options).run(provider, data=data).frame
    assert_same(data, before)
    return out, provider


def assert_same(one: Any, other: Any) -> None:
    if isinstance(one, pd.DataFrame):
        pd.testing.assert_frame_equal(one, other, check_exact=True, check_freq=True, check_flags=True)
    elif isinstance(one, pl.DataFrame):
        assert one.equals(other) and one.schema == other.schema
    else:
        assert one == other


@pytest.fixture
def quiet() -> Iterator[None]:
    """Runs in which every row fails say so; here that is what is wanted."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", SmeltWarning)
        yield


# 86: any index

INDEXES: dict[str, Any] = {
    "range": pd.RangeIndex(10, 16, name="r"),
    "doubled": pd.Index(["a", "a", "b", "b", "a", "c"], name="key"),
    "unsorted": pd.Index([5, 3, 9, 1, 0, 2]),
    "missing": pd.Index(["a", None, "b", None, "c", "d"]),
    "nan": pd.Index([1.0, math.nan, 2.0, math.nan, 1.0, 3.0]),
    "mixed": pd.Index([1, "1", (1, 2), None, 1.5, b"x"], dtype=object),
    "levels": pd.MultiIndex.from_product([["a", "b"], [1, 2, 3]], names=["outer", None]),
    "doubled levels": pd.MultiIndex.from_tuples([("a", 1)] * 6),
    "times": pd.date_range("2026-01-01", periods=6, freq="D", tz="Europe/Berlin"),
    "periods": pd.period_range("2026-01", periods=6, freq="M"),
    "intervals": pd.IntervalIndex.from_breaks(range(7)),
    "categories": pd.CategoricalIndex(list("aabbcc")),
}


@pytest.mark.parametrize("on_conflict", ["raise", "replace"])
@pytest.mark.parametrize("name", INDEXES)
def test_an_index_of_any_sort_comes_back_as_it_was(name: str, on_conflict: Any) -> None:
    frame = pd.DataFrame({"n": range(6), "echo_": "x"}, index=INDEXES[name])
    if on_conflict == "replace":
        frame["echo"] = "old"

    out, _ = run(frame, prompt="Read {n}.", on_conflict=on_conflict)

    assert out.index.is_(frame.index)  # The same object, seen through another view.
    assert out.index.identical(frame.index)
    assert [json.loads(text)["n"] for text in out["echo"]] == list(range(6))
    assert out["n"].tolist() == list(range(6))


def test_errors_carry_the_label_of_their_row() -> None:
    frame = pd.DataFrame({"n": range(6)}, index=INDEXES["levels"])
    provider = ScriptedProvider(lambda row: echo(row) if row["n"] % 2 else None)

    result = Job("Read it.", Echo, progress=False, max_attempts=1).run(provider, data=frame)

    assert [(error.position, error.label) for error in result.errors] == [(0, ("a", 1)), (2, ("a", 3)), (4, ("b", 2))]


# 87, 101, 102: nothing to ask, and nobody who answers


def pandas_schema(frame: pd.DataFrame) -> dict[str, str]:
    return {str(name): str(dtype) for name, dtype in frame.dtypes.items()}


def polars_schema(frame: pl.DataFrame) -> dict[str, str]:
    return {name: str(dtype) for name, dtype in frame.schema.items()}


LIBRARIES = pytest.mark.parametrize(
    ("make", "schema"), [(pd.DataFrame, pandas_schema), (pl.DataFrame, polars_schema)], ids=["pandas", "polars"]
)


@LIBRARIES
@pytest.mark.parametrize("flatten", [False, True], ids=["nested", "flat"])
def test_dtypes_are_declared_whatever_becomes_of_the_rows(make: Any, schema: Any, flatten: bool, quiet: None) -> None:
    columns = {"n": [1, 2, 3]}

    def outputs(frame: Any, answer: Any) -> tuple[dict[str, str], int]:
        out, provider = run(frame, answer, Every, flatten=flatten, max_attempts=1)
        return {name: dtype for name, dtype in schema(out).items() if name != "n"}, len(provider.requests)

    answered, _ = outputs(make(columns), EVERY)
    mixed, _ = outputs(make(columns), lambda row: EVERY if row["n"] == 2 else None)
    failed, _ = outputs(make(columns), lambda row: None)
    empty, sent = outputs(make(columns)[:0], EVERY)

    assert mixed == failed == empty == answered
    assert sent == 0
    assert not {"object", "Object", "Null"} & set(answered.values())


@LIBRARIES
def test_integers_and_booleans_beside_errors_stay_what_they_are(make: Any, schema: Any, quiet: None) -> None:
    out, _ = run(make({"n": [1, 2, 3]}), lambda row: EVERY if row["n"] != 2 else None, Every, max_attempts=1)

    values = out.to_dict("list") if isinstance(out, pd.DataFrame) else out.to_dict(as_series=False)
    assert values["count"][0] == values["count"][2] == 2**53 + 1
    assert values["flag"][0] is True or values["flag"][0] == np.True_
    assert [bool(pd.isna(one)) for one in values["count"]] == [False, True, False]


@pytest.mark.parametrize(
    "data",
    [pd.DataFrame(), pl.DataFrame(), [], pd.DataFrame({"a": []}), pl.DataFrame(schema={"a": pl.Int8})],
    ids=["pandas", "polars", "list", "pandas rows", "polars rows"],
)
def test_no_rows_are_no_requests_and_typed_columns(data: Any) -> None:
    out, provider = run(data, prompt="Read {a}.")

    assert provider.requests == []
    assert len(out) == 0
    if not isinstance(out, list):
        assert list(out.columns)[-2:] == ["echo", "smelt_error"]


@LIBRARIES
def test_an_empty_frame_keeps_its_own_dtypes(make: Any, schema: Any) -> None:
    frame = make({"n": [1], "x": [0.5], "s": ["a"]})[:0]

    out, _ = run(frame)

    assert {name: schema(out)[name] for name in "nxs"} == schema(frame)


@LIBRARIES
def test_one_row_is_one_request(make: Any, schema: Any) -> None:
    out, provider = run(make({"n": [7]}))

    assert len(provider.requests) == 1
    assert list(out["echo"]) == ['{"n": 7}']


def test_a_run_in_which_every_row_fails_gives_a_frame_and_says_so_once() -> None:
    provider = ScriptedProvider(lambda row: None)

    with pytest.warns(SmeltWarning, match="Every row failed") as caught:
        out = Job("x", Every, progress=False, max_attempts=1).run(provider, data=pd.DataFrame({"n": [1, 2]})).frame

    assert len(caught) == 1
    assert out["smelt_error"].str.startswith("missing: ").all()


# 62: validators of the caller's that return something else


def returning(value: Any, annotation: Any) -> type[BaseModel]:
    return create_model("Answer", x=(Annotated[annotation, AfterValidator(lambda _: value)], ...))


STRAYS = [
    (None, str, "a"), (5, str, "a"), ("c", Literal["a", "b"], "a"), (["a"], Literal["a", "b"], "a"), ("many", int, 1),
    (2.5, int, 1), (True, int, 1), (1, bool, True), (1, float, 0.5), ("x", list[str], ["a"]), ([1], list[str], ["a"]),
    (datetime(2026, 1, 1), date, "2026-01-01"), ({"name": "n", "size": 1}, Part, {"name": "n", "size": 1}),
    (object(), Decimal, "1.00"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("value", "annotation", "answer"), STRAYS, ids=[f"{one[0]!r:.12} for {one[1]}" for one in STRAYS]
)
@LIBRARIES
def test_a_validator_that_returns_something_else_is_an_error_of_its_row(
    make: Any, schema: Any, value: Any, annotation: Any, answer: Any, quiet: None
) -> None:
    if annotation is Decimal:
        annotation = Annotated[Decimal, Field(decimal_places=2)]
    frame = make({"n": [1, 2]})

    out, provider = run(frame, {"x": answer}, returning(value, annotation))

    assert provider.rows_sent == 2  # Asking again would cost, and change nothing.
    assert all(text.startswith("validator: x: ") for text in out["smelt_error"])
    assert schema(out) == schema(run(frame, {"x": answer}, create_model("Answer", x=(annotation, ...)))[0])


# 88: nulls


@LIBRARIES
@pytest.mark.parametrize(("null_rows", "asked_rows"), [("send", 3), ("skip", 2)])
def test_rows_of_nulls_are_sent_once_or_skipped_without_an_error(
    make: Any, schema: Any, null_rows: Any, asked_rows: int
) -> None:
    frame = make({"a": ["x", None, None, "y"], "b": [1.0, None, None, None]})

    out, provider = run(frame, null_rows=null_rows)

    assert provider.rows_sent == asked_rows
    echoes = list(out["echo"])
    assert [json.loads(echoes[0])["a"], json.loads(echoes[3])["a"]] == ["x", "y"]
    assert all(pd.isna(one) == (null_rows == "skip") for one in echoes[1:3])
    assert all(pd.isna(one) for one in out["smelt_error"])


def test_a_frame_of_nulls_alone_asks_nothing_when_they_are_skipped() -> None:
    out, provider = run(pd.DataFrame({"a": [None, None]}), null_rows="skip")

    assert provider.requests == []
    assert out["echo"].isna().all()
    assert out["smelt_error"].isna().all()


@pytest.mark.parametrize("missing", [None, math.nan, pd.NA, pd.NaT], ids=["None", "nan", "NA", "NaT"])
def test_whatever_is_missing_is_null_to_the_model(missing: Any) -> None:
    _, provider = run(pd.DataFrame({"a": pd.Series(["x", missing], dtype=object)}), shuffle=False)

    assert [row for _, row in asked(provider.requests[0])] == [{"a": "x"}, {"a": None}]


def test_infinities_are_words_and_large_integers_whole() -> None:
    _, provider = run(pd.DataFrame({"x": [math.inf, -math.inf], "n": [2**53 + 1, -(2**63)]}), shuffle=False)

    sent = [row for _, row in asked(provider.requests[0])]
    assert sent == [{"x": "inf", "n": 2**53 + 1}, {"x": "-inf", "n": -(2**63)}]


# 90: every dtype passes through untouched

CELLS: dict[str, list[Any]] = {
    "i": [1, -5], "f": [0.1, -2.5], "b": [True, False], "s": ["a", "ü"], "d": [date(2026, 1, 31), date(1, 1, 1)],
    "t": [datetime(2026, 1, 31, 9, tzinfo=UTC), datetime(1999, 1, 1, tzinfo=UTC)],
    "td": [timedelta(days=1), timedelta(0)],
    "dec": [Decimal("1.20"), Decimal("-3.00")], "l": [[1, 2], []], "st": [{"x": 1}, {"x": 2}],
}  # fmt: skip


@pytest.mark.parametrize(
    "frame",
    [
        pl.DataFrame(CELLS),
        pl.DataFrame(CELLS).to_pandas(),
        pl.DataFrame(CELLS).to_pandas(use_pyarrow_extension_array=True),
        pd.DataFrame(CELLS).convert_dtypes(),
        pd.DataFrame({"c": pd.Categorical(["a", None]), "p": pd.period_range("2026-01", periods=2, freq="M"),
                      "iv": pd.arrays.IntervalArray.from_breaks([0, 1, 2]), "u": [uuid.UUID(int=1), uuid.UUID(int=2)],
                      "sp": pd.arrays.SparseArray([0, 1]), "u8": np.array([1, 2], dtype="u1"),
                      "f4": np.array([0.1, 2], "f4")}),
    ],
    ids=["polars", "pandas", "arrow", "nullable", "special"],
)  # fmt: skip
def test_every_column_comes_back_with_its_values_and_its_dtype(frame: Any) -> None:
    out, provider = run(frame, shuffle=False)

    kept = out[list(frame.columns)] if isinstance(out, pd.DataFrame) else out.select(frame.columns)
    assert_same(kept, frame)
    assert [json.loads(text) for text in out["echo"]] == [row for _, row in asked(provider.requests[0])]


# 93: names that look like ours

NAMES = ["id", "rows", "row", "row_id", "index", "problem", "smelt", "", " ", "{", "}", "{}", "{id}", "%s", '"', "'",
         "\\", "\n", "\x00", "ü" * 5_000, "🙂", "</script>", "None", "0", "text"]  # fmt: skip


@pytest.mark.parametrize(
    "make",
    [pd.DataFrame, pl.DataFrame, lambda columns: [{name: cell[0] for name, cell in columns.items()}]],
    ids=["pandas", "polars", "records"],
)
@pytest.mark.parametrize("name", NAMES, ids=lambda one: ascii(one)[:12])
def test_a_column_may_have_any_name(name: str, make: Any) -> None:
    data = make({name: ["x"], "other": ["y"]})
    escaped = name.replace("{", "{{").replace("}", "}}")

    out, provider = run(data, prompt=f"Read {escaped}.")

    assert asked(provider.requests[0])[0][1] == {name: "x", "other": "y"}
    echoed = out[0]["echo"] if isinstance(out, list) else out["echo"][0]
    assert json.loads(echoed) == {name: "x", "other": "y"}


@pytest.mark.parametrize("name", [name for name in NAMES if not set("{}") & set(name)], ids=lambda one: ascii(one)[:12])
def test_a_prompt_may_name_any_column_without_braces_in_it(name: str) -> None:
    _, provider = run(pd.DataFrame({name: ["x"], "other": ["y"]}), prompt=f"Read {{{name}}} now.")

    assert asked(provider.requests[0])[0][1] == {name: "x"}


def test_labels_that_are_no_strings_are_named_by_their_text() -> None:
    frame = pd.DataFrame([[1, 2, 3]], columns=pd.Index([0, None, date(2026, 1, 31)], dtype=object))

    out, provider = run(frame, columns=["0", "2026-01-31"])

    assert asked(provider.requests[0])[0][1] == {"0": 1, "2026-01-31": 3}
    assert list(out.columns)[:3] == [0, None, date(2026, 1, 31)]


# 81, 94 to 96: cells


@pytest.mark.parametrize(
    "cell",
    [
        "\x00",
        "a\x00b",
        "\u202e",
        "\ufeff",
        "\u2028",
        "\ud83d\ude42".encode("utf-16", "surrogatepass").decode("utf-16"),
        '"}],"id":"x',
        "```",
        "{name}",
        "x" * 1_000_000,
    ],
    ids=lambda one: ascii(one)[:12],
)
@pytest.mark.parametrize("make", [pd.DataFrame, pl.DataFrame], ids=["pandas", "polars"])
def test_a_cell_of_any_text_arrives_and_comes_back_unchanged(make: Any, cell: str) -> None:
    out, _ = run(make({"name": [cell, "plain"]}), lambda row: {"echo": row["name"]})

    assert list(out["echo"]) == [cell, "plain"]


def test_half_of_a_surrogate_pair_is_an_error_of_its_row_alone() -> None:
    frame = pd.DataFrame({"name": pd.Series(["a", "\ud800", "c"], dtype=object)})

    out, provider = run(frame, lambda row: {"echo": row["name"]})

    assert provider.rows_sent == 2
    assert out["echo"].tolist()[::2] == ["a", "c"]
    assert out["smelt_error"][1].startswith("unsendable: column 'name': text with half of a surrogate pair")


def test_a_row_that_cannot_fit_is_an_error_before_it_is_sent() -> None:
    frame = pd.DataFrame({"name": ["a", "x" * 100_000, "c"]})

    out, provider = run(frame, lambda row: {"echo": row["name"]}, capabilities=Capabilities(context_tokens=4_000))

    assert provider.rows_sent == 2
    assert out["smelt_error"][1].startswith("too_long: ")


@pytest.mark.parametrize("make", [pd.DataFrame, pl.DataFrame], ids=["pandas", "polars"])
def test_chunks_are_bounded_by_bytes_and_not_only_by_rows(make: Any) -> None:
    sizes = [100_000 if number % 20 == 0 else 100 for number in range(200)]
    frame = make({"n": range(200), "text": ["x" * size for size in sizes]})

    out, provider = run(frame, lambda row: {"echo": str(row["n"])}, batch_size=100)

    assert list(out["echo"]) == [str(number) for number in range(200)]
    assert provider.rows_sent == 200
    for request in provider.requests:
        rows = asked(request)
        assert len(rows) == 1 or len(request.user) < 40_000
    assert max(len(asked(request)) for request in provider.requests) > 10


# 92, duplicates


@LIBRARIES
def test_equal_rows_are_asked_once_and_answered_each(make: Any, schema: Any) -> None:
    frame = make({"name": ["a", "b", "a", "c", "b", "a"] * 50, "unused": range(300)})

    out, provider = run(frame, prompt="Read {name}.")

    assert provider.rows_sent == 3
    assert [json.loads(text)["name"] for text in out["echo"]] == list(out["name"])


@LIBRARIES
def test_the_error_of_a_row_is_the_error_of_all_its_twins(make: Any, schema: Any) -> None:
    provider = ScriptedProvider(lambda row: None if row["name"] == "b" else echo(row))

    result = Job("x", Echo, progress=False, max_attempts=1).run(provider, data=make({"name": list("abab")}))

    assert [error.position for error in result.errors] == [1, 3]
    assert (result.metrics.distinct_rows, result.metrics.failed_rows) == (2, 2)


@pytest.mark.parametrize("cells", [[1, 1.0], ["1", 1], [True, 1], [None, "null"], ["a", "a "], [0.0, -0.0]], ids=repr)
def test_values_that_differ_in_kind_are_different_rows(cells: Sequence[Any]) -> None:
    _, provider = run(pd.DataFrame({"a": pd.Series(cells, dtype=object)}))

    assert provider.rows_sent == 2


# 98 to 100: views, wide frames, attrs, sharing


def wide(make: Callable[[Any], Any]) -> Any:
    return make({f"c{number}": [number, number + 1] for number in range(10_000)})


@pytest.mark.parametrize("make", [pd.DataFrame, pl.DataFrame], ids=["pandas", "polars"])
def test_only_the_chosen_of_ten_thousand_columns_are_touched(make: Any) -> None:
    frame = wide(make)
    unreadable = frame.assign(c5=b"x") if make is pd.DataFrame else frame.with_columns(c5=pl.lit(b"x"))

    provider = ScriptedProvider(echo)
    out = Job("Read {c7}.", Echo, progress=False, columns=["c7", "c9"]).run(provider, data=unreadable).frame

    assert [row for _, row in asked(provider.requests[0])] in (
        [{"c7": 7, "c9": 9}, {"c7": 8, "c9": 10}],
        [{"c7": 8, "c9": 10}, {"c7": 7, "c9": 9}],
    )
    assert out.shape == (2, 10_002)


def test_slices_and_views_are_read_at_their_own_rows_and_left_alone() -> None:
    whole = pd.DataFrame({"n": range(100), "s": [str(number) for number in range(100)]})
    views = [whole.iloc[10:20], whole[whole["n"] % 7 == 0], whole.iloc[::-3], whole.loc[[5, 5, 3]], whole.T.T.iloc[:3]]
    before = whole.copy()

    for view in views:
        out, _ = run(view, prompt="Read {s}.")
        assert [json.loads(text)["s"] for text in out["echo"]] == view["s"].tolist()

    pd.testing.assert_frame_equal(whole, before)


def test_a_polars_slice_and_a_rechunked_concat_are_read_at_their_own_rows() -> None:
    whole = pl.DataFrame({"n": range(100)})
    views = [
        whole[10:20],
        whole.filter(pl.col("n") % 7 == 0),
        whole.reverse(),
        pl.concat([whole[:3], whole[50:53]], rechunk=False),
    ]

    for view in views:
        out, _ = run(view)
        assert [json.loads(text)["n"] for text in out["echo"]] == view["n"].to_list()


def test_attrs_and_flags_and_the_name_of_the_columns_are_kept() -> None:
    frame = pd.DataFrame({"n": [1, 2]})
    frame.attrs = {"source": {"file": "a.csv"}}
    frame.columns.name = "fields"

    out, _ = run(frame)

    assert out.attrs == frame.attrs
    assert out.columns.name == "fields"


@pytest.mark.parametrize("make", [pd.DataFrame, pl.DataFrame], ids=["pandas", "polars"])
def test_writing_into_the_result_does_not_reach_the_input(make: Any) -> None:
    frame = make({"n": [1, 2]})
    before = copy.deepcopy(frame)

    out, _ = run(frame)
    if make is pd.DataFrame:
        out.loc[:, "n"] = 9
        del out["n"]
    else:
        out[0, "n"] = 9

    assert_same(frame, before)


@pytest.mark.parametrize("make", [pd.DataFrame, pl.DataFrame], ids=["pandas", "polars"])
def test_a_frame_that_changes_while_it_is_asked_about_does_not_change_the_run(make: Any) -> None:
    frame = make({"n": list(range(40))})

    def change(row: Any) -> dict[str, Any]:
        if make is pd.DataFrame:
            frame.loc[:, "n"] = -1
        else:
            frame[0, "n"] = -1
        return {"echo": str(row["n"])}

    out = Job("x", Echo, progress=False).run(ScriptedProvider(change), data=frame).frame

    assert list(out["n"]) == list(range(40))
    assert list(out["echo"]) == [str(number) for number in range(40)]


# Everything at once

CELL = st.none() | st.text(max_size=6) | st.integers(-(2**63), 2**63 - 1) | st.booleans()


@settings(max_examples=15)
@given(
    cells=st.lists(CELL, max_size=30),
    batch_size=st.sampled_from(["auto", 1, 3, 50]),
    shuffle=st.booleans(),
    codec=st.sampled_from(["array", "keyed"]),
)
def test_every_answer_is_on_its_own_row(cells: list[Any], batch_size: Any, shuffle: bool, codec: Any) -> None:
    provider = ScriptedProvider(lambda row: echo(row), capabilities=Capabilities(codec=codec, dialect=Dialect()))

    out = Job("x", Echo, progress=False, batch_size=batch_size, shuffle=shuffle).run(
        provider, data=[{"cell": one} for one in cells]
    )

    assert [json.loads(row["echo"])["cell"] for row in out.frame] == cells
    assert provider.rows_sent == len({json.dumps(one) for one in cells})
