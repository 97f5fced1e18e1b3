"""One block of a job, or several as one run: asked in a worker, and told to the pacer when it has ended."""

from __future__ import annotations

from collections.abc import Generator, Iterable, Mapping
from contextlib import suppress
from dataclasses import replace
from functools import partial
from typing import Any, TypeVar
from uuid import uuid4

from smelt.api.job import Job
from smelt.call.options import Settings
from smelt.environment import environ
from smelt.errors import SmeltAPIError, SmeltConfigError, SmeltError
from smelt.lanes.errands import ask_pacer
from smelt.lanes.jobrun import JobRun
from smelt.lanes.jobs import COUNTED, HALTED, MOST_ERRORS
from smelt.lanes.places import pacer_place
from smelt.plan.answers import RowFailure
from smelt.providers.base import CallFailed
from smelt.result import told
from smelt.scale.display import count, headway
from smelt.streaming.driving import Inlet
from smelt.streaming.flow import Flow
from smelt.streaming.stream import Stream, checked_inlet

B = TypeVar("B")


class Part:
    """A part of a job, asked as one run.

    Attributes:
        run: What the run is called, and its job.
        name: What the part is called: the same if an engine repeats it.
    """

    def __init__(
        self,
        job: Job[Any],
        model: Any,
        settings: Settings,
        *,
        name: str,
        block: str,
        share: float = 1.0,
        of_engine: str | None = None,
    ) -> None:
        """Name the part.

        Args:
            job: The job.
            model: Its model.
            settings: Those of the run.
            name: What the job is called.
            block: What the part is called; it may be empty.
            share: As in `JobRun`.
            of_engine: As `places.pacer_place`.
        """
        given = job.settings
        self.run = JobRun(
            job=name,
            run=uuid4().hex,
            max_cost=given.max_cost,
            max_tokens=given.max_tokens_total,
            left=given.deadline,
            pacer=of_engine,
            share=share,
            headway=None if given.progress is False else headway(),
        )
        self.name = block or self.run.run
        self._job = job
        self._model = model
        self._settings = settings
        self._place = pacer_place(environ(), of_engine)
        if self.run.headway is not None and self._place is not None:
            self._settings = replace(settings, progress=partial(count, self.run.headway))
        self._errors: dict[str, None] = {}

    def answered(self, blocks: Iterable[B], *, pauses: bool = True) -> Generator[B, None, None]:
        """Yield each of *blocks* with its answers.

        Args:
            blocks: The blocks.
            pauses: As in `streaming.driving.driven`.

        Raises:
            SmeltError: As in `smelt.stream`; and a `SmeltAPIError` if the driver of the job was interrupted.
        """
        job, inlet = self._job, None
        try:
            run = self._begun()
            inlet = checked_inlet(job.prompt, job.output_model, self._model, self._settings, job=run, watch=self._note)
            with Stream(blocks, inlet, pauses=pauses) as finished:
                yield from finished
            _raise_halt(inlet)
        except SmeltError as problem:
            self._tell(inlet, problem)
            raise
        except GeneratorExit:  # Whoever takes the blocks wants no more.
            self._tell(inlet, None)
            raise
        self._tell(inlet, None)

    def _begun(self) -> JobRun:
        """The run, with what is left of the job's deadline."""
        if self.run.is_limited and self.run.pacer not in (None, self._place):
            raise SmeltConfigError(
                "The cluster's own pacer holds the limits of this job, and SMELT_PACER of this process says otherwise. "
                "Set it where the job is made, too."
            )
        if self.run.is_limited and self._place is None:
            raise SmeltConfigError(
                "This job has limits that a pacer holds, and this process knows of none. Set SMELT_PACER here, too, "
                "as where the job was made."
            )
        if self.run.left is None:
            return self.run
        with suppress(OSError):  # Nothing is asked before the pacer is back.
            left = self._ask("begin")
            return self.run if left is None else replace(self.run, left=left)  # None: the pacer does not know the job.
        return self.run

    def _ask(self, what: str, *rest: Any, must_wait: bool = True) -> Any:
        assert self._place is not None
        token = environ().get("SMELT_PACER_TOKEN", "")
        return ask_pacer(self._place, token, what, self.run.job, *rest, must_wait=must_wait)

    def _note(self, failures: Mapping[int, RowFailure]) -> None:
        for one in list(failures.values())[:MOST_ERRORS]:
            if len(self._errors) < MOST_ERRORS:
                self._errors[told(one.kind, one.message)] = None

    def _tell(self, inlet: Inlet | None, problem: SmeltError | None) -> None:
        """Tell the pacer how the part ended, if there is one. If it does not answer, it counts what it heard before."""
        if self._place is None:
            return
        flow = None if inlet is None else inlet.flow
        found = None if flow is None else flow.metrics
        stop = _stop(flow)
        line = {
            **{name: 0 if found is None else getattr(found, name) for name in COUNTED},
            "cost_usd": 0.0 if found is None else found.cost_usd,
            "rows": 0 if found is None else found.total_rows,
            "failed": 0 if found is None else found.failed_rows,
            "known": 0 if found is None else found.ledger_rows,
            "errors": list(self._errors),
            "stop": None if stop is None else [stop.kind, stop.message, stop.status, stop.request_id],
            "raised": None if problem is None else [type(problem).__name__, str(problem)],
        }
        with suppress(OSError, SmeltError):
            figures = self._ask("end", self.name, self.run.run, line, must_wait=False)
            if figures and self.run.headway is not None:
                self.run.headway.show(figures)


def _stop(flow: Flow | None) -> CallFailed | None:
    """The failure that stopped a run; None if none did."""
    ending = None if flow is None else flow.ending
    return None if ending is None else ending.stop


def _raise_halt(inlet: Inlet) -> None:
    """Raise if the run asked only a part of its rows because the driver was interrupted: the engine keeps no such."""
    if (stop := _stop(inlet.flow)) is not None and stop.message == HALTED:
        raise SmeltAPIError(f"{HALTED} What was answered is in the ledger.")
