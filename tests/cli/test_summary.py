"""What a command says at its end, and its exit code."""

from __future__ import annotations

from argparse import Namespace

import polars as pl
import pytest

from smelt.cli.summary import Summary, Watch
from smelt.engine.events import RequestEnded, RequestSent, RowsSettled, RunEnded


@pytest.mark.parametrize(
    ("errors", "reason", "pending", "is_allowed", "code"),
    [
        ([None, None], "done", 0, False, 0),
        (["invalid: no", None], "done", 0, False, 3),
        (["invalid: no", None], "done", 0, True, 0),
        (["budget: spent", None], "budget", 0, True, 4),
        ([None, None], "done", 2, False, 4),
    ],
)
def test_the_exit_code_says_what_became_of_the_rows(
    errors: list[str | None], reason: str, pending: int, is_allowed: bool, code: int
) -> None:
    summary = Summary(Namespace(json=False, quiet=True, allow_failed=is_allowed), "out.csv", pending=pending)
    summary.watch(RunEnded(reason=reason))
    summary.written.count(pl.LazyFrame({"smelt_error": errors}, schema={"smelt_error": pl.String}), "smelt_error")

    assert summary.tell(1.0) == code
    assert summary.written.rows == 2


def test_counts_are_those_of_all_runs() -> None:
    watch = Watch()

    for run in ("a", "b"):
        watch(RequestSent(run_id=run, number=1, rows=2, in_flight=1))
        watch(RequestEnded(run_id=run, number=1, rows=2, seconds=1.0, ok=True, input_tokens=10, cost_usd=0.5))
        watch(RowsSettled(run_id=run, answered=1, failed=0, reused=1))
        watch(RowsSettled(run_id=run, answered=4, failed=0, reused=2))

    assert (watch.requests, watch.input_tokens, watch.cost_usd, watch.reused) == (2, 20, 1.0, 4)
