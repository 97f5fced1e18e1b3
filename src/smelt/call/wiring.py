"""What a run is handed: its ledger, its lane and its observers. `wired` is the default of all three."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import replace
from functools import cache, partial
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple, Protocol
from uuid import uuid4

from smelt.batch.desk import Pace
from smelt.batch.office import Terms
from smelt.call.options import NAMING, Settings
from smelt.call.preparation import Preparation
from smelt.engine.events import Observer
from smelt.engine.limiter import Limiter
from smelt.engine.tiers import SECONDS, Tiers
from smelt.errors import StoreReadOnlyError
from smelt.lanes.caps import Caps
from smelt.lanes.registry import join
from smelt.ledger.book import JobBook
from smelt.ledger.session import RunSubject, Session, origins, remembering
from smelt.ledger.writer import Gap
from smelt.observe.logs import run_logger
from smelt.observe.reporter import Reporter
from smelt.plan.dialect import array_schema
from smelt.progress.drawing import display_for
from smelt.providers.base import FLEX
from smelt.providers.prices import check_priced, cost_of
from smelt.providers.tiers import flex_of

_FLEX_SHARE = 0.75  # Of the caller's rpm and tpm. A row is asked at the usual tier after three declined requests.
_USUAL = Settings()

_version = cache(version)  # It reads files, which is a tenth of the CPU time of a small run.


class Wired(NamedTuple):
    """What a run is handed.

    Attributes:
        session: The open ledger. The run sets its `state` and `size`.
        lane: Paces the requests.
        report: Passes the events to all observers.
        terms: With `mode="batch"`: what the caller wants of the jobs.
    """

    session: Session
    lane: Limiter
    report: Reporter
    terms: Terms = Terms()  # Frozen.


class Wiring(Protocol):
    """Opens what a run is handed, and closes it at the end of the run."""

    def __call__(
        self, call: Preparation, observers: Sequence[Observer], *, is_stream: bool
    ) -> AbstractContextManager[Wired]:
        """Called inside the running loop.

        Args:
            call: The call; for a stream, the call about the first frame.
            observers: Observers that the run itself needs.
            is_stream: Whether more rows may come than those of *call*.
        """
        ...


@contextmanager
def wired(
    call: Preparation,
    observers: Sequence[Observer],
    *,
    is_stream: bool,
    tells_changes: bool = True,
    gap: Gap = lambda name: None,
    pace: Pace | None = None,
    step: str = "",
) -> Iterator[Wired]:
    """The ledger of the `ledger` option, the lane that this process shares, and the display of the `progress` option.

    Args:
        call: As `Wiring`.
        observers: As `Wiring`.
        is_stream: As `Wiring`.
        tells_changes: Whether to warn why answers of an earlier run that differs a little are not reused.
        gap: Called between every two steps of the ledger; tests end the process there.
        pace: The pauses between two looks at a job; tests do not wait.
        step: The step of a pipeline, for the events.
    """
    settings = call.settings
    display = display_for(settings.progress, clock=asyncio.get_running_loop().time)
    caps = Caps(concurrency=call.concurrency, rpm=settings.rpm, tpm=settings.tpm, max_wait=settings.max_wait)
    with (
        remembering(
            _place(call, is_stream=is_stream),
            _subject(call, is_stream=is_stream, tells_changes=tells_changes and not (call.round or call.stage)),
            is_default=settings.ledger is None and settings.mode != "batch",
            gap=gap,
        ) as session,
        Reporter(
            *observers,
            display,
            run_logger(),
            *settings.observers,
            run_id=uuid4().hex,
            step=", ".join(filter(None, (step, call.turn))),
        ) as report,
        _lane(call, caps, report) as lane,
    ):
        yield Wired(session, lane, report, _terms(call, pace or Pace()))


def stored(call: Preparation, positions: Sequence[int]) -> list[tuple[tuple[Any, ...], int] | None]:
    """What the ledger has for the rows at *positions*: the answer, and a number of the request that brought it.

    None for a row without an answer, or whose request is not known. Sends nothing.

    Raises:
        StoreError: The ledger cannot be read.
    """
    texts = [text if isinstance(text, str) else "" for text in call.source.texts(positions)]
    return origins(_place(call, is_stream=False), _subject(call, is_stream=False, tells_changes=False), texts)


@contextmanager
def _lane(call: Preparation, caps: Caps, report: Reporter) -> Iterator[Limiter]:
    """The lane of the run. With `mode="flex"` there are two: what the flex tier declines is no limit of the other."""
    settings, price = call.settings, partial(cost_of, call.provider)
    if call.job is not None and call.job.max_cost is not None:
        check_priced(call.provider)
    with join(call.provider, caps, report, job=call.job, price=price) as usual:
        if settings.mode != "flex":
            yield usual
            return
        of_flex = caps.parted(_FLEX_SHARE)
        usual.limit_to(caps.parted(1 - _FLEX_SHARE))
        with join(call.provider, of_flex, report, tier=FLEX, job=call.job, price=price) as cheap:
            yield Tiers(
                cheap=cheap,
                usual=usual,
                params=flex_of(call.provider),
                seconds=SECONDS if settings.timeout == _USUAL.timeout else settings.timeout,
                deadline=settings.deadline,
                max_wait=settings.max_wait,
                tell=report,
                on_close=lambda: usual.limit_to(caps),
            )


def is_batch(call: Preparation) -> bool:
    """Whether the rows of *call* are asked in jobs of a Batch API. Without a row there is nothing to ask."""
    return call.settings.mode == "batch" and len(call.folded.distinct) > 0


def book_of(session: Session) -> JobBook:
    """The jobs in the ledger of a run.

    Raises:
        StoreReadOnlyError: The ledger can only be read.
    """
    if session.book is None:
        raise StoreReadOnlyError(
            'mode="batch" keeps its jobs in the ledger, and this ledger can only be read. Pass another ledger=.'
        )
    return session.book


def _terms(call: Preparation, pace: Pace) -> Terms:
    settings = call.settings
    terms = Terms(wait=settings.wait, tail=settings.tail, pace=pace)
    if settings.artefacts is None:
        return terms
    question = {
        "model": f"{call.provider.name}:{call.provider.model}",
        "prompt": call.prompt,
        "fields": [field.key for field in call.output.fields],
        "schema": array_schema(call.output.fields, call.provider.capabilities.dialect),
        "naming": {name: getattr(settings, name) for name in NAMING},
    }
    return replace(terms, artefacts=Path(settings.artefacts), question=question)


def _place(call: Preparation, *, is_stream: bool) -> bool | str:
    """The `ledger` option to use: a path, or whether to use the default file. False if there is no row to ask."""
    if not is_stream and not len(call.folded.distinct):
        return False
    return call.ledger


def _subject(call: Preparation, *, is_stream: bool, tells_changes: bool) -> RunSubject:
    settings = call.settings
    return RunSubject(
        provider=call.provider.name,
        model=call.provider.model,
        prompt=call.prompt,
        params=call.identity,
        output=call.output,
        whole=call.whole,
        codec=call.provider.capabilities.codec,
        source=call.source,
        distinct=call.folded.distinct,
        requests=call.concurrency,
        version=_version("dfsmelt"),
        key=call.provider.key,
        any_key=settings.any_key,
        is_refresh=settings.refresh,
        is_batch=is_batch(call),
        extends=settings.extend,
        keeps_inputs=settings.store_inputs,
        is_stream=is_stream,
        tells_changes=tells_changes,
        is_cascade=bool(settings.targets),
    )
