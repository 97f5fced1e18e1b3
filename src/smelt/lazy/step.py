"""A transform as a node of a Polars lazy plan, with projection, predicate and slice pushdown.

Polars passes columns, a filter and a row limit to a Python source (`register_io_source`). Rows that the filter drops by
their inputs, and rows after the limit, are not sent. Fields that the plan does not use are not asked for. If the plan
uses only input columns, nothing is sent.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal, NoReturn

import polars as pl
from polars.io.plugins import register_io_source

from smelt.call.preparation import Preparation
from smelt.call.requestsize import rows_in_flight
from smelt.errors import ConfigTypeError
from smelt.frames.dtypes import polars_dtype
from smelt.lazy.pushdown import blank_column, known_height, selected, split
from smelt.streaming.stream import stream

Fields = Literal["used", "all"]

_FROM_ABOVE = 8_192  # Rows per batch read from the plan before the step.
# Polars takes one frame more than it needs, and the stream reads ahead, so the first frames are small:
_FIRST = 32  # Minimum rows of a frame; less if fewer rows fill the worker pool.
_GROWTH = 4  # Later frames have at most a quarter of the rows before them (but at least the minimum).


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """The columns, rows and filters that the plan needs from a step.

    Attributes:
        columns: The columns to return, in this order.
        read: The input columns to read.
        fields: Fields to ask for; empty if no answer is needed.
        early: Filters that use only inputs.
        late: Filters that need answers.
        most: Maximum input rows, counted before the filters; None for all.
    """

    columns: tuple[str, ...]
    read: tuple[str, ...]
    fields: tuple[str, ...]
    early: Sequence[pl.Expr] = ()
    late: Sequence[pl.Expr] = ()
    most: int | None = None


@dataclass(frozen=True, kw_only=True)
class Step:
    """One transform of a lazy plan.

    Attributes:
        upstream: The plan that gives the input rows.
        call: The checked call, prepared with no rows.
        is_whole: Whether all fields are asked for, even if the plan does not use them.
    """

    upstream: pl.LazyFrame
    call: Preparation
    is_whole: bool = False

    def __reduce__(self) -> NoReturn:
        """Refuse pickling: it would write the model's arguments into the plan, and load functions on reading."""
        raise ConfigTypeError(
            "A plan with a smelt step cannot be serialized or pickled. Serialize the plan before the step, and call "
            "transform where it is read."
        )

    @property
    def outputs(self) -> dict[str, pl.DataType]:
        """The columns that the step adds, with their dtypes."""
        added = {column.name: polars_dtype(column.field.kind) for column in self.call.columns}
        return {**added, self.call.error_column: pl.String()}

    @property
    def blank(self) -> str:
        """Name of a column of nulls; see `blank_column`."""
        return blank_column(self.schema())

    @property
    def turn(self) -> int:
        """Maximum rows in flight when the worker pool is full."""
        return rows_in_flight(self.call)

    def schema(self) -> pl.Schema:
        """All columns of the step: inputs and outputs. Sends nothing."""
        return pl.Schema({**self.upstream.collect_schema(), **self.outputs})

    def source(self) -> pl.LazyFrame:
        """The node that returns only what the plan needs, in small frames; runs on a Polars thread."""

        def read(
            columns: list[str] | None, predicate: pl.Expr | None, rows: int | None, batch: int | None
        ) -> Iterator[pl.DataFrame]:
            return self._rows(self.wanted(columns, predicate, rows))

        source = register_io_source(
            read,
            schema=lambda: pl.Schema({**self.schema(), self.blank: pl.Null()}),
            explain_name="smelt",
            explain_detail=self._in_words(),
        )
        return marked(source.select(self.schema().names()), self)

    def node(self) -> pl.LazyFrame:
        """The node that takes all rows at once and returns all columns; runs on the thread that collects."""

        def answer(frame: pl.DataFrame) -> pl.DataFrame:
            (finished,) = self.over(iter([frame]))
            return finished

        # Polars may move filters on inputs and `head` below this node: it changes no input column, so they select the
        # same rows.
        return marked(self.upstream.map_batches(answer, schema=self.schema(), predicate_pushdown=True), self)

    def over(
        self, frames: Iterator[pl.DataFrame], fields: Sequence[str] | None = None, rows: int | None = None
    ) -> Iterator[pl.DataFrame]:
        """Each of *frames* with its answers."""
        return stream(frames, self.call, fields=fields, rows=rows)

    def wanted(self, columns: Sequence[str] | None, predicate: pl.Expr | None, rows: int | None) -> Wanted:
        """The request of Polars, translated to inputs and fields of the step."""
        inputs = self.upstream.collect_schema().names()
        shown = tuple([*inputs, *self.outputs] if columns is None else columns)
        early, late = split(predicate, self.outputs)
        looked_at = {*shown, *(name for part in late for name in part.meta.root_names())}
        fields = self._fields(looked_at)
        sent = self.call.source.names if fields else ()
        read = tuple(name for name in inputs if name in looked_at or name in sent)
        return Wanted(columns=shown, read=read or tuple(inputs[:1]), fields=fields, early=early, late=late, most=rows)

    def _fields(self, looked_at: set[str]) -> tuple[str, ...]:
        every = tuple(dict.fromkeys(column.path[0] for column in self.call.columns))
        used = {column.path[0] for column in self.call.columns if column.name in looked_at}
        if not used and self.call.error_column not in looked_at:
            return ()
        # If the plan uses only the error column, all fields are asked: any of them can make a row fail.
        return tuple(name for name in every if name in used) if used and not self.is_whole else every

    def _rows(self, wanted: Wanted) -> Iterator[pl.DataFrame]:
        frame = self.upstream if wanted.most is None else self.upstream.head(wanted.most)
        for part in wanted.early:
            frame = frame.filter(part)
        frame = frame.select(wanted.read)
        rows = known_height(frame) if wanted.fields else None
        frames: Iterator[pl.DataFrame] = frame.collect_batches(chunk_size=_FROM_ABOVE)
        if wanted.fields:
            frames = self.over(ramped(frames, min(_FIRST, self.turn)), wanted.fields, rows)
        for finished in frames:
            yield selected(finished, wanted.late, wanted.columns, self.blank)

    def _in_words(self) -> str:
        provider, settings = self.call.provider, self.call.settings
        asked = ", ".join(field.name for field in self.call.output.fields)
        limits = [
            f"${settings.max_cost:,.2f} (max_cost)" if settings.max_cost is not None else "",
            f"{settings.max_tokens_total:,} tokens (max_tokens_total)" if settings.max_tokens_total is not None else "",
        ]
        bound = " and ".join(filter(None, limits))
        cost = f"costs at most {bound}" if bound else "costs what its rows cost, without a limit (max_cost)"
        return f"{provider.name}:{provider.model} answers {asked}; {cost}"


_MARK = "_smelt_step"


def marked(frame: pl.LazyFrame, step: Step) -> pl.LazyFrame:
    """*frame*, marked as the node of *step*. Frames derived from it are new objects without the mark."""
    setattr(frame, _MARK, step)
    return frame


def steps_of(frame: pl.LazyFrame) -> tuple[pl.LazyFrame, list[Step]]:
    """The smelt steps that *frame* ends with, in order, and the plan before the first of them."""
    steps: list[Step] = []
    while (step := getattr(frame, _MARK, None)) is not None:
        steps.insert(0, step)
        frame = step.upstream
    return frame, steps


def ramped(frames: Iterator[pl.DataFrame], first: int) -> Iterator[pl.DataFrame]:
    """The rows of *frames* in growing slices, beginning with *first* rows."""
    before = 0
    for frame in frames:
        at = 0
        while at < frame.height:
            part = frame.slice(at, max(first, before // _GROWTH))
            yield part
            at += part.height
            before += part.height
