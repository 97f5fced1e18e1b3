"""The interface to a provider's Batch API: jobs of many requests that the provider answers within a day, at half price.

A job takes a file of lines. A *line* is one request with an id of the caller. The answers come back as lines, too, in
any order; some may be missing, doubled or damaged. An adapter translates in both directions and decides nothing:
`smelt.batch` plans jobs, waits, and decides what becomes of each line.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from enum import Enum
from typing import BinaryIO, Literal, Protocol, runtime_checkable

from smelt.errors import SmeltConfigError
from smelt.providers.base import BatchLimits, CallFailed, Provider, Reply, Request
from smelt.providers.own import OwnProvider

LINE_CAP = 64 * 2**20
"""Bytes of the longest line of results that is read."""

TIER = "batch"
"""The service tier of a line of a job, as `Usage.tier` names it."""


class JobState(Enum):
    """Where a job is, as far as the provider says."""

    WAITING = "waiting"  # Accepted; its file is checked, or it waits for its turn.
    RUNNING = "running"  # Also while it is cancelled, while results are written, and in a state that is not known.
    ENDED = "ended"  # Completed, expired or cancelled: `JobReport.end` says which. Some or all lines may be answered.
    FAILED = "failed"  # Refused as a whole, before any line was run: `JobReport.fault` says why. Nothing is billed.
    GONE = "gone"  # The server knows no job of this name under this key: too old, or of another key or project.


@dataclass(frozen=True, kw_only=True)
class JobFault:
    """Why a job as a whole was refused.

    Attributes:
        kind: `full`: too many tokens are waiting in jobs of this account; the same job may succeed when others have
            ended. `line`: the file has a line that cannot be run. `no_file`: the server does not find the file, which
            may pass. `other`: anything else, such as a model that no batch may use.
        message: One redacted line for people.
        line: The number of the first bad line, from 1, if it is known.
        limit: The most tokens that may wait, if the server says so.
    """

    kind: Literal["full", "line", "no_file", "other"]
    message: str
    line: int | None = None
    limit: int | None = None


@dataclass(frozen=True, kw_only=True)
class JobReport:
    """What the provider says of a job. Believe no count: providers were seen to report 0 failures beside failed lines.

    Attributes:
        name: The provider's id of the job.
        state: Where the job is.
        tag: The tag that the job was submitted with; None if the server does not tell.
        sources: Names of the files that hold results; opaque, only for `results` and for a log. Empty for an ended job:
            no line was answered, or (if *end* is `completed`, or *done* is not 0) the files are not there yet, and
            `look` may find them minutes later.
        total: Lines of the job, as the provider counts them; None if it does not tell (yet).
        done: Lines answered so far, by the provider's count; for display only. Anthropic counts at the end only.
        failed: Lines failed so far, by the provider's count; for display only.
        made: When the job was made, in seconds since 1970 by the provider's clock.
        expires: When the results are deleted, in seconds since 1970.
        end: How an ended job ended; None while it runs, if it failed, and if the server does not tell.
        fault: Why a failed job failed; None in every other state.
        upload: The name of the file that the job was made of, if it is known, for `withdraw`.
        detail: The provider's own word for the state, and its message if it sent one; one redacted line for people.
    """

    name: str
    state: JobState
    tag: str | None = None
    sources: tuple[str, ...] = ()
    total: int | None = None
    done: int | None = None
    failed: int | None = None
    made: float | None = None
    expires: float | None = None
    end: Literal["completed", "expired", "cancelled"] | None = None
    fault: JobFault | None = None
    upload: str | None = None
    detail: str | None = None


@dataclass(frozen=True, kw_only=True)
class Item:
    """One line of a job's results.

    Attributes:
        id: The id of the request, as the server repeats it: it may be unknown to the caller, occur twice, or stand
            beside the answer of another line. None if the line has none, or cannot be read.
        outcome: The reply; or why there is none, with the same kinds as in a live call. Its usage has the tier `TIER`,
            which not every provider names in its lines. A line that was never run,
            because the job expired or was cancelled, has the kind `expired` and `Billing.NOT_SENT`. A line that is no
            JSON, is cut off, has no known shape or is longer than `LINE_CAP` has the kind `protocol` and
            `Billing.UNKNOWN`. Rate-limit and server errors (429, 5xx, status 0) are `Billing.REJECTED`, as in a live
            call.
        raw: The line as it came, with its newline if it had one. Of a line over `LINE_CAP` only the beginning.
        source: Which of the provider's files it stood in; providers with one file put all lines into `results`.
    """

    id: str | None
    outcome: Reply | CallFailed
    raw: bytes
    source: Literal["results", "errors"] = "results"


class BatchConnection(Protocol):
    """A provider's open client for jobs. Starts no thread; makes no retries; all its methods may run concurrently.

    **What is raised.** Every method that asks the server raises `CallFailed` with the kinds of live calls: `auth` (401,
    403), `quota`, `rate_limit` (429), `bad_request`, `not_found`, `server` (5xx), `connection`, `timeout`, `protocol`
    (a 200 that is no answer, such as a proxy's page) and so on. Nothing else is raised for what a server or a network
    does. Each small request may take 60 s. A transfer of a file may take 60 s without progress, and 60 s + its size at
    256 kB/s in all; then it fails as `timeout`.
    """

    def line(self, name: str, request: Request) -> bytes:
        r"""The line that asks *request*: one JSON object in UTF-8 that ends in its only newline, `b"\n"`.

        Pure, and does no I/O. Split lines of bytes at `b"\n"` only: U+2028 and the like may stand inside one.

        Args:
            name: The id of the line. At most 64 of `[A-Za-z0-9_-]`, different for each line of a job.
            request: The request; its timeout is ignored.
        """
        ...

    async def submit(
        self,
        lines: BinaryIO,
        *,
        tag: str,
        count: int,
        on_upload: Callable[[str | None], Awaitable[None]],
        upload: str | None = None,
    ) -> JobReport:
        """Upload the lines, and create a job of them.

        `on_upload` is awaited exactly once, after the upload and just before the request that creates the job is sent,
        with the upload's name; with None if the provider has no upload of its own (Anthropic: the creating request
        carries the lines). Store there that the job is now being created. If it raises, nothing is created, and its
        exception is raised.

        - Raised before `on_upload` was awaited: there is no job. An upload whose answer was lost is deleted by its
          expiry.
        - Raised after it, with `Billing.NOT_SENT` or `Billing.REJECTED`: the server refused to create the job; there is
          none. A 429 (`rate_limit`) may mean that too many jobs or tokens wait. The upload stays: call `submit` with
          *upload* to try again, or `withdraw`.
        - Raised after it, with `Billing.UNKNOWN`: the answer was lost, was an error of 5xx, 408 or 409, or cannot be
          read. **The job may exist.** The same holds after a cancellation and after the end of the process. No create
          is idempotent: use `find` before another `submit`.

        Args:
            lines: A file of lines made by `line`, open for binary reading, read from its first byte. It is read in
                pieces, and stays open.
            tag: 12 of `[a-z2-7]`, different for each job. It becomes part of names that the provider shows.
            count: Number of lines.
            on_upload: See above.
            upload: The name of an earlier upload of the same lines: they are not uploaded again, and *lines* is not
                read. Ignored by a provider without uploads. If the file is gone there, raises `CallFailed`
                (`not_found` or `bad_request`) or the job fails later as `no_file`.
        """
        ...

    async def look(self, name: str) -> JobReport:
        """Ask for the state of the job called *name*. Costs nothing.

        A job that the server does not know is a report with `JobState.GONE`, not an exception; but a 404 without the
        provider's own error object (a proxy, a wrong base URL) raises `not_found`. A single 404 says little: they were
        seen to come and go (anthropics/anthropic-sdk-python#1432). Believe it after several looks, minutes apart.
        """
        ...

    def find(self, *, tag: str, count: int, since: float) -> AsyncIterator[JobReport]:
        """List jobs that `submit` may have created with this *tag*, made at *since* or later; the newest first.

        A report with `tag` set is surely of this tag. There is more than one if the job was created twice. A report
        with `tag` None is a candidate: it has *count* lines, or their number is not known, and it cannot tell its tag
        while it runs. Wait until it has ended and call `find` again, and submit no second job meanwhile. Ended
        candidates are checked here, by the first id of their results; one with another tag is not yielded. A candidate
        may be a job that the caller knows by its name, or of another program.

        Providers with `can_tag` yield no candidates. A job may take a minute until it is listed.

        Args:
            tag: As for `submit`.
            count: As for `submit`.
            since: Seconds since 1970. Allow for a wrong clock: 10 minutes before the submit is right.
        """
        ...

    def results(self, report: JobReport) -> AsyncIterator[Item]:
        """Read the results of an ended job, line by line, in flat memory, file after file. Costs nothing.

        Repeatable: each call reads from the first byte of the first file, and reading changes nothing remotely. An
        iteration that fails midway is begun anew, so the caller may get a line twice. Empty lines are skipped; every
        other line is yielded, in the order of the file. Lines may be missing, and no item says so: compare with what
        was sent. Close the iterator (`aclosing`) if it is left early.

        Raises `CallFailed` if a transfer fails; `not_found` if a file is not there (also when it expired).
        """
        ...

    async def cancel(self, name: str) -> JobReport:
        """Ask the server to cancel the job, which may take minutes. Answered lines stay, and are billed.

        A job that has ended already is reported as it is; nothing is raised for that.
        """
        ...

    async def discard(self, report: JobReport) -> None:
        """Delete the files of an ended job from the server: upload and results. What is gone already is no error."""
        ...

    async def withdraw(self, upload: str) -> None:
        """Delete an upload of which no job was made. What is gone already is no error."""
        ...


@runtime_checkable
class BatchProvider(Provider, Protocol):
    """A provider with a Batch API. A second protocol, so that users' own providers need not change.

    Attributes:
        batching: What one job may hold; None if this model or address has no Batch API that smelt knows.
    """

    @property
    def batching(self) -> BatchLimits | None: ...

    def connect_batches(self) -> AbstractAsyncContextManager[BatchConnection]:
        """Open a client for jobs in the running loop; close it on exit. Only called if *batching* is not None."""
        ...


def batching_of(provider: Provider) -> tuple[BatchProvider, BatchLimits]:
    """*provider* as one with a Batch API, and its limits.

    Raises:
        SmeltConfigError: It has none; says what to do.
    """
    inner = provider.provider if isinstance(provider, OwnProvider) else provider
    limits = inner.batching if isinstance(inner, BatchProvider) else None
    if not isinstance(inner, BatchProvider) or limits is None:
        at = f" at {provider.origin}" if isinstance(inner, BatchProvider) else ""
        raise SmeltConfigError(
            f'mode="batch" needs a Batch API, and smelt knows none of {provider.name}:{provider.model}{at}. Leave out '
            "mode=, or use a model of openai, anthropic or google at its own address."
        )
    return inner, limits


def waiting_limit(message: str) -> int | None:
    """The most tokens that may wait in jobs, as an error message says it; None if it does not."""
    import re  # Late: `import smelt` loads this module.

    found = re.search(r"limit\D{0,40}?(\d[\d,_]{3,})", message, re.IGNORECASE)
    return int(re.sub("[,_]", "", found[1])) if found else None
