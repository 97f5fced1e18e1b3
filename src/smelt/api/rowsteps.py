"""The verbs of a pipeline that ask no model: choose rows, compute columns, and go from one row to many and back."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Self

from smelt.api.chain import Chain
from smelt.errors import SmeltConfigError
from smelt.pipelines.steps import Assign, Explode, Filter, Map, require_test
from smelt.tracebacks import plainly


class RowSteps(Chain):
    """The verbs that ask no model."""

    @plainly
    def filter(self, test: Any, *, step: str | None = None) -> Self:
        """Keep the rows that pass a test; a null does not pass. The other rows are not in the result.

        A row that failed in an earlier step has no value to be tested: it stays, with its reason, and is not asked.

        Args:
            test: A function of the frame that gives a mask, such as `lambda df: df["urgency"] >= 3`, or a Polars
                expression. For a list of dicts the function gets one row. It gets all rows, in a stream a piece of
                them.
            step: The name of the step.

        Returns:
            A new pipeline.

        Raises:
            SmeltConfigError: *test* is neither.

        Examples:
            >>> pipe = smelt.pipeline(model=scripted).transform("Classify {name}.", Company)
            >>> pipe.filter(lambda df: df["sector"] == "tech")(df)["name"].tolist()
            ['Arm']
        """
        require_test("test", test)
        return self._with(Filter(name=step or "filter", test=test), is_named=step is not None)

    @plainly
    def assign(self, *expressions: Any, step: str | None = None, **columns: Any) -> Self:
        """Compute columns, without a model.

        Args:
            expressions: Polars expressions with names, such as `pl.col("a").str.len_chars().alias("n")`.
            step: The name of the step.
            columns: Each a function of the frame, a Polars expression or a constant. For a list of dicts the function
                gets one row. It gets all rows, in a stream a piece of them.

        Returns:
            A new pipeline.

        Raises:
            SmeltConfigError: There is no column.

        Examples:
            >>> smelt.pipeline().assign(size=lambda df: df["name"].str.len())(df)["size"].tolist()
            [3, 6]
        """
        values = {_output_name(one): one for one in expressions} | columns
        if not values:
            raise SmeltConfigError("assign needs a column: assign(size=lambda df: …).")
        return self._with(Assign(name=step or "assign", values=values), is_named=step is not None)

    @plainly
    def map(self, function: Callable[[Any], Any], *, columns: Any = None, step: str | None = None) -> Self:
        """Call a function on the frame; rows may come and go. Rows that failed are left out, and come after the others.

        Args:
            function: Takes a frame and returns one of the same library. It may be async.
            columns: The columns that it adds: a class with fields, or a dict of names and types.
            step: The name of the step.

        Returns:
            A new pipeline.

        Raises:
            SmeltConfigError: *function* is no function.

        Examples:
            >>> smelt.pipeline().map(lambda df: df.head(1))(df)["name"].tolist()
            ['Arm']
        """
        if not callable(function):
            raise SmeltConfigError.for_type("function", function, "a function that takes a frame and returns one")
        return self._with(Map(name=step or "map", function=function, columns=columns), is_named=step is not None)

    @plainly
    def explode(self, column: str, *, keep_empty: bool = True, step: str | None = None) -> Self:
        """Make a row of each item of a list. The fields of models become columns, and replace *column*.

        Args:
            column: The column of lists: of the input or of an earlier step.
            keep_empty: Whether a row with an empty list or a null stays, with nulls. A row that failed always stays.
            step: The name of the step.

        Returns:
            A new pipeline.

        Raises:
            SmeltConfigError: An argument is wrong.

        Examples:
            >>> smelt.pipeline().explode("tags")([{"id": 1, "tags": ["a", "b"]}])
            [{'id': 1, 'tags': 'a', 'smelt_error': None}, {'id': 1, 'tags': 'b', 'smelt_error': None}]
        """
        if not isinstance(column, str):
            raise SmeltConfigError.for_type("column", column, "the name of a column")
        return self._with(
            Explode(name=step or f"explode {column}", column=column, keep_empty=keep_empty), is_named=step is not None
        )


def _output_name(expression: Any) -> str:
    name = getattr(getattr(expression, "meta", None), "output_name", None)
    if name is None:
        raise SmeltConfigError.for_type(
            "assign", expression, "a Polars expression, or a column by name: size=lambda df: …"
        )
    return str(name())
