"""One block of a job, or several as one run: asked in a worker, and told to the pacer when it has ended."""

from __future__ import annotations

from collections.abc import Generator, Iterable, Mapping
from contextlib import suppress
from typing import Any, TypeVar
from uuid import uuid4

from smelt.api.job import Job
from smelt.call.options import Settings
from smelt.environment import environ
from smelt.errors import SmeltError
from smelt.lanes.errands import ask_pacer
from smelt.lanes.jobs import COUNTED, MOST_ERRORS, JobRun
from smelt.lanes.registry import pacer_place
from smelt.plan.answers import RowFailure
from smelt.result import told
from smelt.streaming.driving import Inlet
from smelt.streaming.stream import Stream, checked_inlet

B = TypeVar("B")


class Part:
    """A part of a job, asked as one run.

    Attributes:
        run: What the run is called, and its job.
        block: What the part is called: the same if an engine repeats it.
    """

    def __init__(self, job: Job[Any], model: Any, settings: Settings, *, name: str, block: str) -> None:
        """Name the part; *name*: what the job is called, *block*: what the part is, which may be empty."""
        self.run = JobRun(job=name, run=uuid4().hex)
        self.block = block or self.run.run
        self._job = job
        self._model = model
        self._settings = settings
        self._errors: dict[str, None] = {}

    def answered(self, blocks: Iterable[B], *, pauses: bool = True) -> Generator[B, None, None]:
        """Yield each of *blocks* with its answers.

        Args:
            blocks: The blocks.
            pauses: As in `streaming.driving.driven`.

        Raises:
            SmeltError: As in `smelt.stream`.
        """
        job, inlet = self._job, None
        try:
            inlet = checked_inlet(
                job.prompt, job.output_model, self._model, self._settings, job=self.run, watch=self._note
            )
            with Stream(blocks, inlet, pauses=pauses) as finished:
                yield from finished
        except SmeltError as problem:
            self._tell(inlet, problem)
            raise
        self._tell(inlet, None)

    def _note(self, failures: Mapping[int, RowFailure]) -> None:
        for one in list(failures.values())[:MOST_ERRORS]:
            if len(self._errors) < MOST_ERRORS:
                self._errors[told(one.kind, one.message)] = None

    def _tell(self, inlet: Inlet | None, problem: SmeltError | None) -> None:
        """Tell the pacer how the part ended, if there is one. If it does not answer, it counts what it heard before."""
        if (place := pacer_place(environ())) is None:
            return
        found = None if inlet is None or inlet.flow is None else inlet.flow.metrics
        line = {
            **{name: 0 if found is None else getattr(found, name) for name in COUNTED},
            "cost_usd": 0.0 if found is None else found.cost_usd,
            "rows": 0 if found is None else found.total_rows,
            "failed": 0 if found is None else found.failed_rows,
            "known": 0 if found is None else found.ledger_rows,
            "errors": list(self._errors),
            "raised": None if problem is None else [type(problem).__name__, str(problem)],
        }
        token = environ().get("SMELT_PACER_TOKEN", "")
        with suppress(OSError, SmeltError):
            ask_pacer(place, token, "end", self.run.job, self.block, self.run.run, line)
