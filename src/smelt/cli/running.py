"""`smelt run`: rows in, rows with answers out, and a line about what happened."""

from __future__ import annotations

import sys
import time
from argparse import Namespace
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from smelt.cli.arguments import Question, question
from smelt.cli.inputs import Source, opened, unreadable
from smelt.cli.outputs import Target, target
from smelt.cli.parser import UsageError
from smelt.cli.telling import complain, log_event, say_object
from smelt.cli.upkeep import load_models
from smelt.messages import counted, price

if TYPE_CHECKING:
    import polars as pl

    from smelt.engine.events import Event
    from smelt.lazy.step import Step

SOME_FAILED = 3
ENDED_EARLY = 4

_ASKS_ABOVE = 1.0  # Dollars.
_SAMPLED = 1_000  # Rows that an estimate is made of.
_AT_ONCE = 2_048  # Most rows of a piece that goes to the standard output.
_TURNS_AT_ONCE = 4


def run(options: Namespace) -> int:
    """Ask about every row, and write the rows with their answers."""
    source, *words = source_and_words(options)
    asked = question(options, words)
    if options.out is None:
        raise UsageError(options.parser, "Say where the rows go: -o FILE, or -o - for the standard output.")
    if options.out == "-" and options.json:
        raise UsageError(options.parser, "--json and -o - both go to the standard output. Leave one out.")
    load_models(options.models)
    with opened(source, options) as rows, readable(source):
        return _Run(options=options, asked=asked, source=rows, target=target(options.out, options.to, rows.files)).run()


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
        raise unreadable(source, problem) from None


def source_and_words(options: Namespace) -> Sequence[str]:
    """IN, and the words after it.

    Raises:
        UsageError: There is no IN.
    """
    if not options.words:
        raise UsageError(options.parser, "IN is missing: a file, a pattern of files, or - for the standard input.")
    return list(options.words)


@dataclass
class Watch:
    """Counts what the runs of a command do. An observer: it gets counts, and no text of a row.

    Attributes:
        requests: Requests that were sent.
        input_tokens: Tokens of the input that were reported.
        output_tokens: Tokens of the output that were reported.
        cost_usd: Dollars, as far as prices are known; None if no request had a price.
        reused: Rows whose answer was in the ledger.
        reason: Why a run ended early; None if none did.
    """

    requests: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    cost_usd: float | None = None
    reused: int = 0
    reason: str | None = None
    _of_runs: dict[str, int] = field(default_factory=dict)

    def __call__(self, event: Event) -> None:
        """Count *event*."""
        from smelt.engine.events import RequestEnded, RequestSent, RowsSettled, RunEnded

        match event:
            case RequestSent():
                self.requests += 1
            case RequestEnded():
                self.input_tokens += event.input_tokens
                self.output_tokens += event.output_tokens
                if event.cost_usd is not None:
                    self.cost_usd = (self.cost_usd or 0.0) + event.cost_usd
            case RowsSettled():
                self._of_runs[event.run_id] = event.reused
                self.reused = sum(self._of_runs.values())
            case RunEnded() if event.reason != "done":
                self.reason = event.reason
            case _:
                pass


def telling(options: Namespace, watch: Watch) -> dict[str, Any]:
    """How a run shows itself, as options of `smelt.transform`."""
    if options.log_json:
        return {"progress": False, "observers": [watch, log_event]}
    return {"progress": False if options.quiet else None, "observers": [watch]}


@dataclass
class Written:
    """The rows that were written.

    Attributes:
        rows: How many.
        failures: How many failed, by the kind of their failure.
    """

    rows: int = 0
    failures: Counter[str] = field(default_factory=Counter)

    def count(self, plan: pl.LazyFrame, error_column: str) -> None:
        """Add the rows of *plan*."""
        import polars as pl

        kinds = pl.col(error_column).str.split_exact(":", 1).struct.field("field_0").alias("kind")
        found = plan.group_by(kinds).agg(pl.len()).collect(engine="streaming")
        for kind, rows in found.rows():
            self.rows += rows
            if kind is not None:
                self.failures[kind] += rows

    @property
    def failed(self) -> int:
        """How many rows failed."""
        return self.failures.total()


@dataclass
class _Run:
    """One `smelt run` whose command line was read."""

    options: Namespace
    asked: Question
    source: Source
    target: Target
    watch: Watch = field(default_factory=Watch)
    written: Written = field(default_factory=Written)
    pending: int = 0

    def run(self) -> int:
        from smelt.api.lazy import transform
        from smelt.lazy.step import steps_of

        began = time.monotonic()
        settings = {**self.asked.settings, **telling(self.options, self.watch)}
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
        return self._told(time.monotonic() - began)

    def _sink(self, plan: pl.LazyFrame, step: Step, path: Path, rows: int | None) -> None:
        from smelt.lazy import sinks

        def write(finished: pl.LazyFrame, file: Path) -> None:
            self.written = Written()
            self.target.write(finished, file)
            self.written.count(finished, step.call.error_column)

        metrics = sinks.sink(plan, path, write, restart=self.options.restart, rows=rows)
        self.pending = 0 if metrics is None else metrics.pending_rows

    def _print(self, step: Step, rows: int | None) -> None:
        at_once = min(_AT_ONCE, _TURNS_AT_ONCE * step.turn)
        frames: Iterator[pl.DataFrame] = self.source.plan.collect_batches(chunk_size=at_once)
        for frame in step.over(frames, rows=rows):
            self.target.print(frame, is_first=not self.written.rows)
            self.written.count(frame.lazy(), step.call.error_column)

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

    def _told(self, seconds: float) -> int:
        """Say what happened, and return the exit code."""
        code = self._code()
        if self.options.json:
            say_object({**self._facts(), "seconds": round(seconds, 3), "exit": code})
        elif not self.options.quiet:
            complain(*self._lines())
        return code

    def _code(self) -> int:
        if self.watch.reason is not None or self.pending:
            return ENDED_EARLY
        return SOME_FAILED if self.written.failed and not self.options.allow_failed else 0

    def _facts(self) -> Mapping[str, Any]:
        return {
            "out": str(self.target.path or "-"),
            "rows": self.written.rows,
            "failed": self.written.failed,
            "failures": dict(self.written.failures),
            "pending": self.pending,
            "from_ledger": self.watch.reused,
            "requests": self.watch.requests,
            "input_tokens": self.watch.input_tokens,
            "output_tokens": self.watch.output_tokens,
            "cost_usd": self.watch.cost_usd,
            "ended": self.watch.reason or "done",
        }

    def _lines(self) -> Iterator[str]:
        if self.pending:
            yield f"{counted(self.pending, 'row')} wait in jobs. The same command collects them, also tomorrow."
            return
        parts = [f"{counted(self.written.rows, 'row')} in {self.target.path or 'the standard output'}"]
        if self.watch.reused:
            parts.append(f"{self.watch.reused:,} from the ledger")
        if self.watch.cost_usd is not None:
            parts.append(price(self.watch.cost_usd))
        if self.written.failed:
            kinds = ", ".join(f"{rows:,} {kind}" for kind, rows in self.written.failures.most_common(4))
            parts.append(f"{self.written.failed:,} failed ({kinds})")
        yield f"{', '.join(parts)}."
        if self.watch.reason is not None:
            yield f"It ended early ({self.watch.reason}). The same command goes on from here."


def _is_terminal() -> bool:
    try:
        return sys.stdin.isatty() and sys.stderr.isatty()
    except (AttributeError, ValueError):  # Closed, or None in a service.
        return False
