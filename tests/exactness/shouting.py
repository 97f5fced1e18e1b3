"""Says all that can be said of what goes wrong, for a search for keys: the child process of `test_canaries.py`.

Takes JSON on stdin, a list with an object for each provider: its name, addresses by fault to ask once through its
adapter, addresses by fault to run a job against, and a directory. Everything logs at DEBUG; every exception is printed
with the local variables of all its frames, by the standard library and by IPython, and pickled.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import pickle
import signal
import sys
import time
import traceback
import warnings
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import ConsoleSpanExporter, SimpleSpanProcessor

import smelt
from smelt.call.resolve import resolve_model
from smelt.loop.one_thread import OneThreadLoop
from smelt.model import Model
from smelt.providers.base import CallFailed
from tests.exactness.companies import PROMPT, companies
from tests.models import Company
from tests.providers.asking import KEYS, request

# So many seconds without an end of any of them, and with nearly no CPU used: those that are left will not end.
_PATIENCE = 2.0
_IDLE = 0.2


def listen(directory: Path) -> None:
    """Log and trace all there is."""
    logging.basicConfig(level=logging.DEBUG, stream=sys.stderr)
    logging.captureWarnings(True)
    warnings.simplefilter("always")
    shown = logging.FileHandler(directory / "smelt.log")
    logging.getLogger("smelt").addHandler(shown)
    tracers = TracerProvider()
    tracers.add_span_processor(SimpleSpanProcessor(ConsoleSpanExporter(out=(directory / "spans.log").open("w"))))
    trace.set_tracer_provider(tracers)
    smelt.configure(observers=[smelt.observe.telemetry(), smelt.observe.RunLog(directory / "runs.log")])


def provoke(provider: str, alone: dict[str, str], jobs: dict[str, str], directory: Path) -> None:
    """Have everything said of one provider."""
    with asyncio.Runner(loop_factory=OneThreadLoop, debug=True) as runner:
        runner.run(_ask_each_once([_model(provider, url) for url in alone.values()]))
    for fault, url in jobs.items():
        print(f"== job: {fault}", flush=True)
        _run(_model(provider, url), directory / f"{fault}.sqlite")
    if "hang" in jobs:
        _interrupt(_model(provider, jobs["hang"]))
        _cancel(_model(provider, jobs["hang"]))


def _model(provider: str, url: str) -> Model:
    return Model(provider, "fake-1", api_key=KEYS[provider], base_url=url)


async def _ask_each_once(models: list[Model]) -> None:
    """All at once; those that do not end are broken off."""
    limits = [asyncio.timeout(None) for _ in models]
    calls = [asyncio.create_task(_ask_once(model, limit)) for model, limit in zip(models, limits, strict=True)]
    ended, asking = await asyncio.wait(calls, return_when=asyncio.FIRST_COMPLETED)
    used = 0.0
    while asking and (ended or used > _IDLE):
        before = time.process_time()
        ended, asking = await asyncio.wait(asking, timeout=_PATIENCE, return_when=asyncio.FIRST_COMPLETED)
        used = time.process_time() - before
    for call, limit in zip(calls, limits, strict=True):
        if call in asking:
            with suppress(RuntimeError):  # Its answer has come, and it is still busy telling so.
                limit.reschedule(0.0)
    await asyncio.gather(*calls)


async def _ask_once(model: Model, limit: asyncio.Timeout) -> None:
    adapter = resolve_model(model)
    print(repr(adapter), str(adapter), repr(model), pickle.dumps((model, adapter)))
    async with adapter.connect(connections=1) as connection:
        print(repr(connection), repr(vars(connection)))
        try:
            async with limit:
                reply = await connection.send(request())
        except (CallFailed, TimeoutError) as problem:
            shout(problem, at_length=False)
        else:
            print(reply)


def _run(model: Model, ledger: Path) -> None:
    try:
        result = smelt.run(
            companies(8),
            PROMPT,
            Company,
            model=model,
            batch_size=4,
            timeout=0.2,
            deadline=1.0,
            max_attempts=1,
            ledger=ledger,
        )
    except smelt.SmeltError as problem:
        shout(problem)
        return
    print(result, result._repr_html_(), result.metrics, result.errors)
    print(result.frame.to_csv(), result.frame.to_json(), pickle.dumps(result.frame))


def _interrupt(model: Model) -> None:
    signal.signal(signal.SIGALRM, lambda *_: os.kill(os.getpid(), signal.SIGINT))
    signal.setitimer(signal.ITIMER_REAL, 0.3)
    try:
        smelt.run(companies(8), PROMPT, Company, model=model, ledger=False)
    except KeyboardInterrupt as problem:
        shout(problem)


def _cancel(model: Model) -> None:
    async def work() -> Any:
        async with asyncio.timeout(0.3):
            return await smelt.arun(companies(8), PROMPT, Company, model=model, ledger=False)

    try:
        asyncio.run(work(), debug=True)
    except TimeoutError as problem:
        shout(problem)


def shout(problem: BaseException, *, at_length: bool = True) -> None:
    """Print *problem* and its causes in every way there is; IPython's takes a while, and is used *at_length* only."""
    from IPython.core.ultratb import VerboseTB

    print("".join(traceback.TracebackException.from_exception(problem, capture_locals=True).format()))
    if at_length:
        print(VerboseTB(theme_name="nocolor").text(type(problem), problem, problem.__traceback__))
    logging.getLogger("shouting").error("It failed.", exc_info=problem)
    for one in _chain(problem):
        print(str(one), repr(one), repr(one.args), repr(vars(one)))
        sys.stdout.flush()
        sys.stdout.buffer.write(pickle.dumps(one) + b"\n")


def _chain(problem: BaseException | None) -> Iterator[BaseException]:
    while problem is not None:
        yield problem
        problem = problem.__cause__ or problem.__context__


if __name__ == "__main__":
    listen(Path.home())
    for one in json.load(sys.stdin):
        provoke(one["provider"], one["alone"], one["jobs"], Path(one["directory"]))
