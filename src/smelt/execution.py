"""A prepared call, carried out: its ledger is opened, its run is made and driven, and what is known of it is kept."""

from __future__ import annotations

import asyncio
import random
import time
from importlib.metadata import version
from typing import Any

from smelt.engine.budget import Budget
from smelt.engine.events import RunStarted
from smelt.engine.lane import SimpleLane
from smelt.engine.loop import run_blocking
from smelt.engine.run import INTERRUPT_GRACE, Run
from smelt.engine.work import Counts, Ending
from smelt.errors import (
    BudgetExceededError,
    SmeltAPIError,
    SmeltConfigError,
    SmeltError,
    SmeltInterrupt,
    StoreError,
)
from smelt.ledger.base import NoLedger
from smelt.ledger.session import Matter, Session, remembering
from smelt.ledger.writer import Gap
from smelt.observe.recorder import Recorder
from smelt.outcome import Outcome
from smelt.plan.answers import Answers
from smelt.preparation import Preparation
from smelt.prices import price_of
from smelt.progress import Reporter, progress_for
from smelt.providers.base import Usage
from smelt.providers.keys import key_of
from smelt.result import SmeltResult


def execute(call: Preparation, *, awaited: str, gap: Gap = lambda name: None) -> SmeltResult[Any]:
    """Carry *call* out on this thread.

    Args:
        call: The call.
        awaited: The method to recommend where a loop is running.
        gap: Called at every gap between two steps of the ledger, for tests that end the process there.

    Raises:
        SmeltAPIError: Nothing could be answered, because of the account, the model or the server.
        SmeltExhaustionError: A row failed, and the call was to raise.
        BudgetExceededError: The budget is spent, and the call was to raise.
        StoreError: The ledger cannot be used, or failed; carries the result so far.
        SmeltInterrupt: Ctrl-C or SIGTERM; carries the result so far.
    """
    return run_blocking(_interruptible(call, gap), awaited=awaited)


async def aexecute(call: Preparation) -> SmeltResult[Any]:
    """`execute` on the loop that runs here. When it is cancelled, what was answered is in the ledger only."""
    execution = _Execution(call, is_partial_shown=False)
    await execution.run_safely()
    return execution.outcome.checked_result()


async def _interruptible(call: Preparation, gap: Gap) -> SmeltResult[Any]:
    execution = _Execution(call, gap=gap)
    try:
        await execution.run_safely()
    except asyncio.CancelledError:  # On a loop of our own, only Ctrl-C cancels.
        partial = execution.outcome.result()
        done = partial.metrics.successful_rows
        raise SmeltInterrupt(
            f"Interrupted. {done:,} of {partial.metrics.total_rows:,} rows are answered; they are in `.partial`.",
            partial,
        ) from None
    return execution.outcome.checked_result()


class _Execution:
    """One run and what is known of it, also when it is broken off."""

    def __init__(self, call: Preparation, *, gap: Gap = lambda name: None, is_partial_shown: bool = True) -> None:
        self._call = call
        self._gap = gap
        self._is_partial_shown = is_partial_shown
        self._answers = Answers(len(call.source), len(call.output.fields), call.folded.twins)
        self._counts = Counts()
        self._price = price_of(call.provider.name, call.provider.model)  # Now: it may load the price list.
        settings = call.settings
        self._budget = Budget(max_cost=settings.max_cost, max_tokens=settings.max_tokens_total, price=self._price)
        if settings.max_cost is not None and self._price(Usage(input_tokens=1, output_tokens=1)) is None:
            raise SmeltConfigError(
                f"max_cost needs a price, and that of {call.provider.name}:{call.provider.model} is not known. "
                "Use max_tokens_total, or install the price list: pip install 'dfsmelt[prices]'"
            )
        self._ending: Ending | None = None
        self._seconds = 0.0
        if call.folded.skipped is not None:
            self._answers.skip(call.folded.skipped)
        self._recorder = Recorder(skipped=self._answers.skipped)

    @property
    def outcome(self) -> Outcome:
        """What is known of the run by now."""
        return Outcome(
            call=self._call,
            answers=self._answers,
            counts=self._counts,
            seconds=self._seconds,
            ending=self._ending,
            recorder=self._recorder,
        )

    async def run(self) -> None:
        """Ask for every row. Nothing is opened or sent where there is nothing to ask."""
        call, provider = self._call, self._call.provider
        started = time.perf_counter()
        with (
            remembering(
                self._place(), self._matter(), is_default=call.settings.ledger is None, gap=self._gap
            ) as session,
            progress_for(
                call.settings.progress, clock=asyncio.get_running_loop().time, recorder=self._recorder
            ) as report,
        ):
            report(
                RunStarted(
                    rows=len(call.source),
                    distinct_rows=len(call.folded.distinct),
                    provider=provider.name,
                    model=provider.model,
                )
            )
            run = self._run(session, report)
            try:
                self._ending = await run.execute()
                session.state = _state(self._ending)
            except asyncio.CancelledError:
                session.state = "interrupted"
                raise
            finally:
                self._seconds = time.perf_counter() - started

    def _run(self, session: Session, report: Reporter) -> Run:
        call, provider = self._call, self._call.provider
        extension, work = None, call.work()
        if session.extension is not None:
            extension, work = call.works(session.extension.added, session.extension.completing)
        is_kept = self._is_partial_shown or not isinstance(session.ledger, NoLedger)
        return Run(
            work=work,
            extension=extension,
            provider=provider,
            answers=self._answers,
            lane=SimpleLane(most=call.concurrency, provider=provider.name, tell=report),
            ledger=session.ledger,
            budget=self._budget,
            tell=report,
            price=self._price,
            rng=random.Random(),  # Seeded by the system: a row's token must not be guessable from its text.
            counts=self._counts,
            interrupt_grace=INTERRUPT_GRACE if is_kept else 0.0,  # Nobody would ever see what landed.
        )

    def _place(self) -> bool | str:
        """Where the ledger is; nowhere, if there is nothing to ask."""
        chosen = self._call.settings.ledger
        if not len(self._call.folded.distinct):
            return False
        return self._call.provider.capabilities.is_worth_keeping if chosen is None else chosen

    def _matter(self) -> Matter:
        call, settings = self._call, self._call.settings
        return Matter(
            provider=call.provider.name,
            model=call.provider.model,
            prompt=call.prompt,
            params={**getattr(call.provider, "params", {}), **settings.params},
            output=call.output,
            codec=call.provider.capabilities.codec,
            source=call.source,
            distinct=call.folded.distinct,
            requests=call.concurrency,
            version=version("dfsmelt"),
            key=key_of(call.provider),
            any_key=settings.any_key,
            is_refresh=settings.refresh,
            extends=settings.extend,
            keeps_inputs=settings.store_inputs,
        )

    async def run_safely(self) -> None:
        """`run`; a fault in the provider, which may be the caller's own, costs nothing that was answered.

        Raises:
            SmeltAPIError: There was one; it is the cause.
        """
        try:
            await self.run()
        except StoreError as problem:
            problem.partial_result = self.outcome.result() if self._ending else None
            raise
        except Exception as fault:
            if isinstance(fault, SmeltError) and not self._answers.answered:
                raise
            message = f"The run broke off: {type(fault).__name__} was raised, see above. What was answered is kept."
            raise SmeltAPIError(message, partial_result=self.outcome.result()) from fault


def _state(ending: Ending) -> str:
    if isinstance(ending.fault, BudgetExceededError):
        return "budget"
    return "stopped" if ending.stop or ending.fault else "done"
