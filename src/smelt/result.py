"""The result of a run: answers, frame, failed rows, and metrics with the cost."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property, partial
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, Protocol, TypeVar

from smelt.cascade import Cascade
from smelt.checks import integer
from smelt.errors import SmeltConfigError
from smelt.messages import at_standard, by_tier, lasted, paid, price, printable

if TYPE_CHECKING:
    from smelt.evaluation.difference import Difference

T = TypeVar("T")

_SHOWN_ERRORS = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class RowError:
    """A row without an answer.

    Attributes:
        position: Row position in the input, from 0.
        label: Its index label in pandas; the position elsewhere.
        kind: One word: `missing`, `invalid`, `refused`, `filtered`, `too_long`, `timeout`, `stopped`, …
        message: What happened, without values of the row.
        attempts: Paid answers that were unusable for this row.
        request_id: The provider's ID of the last request that carried this row.
        step: In a pipeline: the step in which the row failed; then *position* and *label* are those of the row of the
            input from which the row comes.

    Examples:
        >>> silent = ScriptedProvider(lambda row: {"sector": "tech"} if row["name"] == "Arm" else None)
        >>> error = df.smelt.run("Classify {name}.", Company, model=silent).errors[0]
        >>> error.position, error.kind, error.attempts
        (1, 'missing', 4)
    """

    position: int
    label: object
    kind: str
    message: str
    attempts: int = 0
    request_id: str | None = None
    step: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class SmeltMetrics:
    """The metrics of a run: rows, requests, tokens, cost and time.

    Attributes:
        total_rows: The caller's rows.
        successful_rows: Rows without an error.
        failed_rows: Rows with an error.
        pending_rows: Rows that wait in jobs of a Batch API; the same call with `mode="batch"` collects them.
        distinct_rows: Distinct rows; equal rows are paid once.
        ledger_rows: The caller's rows that the ledger answered, at no cost.
        ledger_cost_usd: Dollars that these answers cost when they were bought: their share, by rows, of the cost of
            their requests. None if not known, and in a stream until it has ended.
        requests: Requests sent, retries included.
        total_retries: Requests that carried a row for the second time or more.
        rate_limited: Requests refused with 429.
        input_tokens: Input tokens as reported by the provider, including cached tokens.
        output_tokens: Output tokens as reported by the provider, including reasoning tokens.
        cached_input_tokens: Input tokens read from the provider's cache.
        written_input_tokens: Input tokens written to the provider's cache, which costs more with some models.
        reasoning_tokens: Output tokens spent on reasoning.
        wasted_tokens: Tokens, input and output, paid for answers that were not used: refused, cut off, not valid, or
            there twice. A request's tokens are shared equally among its rows.
        cost_usd: Dollars at the published prices; None if a price is not known.
        wall_time_seconds: Duration of the run, from before the ledger is opened to its end.
        possible_duplicates: Requests that may have been billed although no answer arrived.
        wire: The form in which rows were asked, `keyed` or `compact`, and behind it the verdict of a pilot.
        tiers: Replies by the service tier that served them, such as `{"standard": 40}`. Each tier has its own price.
        standard_requests: With `mode="flex"`: replies that the standard tier served, at its price.
        standard_rows: With `mode="flex"`: rows in those requests.

    Examples:
        >>> metrics = df.smelt.run("Classify {name}.", Company, model=scripted).metrics
        >>> metrics.total_rows, metrics.failed_rows, metrics.requests, metrics.cost_usd
        (2, 0, 1, None)
    """

    total_rows: int
    successful_rows: int
    failed_rows: int
    distinct_rows: int
    requests: int
    total_retries: int
    rate_limited: int
    input_tokens: int
    output_tokens: int
    cached_input_tokens: int
    reasoning_tokens: int
    cost_usd: float | None
    wall_time_seconds: float
    possible_duplicates: int = 0
    pending_rows: int = 0
    ledger_rows: int = 0
    ledger_cost_usd: float | None = None
    written_input_tokens: int = 0
    wasted_tokens: int = 0
    tiers: Mapping[str, int] = field(default_factory=dict, hash=False)
    standard_requests: int = 0
    standard_rows: int = 0
    wire: str = "keyed"

    def __repr__(self) -> str:
        return "\n".join(["SmeltMetrics", *(f"  {name}: {text}" for name, text in described(self))])

    def _repr_html_(self) -> str:
        from smelt.report.summary import table

        return table("SmeltMetrics", "", described(self))


@dataclass(frozen=True, slots=True, kw_only=True)
class ResultColumns:
    """Which columns of a result's frame are what.

    Attributes:
        answers: The columns of answers, by the dotted path of their field.
        added: All columns that the run added, those of answers included.
        sent: The columns that were sent to the model.
        made_for: What was asked, by the names of its parts; texts are hashed.
    """

    answers: Mapping[str, str]
    added: tuple[str, ...]
    sent: tuple[str, ...]
    made_for: Mapping[str, str] = field(default_factory=dict, hash=False)


Evidence = Mapping[str, Sequence[float | None]]
"""How sure the answer to each row is, for each field, before it is calibrated: as `trust.verdict.Standing.evidence`."""


class ReportWriter(Protocol):
    """Writes the report of a run; holds the data that is not in the result."""

    def write(self, result: SmeltResult[Any], path: object, *, first_request: bool, overwrite: bool) -> Path:
        """Write the report of *result*, as documented at `SmeltResult.report`."""
        ...


class SmeltResult(Generic[T]):
    """The result of a run, aligned with its input row by row.

    Attributes:
        metrics: The metrics of the run, with its cost.
        model: The model that answered, as `provider:name`.
        columns: Which columns of `frame` are what; None for an aggregate.

    Examples:
        >>> result = df.smelt.run("Classify {name}.", Company, model=scripted)
        >>> result.data
        [Company(sector='tech'), Company(sector='health')]
        >>> result.frame.columns.tolist(), result.success
        (['name', 'sector', 'smelt_error'], True)
    """

    def __init__(
        self,
        *,
        metrics: SmeltMetrics,
        model: str,
        data: Callable[[], list[T | None]],
        frame: Callable[[], Any],
        errors: Callable[[], list[RowError]],
        report: Callable[[], ReportWriter],
        details: Callable[[], Any] | None = None,
        votes: Callable[[], Any] | None = None,
        cascade: Cascade | None = None,
        columns: ResultColumns | None = None,
        company: Callable[[], list[int | None]] | None = None,
        evidence: Callable[[], Evidence] | None = None,
    ) -> None:
        """Keep the metrics and names of columns; everything else is built at the first access."""
        self.columns = columns
        self.metrics = metrics
        self.model = model
        self._data = data
        self._frame = frame
        self._errors = errors
        self._report = report
        self._details = details
        self._votes = votes
        self._company = company
        self._evidence = evidence
        self._cascade = cascade

    @cached_property
    def data(self) -> list[T | None]:
        """One instance of the output model per input row; None if the row failed or was skipped."""
        return self._data()

    @cached_property
    def frame(self) -> Any:
        """The input with the typed output columns and the error column; a frame of the same library as the input."""
        return self._frame()

    @cached_property
    def errors(self) -> list[RowError]:
        """The rows that failed or are pending, in input order."""
        return self._errors()

    @cached_property
    def details(self) -> Any:
        """What became of each row beside its answer, with `details=True`: a frame of the library of the input.

        It has the index and the order of the input, and the columns that
        [Details of every row](../howto/details.md) lists: request, model, finish, attempts, shares of tokens and
        dollars, notes of the provider, reasoning.

        Raises:
            SmeltConfigError: The run kept no details.

        Examples:
            >>> result = df.smelt.run("Classify {name}.", Company, model=scripted, details=True)
            >>> result.details[["request", "finish", "attempts", "from_ledger"]].values.tolist()
            [[1, 'stop', 1, False], [1, 'stop', 1, False]]
        """
        if self._details is None:
            raise SmeltConfigError("This run kept no details. Pass details=True to smelt.run.")
        return self._details()

    @cached_property
    def votes(self) -> Any:
        """How the votes for each row stand, with `votes=` of 2 or more: a frame of the library of the input.

        It has the index and the order of the input. Columns: `votes`, the votes that were answered; `failed`, those
        that were not; and for each field `<field>_for`, the votes for the answer, and `<field>_rival`, the votes for
        the value that has most of them beside it. With `sure=`, also `<field>_sure` for each field that is a choice.
        Null where a row has no answer.

        Raises:
            SmeltConfigError: The run asked each row once.

        Examples:
            >>> result = df.smelt.run("Classify {name}.", Company, model=scripted, votes=3)
            >>> result.votes[["votes", "failed", "sector_for", "sector_rival"]].values.tolist()
            [[2, 0, 2, 0], [2, 0, 2, 0]]
        """
        if self._cascade is not None:
            raise SmeltConfigError("A run of several models keeps no table of votes. .cascade says what they kept.")
        if self._votes is None:
            raise SmeltConfigError("This run asked each row once. Pass votes=3 to have each row asked several times.")
        return self._votes()

    @property
    def cascade(self) -> Cascade:
        """What a call with `model=[cheap, strong]` promises, and what it took. Printing it says it in words.

        Raises:
            SmeltConfigError: The run asked one model.

        Examples:
            >>> models = ["mock:cheap", "mock:strong"]
            >>> result = df.smelt.run("Classify {name}.", Company, model=models, target_accuracy=0.95)
            >>> result.cascade.answered
            {'mock:cheap': 0, 'mock:strong': 2}
        """
        if self._cascade is None:
            raise SmeltConfigError("This run asked one model. Pass model=[cheap, strong] and target_accuracy=0.95.")
        return self._cascade

    @cached_property
    def company(self) -> list[int | None]:
        """For each row the number of the request that answered it: rows with one number were answered together.

        None for a row that no request of this run answered: it failed, the ledger knew it, or it has several votes.

        Examples:
            >>> df.smelt.run("Classify {name}.", Company, model=scripted, batch_size=1).company
            [1, 2]
        """
        return (self._company and self._company()) or []

    def head(self, n: int = 5) -> Any:
        """The first rows of `frame`.

        Args:
            n: How many rows.

        Returns:
            A frame of the same library as the input.

        Raises:
            SmeltConfigError: *n* is not an integer of 0 or more.

        Examples:
            >>> df.smelt.run("Classify {name}.", Company, model=scripted).head(1)["sector"].tolist()
            ['tech']
        """
        rows = integer("n", n, 0, sys.maxsize)
        return self.frame[:rows] if isinstance(self.frame, list) else self.frame.head(rows)

    @property
    def success(self) -> bool:
        """Whether no row failed, and none is pending."""
        return self.metrics.failed_rows == self.metrics.pending_rows == 0

    def diff(self, other: SmeltResult[Any]) -> Difference:
        """Compare this result with another one about the same rows, without knowing which is right.

        Rows are matched by their index labels in pandas, by position elsewhere, and must have the same text in the
        columns that were sent. Text is compared without white space at its ends, numbers by value. Nothing is asked.

        Args:
            other: The other result, such as that of another model, prompt or `batch_size`.

        Returns:
            The rows that differ and how many they are, field by field: `.table`, `.disagreements`, `.differ`.

        Raises:
            SmeltConfigError: *other* is no result of `run`, is about other rows, or has no field in common with this.

        Examples:
            >>> first = df.smelt.run("Classify {name}.", Company, model=scripted)
            >>> second = df.smelt.run("Classify {name}.", Company, model=ScriptedProvider({"sector": "tech"}))
            >>> first.diff(second).table[["field", "rows", "differ"]].values.tolist()
            [['sector', 2, 1]]
        """
        if not isinstance(other, SmeltResult):
            raise SmeltConfigError.for_type("other", other, "a result of smelt.run")
        from smelt.evaluation.difference import Difference

        return Difference(self, other)

    def report(self, path: str | PathLike[str], *, first_request: bool = True, overwrite: bool = False) -> Path:
        """Write a report of the run to *path*: one HTML file that needs no network and no script.

        It shows the prompt, rows by outcome, requests and rows over time, latency, tokens, dollars, the failed rows
        with their labels and reasons, some rows with their answers, and the first request as it was sent. Only the
        file's owner can read it; if you share the file, others see all of it. It is written atomically.

        Args:
            path: The file to write. An existing report is replaced, so that a notebook can run again.
            first_request: Whether to show the first request and some answers. If not, the file contains no text of a
                row, unless a server quotes one in the words of a refusal.
            overwrite: Whether to replace a file that is not a report.

        Returns:
            The path of the written file.

        Raises:
            SmeltConfigError: *path* is no path.
            FileExistsError: A file that is not a report exists there.
            OSError: The file cannot be written.

        Examples:
            >>> df.smelt.run("Classify {name}.", Company, model=scripted).report("run.html").name
            'run.html'
        """
        return self._report().write(self, path, first_request=first_request, overwrite=overwrite)

    def __getstate__(self) -> dict[str, Any]:
        """Pickle support: build all lazy parts now, because a copy in another process cannot build them."""
        return {
            "metrics": self.metrics,
            "model": self.model,
            "data": self.data,
            "frame": self.frame,
            "errors": self.errors,
            "report": self._report(),
            "details": None if self._details is None else self.details,
            "votes": None if self._votes is None else self.votes,
            "cascade": self._cascade,
            "columns": self.columns,
            "company": self.company,
            "evidence": evidence_of(self),
        }

    def __setstate__(self, state: dict[str, Any]) -> None:
        made = {name: partial(state.get, name) for name in ("data", "frame", "errors", "report", "company")}
        lazy = ("details", "votes", "evidence")
        made |= {name: partial(state.get, name) for name in lazy if state.get(name) is not None}
        kept = {name: state.get(name) for name in ("metrics", "model", "cascade", "columns")}
        self.__init__(**kept, **made)  # type: ignore[misc]  # As it was made.

    def __repr__(self) -> str:
        return "\n".join([f"SmeltResult({self._headline()})", *(f"  {name}: {text}" for name, text in self._lines())])

    def _repr_html_(self) -> str:
        from smelt.report.summary import summary

        answered, total = self.metrics.successful_rows, self.metrics.total_rows
        return summary(self._headline(), self._lines(), answered=answered, total=total)

    def _headline(self) -> str:
        done, total = self.metrics.successful_rows, self.metrics.total_rows
        return f"{done:,} of {total:,} rows answered by {printable(self.model)}"

    def _lines(self) -> list[tuple[str, str]]:
        promise = [] if self._cascade is None else [("promise", self._cascade.promise)]
        return [*described(self.metrics), *promise, *_error_lines(self.errors)]


def evidence_of(result: SmeltResult[Any]) -> Evidence | None:
    """How sure the answers of *result* are; None if the run had neither votes nor scores."""
    return None if result._evidence is None else result._evidence()


def with_report(result: SmeltResult[Any], change: Callable[[Any], Any]) -> None:
    """Let the report of *result* be what *change* makes of it; called when it is written."""
    made = result._report
    result._report = lambda: change(made())


def told(kind: str, message: str) -> str:
    """Why a row has no answer, as one text. The message of a pending row begins with that word already."""
    return message if message.startswith(kind) else f"{kind}: {message}"


def described(metrics: SmeltMetrics) -> list[tuple[str, str]]:
    """The metrics as (name, text) pairs, for a repr."""
    rows = f"{metrics.total_rows:,} ({metrics.distinct_rows:,} distinct)"
    pending = f", {metrics.pending_rows:,} pending" if metrics.pending_rows else ""
    known = f", {metrics.ledger_rows:,} known from the ledger" if metrics.ledger_rows else ""
    standard = at_standard(metrics.standard_rows, metrics.standard_requests)
    cost = paid(metrics.cost_usd, metrics.requests)
    if metrics.ledger_rows and metrics.ledger_cost_usd:
        cost += f"; the rows from the ledger cost {price(metrics.ledger_cost_usd)} when they were bought"
    return [
        (
            "rows",
            f"{rows}, {metrics.failed_rows:,} failed{pending}{known}",
        ),
        (
            "requests",
            f"{metrics.requests:,}, {metrics.total_retries:,} repeated, {metrics.rate_limited:,} rate limited",
        ),
        ("tokens", f"{metrics.input_tokens:,} in{_cached(metrics)}, {metrics.output_tokens:,} out{_wasted(metrics)}"),
        *([("tier", tiers)] if (tiers := by_tier(metrics.tiers)) else []),
        *([("at standard", standard)] if standard else []),
        *([("wire", metrics.wire)] if metrics.wire != "keyed" else []),
        ("cost", cost),
        ("time", lasted(metrics.wall_time_seconds)),
    ]


def _cached(metrics: SmeltMetrics) -> str:
    parts = [(metrics.cached_input_tokens, "read from"), (metrics.written_input_tokens, "written to")]
    shown = " and ".join(f"{count:,} {done}" for count, done in parts if count)
    return f" ({shown} the provider's cache)" if shown else ""


def _wasted(metrics: SmeltMetrics) -> str:
    return f"; {metrics.wasted_tokens:,} of them for answers that were not used" if metrics.wasted_tokens else ""


def _error_lines(errors: Sequence[RowError]) -> list[tuple[str, str]]:
    shown = [
        (f"row {printable(str(one.label))}", printable(told(one.kind, one.message))) for one in errors[:_SHOWN_ERRORS]
    ]
    if len(errors) > _SHOWN_ERRORS:
        shown.append(("…", f"and {len(errors) - _SHOWN_ERRORS:,} more in .errors"))
    return shown
