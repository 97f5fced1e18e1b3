"""Makes a result of the artefacts of jobs: the same reader, validator and columns as in a run, without a network."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from pydantic_core import to_json

from smelt.batch.archive import JobFiles, SentRow, UnreadableError, jobs_at
from smelt.batch.plan import number_in
from smelt.call.options import NAMING, Settings
from smelt.call.outcome import Outcome
from smelt.call.preparation import prepare
from smelt.call.resolve import resolve_model
from smelt.engine.decide import decide_reply
from smelt.engine.policy import Policy
from smelt.engine.work import Counts
from smelt.errors import SmeltConfigError, warn
from smelt.ledger.jobs import HOLDING
from smelt.messages import counted
from smelt.observe.recorder import EventRecorder
from smelt.plan.answers import Answers, RowFailure
from smelt.plan.chunks import Chunk, Pending
from smelt.plan.packed import Layout
from smelt.plan.replies import read_reply
from smelt.plan.schema import Output, read_output
from smelt.plan.validate import Validator
from smelt.providers.base import CallFailed, Reply
from smelt.providers.joblines import line_reader
from smelt.providers.prices import price_for

_ONCE = Policy(max_attempts=1)  # A bad answer is not asked again here.
_KINDS = {"filtered": "filtered", "too_long": "too_long", "too_large": "too_long", "protocol": "malformed"}
_KINDS |= {"expired": "missing", "server": "server", "rate_limit": "server", "timeout": "timeout"}
_MOST_SHOWN = 3  # Problems that one warning shows.


@dataclass(kw_only=True, eq=False)
class _Line:
    """A line of a job: its rows by their positions in the result, and what came back."""

    tokens: list[str]
    positions: list[int]
    answered_by: str | None = None  # The text that answered rows.
    is_doubled: bool = False


@dataclass(kw_only=True, eq=False)
class _Table:
    """The distinct rows of all jobs, and what is known of each.

    Attributes:
        cells: The sent cells of each row.
        values: The answers, by position.
        failures: Why rows have no answer, by position.
    """

    cells: list[dict[str, Any]] = field(default_factory=list)
    values: dict[int, tuple[Any, ...]] = field(default_factory=dict)
    failures: dict[int, RowFailure] = field(default_factory=dict)
    _places: dict[str, int] = field(default_factory=dict)

    def place(self, row: SentRow) -> int:
        """The position of a row: equal rows are one."""
        at = self._places.setdefault(row.key, len(self.cells))
        if at == len(self.cells):
            self.cells.append(row.cells)
        return at

    def take(self, values: dict[int, tuple[Any, ...]], failures: dict[int, RowFailure]) -> None:
        """Take what a job says. A later answer replaces an earlier one, and a failure replaces no answer."""
        self.values |= values
        self.failures |= failures

    def answers(self, fields: int) -> Answers:
        """The outcomes, as a run has them."""
        answers = Answers(len(self.cells), fields)
        answers.accept_all(list(self.values), list(self.values.values()))
        for at, failure in self.failures.items():
            if at not in self.values:
                answers.fail(at, failure)
        return answers


@dataclass(kw_only=True, eq=False)
class _Damage:
    """What could not be read."""

    folders: list[str]
    requests: int = 0
    results: int = 0
    strangers: int = 0
    misplaced: int = 0

    def sentences(self) -> list[str]:
        """What the caller is told."""
        shown = "; ".join(self.folders[:_MOST_SHOWN]) + ("; …" if len(self.folders) > _MOST_SHOWN else "")
        return [
            *([f"{counted(len(self.folders), 'job')} cannot be read, and the others are: {shown}."] if shown else []),
            *([f"{counted(self.requests, 'line')} of requests.jsonl cannot be read."] if self.requests else []),
            *([f"{counted(self.results, 'line')} of the results cannot be read."] if self.results else []),
            *(
                [f"Results of no request that can be read: {counted(self.strangers, 'line')}."]
                if self.strangers
                else []
            ),
            *(
                [f"Replies under the id of another request: {counted(self.misplaced, 'line')}."]
                if self.misplaced
                else []
            ),
        ]


def result_of(path: Path, output_model: Any) -> Outcome:
    """The outcome that the artefacts at *path* hold.

    Raises:
        SmeltConfigError: They cannot be read, or do not fit *output_model*.
    """
    started, (jobs, problems) = time.perf_counter(), jobs_at(path)
    damage, table = _Damage(folders=problems), _Table()
    lines = dict[str, dict[int, _Line]]()
    jobs, naming = _fitting(path, jobs, output_model, damage)
    readable = list[JobFiles]()
    for job in jobs:
        try:
            lines[job.tag] = _asked(job, table, damage)
            readable.append(job)
        except UnreadableError as problem:
            damage.folders.append(f"{job.path.name}: {problem}")
    if not table.cells:
        raise SmeltConfigError(f"No job in {path} can be read. {' '.join(damage.sentences())}")
    provider = resolve_model(readable[0].model, needs_key=False)
    client = line_reader(provider)
    if client is None:
        raise SmeltConfigError(
            f"The jobs in {path} were answered by {readable[0].model}. smelt reads those of openai, anthropic and "
            "google."
        )
    columns = tuple(dict.fromkeys(name for cells in table.cells for name in cells))
    settings = replace(naming, columns=columns, progress=False, ledger=False)
    cells = [{name: row.get(name) for name in columns} for row in table.cells]
    call = prepare(cells, readable[0].prompt, output_model, provider, settings, is_sent=False)
    counts, reader = Counts(), _Reader(output=call.output, damage=damage)
    price = price_for(provider)
    for job in readable:
        counts.requests += len(lines[job.tag])
        for item in job.items(client):
            outcome = item.outcome
            if isinstance(outcome, Reply) or outcome.usage.is_reported:
                counts.add(outcome.usage, price(outcome.usage))
            number = number_in(job.tag, item.id)
            line = None if number is None else lines[job.tag].get(number)
            if item.id is None:
                damage.results += 1
            elif line is None:
                damage.strangers += 1
            else:
                reader.enter(job, line, outcome, table)
        table.take(reader.values, _left(job, lines.pop(job.tag), reader))
        reader.values, reader.failures = {}, {}
    if sentences := damage.sentences():
        warn(" ".join(sentences))
    return Outcome(
        call=call,
        answers=table.answers(len(call.output.fields)),
        counts=counts,
        seconds=time.perf_counter() - started,
        ending=None,
        recorder=EventRecorder(),
    )


def _fitting(
    path: Path, jobs: Sequence[JobFiles], output_model: Any, damage: _Damage
) -> tuple[list[JobFiles], Settings]:
    """The jobs that asked for *output_model*, and how they name columns.

    Raises:
        SmeltConfigError: There is none, or they asked different questions.
    """
    if not jobs:
        raise SmeltConfigError(f"No job in {path} can be read. {' '.join(damage.sentences())}")
    fitting = list[JobFiles]()
    for job in jobs:
        naming = _naming(job)
        fields = tuple(one.key for one in read_output(output_model, text_column=naming.output).fields)
        if sorted(fields) == sorted(job.fields):
            fitting.append(job)
        else:
            damage.folders.append(f"{job.path.name} asked for {', '.join(job.fields)}, and not for {', '.join(fields)}")
    if not fitting:
        raise SmeltConfigError(f"No job in {path} has answers to this output model: {damage.folders[0]}.")
    questions = {job.question: job for job in fitting}
    if len(questions) > 1:
        folders = " or ".join(str(job.path) for job in list(questions.values())[:_MOST_SHOWN])
        raise SmeltConfigError(
            f"The jobs in {path} have {len(questions)} different models or prompts. Read one of them: {folders}."
        )
    return fitting, _naming(fitting[-1])


def _naming(job: JobFiles) -> Settings:
    return Settings.of(**{name: job.naming[name] for name in NAMING if name in job.naming})


def _asked(job: JobFiles, table: _Table, damage: _Damage) -> dict[int, _Line]:
    """The lines of a job by their numbers.

    Raises:
        UnreadableError: There is no request file.
    """
    lines = dict[int, _Line]()
    for sent in job.requests():
        number = None if sent is None else number_in(job.tag, sent[0])
        if sent is None or number is None:
            damage.requests += 1
            continue
        lines[number] = _Line(tokens=[row.token for row in sent[1]], positions=[table.place(row) for row in sent[1]])
    return lines


def _left(job: JobFiles, lines: dict[int, _Line], reader: _Reader) -> dict[int, RowFailure]:
    """The failures of a job, with those of rows of which it says nothing."""
    if job.state in HOLDING:
        failure = RowFailure("pending", f"pending in job {job.tag}, which was not collected into this folder")
    else:
        failure = RowFailure("missing", f"The results of the job {job.tag} have no answer to it.")
    said = reader.values.keys() | reader.failures.keys()
    open_rows = {at: failure for line in lines.values() for at in line.positions if at not in said}
    return open_rows | reader.failures


class _Reader:
    """Reads the replies of one job as those of live requests are read.

    Attributes:
        values: The answers, by position.
        failures: Why rows have no answer, by position.
    """

    def __init__(self, *, output: Output, damage: _Damage) -> None:
        self.values = dict[int, tuple[Any, ...]]()
        self.failures = dict[int, RowFailure]()
        self._validator = Validator(output)
        self._layout = Layout.of(output.fields)
        self._damage = damage

    def enter(self, job: JobFiles, line: _Line, outcome: Reply | CallFailed, table: _Table) -> None:
        """Take what came back for a line."""
        if isinstance(outcome, CallFailed):
            kind = _KINDS.get(outcome.kind, "bad_request")
            for at in line.positions:
                self.failures.setdefault(at, RowFailure(kind, outcome.message, request_id=outcome.request_id))
            return
        rows = read_reply(
            outcome.text,
            line.tokens,
            job.codec,
            layout=self._layout,
            is_cut=outcome.finish == "length",
            may_be_cut=outcome.finish == "unknown",
        )
        if line.is_doubled or (line.answered_by is not None and (not rows.found or line.answered_by == outcome.text)):
            return  # The reply that answers the rows of its line counts.
        if line.answered_by is not None:
            line.is_doubled = True
            doubled = RowFailure("invalid", "Its line has two different answers.", 1)
            for at in line.positions:
                self.values.pop(at, None)
            self.failures |= dict.fromkeys(line.positions, doubled)
            return
        line.answered_by = outcome.text if rows.found else None
        self._damage.misplaced += bool(rows.foreign) and not rows.found and not rows.doubled
        texts = [to_json(table.cells[at]).decode() if self._validator.reads_rows else "{}" for at in line.positions]
        chunk = Chunk(rows=tuple(map(Pending, line.positions, texts)))
        verdict = decide_reply(chunk, line.tokens, outcome, rows, self._validator, _ONCE)
        self.values |= {one.row.position: one.values for one in verdict.accepted}
        is_cut = outcome.finish == "length" or rows.is_cut
        for row in chunk.rows:
            words = f"No valid answer: {row.problem}." if row.problem else "Its reply cannot be read."
            left = RowFailure("invalid", words, 1, outcome.request_id)
            if is_cut:
                left = RowFailure("truncated", "The reply was cut off before its answer.", 1, outcome.request_id)
            self.failures[row.position] = left
        for failed in verdict.failed:
            self.failures[failed.row.position] = RowFailure(failed.kind, failed.message, 1, outcome.request_id)
        for at in line.positions:
            if at in self.values:
                self.failures.pop(at, None)
