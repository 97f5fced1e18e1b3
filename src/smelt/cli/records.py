"""Commands about what was asked before: `ledger`, `jobs`, `report`, `status`."""

from __future__ import annotations

import re
from argparse import Namespace
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from smelt.cli.parser import UsageError
from smelt.cli.telling import say, say_object
from smelt.cli.upkeep import load_models
from smelt.errors import SmeltConfigError, StoreNotFoundError
from smelt.messages import counted, price

if TYPE_CHECKING:
    from smelt.ledger.api import Ledger
    from smelt.ledger.joblist import BatchJob

_AGE = re.compile(r"(\d+)([dhw])")
_UNITS = {"d": "days", "h": "hours", "w": "weeks"}
_RUNS = ("run", "started", "state", "model", "rows", "reused_rows", "cost_usd")


def runs(options: Namespace) -> None:
    """All runs."""
    with _ledger(options) as ledger:
        _show(options, ledger.runs(), _RUNS)


def spend(options: Namespace) -> None:
    """What was spent."""
    with _ledger(options) as ledger:
        _show(
            options, ledger.spend(by=options.by), (options.by, "requests", "input_tokens", "output_tokens", "cost_usd")
        )


def export(options: Namespace) -> None:
    """Write all answers to a file."""
    with _ledger(options) as ledger:
        rows = ledger.export(options.file)
    say(f"{counted(rows, 'row')} in {options.file}.")


def forget(options: Namespace) -> None:
    """Delete answers."""
    if (options.run is None) == (options.older_than is None):
        raise UsageError(options.parser, "Say what to forget: --run RUN or --older-than 30d.")
    with _ledger(options) as ledger:
        rows = ledger.forget(run=options.run, older_than=options.older_than and _age(options.older_than))
    say(f"{counted(rows, 'row')} deleted. If they are asked again, they are paid again.")


def _age(written: str) -> timedelta:
    match = _AGE.fullmatch(written)
    if match is None:
        raise SmeltConfigError(f"--older-than {written}: write a number and h, d or w, such as 30d.")
    return timedelta(**{_UNITS[match[2]]: int(match[1])})


def check(options: Namespace) -> int:
    """What is wrong with the file."""
    with _ledger(options) as ledger:
        found = ledger.check()
    for problem in found or ["Nothing is wrong."]:
        say(problem)
    return 1 if found else 0


def jobs(options: Namespace) -> None:
    """The jobs of Batch APIs."""
    with _ledger(options) as ledger:
        found = ledger.jobs()
        if options.json:
            say_object([_facts(job) for job in found])
        else:
            say(repr(found))


def refresh(options: Namespace) -> None:
    """Ask the provider how far jobs are."""
    _each(options, lambda job: job.refresh(options.model))


def cancel(options: Namespace) -> None:
    """Ask the provider to end jobs."""
    _each(options, lambda job: job.cancel(options.model))


def abandon(options: Namespace) -> None:
    """Free the rows of jobs."""
    _each(options, lambda job: job.abandon())


def _each(options: Namespace, act: Callable[[BatchJob], Any]) -> None:
    load_models(options.models)
    with _ledger(options) as ledger:
        known = {job.job: job for job in ledger.jobs()}
        for name in options.job:
            if name not in known:
                raise SmeltConfigError(f"There is no job {name!r} in {ledger.path}.")
        for name in options.job:
            act(known[name])
            say(repr(known[name]))


def _facts(job: BatchJob) -> Mapping[str, Any]:
    names = ("job", "model", "state", "lines", "rows", "done", "since", "looked", "expires", "cost_usd")
    return {name: getattr(job, name) for name in names}


def report(options: Namespace) -> None:
    """All that the ledger knows of a run."""
    with _ledger(options) as ledger:
        found = next((one for one in ledger.runs() if one["run"] == options.run), None)
        if found is None:
            raise SmeltConfigError(f"There is no run {options.run} in {ledger.path}. `smelt ledger runs` lists them.")
        spent: Mapping[str, Any] = next((one for one in ledger.spend() if one["run"] == options.run), {})
        doubtful = [one for one in ledger.unreadable() if one["run"] == options.run]
    facts = {**found, **spent, "unreadable_replies": len(doubtful)}
    if options.json:
        say_object(facts)
        return
    for name, value in facts.items():
        if value is not None:
            say(f"{name:22} {_cell(name, value)}")


def status(options: Namespace) -> None:
    """The runs that go on, the jobs that rows wait in, and the servers that run."""
    from smelt.api.engines import listed

    live: Sequence[Mapping[str, Any]] = []
    waiting: Sequence[BatchJob] = []
    try:
        with _ledger(options) as ledger:
            live = [one for one in ledger.runs() if one["state"] == "running"]
            waiting = [job for job in ledger.jobs() if job.state in ("submitted", "ended", "doubtful")]
    except StoreNotFoundError:
        pass  # Nothing was asked yet.
    servers = list(listed())
    if options.json:
        say_object({"runs": live, "jobs": [_facts(job) for job in waiting], "engines": servers})
        return
    _show(options, live, _RUNS, "No run goes on.")
    for job in waiting:
        say(repr(job))
    for line in servers or ["No server runs."]:
        say(line)


def _ledger(options: Namespace) -> Ledger:
    from smelt.ledger import open as opened

    return opened(options.ledger)


def _show(
    options: Namespace, records: Iterable[Mapping[str, Any]], names: Sequence[str], nothing: str = "Nothing."
) -> None:
    """Print records as a table, or as JSON."""
    found = list(records)
    if options.json:
        say_object(found)
        return
    if not found:
        say(nothing)
        return
    lines = [names, *([_cell(name, one.get(name)) for name in names] for one in found)]
    widths = [max(len(line[at]) for line in lines) for at in range(len(names))]
    for line in lines:
        say("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip())


def _cell(name: str, value: Any) -> str:
    if name == "cost_usd":
        return price(value)
    if isinstance(value, datetime):
        return f"{value:%Y-%m-%d %H:%M}"
    if isinstance(value, int) and name not in ("run", "seed"):
        return f"{value:,}"
    return "" if value is None else ", ".join(map(str, value)) if isinstance(value, list) else str(value)
