"""Changes of the shape of a frame that the steps of a pipeline make: choose, rename, compute and stack columns.

`shaping_of` chooses the functions of the frame's library. Rows are matched by position and never by label.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol, cast

from smelt.errors import ConfigTypeError, SmeltConfigError
from smelt.frames.adapt import kind_of
from smelt.frames.base import Frame
from smelt.messages import described_argument


class Shaping(Protocol):
    """The functions of one library. A *column* is a Series, or a list for a list of dicts."""

    def view(self, frame: Frame, names: Mapping[str, str]) -> Any:
        """A native frame with some columns only: new name to old name, in this order."""
        ...

    def computed(self, native: Any, value: Any, what: str) -> Any:
        """The column that *value* says: a function of the frame, an expression, or a constant.

        Raises:
            SmeltConfigError: It is no column with one value for each row.
        """
        ...

    def made(self, native: Any, values: list[Any], dtype: Any = None) -> Any:
        """A column of *values*, one for each row, of this *dtype* if one is given."""
        ...

    def item_dtype(self, column: Any) -> Any:
        """The dtype of the items of a column of lists; None if the library tells types by their values."""
        ...

    def list_dtype(self, column: Any) -> Any:
        """The dtype of lists of the values of a column; None if the library tells types by their values."""
        ...

    def spread(self, column: Any, positions: Sequence[int], rows: int) -> Any:
        """The values of *column* at *positions* of a longer column of *rows*; all others are null."""
        ...

    def with_column(self, native: Any, name: str, column: Any) -> Any:
        """*native* with *column*, which replaces one of the same name at its place."""
        ...

    def column(self, frame: Frame, name: str) -> Any:
        """The column *name*."""
        ...

    def values(self, column: Any) -> list[Any]:
        """The Python values of a column; nulls are None."""
        ...

    def renumbered(self, native: Any) -> Any:
        """*native* with new labels, from 0, if the library has labels."""
        ...

    def stacked(self, first: Any, second: Any) -> Any:
        """The rows of both frames; a column that one of them lacks is null there."""
        ...

    def joined(self, natives: Sequence[Any]) -> Any:
        """The rows of pieces of one frame, one after the other."""
        ...

    def labelled(self, native: Any, like: Any) -> Any:
        """*native* with the very labels of the frame *like*, if the library has labels: they are equal."""
        ...


def shaping_of(native: Any) -> Shaping:
    """The functions for a frame.

    Raises:
        ConfigTypeError: Pipelines do not take such a frame.
    """
    match kind_of(native):
        case "pandas.DataFrame":
            from smelt.frames import pandas_shaping as pandas

            return cast("Shaping", pandas)
        case "polars.DataFrame":
            from smelt.frames import polars_shaping as polars

            return cast("Shaping", polars)
        case "list":
            from smelt.frames import records_shaping as records

            return cast("Shaping", records)
        case "pyarrow.Table" | "pyarrow.RecordBatch":
            from smelt.frames import arrow_shaping as arrow

            return cast("Shaping", arrow)
        case other:
            raise ConfigTypeError(
                f"A pipeline takes a pandas or Polars DataFrame, an Arrow table or a list of dicts, not a {other}."
            )


def mask(shaping: Shaping, native: Any, test: Any, what: str) -> list[bool]:
    """Whether each row of *native* passes *test*; a null does not.

    Args:
        shaping: The functions of its library.
        native: The rows.
        test: A function of the frame (of one row, for a list of dicts), or a Polars expression.
        what: The argument, for messages.

    Raises:
        SmeltConfigError: *test* gives something else than True or False for each row.
    """
    found = shaping.values(shaping.computed(native, test, what))
    if strange := [one for one in found if one is not None and one not in (True, False)]:
        raise SmeltConfigError(
            f"{what} must give True or False for each row, and gave {described_argument(strange[0])}."
        )
    return [bool(one) for one in found]
