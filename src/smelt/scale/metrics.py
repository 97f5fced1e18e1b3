"""`JobMetrics`: what all workers of an engine's job asked, paid and finished, seen from the driver."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, fields
from datetime import datetime
from typing import Any, Literal

from smelt import errors
from smelt.environment import environ
from smelt.errors import SmeltConfigError, SmeltError, StoreNotFoundError
from smelt.lanes.errands import ask_pacer
from smelt.lanes.jobs import COUNTED
from smelt.lanes.lines import is_place
from smelt.ledger.api import open as open_ledger


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class JobMetrics:
    """What all workers of a job asked, paid and finished so far.

    Engines are lazy: before something computes the rows, everything is 0, and while something does, the figures grow.
    Computing the same result twice adds what the second time costs.

    From a pacer (`SMELT_PACER`): a request counts when it ends; rows and errors count when their block ends, and a
    block that the engine repeats because a worker died counts once. What the dead worker paid for is counted, too.
    Workers that do not know the pacer are not, nor blocks that had ended before it was started anew.
    Without a pacer, the ledger of this machine tells what it knows: the runs since the call, of the same model and
    with the same output fields. It knows nothing of other machines, and not which rows failed.

    Attributes:
        source: Who counted, "pacer" or "ledger".
        blocks: Blocks that ended.
        asking: Blocks that are being asked now; None if the ledger counted.
        total_rows: Rows of the blocks that ended.
        failed_rows: Those with an error; None if the ledger counted.
        ledger_rows: Those that the ledger answered, at no cost.
        requests: Requests that ended.
        input_tokens: Their input tokens, cached ones included.
        output_tokens: Their output tokens.
        cached_input_tokens: Input tokens read from the provider's cache.
        cost_usd: Dollars at the published prices; None if a price is not known.
        possible_duplicates: Requests that may have been billed although no answer arrived: those that a dead worker had
            in flight, and those that were late and called off. Each counts once.
        errors: Up to five different messages of failed rows, as in the error column.
        error: What a worker raised last, as smelt's own class with the same message; None if none did.

    Examples:
        >>> mapper = smelt.Mapper(smelt.Job("Classify {name}.", Company), scripted)
        >>> mapper.metrics().requests
        0
    """

    source: Literal["pacer", "ledger"]
    blocks: int = 0
    asking: int | None = None
    total_rows: int = 0
    failed_rows: int | None = None
    ledger_rows: int = 0
    requests: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    cached_input_tokens: int = 0
    cost_usd: float | None = 0.0
    possible_duplicates: int = 0
    errors: tuple[str, ...] = ()
    error: SmeltError | None = None

    def __repr__(self) -> str:
        return "\n".join(["JobMetrics", *(f"  {one.name}: {getattr(self, one.name)!r}" for one in fields(self))])


@dataclass(frozen=True, kw_only=True)
class Traces:
    """By what the runs of a job are known in a ledger.

    Attributes:
        since: When the job was made.
        model: The model, as `provider:name`.
        fields: The output fields.
        ledger: The `ledger` option.
    """

    since: datetime
    model: str
    fields: frozenset[str]
    ledger: bool | str | os.PathLike[str] | None


def metrics_of(job: str, place: str | None, traces: Traces) -> JobMetrics:
    """What the workers of *job* did so far, as the pacer at *place* says.

    Raises:
        SmeltConfigError: The pacer does not answer, or there is neither pacer nor ledger.
    """
    if place is None:
        if traces.ledger is False:
            counter = "python -m smelt pacer --help"
            raise SmeltConfigError(f"With ledger=False only a pacer counts what workers do: {counter}")
        return _recorded(traces)
    is_all = is_place(place) or traces.ledger is False  # Else an engine started it, which may start it anew.
    try:
        counted = _counted(asked(place, "look", job))
    except SmeltConfigError:
        if is_all:
            raise
        return _recorded(traces)
    if is_all or _is_begun(counted):
        return counted
    found = _recorded(traces)
    return found if _is_begun(found) else counted


def _is_begun(found: JobMetrics) -> bool:
    return bool(found.asking or found.blocks or found.requests)


def asked(place: str, what: str, job: str, *rest: Any, start: float = 0.0) -> Any:
    """As `ask_pacer`, in the driver.

    Raises:
        SmeltConfigError: The pacer does not answer.
    """
    try:
        return ask_pacer(place, environ().get("SMELT_PACER_TOKEN", ""), what, job, *rest, start=start)
    except OSError as problem:
        raise SmeltConfigError(f"The pacer {place} does not answer: {problem.strerror or problem}.") from None


def _counted(line: Mapping[str, Any]) -> JobMetrics:
    return JobMetrics(
        source="pacer",
        blocks=line["blocks"],
        asking=line["asking"],
        total_rows=line["rows"],
        failed_rows=line["failed"],
        ledger_rows=line["known"],
        **{name: line[name] for name in COUNTED},
        cost_usd=line["cost_usd"],
        errors=tuple(line["errors"]),
        error=None if line["raised"] is None else error_of(*line["raised"]),
    )


def error_of(name: str, message: str) -> SmeltError:
    """The exception of smelt that is called *name*."""
    found = getattr(errors, name, SmeltError)
    is_ours = isinstance(found, type) and issubclass(found, SmeltError)
    return (found if is_ours else SmeltError)(message)


def _recorded(traces: Traces) -> JobMetrics:
    path = None if traces.ledger in (None, True) else traces.ledger
    try:
        ledger = open_ledger(path)  # type: ignore[arg-type]  # None and False are handled.
    except StoreNotFoundError:
        return JobMetrics(source="ledger")
    with ledger:
        ours = {run["run"]: run for run in ledger.runs() if _is_ours(run, traces)}
        spent = [line for line in ledger.spend(by="run") if line["run"] in ours]
    ended = [run for run in ours.values() if run["state"] not in ("running", "lost")]
    costs = [None if line["unpriced"] else line["cost_usd"] or 0.0 for line in spent]
    return JobMetrics(
        source="ledger",
        blocks=len(ended),
        total_rows=sum(run["rows"] for run in ended),
        ledger_rows=sum(run["reused_rows"] for run in ended),
        **{name: sum(line[name] for line in spent) for name in COUNTED},
        cost_usd=None if None in costs else sum(one or 0.0 for one in costs),
    )


def _is_ours(run: Mapping[str, Any], traces: Traces) -> bool:
    return run["started"] >= traces.since and run["model"] == traces.model and frozenset(run["fields"]) == traces.fields
