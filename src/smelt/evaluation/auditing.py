"""Execution of `audit`: asks rows of a run again in other company, as `trust.audit` says, and reports what differs."""

from __future__ import annotations

import asyncio
from collections.abc import Generator, Hashable, Mapping, Sequence
from dataclasses import replace
from itertools import pairwise
from typing import Any

from smelt.call.estimate import Estimate, estimate
from smelt.call.interrupt import see_through
from smelt.call.options import Settings
from smelt.call.part import part_of
from smelt.call.preparation import Preparation, prepare
from smelt.call.spending import budget_of
from smelt.errors import SmeltConfigError
from smelt.evaluation.audit_report import AuditReport
from smelt.evaluation.company import check_result, requests_of, votes_of
from smelt.evaluation.waves import Waves, compared_fields, wire_of
from smelt.frames.adapt import adapt
from smelt.loop.bridge import run_blocking
from smelt.result import SmeltResult
from smelt.trust.audit import Alarm, Findings
from smelt.trust.audit import audit as steps_of
from smelt.trust.vote_audit import audit_votes

_ROUND = 1_000  # The first number of the audit's runs: the ledger takes them for other questions than the votes.


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
    if targets := settings.targets:
        raise SmeltConfigError(f"An audit is about answers of one model. Leave out {min(targets)}=.")
    if settings.votes > 1 and quarantine:
        raise SmeltConfigError("quarantine=True does not go together with votes= yet. Leave out one of them.")
    settings = replace(settings, on_conflict="suffix", mode="now", refresh=False)
    call = prepare(data, prompt, output_model, model, settings, is_sent=not dry_run)
    check_result(call, result)
    if settings.votes > 1:
        return _nothing(call) if dry_run else _of_votes(call)
    requests = requests_of(call, result)
    if dry_run:
        return estimate(call.of_round(_ROUND, [rows[0] for rows in requests.values()], wire=wire_of(call)))
    auditing = Auditing(call, result, requests, quarantine=quarantine)
    run_blocking(see_through(auditing), awaited="arun")
    return auditing.report()


def _nothing(call: Preparation) -> Estimate:
    return estimate(replace(call.about([]), settings=replace(call.settings, votes=1)))


def _of_votes(call: Preparation) -> AuditReport:
    """Compare the votes for each row: each was given in other company, so nothing has to be asked."""
    return AuditReport(audit_votes(votes_of(call)), call.frame, None, cost_usd=0.0, is_whole=True)


class Auditing(Waves):
    """The runs of an audit."""

    def __init__(
        self, call: Preparation, result: SmeltResult[Any], requests: Mapping[int, Sequence[int]], *, quarantine: bool
    ) -> None:
        """Prepare the runs."""
        super().__init__(call, compared_fields(call.output))
        self._call = call
        self._found = Findings()
        self._quarantine = quarantine
        first = self.keys(result.data)
        size = max((len(rows) for rows in requests.values()), default=1)
        answers = {row: first[row] for rows in requests.values() for row in rows}
        seed = call.settings.seed
        self._steps = steps_of(answers, requests, self._found, size=size, seed=seed, finds_rows=quarantine)
        self._budget = budget_of(call)
        self._ends_at: float | None = None
        self._wave = 0
        self._mended: Any = None

    async def run_safely(self) -> None:
        """Ask until the audit knows enough, or until a run ends early."""
        deadline, loop = self._call.settings.deadline, asyncio.get_running_loop()
        self._ends_at = None if deadline is None else loop.time() + deadline
        groups = next(self._steps, None)
        while groups is not None:
            positions = [row for group in groups for row in group]
            call = self._call.of_round(_ROUND + self._wave, positions, wire=wire_of(self._call))
            answers = await self._asked(call, groups)
            if not self.is_whole:
                return
            groups = _next(self._steps, answers)
        if self._quarantine and self._found.alarms:
            await self._mend()

    def report(self) -> AuditReport:
        """What was found."""
        self.check_ended("The audit", has_found=self._found.sampled > 0)
        return AuditReport(
            self._found, self._call.frame, self._mended, cost_usd=self.counts.cost_usd, is_whole=self.is_whole
        )

    async def _asked(self, call: Preparation, groups: Sequence[Sequence[int]]) -> dict[int, Hashable]:
        part = part_of(replace(call, stage="audit"))
        ends = [0]
        for group in groups:
            ends.append(ends[-1] + len(group))
        part.groups = [range(start, end) for start, end in pairwise(ends)]
        self._wave += 1
        rows = [row for group in groups for row in group]
        return await self.answers(part, rows, ends_at=self._ends_at, budget=self._budget)

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
