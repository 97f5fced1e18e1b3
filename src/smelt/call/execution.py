"""Execution of a prepared call: opens the ledger, runs the engine on an event loop and collects the outcome."""

from __future__ import annotations

import asyncio
import random
import time
from functools import partial
from importlib.metadata import version
from typing import Any

from smelt.call.outcome import Outcome
from smelt.call.preparation import Preparation
from smelt.call.thinking import room_of
from smelt.engine.budget import Budget
from smelt.engine.events import Event, RequestSent, RunStarted
from smelt.engine.limiter import Limiter
from smelt.engine.run import INTERRUPT_GRACE, Run
from smelt.engine.supply import Supply
from smelt.engine.work import Counts, Ending
from smelt.errors import (
    BudgetExceededError,
    SmeltAPIError,
    SmeltError,
    SmeltInterrupt,
    StoreError,
)
from smelt.lanes.caps import Caps
from smelt.lanes.registry import join
from smelt.ledger.base import NoLedger
from smelt.ledger.session import RunSubject, Session, remembering
from smelt.ledger.writer import Gap
from smelt.loop.bridge import run_blocking
from smelt.messages import counted
from smelt.observe.recorder import EventRecorder
from smelt.observe.reporter import Reporter
from smelt.plan.answers import Answers
from smelt.progress.drawing import progress_for
from smelt.providers.prices import check_priced, cost_usd, price_of
from smelt.providers.redact import redact
from smelt.result import SmeltResult

_ON_ITS_WAY = 0.1  # Seconds; by then the SDK has sent the request, and the loop only waits for the reply.


def execute(call: Preparation, *, awaited: str, gap: Gap = lambda name: None) -> SmeltResult[Any]:
    """Run *call* on this thread, and block until it ends.

    Args:
        call: The prepared call.
        awaited: The async method that an error or warning recommends if an event loop is already running.
        gap: Called between every two steps of the ledger; tests end the process there.

    Raises:
        SmeltAPIError: No row was answered, because of the account, the model or the server.
        SmeltExhaustionError: A row failed, and the call has `on_error="raise"`.
        BudgetExceededError: The budget is spent, and the call has `on_error="raise"`.
        StoreError: The ledger cannot be opened, or failed later; then the error carries the result so far.
        SmeltInterrupt: Ctrl-C or SIGTERM; carries the result so far.
    """
    return run_blocking(_interruptible(call, gap), awaited=awaited)


async def aexecute(call: Preparation) -> SmeltResult[Any]:
    """`execute` on the running event loop. After a cancellation, the answers are in the ledger only."""
    execution = Execution(call, is_partial_shown=False)
    await execution.run_safely()
    return execution.outcome.checked_result()


async def _interruptible(call: Preparation, gap: Gap) -> SmeltResult[Any]:
    execution = Execution(call, gap=gap)
    try:
        await execution.run_safely()
    except asyncio.CancelledError:  # smelt owns this loop, so only Ctrl-C (or SIGTERM) cancels.
        raise execution.interrupt() from None
    return execution.outcome.checked_result()


class Execution:
    """One run and its state. The outcome is available at any time, also after an interrupt."""

    def __init__(
        self,
        call: Preparation,
        *,
        gap: Gap = lambda name: None,
        is_partial_shown: bool = True,
        supply: Supply | None = None,
    ) -> None:
        """Prepare to run *call*. For a stream, *call* is about the first frame, and *supply* brings the rows."""
        self._call = call
        self._supply = supply
        self._gap = gap
        self._is_partial_shown = is_partial_shown
        self._answers = answers_of(call)
        self._counts = Counts()
        # The price list is loaded at the first use.
        self._price = partial(cost_usd, call.provider.name, call.provider.model)
        settings = call.settings
        self._budget = Budget(max_cost=settings.max_cost, max_tokens=settings.max_tokens_total, price=self._price)
        if settings.max_cost is not None:
            check_priced(call.provider.name, call.provider.model)
        self._ending: Ending | None = None
        self._seconds = 0.0
        self._loading: asyncio.TimerHandle | None = None
        self._is_kept = False  # Whether a ledger stores the answers.
        self._recorder = EventRecorder(skipped=self._answers.skipped)

    @property
    def outcome(self) -> Outcome:
        """The outcome of the run so far."""
        return Outcome(
            call=self._call,
            answers=self._answers,
            counts=self._counts,
            seconds=self._seconds,
            ending=self._ending,
            recorder=self._recorder,
        )

    def interrupt(self) -> SmeltInterrupt:
        """The exception to raise after Ctrl-C has stopped the run."""
        partial = self.outcome.result()
        done = partial.metrics.successful_rows
        kept = (
            "The answers so far are in `.partial_result` and in the ledger: the same call continues from there."
            if self._is_kept
            else "The answers so far are only in `.partial_result`, because no ledger keeps them."
        )
        return SmeltInterrupt(
            f"Interrupted. {done:,} of {counted(partial.metrics.total_rows, 'row')} answered."
            f"{f' {kept}' if done else ''}",
            partial,
        )

    async def run(self) -> None:
        """Run the engine on all rows. If there is no row to ask, no ledger is opened and nothing is sent."""
        call, provider = self._call, self._call.provider
        started = time.perf_counter()
        with (
            remembering(
                self._place(), self._matter(), is_default=call.settings.ledger is None, gap=self._gap
            ) as session,
            progress_for(
                call.settings.progress, clock=asyncio.get_running_loop().time, recorder=self._recorder
            ) as report,
            join(provider, self._caps(), report) as lane,
        ):
            report(
                RunStarted(
                    rows=self._rows,
                    distinct_rows=len(call.folded.distinct),
                    provider=provider.name,
                    model=provider.model,
                    columns=tuple(call.source.names),
                )
            )
            run = self._run(session, lane, report)
            self._begun(run)
            self._load_prices_after_the_first_request(run)
            try:
                self._ending = await run.execute()
                session.state = _state(self._ending)
                await self._linger(run)
            except asyncio.CancelledError:
                session.state = "interrupted"
                raise
            finally:
                if self._loading is not None:
                    self._loading.cancel()
                self._seconds = time.perf_counter() - started
                self._counts.reused_cost_usd = session.ledger.reused_cost_usd()
                session.size = self._size

    @property
    def _size(self) -> tuple[int, int] | None:
        """Rows and distinct rows, if they were not known at the start (a stream); else None."""
        return None

    @property
    def _rows(self) -> int:
        """Number of rows, as far as it is known."""
        return len(self._call.source)

    def _begun(self, run: Run) -> None:
        """Hook for subclasses: the ledger is open, and *run* is about to start."""

    def _load_prices_after_the_first_request(self, run: Run) -> None:
        """Load the price list, which is slow, while the loop waits for the first reply."""
        loop, tell = asyncio.get_running_loop(), run.tell
        name, model = self._call.provider.name, self._call.provider.model

        def begin() -> None:
            self._loading = loop.call_later(_ON_ITS_WAY, price_of, name, model)

        def watching(event: Event) -> None:
            tell(event)
            if self._loading is None and isinstance(event, RequestSent):
                loop.call_soon(begin)  # In the next loop iteration: in this one the SDK still builds the request.

        run.tell = watching

    async def _linger(self, run: Run) -> None:
        """Hook for subclasses: keeps the ledger open after the run until this returns."""

    def _run(self, session: Session, lane: Limiter, report: Reporter) -> Run:
        call, provider = self._call, self._call.provider
        extension, work = None, call.work()
        if session.extension is not None:
            extension, work = call.works(session.extension.added, session.extension.completing)
        self._is_kept = not isinstance(session.ledger, NoLedger)
        is_wanted = self._is_partial_shown or self._is_kept
        return Run(
            work=work,
            extension=extension,
            provider=provider,
            answers=self._answers if self._supply is None else self._supply.parts,
            supply=self._supply,
            lane=lane,
            ledger=session.ledger,
            budget=self._budget,
            room=room_of(provider, call.params),
            tell=report,
            price=self._price,
            rng=random.Random(),  # Seeded by the operating system: the content of a row must not predict its token.
            counts=self._counts,
            interrupt_grace=INTERRUPT_GRACE if is_wanted else 0.0,  # Else late replies are lost anyway.
        )

    def _caps(self) -> Caps:
        settings = self._call.settings
        return Caps(concurrency=self._call.concurrency, rpm=settings.rpm, tpm=settings.tpm, max_wait=settings.max_wait)

    def _place(self) -> bool | str:
        """The `ledger` option to use: a path, or whether to use the default file. False if there is no row to ask."""
        chosen = self._call.settings.ledger
        if self._supply is None and not len(self._call.folded.distinct):
            return False
        return self._call.provider.capabilities.is_worth_keeping if chosen is None else chosen

    def _matter(self) -> RunSubject:
        call, settings = self._call, self._call.settings
        return RunSubject(
            provider=call.provider.name,
            model=call.provider.model,
            prompt=call.prompt,
            params=call.params,
            output=call.output,
            whole=call.whole,
            codec=call.provider.capabilities.codec,
            source=call.source,
            distinct=call.folded.distinct,
            requests=call.concurrency,
            version=version("dfsmelt"),
            key=call.provider.key,
            any_key=settings.any_key,
            is_refresh=settings.refresh,
            extends=settings.extend,
            keeps_inputs=settings.store_inputs,
            is_stream=self._supply is not None,
        )

    async def run_safely(self) -> None:
        """`run`, with unexpected exceptions turned into an error that keeps the answers. The provider may be user code.

        Raises:
            SmeltAPIError: An unexpected exception was raised; it is the cause.
        """
        try:
            await self.run()
        except StoreError as problem:
            problem.partial_result = self.outcome.result() if self._ending else None
            raise
        except Exception as fault:
            if isinstance(fault, SmeltError) and not self._answers.answered:
                raise
            key = self._call.provider.key
            words = redact(str(fault), [key] if key else []).rstrip(".")
            what = f"{type(fault).__name__} was raised" + (f": {words}" if words else "")
            message = f"The run stopped: {what}. The answers so far are kept."
            raise SmeltAPIError(message, partial_result=self.outcome.result()) from fault


def answers_of(call: Preparation) -> Answers:
    """An empty `Answers` for the rows of *call*; skipped rows are marked."""
    answers = Answers(len(call.source), len(call.output.fields), call.folded.twins)
    if call.folded.skipped is not None:
        answers.skip(call.folded.skipped)
    return answers


def _state(ending: Ending) -> str:
    if isinstance(ending.fault, BudgetExceededError):
        return "budget"
    return "stopped" if ending.stop or ending.fault else "done"
