"""Execution of a prepared call: runs the engine on an event loop and collects the outcome."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import replace
from functools import partial
from typing import Any

from smelt.batch.run import BatchRun
from smelt.batch.series import Series
from smelt.call.outcome import Outcome
from smelt.call.part import FramePart, as_one
from smelt.call.preparation import Preparation
from smelt.call.spending import PriceLoading, budget_of
from smelt.call.thinking import room_of
from smelt.call.wiring import Wired, Wiring, book_of, is_batch, wired
from smelt.call.workorder import extension_of, work_of
from smelt.engine.budget import Budget
from smelt.engine.details import Details
from smelt.engine.events import Observer, RunStarted
from smelt.engine.room import Room
from smelt.engine.run import INTERRUPT_GRACE, Run
from smelt.engine.scoring import Scoring
from smelt.engine.supply import Supply
from smelt.engine.work import Counts, Ending
from smelt.errors import (
    BudgetExceededError,
    SmeltAPIError,
    SmeltError,
    StoreError,
)
from smelt.ledger.base import NoLedger
from smelt.observe.recorder import EventRecorder
from smelt.providers.base import DECISIONS
from smelt.providers.mediatokens import counter_of
from smelt.providers.prices import check_priced, cost_of
from smelt.providers.redact import redact


class Execution:
    """One run and its state. The outcome is available at any time, also after an interrupt.

    Attributes:
        supply: The rows of the run.
        counts: Its statistics so far.
        ending: How it ended; None while it runs and after an interrupt.
        engine: The run of the engine; None before the ledger is open.
        is_kept: Whether a ledger stores the answers.
        details: What became of each row; None if that is not kept.
        scoring: The scores of answers; None if the run asks for none.
    """

    def __init__(
        self,
        call: Preparation,
        supply: Supply,
        *,
        wiring: Wiring = wired,
        observers: Sequence[Observer] = (),
        rows: int | None = None,
        is_partial_shown: bool = True,
        ends_at: float | None = None,
        budget: Budget | None = None,
        series: Series | None = None,
        details: bool = False,
        recorder: EventRecorder | None = None,
    ) -> None:
        """Prepare the run.

        Args:
            call: The call; for a stream, the call about the first frame.
            supply: The rows of the run, as `FramePart`s. The first one must be in it when the run begins.
            wiring: Opens the ledger, the lane and the observers.
            observers: Get the events before those of *wiring*.
            rows: The expected number of rows; None if that is the number of rows in *supply* when the run begins.
            is_partial_shown: Whether the caller gets the outcome of a cancelled run.
            ends_at: The time of the loop at which the deadline passes; None: it counts from the start of the run.
            budget: The spending limit that it shares with other runs; None if it has one of its own.
            series: In batch mode: the runs that this one belongs to; None if it is alone.
            details: Whether to keep what became of each row. Only for a run over one frame, and not in batch mode.
            recorder: Keeps the events; None if the run has one of its own.
        """
        self.supply = supply
        self.counts = Counts()
        self.ending: Ending | None = None
        self.engine: Run | None = None
        self.is_kept = False
        self._call = call
        self._wiring = wiring
        self._expected = rows
        self._is_partial_shown = is_partial_shown
        self._observers = observers
        self._is_recorded = recorder is not None
        self._recorder = recorder or EventRecorder()
        # The price list is loaded at the first use.
        self._price = partial(cost_of, call.provider)
        settings = call.settings
        self._budget = budget or budget_of(call)
        self._ends_at = ends_at
        self._series = series
        self.details = Details(supply.rows) if details else None
        self.scoring = Scoring() if call.asks_scores else None
        if settings.max_cost is not None:
            check_priced(call.provider, DECISIONS if call.settings.via == "decisions" else "")
        self._started = time.perf_counter()
        self._seconds: float | None = None

    @property
    def seconds(self) -> float:
        """The duration of the run, so far or to its end."""
        return time.perf_counter() - self._started if self._seconds is None else self._seconds

    @property
    def outcome(self) -> Outcome:
        """The outcome so far of all parts that were not handed over, joined into one."""
        return outcome_of(
            self._call,
            self.supply,
            counts=self.counts,
            seconds=self.seconds,
            ending=self.ending,
            recorder=self._recorder,
            details=self.details,
        )

    async def run(self) -> None:
        """Run the engine on all rows. If there is no row to ask, nothing is sent."""
        call, supply = self._call, self.supply
        self._started = time.perf_counter()
        if not self._is_recorded:
            self._recorder = EventRecorder(skipped=supply.parts.skipped)
        prices = PriceLoading(call.provider)
        observers: list[Observer] = [self._recorder, *self._observers, prices]
        with self._wiring(call, observers, is_stream=supply.is_open or supply.is_fed) as handed:
            handed.report(
                RunStarted(
                    rows=self._expected or supply.rows,
                    distinct_rows=supply.distinct,
                    provider=call.provider.name,
                    model=call.provider.model,
                    columns=tuple(call.source.names),
                    origin=call.provider.origin,
                )
            )
            self.engine = self._engine(handed)
            session = handed.session
            try:
                self.ending = await self.engine.execute()
                session.state = _state(self.ending)
                await supply.until_ended()  # Frames that are read after a stop are still looked up in the ledger.
                await session.hand_over()
            except asyncio.CancelledError:
                session.state = "interrupted"
                await session.hand_over()
                raise
            finally:
                prices.close()
                self._seconds = time.perf_counter() - self._started
                self.counts.reused_cost_usd = session.ledger.reused_cost_usd()
                session.size = (supply.rows, supply.distinct)

    def _engine(self, handed: Wired) -> Run:
        call, session = self._call, handed.session
        extension = session.extension
        self.is_kept = not isinstance(session.ledger, NoLedger)
        is_wanted = self._is_partial_shown or self.is_kept
        is_whole = not self.supply.is_open and not self.supply.is_fed and self._series is None
        kind: Callable[..., Run] = Run
        if is_batch(call):
            series = self._series or Series()
            kind = partial(BatchRun, book=book_of(session), terms=handed.terms, series=series)
        return kind(
            work=replace(work_of(call, is_whole=is_whole), ends_at=self._ends()),
            extension=None
            if extension is None
            else extension_of(call, extension.added, extension.completing, is_whole=is_whole),
            supply=self.supply,
            provider=call.provider,
            lane=handed.lane,
            ledger=session.ledger,
            shelf=session.shelf,
            budget=self._budget,
            room=room_of(call.provider, call.params) if call.settings.via == "generation" else Room.starting_at(0),
            tell=handed.report,
            price=self._price,
            media_tokens=counter_of(call.provider),
            rng=random.Random(),  # Seeded by the operating system: the content of a row must not predict its token.
            counts=self.counts,
            interrupt_grace=INTERRUPT_GRACE if is_wanted else 0.0,  # Else late replies are lost anyway.
            details=self.details,
            scoring=self.scoring,
        )

    def _ends(self) -> float | None:
        """When the deadline passes, if it does not count from the start of the run."""
        job = self._call.job
        if job is None or job.left is None:
            return self._ends_at
        return asyncio.get_running_loop().time() + job.left

    async def run_safely(self) -> None:
        """`run`, with unexpected exceptions turned into an error that keeps the answers. The provider may be user code.

        Raises:
            SmeltAPIError: An unexpected exception was raised; it is the cause.
        """
        try:
            await self.run()
        except StoreError as problem:
            problem.partial_result = self.outcome.result() if self.ending else None
            raise
        except Exception as fault:
            if isinstance(fault, SmeltError) and not self.supply.parts.answered:
                raise
            key = self._call.provider.key
            words = redact(str(fault), [key] if key else []).rstrip(".")
            what = f"{type(fault).__name__} was raised" + (f": {words}" if words else "")
            message = f"The run stopped: {what}. The answers so far are kept."
            raise SmeltAPIError(message, partial_result=self.outcome.result()) from fault


def outcome_of(call: Preparation, supply: Supply, **known: Any) -> Outcome:
    """The outcome of all parts of *supply* that were not handed over, joined into one.

    Args:
        call: The call.
        supply: The rows, as `FramePart`s.
        **known: The rest, as in `Outcome`.
    """
    whole, answers = as_one(call, [part for part in supply.parts if isinstance(part, FramePart)])
    return Outcome(call=whole, answers=answers, answered_before=supply.parts.answered - answers.answered, **known)


async def break_off(tasks: Sequence[asyncio.Task[Any]]) -> None:
    """Cancel *tasks*, and wait until they have ended. A second interrupt does not wait for what they still do."""
    for _ in range(2):
        for task in tasks:
            task.cancel()
        with suppress(asyncio.CancelledError):
            if tasks:
                await asyncio.wait(tasks)
            return


def _state(ending: Ending) -> str:
    if isinstance(ending.fault, BudgetExceededError):
        return "budget"
    return "done" if ending.why is None else "stopped"
