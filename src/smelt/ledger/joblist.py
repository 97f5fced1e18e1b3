"""The jobs of a ledger as users see them: a list that prints as a table, and what can be done with a job."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, Self

from smelt.errors import StoreError, StoreReadOnlyError
from smelt.ledger import jobs, lease
from smelt.ledger.jobs import JobRow
from smelt.ledger.store import Store
from smelt.messages import price
from smelt.tracebacks import plainly

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(eq=False, kw_only=True, repr=False)
class BatchJob:
    """A job of a Batch API. Times are in UTC.

    Attributes:
        job: smelt's name of it, which is also in the error column of rows that wait in it.
        model: The model, as `provider:name`.
        state: `submitted` while the provider works on it, `collected` when its answers are in the ledger. `planned`,
            `uploaded` and `creating`: a call is submitting it. `doubtful`: the answer to the submit was lost, and the
            next call looks for it. `ended`: its results are being read. `orphaned`: the provider does not know it under
            this key. `lost`: its results are gone. `refused`, `withdrawn`, `abandoned`: its rows are free.
        lines: Its requests.
        rows: The rows in them.
        done: Requests answered, by the provider's count at the last look; None if not known.
        since: When it was submitted, or planned.
        looked: When the provider was last asked for its state.
        expires: When the provider deletes its results, if that is known.
        cost_usd: Dollars for the answers collected so far; None if not known.
        name: The provider's name of it.
        detail: The provider's words on its state.

    Examples:
        >>> with smelt.ledger.open("answers.sqlite") as ledger:
        ...     [(job.model, job.state) for job in ledger.jobs()]
        []
    """

    job: str
    model: str
    state: str
    lines: int
    rows: int
    done: int | None
    since: datetime
    looked: datetime | None
    expires: datetime | None
    cost_usd: float | None
    name: str | None
    detail: str | None
    row: JobRow = field(repr=False)
    store: Store = field(repr=False)

    def __repr__(self) -> str:
        return _table([self])

    @plainly
    def refresh(self, model: Any = None) -> Self:
        """Ask the provider for the state of the job, once. Costs nothing, and collects nothing.

        Args:
            model: The model as in the call that submitted it, if its key is not in the environment.

        Returns:
            The job, with its new state.

        Raises:
            SmeltConfigError: There is no key.
            SmeltAPIError: The provider did not answer.
            StoreError: The job was not submitted.
        """
        from smelt.call.remote import looked_at

        return self._take(looked_at(self, model))

    @plainly
    def cancel(self, model: Any = None) -> Self:
        """Ask the provider to cancel the job. Answers that exist by then are billed, and the next call collects them.

        Args:
            model: As in `refresh`.

        Returns:
            The job, with its new state; the provider may take minutes to end it.

        Raises:
            SmeltError: As in `refresh`.
        """
        from smelt.call.remote import cancelled

        return self._take(cancelled(self, model))

    @plainly
    def abandon(self) -> Self:
        """Give the job up without asking the provider: its rows are free, and the next call pays for them again.

        The job may go on and be billed: `cancel` it first, if the provider knows it.

        Returns:
            The job.

        Raises:
            StoreError: A running call is submitting it, or it holds no rows any more.
        """
        if self.store.is_read_only:
            raise StoreReadOnlyError(f"The ledger {self.store.path} can only be read.")
        with self.store.writing() as connection:
            lease.lose_dead_runs(connection, lease.present)
            row = next(one for one in jobs.jobs_in(connection) if one.id == self.row.id)
            if row.state not in (*jobs.RUNNING, "orphaned", "lost"):
                why = "is being submitted by a running call" if row.state in jobs.HOLDING else f"is {row.state}"
                raise StoreError(f"The job {row.tag} {why}, so there is nothing to abandon.")
            jobs.give_up(connection, row, "abandoned", lease.present().wall)
        return self._take(row)

    def settle(self) -> None:
        """Read the state of the job anew, after what a run left behind whose process died."""
        if not self.store.is_read_only:
            with self.store.writing() as connection:
                lease.lose_dead_runs(connection, lease.present)
        self._take(None)

    def note(self, state: str, **changes: Any) -> None:
        """Store what the provider said of the job. One whose results are read, or are gone, keeps its state."""
        with self.store.writing() as connection:
            row = next(one for one in jobs.jobs_in(connection) if one.id == self.row.id)
            kept = row.state if row.state in ("ended", "lost") else state
            jobs.move(connection, self.row.id, kept, {**changes, "looked": lease.present().wall})

    def _take(self, _: object) -> Self:
        with self.store.reading() as connection:
            found = next(one for one in listed(connection, self.store) if one.row.id == self.row.id)
        self.__dict__.update(found.__dict__)
        return self


class BatchJobs(list[BatchJob]):
    """The jobs of a ledger, oldest first. Prints as a table."""

    def __repr__(self) -> str:
        return _table(self)

    def _repr_html_(self) -> str:
        from smelt.report.markup import el

        return str(el("pre", _table(self)))


def listed(connection: Any, store: Store) -> BatchJobs:
    """All jobs in a store, oldest first."""
    models = dict(connection.execute("SELECT id, provider || ':' || model FROM specs"))
    costs = dict(
        connection.execute("SELECT job, sum(cost_usd) FROM attempts WHERE job IS NOT NULL GROUP BY job").fetchall()
    )
    return BatchJobs(
        BatchJob(
            job=row.tag,
            model=models.get(row.spec, ""),
            state=row.state,
            lines=row.lines,
            rows=row.rows,
            done=row.done,
            since=_when(row.submitted or row.made),
            looked=None if row.looked is None else _when(row.looked),
            expires=None if row.expires is None else _when(row.expires),
            cost_usd=costs.get(row.id),
            name=row.name,
            detail=row.detail,
            row=row,
            store=store,
        )
        for row in jobs.jobs_in(connection)
    )


def _when(seconds: float) -> datetime:
    return _EPOCH + timedelta(seconds=seconds)


_HEADS = ("job", "model", "state", "lines", "rows", "done", "since", "expires", "cost")


def _table(found: Sequence[BatchJob]) -> str:
    if not found:
        return "no jobs"
    cells = [
        (
            one.job,
            one.model,
            one.state,
            f"{one.lines:,}",
            f"{one.rows:,}",
            "" if one.done is None else f"{one.done:,}",
            f"{one.since:%Y-%m-%d %H:%M}",
            "" if one.expires is None else f"{one.expires:%Y-%m-%d %H:%M}",
            "" if one.cost_usd is None else price(one.cost_usd),
        )
        for one in found
    ]
    widths = [max(len(row[at]) for row in (_HEADS, *cells)) for at in range(len(_HEADS))]
    lines = [
        "  ".join(text.ljust(width) for text, width in zip(row, widths, strict=True)).rstrip()
        for row in (_HEADS, *cells)
    ]
    return "\n".join(lines)
