"""Frames that come one after the other: one run asks about them all, and gives each back when it is finished."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Coroutine, Generator, Iterable, Iterator, Sequence
from contextlib import suppress
from types import TracebackType
from typing import Any, Generic, Self, TypeVar

from smelt.call.options import Settings
from smelt.call.outcome import attached
from smelt.call.preparation import Preparation, prepare
from smelt.errors import ConfigTypeError, SmeltConfigError
from smelt.loop.bridge import warn_of_blocking
from smelt.loop.driver import Driver
from smelt.plan.rows import Key
from smelt.result import SmeltMetrics
from smelt.streaming.flow import Flow, FramePart, Wants
from smelt.streaming.shape import Shape, adapted

F = TypeVar("F")
T = TypeVar("T")

_AN_ITERATOR = "an iterator of frames, such as pandas.read_csv(path, chunksize=10_000)"
_FRAMES = ("DataFrame", "LazyFrame", "Series", "Table", "RecordBatch", "dict", "str", "bytes")


def stream(
    frames: Iterable[F], call: Preparation, *, fields: Sequence[str] | None = None, rows: int | None = None
) -> Generator[F, None, None]:
    """Ask about the rows of *frames*, and yield each of them with its answers, in their order. Spends money.

    One run for all of them: one budget, one progress display, one run in the ledger, and requests that carry rows of
    several frames. Frames are read ahead of the one that is yielded, a few at first. Closing the generator breaks off
    what is in flight; what was paid for stays in the ledger. It may be driven from one thread after another.

    Args:
        frames: Frames of one library with one schema; they have the columns that *call* sends, and may lack others.
        call: The checked call, prepared with an empty frame of the whole schema
            (`smelt.call.preparation.prepare(pl.DataFrame(schema=...), prompt, output_model, model, settings)`). It decides
            which columns are sent and what the new ones are called (`call.columns`, `call.error_column`).
        fields: Names of the output model's fields to ask for; only their columns are attached, and the error column.
            None: all. A model with validators of its own is always asked for all its fields, and those are attached.
        rows: How many rows there will be, for the progress display; None where that is not known.

    Yields:
        Each frame, with the output columns and the error column at its end.

    Raises:
        SmeltError: As `execution.execute`; and a `ColumnError` where a frame does not fit.
    """
    chosen = call.asking(fields)
    _refuse(chosen.settings)
    return _driven(iter(frames), _Inlet(lambda data: chosen, rows))


class _Inlet:
    """Makes the calls of a stream, one for each frame. The first decides what the others have to look like.

    Attributes:
        flow: The run; None before the first frame.
    """

    def __init__(self, prepared: Callable[[Any], Preparation], rows: int | None = None) -> None:
        """Take frames; *prepared* makes the call of the first one."""
        self.flow: Flow | None = None
        self._prepared = prepared
        self._rows = rows
        self._call: Preparation | None = None
        self._shape: Shape | None = None
        self._number = 0

    def take(self, data: Any, *, is_partial_shown: bool) -> Flow:
        """Put the next frame into the flow.

        Raises:
            SmeltConfigError: It is no frame, or does not fit the first one, or the prompt does not fit it.
        """
        frame = adapted(data, None if self._call is None else self._call.frame)
        self._number += 1
        if self._call is None or self._shape is None:
            self._call = self._prepared(data)
            self._shape = Shape.of(data, frame.names, self._call.source.names)
        else:
            self._shape.require(data, frame.names, self._number)
        keys: dict[Key, int] = {}
        call = self._call.over(frame, seen=keys)
        if self.flow is None:
            self.flow = Flow(call, rows=self._rows, is_partial_shown=is_partial_shown)
        self.flow.put(call, keys)
        return self.flow

    async def stop(self) -> None:
        """End the run, if there is one."""
        if self.flow is not None:
            await self.flow.stop()


def _driven(frames: Iterator[F], inlet: _Inlet) -> Generator[F, None, None]:
    """The finished frames. Between two of them, and while one is read, nothing moves and no clock runs."""
    with Driver() as driver:
        driver.last = inlet.stop
        try:
            while True:
                found = driver.run(_step(inlet.flow)) if inlet.flow is not None else Wants.MORE
                if isinstance(found, FramePart):
                    finished, found = attached(found.call, found.answers), Wants.MORE
                    yield finished
                    del finished
                elif found is Wants.NOTHING or not _has_read(frames, inlet, driver):
                    return
        except KeyboardInterrupt:
            if inlet.flow is None or inlet.flow.is_stopped:
                raise
            driver.run(inlet.flow.stop())  # It came while a frame was read, or between two steps.
            raise inlet.flow.interrupt() from None
        finally:
            if inlet.flow is not None and not driver.has_ended and not sys.is_finalizing():
                inlet.flow.leave()
                driver.run(inlet.stop())


def _has_read(frames: Iterator[Any], inlet: _Inlet, driver: Driver) -> bool:
    """Read the next frame; whether there is a flow to go on with."""
    try:
        data = next(frames)
        with driver.turn:
            inlet.take(data, is_partial_shown=True)
    except StopIteration:
        return _has_ended(inlet, driver)
    except Exception as trouble:
        if not _has_ended(inlet, driver, trouble):
            raise
    return True


def _has_ended(inlet: _Inlet, driver: Driver, trouble: Exception | None = None) -> bool:
    """No more frames come, because of *trouble*, which is raised when those before it are out; whether there were any."""
    if inlet.flow is None:
        return False
    with driver.turn:
        inlet.flow.end(trouble)
    return True


async def _step(flow: Flow) -> FramePart | Wants:
    try:
        return await flow.step()
    except asyncio.CancelledError:  # On a loop of our own, only Ctrl-C cancels.
        await flow.stop()
        raise flow.interrupt() from None


async def _awaited(frames: Iterator[F] | AsyncIterator[F], inlet: _Inlet) -> AsyncGenerator[F, None]:
    """The finished frames, on the loop that runs here."""
    reading: asyncio.Task[None] | None = None
    try:
        await _aread(frames, inlet)
        while inlet.flow is not None:
            found = await inlet.flow.step()
            if isinstance(found, FramePart):
                finished, found = attached(found.call, found.answers), Wants.MORE
                yield finished
                del finished
            elif found is Wants.NOTHING:
                return
            else:
                inlet.flow.is_reading = True
                reading = asyncio.create_task(_aread(frames, inlet))
    finally:
        if reading is not None:
            reading.cancel()
            with suppress(asyncio.CancelledError):
                await reading
        await inlet.stop()


async def _aread(frames: Iterator[Any] | AsyncIterator[Any], inlet: _Inlet) -> None:
    """Read the next frame, if there is one."""
    try:
        data = await anext(frames) if isinstance(frames, AsyncIterator) else next(frames)
        inlet.take(data, is_partial_shown=False)
    except (StopIteration, StopAsyncIteration):
        if inlet.flow is not None:
            inlet.flow.end()
    except Exception as trouble:
        if inlet.flow is None:
            raise
        inlet.flow.end(trouble)


class _Metered:
    """What a stream knows of its run."""

    def __init__(self, inlet: _Inlet) -> None:
        self._inlet = inlet

    @property
    def metrics(self) -> SmeltMetrics | None:
        """What the run did by now, with the rows of all frames that were read; None before the first one."""
        return None if self._inlet.flow is None else self._inlet.flow.metrics


class Stream(_Metered, Generic[F]):
    """The finished frames of a stream, in order. Iterate it once; `close` it, or leave its `with` block, to end it early.

    Attributes:
        metrics: What the run did by now, with the rows of all frames that were read; None before the first one.

    Examples:
        >>> frames = smelt.stream([df], "Classify {name}.", Company, model=scripted)
        >>> next(frames)["sector"].tolist(), frames.metrics.total_rows
        (['tech', 'health'], 2)
        >>> frames.close()
    """

    def __init__(self, frames: Iterable[F], prompt: str, output_model: Any, model: Any, settings: Settings) -> None:
        """Check everything that can be checked without a frame; `smelt.stream` says what the arguments are."""
        inlet = _checked_inlet(prompt, output_model, model, settings)
        super().__init__(inlet)
        self._finished: Generator[F, None, None] = _driven(_sync(frames), inlet)
        self._is_begun = False

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> F:
        if not self._is_begun:
            self._is_begun = True
            warn_of_blocking("smelt.astream")
        return next(self._finished)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, problem: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """End the run: send nothing more, and give what is in flight a moment to land. Does nothing where it has ended."""
        self._finished.close()


class AsyncStream(_Metered, Generic[F]):
    """`Stream`, for `async for`; `await` its `aclose`, or leave its `async with` block, to end it early.

    Attributes:
        metrics: What the run did by now, with the rows of all frames that were read; None before the first one.

    Examples:
        >>> import asyncio
        >>> async def main():
        ...     async with smelt.astream([df], "Classify {name}.", Company, model=scripted) as frames:
        ...         first = await anext(frames)
        ...         return first["sector"].tolist(), frames.metrics.total_rows
        >>> asyncio.run(main())
        (['tech', 'health'], 2)
    """

    def __init__(self, frames: Any, prompt: str, output_model: Any, model: Any, settings: Settings) -> None:
        """Check everything that can be checked without a frame; `smelt.astream` says what the arguments are."""
        inlet = _checked_inlet(prompt, output_model, model, settings)
        super().__init__(inlet)
        source = aiter(frames) if hasattr(frames, "__aiter__") else _sync(frames)
        self._finished: AsyncGenerator[F, None] = _awaited(source, inlet)

    def __aiter__(self) -> Self:
        return self

    def __anext__(self) -> Coroutine[Any, Any, F]:
        return self._finished.__anext__()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, problem: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """End the run: send nothing more, and give what is in flight a moment to land. Does nothing where it has ended."""
        await self._finished.aclose()


def _checked_inlet(prompt: str, output_model: Any, model: Any, settings: Settings) -> _Inlet:
    _refuse(settings)
    provider = prepare([], prompt, output_model, model, settings).provider
    return _Inlet(lambda data: prepare(data, prompt, output_model, provider, settings, adapt=adapted))


def _refuse(settings: Settings) -> None:
    if settings.extend:
        raise SmeltConfigError(
            "extend=True has to look at all rows before the first one is asked, so a stream cannot do it. Leave it out, "
            "and all fields are asked for; or use transform."
        )


def _sync(frames: Any) -> Iterator[Any]:
    name = next((one.__name__ for one in type(frames).__mro__ if one.__name__ in _FRAMES), None)
    if name is not None or not hasattr(frames, "__iter__"):
        hint = " For one frame use transform." if name not in (None, "dict", "str", "bytes", "LazyFrame") else ""
        raise ConfigTypeError(f"frames must be {_AN_ITERATOR}, not a {type(frames).__name__}.{hint}")
    return iter(frames)
