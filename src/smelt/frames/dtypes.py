"""The dtype table: the dtype of each kind in pandas, Arrow and Polars.

The kind decides the dtype, never the data. So a column has the same dtype for zero rows, for failed rows only, and for
any values. The functions import the libraries, because only one of them may be installed.

    kind                pandas                          Polars
    Text                str                             String
    Integer             Int64                           Int64
    Float               Float64                         Float64
    Boolean             boolean                         Boolean
    Choice              category, in declared order     Enum
    FixedPoint          decimal128(38, places)[pyarrow] Decimal(38, places)
    Timestamp           datetime64[us, UTC]             Datetime("us", "UTC")
    … aware=False       datetime64[us]                  Datetime("us")
    Date                date32[day][pyarrow]            Date
    Duration            timedelta64[us]                 Duration("us")
    Array               list<…>[pyarrow]                List
    Struct              struct<…>[pyarrow]              Struct

Inside Arrow lists and structs a Choice is plain text. Dtypes marked [pyarrow] need pyarrow. There is no fallback to
another pandas dtype, because the dtype must not depend on the installed packages.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from smelt.errors import MissingDependencyError
from smelt.plan.kinds import (
    Array,
    Boolean,
    Choice,
    Date,
    Duration,
    FixedPoint,
    Float,
    Integer,
    Kind,
    Struct,
    Text,
    Timestamp,
)

if TYPE_CHECKING:
    import polars as pl
    import pyarrow as pa

DIGITS = 38  # Precision of a 128-bit decimal; the field's own limit is not used.


def pandas_dtype(kind: Kind) -> Any:
    """The pandas dtype of a column of *kind*.

    Raises:
        MissingDependencyError: This kind needs pyarrow, which is not installed.
    """
    import pandas as pd

    match kind:
        case Text():
            return pd.api.types.pandas_dtype("str")
        case Integer():
            return pd.Int64Dtype()
        case Float():
            return pd.Float64Dtype()
        case Boolean():
            return pd.BooleanDtype()
        case Choice(values=values):
            return pd.CategoricalDtype(list(values), ordered=False)
        case Timestamp(aware=True):
            return pd.DatetimeTZDtype("us", "UTC")
        case Timestamp():
            return pd.api.types.pandas_dtype("datetime64[us]")
        case Duration():
            return pd.api.types.pandas_dtype("timedelta64[us]")
        case _:
            return pd.ArrowDtype(arrow_type(kind))


def arrow_type(kind: Kind) -> pa.DataType:
    """The Arrow type of *kind*, as used in pandas and inside lists and structs.

    Raises:
        MissingDependencyError: pyarrow is not installed.
    """
    pa = load_arrow()
    match kind:
        case Text() | Choice():
            return pa.string()
        case Integer():
            return pa.int64()
        case Float():
            return pa.float64()
        case Boolean():
            return pa.bool_()
        case FixedPoint(places=places):
            return pa.decimal128(DIGITS, places)
        case Timestamp(aware=aware):
            return pa.timestamp("us", "UTC" if aware else None)
        case Date():
            return pa.date32()
        case Duration():
            return pa.duration("us")
        case Array(item=item):
            return pa.list_(arrow_type(item))
        case Struct(fields=fields):
            return pa.struct([(one.name, arrow_type(one.kind)) for one in fields])
    raise TypeError(f"There is no Arrow type for {type(kind).__name__}.")


def load_arrow() -> Any:
    """The module pyarrow.

    Raises:
        MissingDependencyError: It is not installed.
    """
    try:
        import pyarrow
    except ModuleNotFoundError as error:
        if error.name != "pyarrow":
            raise
        raise MissingDependencyError.for_extra("arrow", "pyarrow") from None
    return pyarrow


def polars_dtype(kind: Kind) -> pl.DataType:
    """The Polars dtype of a column of *kind*."""
    import polars as pl

    match kind:
        case Text():
            return pl.String()
        case Integer():
            return pl.Int64()
        case Float():
            return pl.Float64()
        case Boolean():
            return pl.Boolean()
        case Choice(values=values):
            return pl.Enum(values)
        case FixedPoint(places=places):
            return pl.Decimal(DIGITS, places)
        case Timestamp(aware=aware):
            return pl.Datetime("us", "UTC" if aware else None)
        case Date():
            return pl.Date()
        case Duration():
            return pl.Duration("us")
        case Array(item=item):
            return pl.List(polars_dtype(item))
        case Struct(fields=fields):
            return pl.Struct({one.name: polars_dtype(one.kind) for one in fields})
    raise TypeError(f"There is no Polars dtype for {type(kind).__name__}.")
