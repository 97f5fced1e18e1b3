"""A transform as a node of a lazy plan: what its surroundings want of it, and the answers to just that.

Polars asks a Python source for some columns, some rows and a filter (`register_io_source`). What that comes to here: rows
that the filter drops by their inputs, or that lie behind the last one wanted, are not sent; fields that nobody looks at
are not asked for; where nothing but inputs is wanted, nothing is sent at all.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal, NoReturn

import polars as pl
from polars.io.plugins import register_io_source

from smelt.call.preparation import Preparation
from smelt.errors import ConfigTypeError
from smelt.frames.dtypes import polars_dtype
from smelt.lazy.pushdown import known_height, split
from smelt.streaming.stream import stream

Fields = Literal["used", "all"]

_FROM_ABOVE = 8_192  # Rows that are read at once.
# Polars takes a frame more than it needs, and the stream reads ahead of that, so frames are small where few rows are wanted:
_FIRST = 32  # Rows of the first ones, or a pool's worth where that is less.
_GROWTH = 4  # Later ones have a quarter of the rows before them at the most.


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """What the plan wants of a step.

    Attributes:
        columns: The columns to give, in this order.
        read: The columns to read.
        fields: Fields to ask for; none where no answer is looked at.
        early: Filters on inputs.
        late: Filters that need answers.
        most: Input rows at the most, counted before the filters; None for all.
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
        upstream: What it is about.
        call: The checked call, prepared with no rows.
        is_whole: Whether all fields are asked for, whatever is looked at.
    """

    upstream: pl.LazyFrame
    call: Preparation
    is_whole: bool = False

    def __reduce__(self) -> NoReturn:
        """Refuse to be written down: a plan would take what the model was given along, and read functions back."""
        raise ConfigTypeError(
            "A plan with a smelt step cannot be serialized or pickled. Serialize the plan before the step, and call "
            "transform where it is read."
        )

    @property
    def outputs(self) -> dict[str, pl.DataType]:
        """The columns that it adds, with their dtypes."""
        added = {column.name: polars_dtype(column.field.kind) for column in self.call.columns}
        return {**added, self.call.error_column: pl.String()}

    @property
    def blank(self) -> str:
        """A column of nulls that is read where only the number of rows is wanted.

        Polars then takes the column with the smallest values. That might be an output, and cost money; no values are
        smaller than none.
        """
        name = "rows"
        while name in self.schema():
            name += "_"
        return name

    @property
    def turn(self) -> int:
        """Rows that are in flight when the pool is full, at the most."""
        return self.call.concurrency * self.call.work().most_rows

    def schema(self) -> pl.Schema:
        """All its columns. Sends nothing."""
        return pl.Schema({**self.upstream.collect_schema(), **self.outputs})

    def source(self) -> pl.LazyFrame:
        """The node that gives what the plan wants, a few rows at a time; runs on a thread of Polars."""

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
        """The node that takes all rows at once and gives all columns; runs on the thread that collects."""

        def answer(frame: pl.DataFrame) -> pl.DataFrame:
            (finished,) = self.over(iter([frame]))
            return finished

        # Filters on inputs and `head` go below it: it changes no input column, so they find the same rows there.
        return marked(self.upstream.map_batches(answer, schema=self.schema(), predicate_pushdown=True), self)

    def over(
        self, frames: Iterator[pl.DataFrame], fields: Sequence[str] | None = None, rows: int | None = None
    ) -> Iterator[pl.DataFrame]:
        """Each of *frames* with its answers."""
        return stream(frames, self.call, fields=fields, rows=rows)

    def wanted(self, columns: Sequence[str] | None, predicate: pl.Expr | None, rows: int | None) -> Wanted:
        """What Polars asks for, in terms of the step."""
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
        # Whether a row fails depends on all fields, where nothing else of it is looked at.
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
            for part in wanted.late:
                finished = finished.filter(part)  # noqa: PLW2901
            if self.blank in wanted.columns:
                finished = finished.with_columns(pl.lit(None).alias(self.blank))  # noqa: PLW2901
            # A frame without columns has no rows either, unless it is told.
            yield finished.select(wanted.columns) if wanted.columns else pl.DataFrame(height=finished.height)

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
    """*frame*, which is known to be *step*; whatever is made of it is another frame, and has no mark."""
    setattr(frame, _MARK, step)
    return frame


def steps_of(frame: pl.LazyFrame) -> tuple[pl.LazyFrame, list[Step]]:
    """The steps that *frame* ends with, in order, and what the first of them is about."""
    steps: list[Step] = []
    while (step := getattr(frame, _MARK, None)) is not None:
        steps.insert(0, step)
        frame = step.upstream
    return frame, steps


def ramped(frames: Iterator[pl.DataFrame], first: int) -> Iterator[pl.DataFrame]:
    """The rows of *frames*, *first* of them at once in the beginning and more later."""
    before = 0
    for frame in frames:
        at = 0
        while at < frame.height:
            part = frame.slice(at, max(first, before // _GROWTH))
            yield part
            at += part.height
            before += part.height
