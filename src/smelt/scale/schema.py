"""`smelt.schema`: the columns and dtypes of a transform, without a model, a key or a request."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Unpack

from smelt.call.columns import added_to
from smelt.call.defaults import resolved
from smelt.call.options import Options, Settings
from smelt.frames.adapt import adapt
from smelt.frames.base import OutputColumn
from smelt.frames.blank import Library, blank, emptied
from smelt.frames.ddl import ddl_of
from smelt.plan.kinds import Float

if TYPE_CHECKING:
    import pandas as pd
    import polars as pl
    import pyarrow as pa


def schema(output_model: Any, *, like: Any = None, **options: Unpack[Options]) -> FrameSchema:
    """The columns and dtypes that a transform returns, for engines that ask for them beforehand. Sends nothing.

    No model is named, no key is needed, and no SDK is loaded.

    Args:
        output_model: As in `smelt.transform`.
        like: What comes in: a pandas or Polars frame, a LazyFrame, an Arrow table or batch, or an Arrow or Polars
            schema; its rows are not read. None: only the columns that the transform adds are described.
        **options: See `smelt.call.options.Settings`. Those that name columns count: `output`, `flatten`, `on_conflict`,
            `error_column`, `via`.

    Returns:
        The schema, in the words of each library.

    Raises:
        SmeltConfigError: The output model or an option is wrong, or names of columns collide.

    Examples:
        >>> found = smelt.schema(Company, like=df)
        >>> found.arrow.names
        ['name', 'sector', 'smelt_error']
    """
    settings = resolved(dict(options), output_model)
    added_to(adapt([] if like is None else emptied(like)[1]), output_model, settings)  # Raises.
    return FrameSchema(output_model, like, settings)


class FrameSchema:
    """The columns and dtypes of a transformed frame, in the words of each library.

    A library is imported when its property is read. What has no name of its own in a library is what `transform` makes
    of it there: a `Literal` is a category in pandas, an Enum in Polars, a dictionary in Arrow.
    """

    def __init__(self, output_model: Any, like: Any, settings: Settings) -> None:
        """Keep what describes the columns; `smelt.schema` documents the arguments."""
        self._output_model = output_model
        self._like = like
        self._settings = settings

    def __repr__(self) -> str:
        return f"FrameSchema({self.spark})"

    @property
    def arrow(self) -> pa.Schema:
        """The Arrow schema."""
        return self._frame("pyarrow").schema

    @property
    def pandas(self) -> pd.DataFrame:
        """A pandas frame with these columns and no row, which Dask calls `meta`."""
        return self._frame("pandas")  # type: ignore[no-any-return]

    @property
    def polars(self) -> pl.Schema:
        """The Polars schema."""
        return self._frame("polars").schema  # type: ignore[no-any-return]

    @property
    def spark(self) -> str:
        """The schema as Spark writes it, such as "`name` string, `founded` bigint". A `Literal` is a string there."""
        return ddl_of(self.arrow)

    def _frame(self, library: Library) -> Any:
        """A frame of *library*, as `transform` returns it for no rows."""
        frame = adapt(blank(self._like, library))
        added = added_to(frame, self._output_model, self._settings)
        columns = [OutputColumn(name=one.name, kind=one.field.kind, values=()) for one in added.columns]
        columns += [OutputColumn(name=name, kind=Float(), values=()) for name in added.confidences.values()]
        columns.append(OutputColumn(name=added.error_column, kind=None, values=()))
        return frame.attach(columns, dropped=added.dropped)
