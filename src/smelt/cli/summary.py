"""What a run of the command line did: counts while it goes on, a line or an object at its end, and the exit code."""

from __future__ import annotations

from argparse import Namespace
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from smelt.cli.telling import complain, log_event, say_object
from smelt.messages import counted, price

if TYPE_CHECKING:
    import polars as pl

    from smelt.engine.events import Event

SOME_FAILED = 3
ENDED_EARLY = 4


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
class Summary:
    """What one command did.

    Attributes:
        options: The options of the command.
        out: What was written: a file, or `-`.
        watch: Counts of its runs.
        written: The rows that were written.
        pending: Rows that wait in jobs of a Batch API.
    """

    options: Namespace
    out: str
    watch: Watch = field(default_factory=Watch)
    written: Written = field(default_factory=Written)
    pending: int = 0

    def tell(self, seconds: float) -> int:
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
            "out": self.out,
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
        parts = [f"{counted(self.written.rows, 'row')} in {'the standard output' if self.out == '-' else self.out}"]
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
