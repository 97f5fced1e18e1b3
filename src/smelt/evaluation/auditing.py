"""Execution of `audit`: asks rows of a run again in other company, as `trust.audit` says, and reports what differs."""

from __future__ import annotations

import asyncio
from collections.abc import Generator, Hashable, Mapping, Sequence
from dataclasses import replace
from itertools import pairwise
from typing import Any

from smelt.call.estimate import Estimate, estimate
from smelt.call.execution import Execution, budget_of, see_through
from smelt.call.gauge import made_for
from smelt.call.options import Settings
from smelt.call.outcome import Outcome, value_of
from smelt.call.part import part_of
from smelt.call.preparation import Preparation, prepare
from smelt.engine.supply import Supply
from smelt.engine.work import Counts
from smelt.errors import SmeltConfigError, warn
from smelt.evaluation.audit_report import AuditReport
from smelt.evaluation.truth import Leaf, leaves
from smelt.frames.adapt import adapt
from smelt.loop.bridge import run_blocking
from smelt.messages import printable
from smelt.plan.kinds import Array, Text
from smelt.plan.schema import Output
from smelt.providers.base import CallFailed
from smelt.result import SmeltResult
from smelt.trust.audit import Alarm, Findings
from smelt.trust.audit import audit as steps_of

_ROUND = 1_000  # The first number of the audit's runs: the ledger takes them for other questions than the votes.
_SAME = ("prompt", "output model", "model", "params")  # What a result and the call of its audit have in common.


def audit(
    prompt: str,
    output_model: Any,
    model: Any,
    settings: Settings,
    data: Any,
    result: SmeltResult[Any],
    *,
    quarantine: bool,
    dry_run: bool,
) -> AuditReport | Estimate:
    """Look for requests of *result* in which a row changed the answers to its neighbours.

    Raises:
        SmeltConfigError: An argument is wrong, or *result* is that of another call; nothing was sent.
    """
    if not isinstance(quarantine, bool):
        raise SmeltConfigError.for_type("quarantine", quarantine, "True or False")
    if settings.votes > 1 or settings.target_accuracy is not None:
        raise SmeltConfigError(
            "An audit is about a run that asks each row once. Leave out votes= and target_accuracy=."
        )
    settings = replace(settings, on_conflict="suffix", mode="now", refresh=False)
    call = prepare(data, prompt, output_model, model, settings, is_sent=not dry_run)
    requests = _requests(call, result)
    if dry_run:
        return estimate(call.of_round(_ROUND, [rows[0] for rows in requests.values()], wire=_wire(call)))
    auditing = Auditing(call, result, requests, quarantine=quarantine)
    run_blocking(see_through(auditing), awaited="arun")
    return auditing.report()


class Auditing:
    """The runs of an audit. Like an `Execution`: Ctrl-C stops it.

    Attributes:
        counts: The statistics of all runs so far.
        is_kept: Whether a ledger stores the answers.
    """

    def __init__(
        self, call: Preparation, result: SmeltResult[Any], requests: Mapping[int, Sequence[int]], *, quarantine: bool
    ) -> None:
        """Prepare the runs."""
        self.counts = Counts()
        self.is_kept = False
        self._call = call
        self._found = Findings()
        self._quarantine = quarantine
        self._leaves = compared_fields(call.output)
        first = self._keys(result.data)
        size = max((len(rows) for rows in requests.values()), default=1)
        answers = {row: first[row] for rows in requests.values() for row in rows}
        seed = call.settings.seed
        self._steps = steps_of(answers, requests, self._found, size=size, seed=seed, finds_rows=quarantine)
        self._budget = budget_of(call)
        self._ends_at: float | None = None
        self._last = Execution(call, Supply.of(part_of(call)))
        self._wave = 0
        self._mended: Any = None
        self._is_whole = True

    @property
    def outcome(self) -> Outcome:
        """The outcome of the last run."""
        return self._last.outcome

    async def run_safely(self) -> None:
        """Ask until the audit knows enough, or until a run ends early."""
        deadline, loop = self._call.settings.deadline, asyncio.get_running_loop()
        self._ends_at = None if deadline is None else loop.time() + deadline
        groups = next(self._steps, None)
        while groups is not None:
            positions = [row for group in groups for row in group]
            call = self._call.of_round(_ROUND + self._wave, positions, wire=_wire(self._call))
            answers = await self._asked(call, groups)
            if not self._is_whole:
                return
            groups = _next(self._steps, answers)
        if self._quarantine and self._found.alarms:
            await self._mend()

    def report(self) -> AuditReport:
        """What was found."""
        if not self._is_whole:
            check_ended(self.outcome, "The audit", has_found=self._found.sampled > 0)
        return AuditReport(
            self._found, self._call.frame, self._mended, cost_usd=self.counts.cost_usd, is_whole=self._is_whole
        )

    async def _asked(self, call: Preparation, groups: Sequence[Sequence[int]]) -> dict[int, Hashable]:
        part = part_of(replace(call, stage="audit"))
        ends = [0]
        for group in groups:
            ends.append(ends[-1] + len(group))
        part.groups = [range(start, end) for start, end in pairwise(ends)]
        self._last = Execution(part.call, Supply.of(part), ends_at=self._ends_at, budget=self._budget)
        try:
            await self._last.run_safely()
        finally:
            self._wave += 1
            self.is_kept = self._last.is_kept
            self.counts.include(self._last.counts)
        ending = self._last.ending
        self._is_whole = ending is not None and not (ending.stop or ending.fault or part.is_cut)
        rows = [row for group in groups for row in group]
        data = [None if one is None else value_of(call.output, one) for one in part.answers.rows()]
        return {row: key for row, key, one in zip(rows, self._keys(data), data, strict=True) if one is not None}

    def _keys(self, data: Sequence[Any]) -> list[Hashable]:
        """The answers in a form in which equal ones are equal."""
        return list(zip(*(leaf.compared(data) for leaf in self._leaves), strict=True))

    async def _mend(self) -> None:
        """Ask the rows of all alarms again, without the company that changed them, and replace the ledger's answers."""
        groups = [group for alarm in self._found.alarms for group in _apart(alarm)]
        positions = [row for group in groups for row in group]
        call = self._call.about(positions)
        frame = adapt(self._call.frame.take(positions))
        call = replace(call, frame=frame, settings=replace(call.settings, refresh=True, on_error="mark"))
        self._found.asked += len(positions)
        await self._asked(call, groups)
        self._mended = self.outcome.result().frame


def check_ended(outcome: Outcome, what: str, *, has_found: bool) -> None:
    """Warn that *what* ended early, and why.

    Raises:
        SmeltAPIError: Nothing was answered, because of the account, the model or the server.
    """
    if not has_found and (error := outcome.error(outcome.result())) is not None:
        raise error
    ending = outcome.ending
    why = (ending.stop or ending.fault) if ending else None
    reason = why.message if isinstance(why, CallFailed) else str(why or "its deadline passed.")
    warn(f"{what} ended early, so it knows less than it could: {printable(reason)}")


def _next(steps: Generator[list[list[int]], Mapping[int, Hashable], None], answers: Any) -> list[list[int]] | None:
    try:
        return steps.send(answers)
    except StopIteration:
        return None


def _apart(alarm: Alarm) -> list[list[int]]:
    """The rows of a request, without the row that changes others; each alone if it was not found."""
    if alarm.by is None:
        return [[row] for row in alarm.rows]
    return [[row for row in alarm.rows if row != alarm.by], [alarm.by]]


def _wire(call: Preparation) -> Any:
    return "keyed" if call.settings.wire == "auto" else call.settings.wire


def _requests(call: Preparation, result: SmeltResult[Any]) -> dict[int, list[int]]:
    """The rows of each request of *result* that had several.

    Raises:
        SmeltConfigError: *result* is not that of *call*, or its requests are not known.
    """
    if not isinstance(result, SmeltResult):
        raise SmeltConfigError.for_type("result", result, "the result of smelt.run with the same arguments")
    if result.columns is None or len(result.company) != len(call.source):
        raise SmeltConfigError(
            "result is not about these rows: pass the frame that it was made of, and the result of smelt.run on it."
        )
    own = made_for(call)
    if other := [name for name in _SAME if result.columns.made_for.get(name) != own[name]]:
        raise SmeltConfigError(
            f"result was made with another {' and another '.join(other)}, so its answers cannot be compared with those "
            "of this call. Pass the arguments of that run."
        )
    frame = adapt(result.frame)
    sent = [name for name in call.source.names if name in frame.names]
    rows = range(len(frame))
    if len(sent) == len(call.source.names):
        pairs = zip(frame.rows(sent, call.settings.media).texts(rows), call.source.texts(rows), strict=True)
        if (strange := next((at for at, (one, other) in enumerate(pairs) if one != other), None)) is not None:
            raise SmeltConfigError(f"result is about other rows: the row at position {strange} has another text.")
    requests: dict[int, list[int]] = {}
    for row in call.folded.distinct:
        if (number := result.company[row]) is not None:
            requests.setdefault(number, []).append(row)
    found = {number: rows for number, rows in requests.items() if len(rows) > 1}
    if not found:
        raise SmeltConfigError(
            "No request of this run answered two rows or more, so no row had company that could change its answer. "
            "The requests of rows that the ledger answered are not known; audit the run that asked them."
        )
    return found


def compared_fields(output: Output) -> list[Leaf]:
    """The fields that are compared: all but texts, which differ every time; only texts if there is nothing else."""
    every = list(leaves(output).values())
    return [one for one in every if not _is_text(one)] or every


def _is_text(leaf: Leaf) -> bool:
    kind = leaf.kind.item if isinstance(leaf.kind, Array) else leaf.kind
    return isinstance(kind, Text)
