"""The states of jobs, in the ledger and then in the artefacts."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from smelt.batch.files import Folder
from smelt.errors import SmeltConfigError, StoreFullError
from smelt.ledger.book import JobBook
from smelt.ledger.jobs import JobRow
from smelt.providers.base import CallFailed


@dataclass(kw_only=True, eq=False)
class Records:
    """Stores the states of jobs.

    Attributes:
        book: The jobs in the ledger.
        artefacts: The directory that gets the files of each job, or None.
        question: What `smelt.batch.read` must know of the question.
        codec: The form in which the sender writes rows now.
        note: Receives notices for the caller.
    """

    book: JobBook
    artefacts: Path | None
    codec: Callable[[], str]
    note: Callable[[str], None]
    question: Mapping[str, Any] = field(default_factory=dict)

    def folder(self, tag: str) -> Folder:
        """The artefacts of the job *tag*."""
        return Folder(self.artefacts, tag)

    def write(self, job: JobRow) -> JobRow:
        """Write the state of *job* into its artefacts, and return it."""
        if self.artefacts is not None:
            self.folder(job.tag).note(job, {**self.question, "codec": self.codec()})
        return job

    async def move(self, job: JobRow, state: str, **changes: Any) -> JobRow:
        """Store a new state of *job*.

        Raises:
            StoreError: It is not in the ledger.
        """
        return self._written(await self.book.move(job, state, **changes))

    async def give_up(self, job: JobRow, state: str, detail: str | None = None) -> JobRow:
        """End *job* in a state without answers; its rows are free.

        Raises:
            StoreError: It is not in the ledger.
        """
        return self._written(await self.book.give_up(job, state, detail))

    async def close(
        self, job: JobRow, failures: Mapping[int, tuple[CallFailed, float | None]], doubled: Sequence[int]
    ) -> JobRow:
        """All results of *job* are read; see `JobBook.close`.

        Raises:
            StoreError: It is not in the ledger.
        """
        return self._written(await self.book.close(job, failures, doubled))

    def _written(self, job: JobRow) -> JobRow:
        """The job exists by now, so a full disk must not end the run."""
        try:
            return self.write(job)
        except (SmeltConfigError, StoreFullError):
            self.note(f"The manifest of the job {job.tag} could not be written; the job goes on.")
            return job
