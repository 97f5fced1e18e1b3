"""`smelt run`: rows in, rows with answers out, and a line about what happened."""

from __future__ import annotations

import sys
import time
from argparse import Namespace
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from smelt.cli import pipes
from smelt.cli.arguments import Question, question
from smelt.cli.inputs import Source, opened
from smelt.cli.outputs import Target, target
from smelt.cli.pipes import is_pipeline, require_out, source_and_words
from smelt.cli.summary import ENDED_EARLY, Summary, Written, telling
from smelt.cli.tables import shown
from smelt.cli.telling import complain, unreadable
from smelt.cli.upkeep import load_models
from smelt.messages import counted, price

if TYPE_CHECKING:
    import polars as pl

    from smelt.lazy.step import Step

_ASKS_ABOVE = 1.0  # Dollars.
_SAMPLED = 1_000  # Rows that an estimate is made of.
_AT_ONCE = 2_048  # Most rows of a piece that goes to the standard output.
_TURNS_AT_ONCE = 4


def run(options: Namespace) -> int:
    """Ask about every row, and write the rows with their answers."""
    source, *words = source_and_words(options)
    if is_pipeline(source):
        return pipes.run(options)
    asked = question(options, words)
    require_out(options)
    load_models(options.models)
    with opened(source, options) as rows, readable(source):
        goal = target(options.out, options.to, rows.files)
        summary = Summary(options=options, out=options.out)
        return _Run(options=options, asked=asked, source=rows, target=goal, summary=summary).run()


@contextmanager
def readable(source: str) -> Iterator[None]:
    """Say a failure of Polars as one of the rows: a file may change, or a part of it be damaged.

    Raises:
        SmeltConfigError: The rows cannot be read.
    """
    import polars as pl

    try:
        yield
    except pl.exceptions.PolarsError as problem:
        raise unreadable(shown(source), problem) from None


@dataclass
class _Run:
    """One `smelt run` whose command line was read."""

    options: Namespace
    asked: Question
    source: Source
    target: Target
    summary: Summary

    def run(self) -> int:
        from smelt.api.lazy import transform
        from smelt.lazy.step import steps_of

        began = time.monotonic()
        settings = {**self.asked.settings, **telling(self.options, self.summary.watch)}
        plan = transform(
            self.source.plan, self.asked.prompt, self.asked.output_model, model=self.asked.model, **settings
        )
        (step,) = steps_of(plan)[1]
        rows = self.source.rows()
        if not self._is_agreed(rows):
            complain("Nothing was sent.")
            return ENDED_EARLY
        if self.target.path is None:
            self._print(step, rows)
        else:
            self._sink(plan, step, self.target.path, rows)
        return self.summary.tell(time.monotonic() - began)

    def _sink(self, plan: pl.LazyFrame, step: Step, path: Path, rows: int | None) -> None:
        from smelt.lazy import sinks

        def write(finished: pl.LazyFrame, file: Path) -> None:
            self.summary.written = Written()
            self.target.write(finished, file)
            self.summary.written.count(finished, step.call.error_column)

        metrics = sinks.sink(plan, path, write, restart=self.options.restart, rows=rows)
        self.summary.pending = 0 if metrics is None else metrics.pending_rows

    def _print(self, step: Step, rows: int | None) -> None:
        at_once = min(_AT_ONCE, _TURNS_AT_ONCE * step.turn)
        frames: Iterator[pl.DataFrame] = self.source.plan.collect_batches(chunk_size=at_once)
        for frame in step.over(frames, rows=rows):
            self.target.print(frame, is_first=not self.summary.written.rows)
            self.summary.written.count(frame.lazy(), step.call.error_column)

    def _is_agreed(self, rows: int | None) -> bool:
        """Whether to spend the money: asked on a terminal, if there is no limit and it may be more than a dollar."""
        if self.options.yes or "max_cost" in self.asked.settings or not _is_terminal():
            return True
        import smelt

        sample = self.source.plan.head(_SAMPLED).collect()
        quiet = {**self.asked.settings, "progress": False}
        cost = smelt.estimate(sample, self.asked.prompt, self.asked.output_model, model=self.asked.model, **quiet)
        if cost.cost_usd is None or not sample.height:
            return True
        dollars = cost.cost_usd * (sample.height if rows is None else rows) / sample.height
        if rows is not None and dollars <= _ASKS_ABOVE:
            return True
        of_what = f"these first {sample.height:,} rows" if rows is None else counted(rows, "row")
        complain(f"About {price(dollars)} for {of_what}. --max-cost limits it, --yes does not ask.")
        print("Go on? [y/N] ", end="", file=sys.stderr, flush=True)
        return sys.stdin.readline().strip().lower() in ("y", "yes")


def _is_terminal() -> bool:
    try:
        return sys.stdin.isatty() and sys.stderr.isatty()
    except (AttributeError, ValueError):  # Closed, or None in a service.
        return False
