"""A pipeline as a node of a Polars lazy plan: rows are asked when that is collected, and streamed where they can be.

Filters on columns of the input, and `head`, are pushed before the pipeline if that keeps its rows. Steps that make
nothing the plan uses are not asked.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import polars as pl
from polars.io.plugins import register_io_source

from smelt.errors import SmeltConfigError
from smelt.frames.polars import empty
from smelt.lazy.pushdown import blank_column, known_height, selected, split
from smelt.lazy.step import ramped

_FROM_ABOVE = 8_192  # Rows per batch read from the plan.
_FIRST = 32  # Rows of the first frames; Polars takes one frame more than it needs.


class Piping(Protocol):
    """What a node needs of a pipeline.

    Attributes:
        name: Its name.
        keeps_rows: Whether each row of the input is one row of the output.
        is_streamed: Whether it can run on pieces of its input.
        made: The columns that its steps make or replace, and the error column.
        models: What answers, in words.
        turns: For each step that asks, the rows in flight when all its workers are busy.
    """

    name: str
    keeps_rows: bool
    is_streamed: bool
    made: Collection[str]
    models: str
    turns: Sequence[int]

    @property
    def asked(self) -> Mapping[str, str]:
        """For each step a digest of all that its answers depend on."""
        ...

    def blank(self, frame: Any) -> Any:
        """What it makes of *frame*, which has no rows. Sends nothing."""
        ...

    def over(self, frames: Iterator[Any], wanted: Collection[str], rows: int | None) -> Iterator[Any]:
        """What it makes of each frame, with the columns *wanted* at least."""
        ...

    def at_once(self, frame: Any, wanted: Collection[str]) -> Any:
        """What it makes of all rows."""
        ...


def piped(upstream: pl.LazyFrame, pipe: Piping) -> pl.LazyFrame:
    """*upstream*, followed by a node that runs *pipe*."""
    schema: pl.Schema = pipe.blank(empty(upstream)).schema
    blank = blank_column(schema)

    def read(
        columns: list[str] | None, predicate: pl.Expr | None, rows: int | None, batch: int | None
    ) -> Iterator[pl.DataFrame]:
        shown = list(schema) if columns is None else columns
        early, late = split(predicate, pipe.made if pipe.keeps_rows else list(schema))
        frame = upstream.head(rows) if rows is not None and pipe.keeps_rows else upstream
        for part in early:
            frame = frame.filter(part)
        looked_at = {*shown, *(name for part in late for name in part.meta.root_names())}
        if pipe.keeps_rows and looked_at.isdisjoint(pipe.made):
            found: Iterator[pl.DataFrame] = frame.collect_batches(chunk_size=_FROM_ABOVE)
        elif pipe.is_streamed:
            frames = ramped(frame.collect_batches(chunk_size=_FROM_ABOVE), _FIRST)
            found = pipe.over(frames, looked_at, known_height(frame))
        else:
            found = iter([pipe.at_once(frame.collect(), looked_at)])
        for one in found if rows is None else _first(found, rows):
            yield _shown(one, late, shown, blank, schema)

    source = register_io_source(
        read,
        schema=lambda: pl.Schema({**schema, blank: pl.Null()}),
        explain_name="smelt",
        explain_detail=f"pipeline {pipe.name}, answered by {pipe.models}",
    )
    plan = source.select(list(schema))
    setattr(plan, _MARK, Piped(upstream=upstream, pipe=pipe, schema=schema))
    return plan


_MARK = "_smelt_pipeline"


@dataclass(frozen=True, kw_only=True)
class Piped:
    """A pipeline that a plan ends with.

    Attributes:
        upstream: The plan that gives its input rows.
        pipe: The pipeline.
        schema: Its columns.
    """

    upstream: pl.LazyFrame
    pipe: Piping
    schema: pl.Schema

    def over(self, frames: Iterator[pl.DataFrame], rows: int | None) -> Iterator[tuple[pl.DataFrame, pl.DataFrame]]:
        """Each of *frames*, with what the pipeline makes of it."""
        read = deque[pl.DataFrame]()

        def noted() -> Iterator[pl.DataFrame]:
            for frame in frames:
                read.append(frame)
                yield frame

        for made in self.pipe.over(noted(), list(self.schema), rows):
            yield read.popleft(), _typed(made, self.schema).select(list(self.schema))


def piped_of(frame: pl.LazyFrame) -> Piped | None:
    """The pipeline that *frame* ends with, if it can run on pieces of its input; else None."""
    found: Piped | None = getattr(frame, _MARK, None)
    return found if found is not None and found.pipe.is_streamed else None


def _first(frames: Iterator[pl.DataFrame], rows: int) -> Iterator[pl.DataFrame]:
    """The first *rows* rows of *frames*; no frame is asked for after them."""
    for frame in frames:
        yield frame.head(rows)
        rows -= frame.height
        if rows <= 0:
            return


def _shown(
    frame: pl.DataFrame, late: Sequence[pl.Expr], shown: Sequence[str], blank: str, schema: pl.Schema
) -> pl.DataFrame:
    return _typed(selected(frame, late, shown, blank), schema, blank)


def _typed(frame: pl.DataFrame, schema: pl.Schema, blank: str = "") -> pl.DataFrame:
    """*frame* with the types that the plan has promised."""
    different = {
        name: schema[name]
        for name, found in frame.schema.items()
        if name in schema and name != blank and found != schema[name]
    }
    try:
        return frame.cast(different) if different else frame  # type: ignore[arg-type]  # Names and types.
    except pl.exceptions.PolarsError as problem:
        name, wanted = next(iter(different.items()))
        raise SmeltConfigError(
            f"The pipeline gave column {name!r} as {frame.schema[name]}, and on no rows it gave {wanted}. A plan must "
            "know its types: let the function give that type on an empty frame, too, or collect before the pipeline."
        ) from problem
