"""Jobs of the Batch APIs: what the three protocols share. Lines are answered as live requests are, on a clock of ours.

The clock of a scenario starts at the real time. It moves only when a test says so (`Scenario.advance`), and by
`per_look` seconds with each look at a job, so that a client that polls comes to an end by itself. All state is in the
server's process: a client that was killed may come back to it.

`jobs=` of a scenario (`Terms`) says what happens:

    fake.scenario(jobs={"script": {"0": {"end": "expired", "share": 0.5, "lines": {"3": "lost"}}}})

`script` has a `Plot` for the first job, the second and so on; other jobs follow `usual`. `http` has faults of single
calls: for each operation (upload, create, look, list, results, cancel, delete), by the number of the call:

    fake.scenario(jobs={"http": {"create": {"0": "reset_before"}}})

A fault of transport strikes after the work was done, so the answer is lost; a refusal strikes before, unless it says
`"done": true`.
"""

from __future__ import annotations

import random
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from tests.fakeserver.faults import Fault, Response
from tests.fakeserver.messages import Headers, Json

Run = Callable[[Json, "Sequence[Fault]"], "Done"]
"""Answers the body of one line, with these further faults."""


WRITTEN = frozenset({
    "lost",
    "doubled",
    "swapped",
    "garbled",
    "latin",
    "unknown_id",
    "no_id",
    "a_list",
    "long",
    "zero",
    "null",
    "never_run",
    "blank",
})  # fmt: skip
"""Faults of lines that strike the file of results, see `joblines.py`."""


@dataclass(frozen=True, kw_only=True)
class Plot:
    """What happens to one job.

    Attributes:
        waits: Seconds until the first line is run.
        runs: Seconds until the job ends, from then on.
        end: How it ends: completed, expired, cancelled or failed.
        share: The part of the lines that is run before the end; None for all, or half of them if the job expires.
        failure: Why a job failed: a key of `openai_jobs.FAILURES`, or a table with code, message and line.
        counts: `true`, `lie` (all are done, none failed) or `none`.
        lines: Faults of lines by their number, from 0, or under `"all"`; see `joblines.py`.
        no_output: The job names no file of results, whatever was run.
        blank_error_file: The id of an error file that does not exist is "" and not null.
        file_after: Seconds after the end until the file of results is there, and named.
        file_gone: The file of results is named, and answers 404.
        gone: Looks at the job answer 404.
        state: A state that the client does not know, while the job runs.
        detail: A message that the job carries at its end.
        results_host: Where Anthropic's `results_url` points, in place of this server.
        ends_cut: Bytes of the last line of results that are missing.
    """

    waits: float = 60.0
    runs: float = 120.0
    end: Literal["completed", "expired", "cancelled", "failed"] = "completed"
    share: float | None = None
    failure: Any = None
    counts: Literal["true", "lie", "none"] = "true"
    lines: Mapping[str, Any] = field(default_factory=dict)
    no_output: bool = False
    blank_error_file: bool = False
    file_after: float = 0.0
    file_gone: bool = False
    gone: bool = False
    state: str | None = None
    detail: str | None = None
    results_host: str | None = None
    ends_cut: int = 0


@dataclass(frozen=True, kw_only=True)
class Terms:
    """What a scenario's Batch API allows, and what happens to its jobs.

    Attributes:
        per_look: Seconds by which a look at a job moves the clock.
        script: Plots by the number of the job, from 0.
        usual: The plot of all other jobs.
        http: Faults of calls, see above.
        most_lines: The most lines of a job.
        most_bytes: The most bytes of a file or a body.
        most_jobs: The most jobs at a time; another create is refused with 429.
        most_waiting: The most input tokens in jobs that have not ended.
        hidden_for: Seconds until a new job is listed.
        upload_host: Where Gemini sends the pieces of an upload, in place of this server.
        kept: Seconds from its making until a job and its files are gone.
    """

    per_look: float = 60.0
    script: Mapping[str, Any] = field(default_factory=dict)
    usual: Mapping[str, Any] = field(default_factory=dict)
    http: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    most_lines: int = 50_000
    most_bytes: int = 2 * 10**9
    most_jobs: int = 100
    most_waiting: int | None = None
    hidden_for: float = 0.0
    upload_host: str | None = None
    kept: float = 30 * 86_400


@dataclass(frozen=True, kw_only=True)
class Done:
    """A line that was run: status, body, tokens, and the rows that were in it."""

    status: int
    body: Any
    request_id: str
    input_tokens: int = 0
    output_tokens: int = 0
    dollars: float = 0.0
    rows: Sequence[str] = ()


@dataclass(frozen=True, kw_only=True)
class Line:
    """One line as it was uploaded."""

    id: str
    body: Json
    tokens: int = 0


@dataclass(kw_only=True)
class File:
    """A file on the server."""

    id: str
    owner: str
    name: str
    content: bytes
    made: float
    purpose: str = "batch"


@dataclass(kw_only=True)
class Job:
    """A job, and what was made of it so far."""

    id: str
    owner: str
    plot: Plot
    lines: Sequence[Line]
    made: float
    run: Run
    charges: Callable[[Job, Done], bool | None]
    tag: str | None = None
    model: str = ""
    upload: str | None = None
    endpoint: str = ""
    errors: Sequence[Json] = ()
    cancelled: float | None = None
    done: dict[int, Done] | None = None  # By the number of the line; None until the job has ended.
    files: dict[str, str] = field(default_factory=dict)  # What a protocol made of it: kind to file id.

    @property
    def starts(self) -> float:
        """When its first line is run."""
        return self.made + self.plot.waits

    @property
    def ends(self) -> float:
        """When it ends."""
        if self.errors or self.plot.end == "failed":
            return self.starts
        end = self.starts + self.plot.runs
        return end if self.cancelled is None else min(end, self.cancelled + 30)

    def end_at(self, now: float) -> str | None:
        """How it has ended at *now*; None if it has not."""
        if now < self.ends:
            return None
        if self.errors or self.plot.end == "failed":
            return "failed"
        was_cancelled = self.cancelled is not None and self.cancelled + 30 < self.starts + self.plot.runs
        return "cancelled" if was_cancelled else self.plot.end

    def share_at(self, now: float) -> float:
        """The part of its lines that is run at *now*."""
        if self.errors or self.plot.end == "failed":
            return 0.0
        usual = 0.5 if self.plot.end == "expired" else 1.0
        share = usual if self.plot.share is None else self.plot.share
        until = now if self.cancelled is None else min(now, self.cancelled)
        passed = (until - self.starts) / self.plot.runs if self.plot.runs else float(until >= self.starts)
        return share * max(0.0, min(1.0, passed))

    def count_at(self, now: float) -> int:
        """How many of its lines are run at *now*."""
        return int(len(self.lines) * self.share_at(now) + 1e-9)


@dataclass(frozen=True, kw_only=True)
class Charge:
    """A line on the bill. `charged` is None where nobody knows whether the provider charges it."""

    job: str
    id: str
    status: int
    charged: bool | None
    input_tokens: int
    output_tokens: int
    dollars: float
    rows: Sequence[str]


class Depot:
    """The files, the jobs and the bill of one scenario."""

    def __init__(self, terms: Mapping[str, Any], rng: random.Random) -> None:
        self.terms = Terms(**terms)
        self.rng = rng
        self.files: dict[str, File] = {}
        self.jobs: dict[str, Job] = {}
        self.bill: list[Charge] = []
        self.calls: Counter[str] = Counter()
        self.log: list[Json] = []
        self._now = time.time()

    @property
    def now(self) -> float:
        """Seconds since 1970, on the clock of this scenario."""
        return self._now

    def advance(self, seconds: float) -> None:
        """Move the clock."""
        self._now += seconds
        for job in self.jobs.values():
            self._settle(job)

    def name(self, start: str) -> str:
        """A new name."""
        return f"{start}{self.rng.randrange(16**12):012x}"

    def keep(self, content: bytes, *, owner: str, name: str, start: str = "file-", purpose: str = "batch") -> File:
        """A new file."""
        one = File(id=self.name(start), owner=owner, name=name, content=content, made=self._now, purpose=purpose)
        self.files[one.id] = one
        return one

    def file(self, name: str, headers: Headers) -> File | None:
        """The file called *name*, if it belongs to the key and is not too old."""
        found = self.files.get(name)
        is_there = found is not None and found.owner == owner_of(headers) and self._now < found.made + self.terms.kept
        return found if is_there else None

    def plot(self) -> Plot:
        """What happens to the next job."""
        return Plot(**self.terms.script.get(str(len(self.jobs)), self.terms.usual))

    def enter(self, job: Job) -> Job:
        """A new job."""
        self.jobs[job.id] = job
        return job

    def running(self, headers: Headers) -> list[Job]:
        """The jobs of a key that have not ended."""
        owner = owner_of(headers)
        return [one for one in self.jobs.values() if one.owner == owner and one.end_at(self._now) is None]

    def waiting(self, headers: Headers) -> int:
        """Input tokens of those jobs."""
        return sum(line.tokens for job in self.running(headers) for line in job.lines)

    def job(self, name: str, headers: Headers) -> Job | None:
        """The job called *name*, if it belongs to the key; moves the clock."""
        self.advance(self.terms.per_look)
        found = self.jobs.get(name)
        if found is None or found.owner != owner_of(headers) or found.plot.gone:
            return None
        return found if self._now < found.made + self.terms.kept else None

    def listed(self, headers: Headers) -> list[Job]:
        """The jobs of the key that are listed, the newest first; moves the clock."""
        self.advance(self.terms.per_look)
        owner = owner_of(headers)
        shown = [one for one in self.jobs.values() if one.owner == owner]
        return [one for one in reversed(shown) if one.made + self.terms.hidden_for <= self._now]

    def _settle(self, job: Job) -> None:
        """Run the lines of a job that has ended, and write them on the bill."""
        if job.done is not None or job.end_at(self._now) is None:
            return
        job.done = {}
        for number in range(job.count_at(job.ends)):
            line = job.lines[number]
            if any(fault.name == "never_run" for fault in line_faults(job.plot, number)):
                continue
            done = job.run(line.body, faults_of(job.plot, number))
            job.done[number] = done
            self.bill.append(
                Charge(
                    job=job.id,
                    id=line.id,
                    status=done.status,
                    charged=job.charges(job, done),
                    input_tokens=done.input_tokens,
                    output_tokens=done.output_tokens,
                    dollars=done.dollars,
                    rows=done.rows,
                )
            )

    def described(self) -> list[Json]:
        """All jobs, for a test."""
        return [
            {
                "id": job.id,
                "tag": job.tag,
                "model": job.model,
                "lines": len(job.lines),
                "run": len(job.done or {}),
                "end": job.end_at(self._now),
                "made": job.made,
                "ends": job.ends,
                "upload": job.upload,
            }
            for job in self.jobs.values()
        ]


def owner_of(headers: Headers) -> str:
    """Whose job it is: the key. A key that ends in 2 is the next one of the same account."""
    names = ("x-api-key", "x-goog-api-key", "authorization")
    key = next((headers[name] for name in names if name in headers), "")
    return key.removeprefix("Bearer ").removesuffix("2")


def line_faults(plot: Plot, number: int) -> list[Fault]:
    """What strikes the line *number* of a job."""
    found = [*_listed(plot.lines.get("all", ())), *_listed(plot.lines.get(str(number), ()))]
    written = [{"fault": one} if isinstance(one, str) else dict(one) for one in found]
    return [Fault(one.pop("fault"), one) for one in written]


def faults_of(plot: Plot, number: int) -> list[Fault]:
    """Those of them that strike the answer, as in a live reply."""
    return [one for one in line_faults(plot, number) if one.name not in WRITTEN]


def _listed(value: Any) -> list[Any]:
    return list(value) if isinstance(value, list | tuple) else [value]


@dataclass(frozen=True, kw_only=True)
class Call:
    """A request to one of the routes."""

    query: str
    headers: Headers
    body: bytes
    base: str  # Where the scenario is: scheme, host, port and its name.


@dataclass(frozen=True)
class Route:
    """An operation by its name, by which faults strike it, and what carries it out."""

    operation: str
    answer: Callable[[Call], Response]
