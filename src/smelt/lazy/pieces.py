"""The pieces of a source, which one job each asks, and what is known of a piece while its rows are not in memory."""

from __future__ import annotations

from array import array
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import polars as pl

from smelt.call.part import FramePart
from smelt.call.preparation import Preparation
from smelt.engine.policy import UNASKED
from smelt.plan.answers import Answers, RowFailure
from smelt.plan.rows import Key, key_of
from smelt.result import SmeltMetrics

_MOST_GIVEN_UP = 8_192  # Rows of a piece that are remembered.
_OF_ROWS = ("total_rows", "successful_rows", "failed_rows", "pending_rows", "distinct_rows")
_OF_REQUESTS = (
    *("requests", "total_retries", "rate_limited", "possible_duplicates", "wall_time_seconds"),
    *("input_tokens", "output_tokens", "cached_input_tokens", "written_input_tokens", "reasoning_tokens"),
    *("cost_usd", "ledger_rows", "ledger_cost_usd"),
)
NO_METRICS = SmeltMetrics(**dict.fromkeys((*_OF_ROWS, *_OF_REQUESTS), 0))  # type: ignore[arg-type]


@dataclass(kw_only=True, eq=False)
class Piece:
    """What is known of a piece.

    Attributes:
        rows: Its number of rows: each pass cuts the source at the same places.
        is_done: Whether all of its rows have an outcome.
        waits_in: The jobs in which rows of it wait.
        has_rest: Whether rows of it wait to be submitted, and the budget has room for them.
        given_up: Its rows that were given up for good, so that no later run pays for them again.
        metrics: Those of its runs, together.
        kept: The file with its finished rows, while rows before them are not finished; None if there is none.
    """

    rows: int
    is_done: bool = False
    waits_in: frozenset[str] = frozenset()
    has_rest: bool = False
    given_up: dict[Key, RowFailure] = field(default_factory=dict)
    metrics: SmeltMetrics | None = None
    kept: Path | None = None

    def add(self, metrics: SmeltMetrics) -> None:
        """Another run over it has ended. What that found in the ledger, this sink has paid for."""
        before = self.metrics
        again = replace(metrics, ledger_rows=0, ledger_cost_usd=0.0)
        self.metrics = metrics if before is None else _added(before, again, _OF_REQUESTS)

    def give_up(self, call: Preparation, answers: Answers) -> None:
        """Remember which rows were given up."""
        failures = {at: one for at, one in answers.failures.items() if one.kind not in UNASKED}
        if len(failures) > _MOST_GIVEN_UP:
            return
        texts = zip(call.source.texts(list(failures)), failures.values(), strict=True)
        self.given_up = {key_of(text): one for text, one in texts if isinstance(text, str)}

    def enter(self, part: FramePart) -> None:
        """Give the rows of *part* that were given up their outcomes."""
        if not self.given_up:
            return
        left = array("q")
        for position, text in zip(part.order, part.source.texts(part.order), strict=True):
            failure = self.given_up.get(key_of(text)) if isinstance(text, str) else None
            if failure is None:
                left.append(position)
            else:
                part.answers.fail(position, failure)
        part.order = left

    def keep(self, path: Path, finished: pl.DataFrame) -> None:
        """Write its finished rows to *path*, which is removed at the end of the sink. A full disk costs a look-up."""
        try:
            finished.write_ipc(path, compression="lz4")
        except (OSError, pl.exceptions.PolarsError):
            path.unlink(missing_ok=True)
        else:
            self.kept = path

    def take(self, asked: pl.DataFrame) -> pl.DataFrame | None:
        """The finished rows; None if none are kept, or if the source now has other rows than *asked*."""
        if self.kept is None:
            return None
        finished = pl.scan_ipc(self.kept, glob=False).collect()
        self.kept.unlink()
        self.kept = None
        return finished if finished.select(asked.columns).equals(asked) else None


def pieces(
    frames: Iterator[pl.DataFrame], heights: Sequence[int], *, most_rows: int, most_bytes: int
) -> Iterator[pl.DataFrame]:
    """The rows of *frames* in pieces of these *heights*, then of at most *most_rows* and of about *most_bytes*."""
    some, rows, size, number = list[pl.DataFrame](), 0, 0.0, 0
    for frame in frames:
        at = 0
        while at < frame.height:
            is_known = number < len(heights)
            most = heights[number] if is_known else most_rows
            part = frame.slice(at, most - rows)
            some.append(part)
            at, rows, size = at + part.height, rows + part.height, size + part.estimated_size()
            if rows >= most or (size >= most_bytes and not is_known):
                yield pl.concat(some)
                some, rows, size, number = [], 0, 0.0, number + 1
    if some:
        yield pl.concat(some)


def summed(metrics: Sequence[SmeltMetrics]) -> SmeltMetrics:
    """The metrics of pieces together."""
    whole = NO_METRICS
    for one in metrics:
        whole = _added(whole, one, (*_OF_ROWS, *_OF_REQUESTS))
    return whole


def _added(one: SmeltMetrics, other: SmeltMetrics, names: Sequence[str]) -> SmeltMetrics:
    """*other*, with the values of *one* under these *names* added; what is not known in one of them is not known."""
    values = {name: (getattr(one, name), getattr(other, name)) for name in names}
    sums: dict[str, Any] = {name: None if None in pair else sum(pair) for name, pair in values.items()}
    tiers = {name: one.tiers.get(name, 0) + other.tiers.get(name, 0) for name in {**one.tiers, **other.tiers}}
    return replace(other, **sums, tiers=tiers)
