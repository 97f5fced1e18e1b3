"""Generators behind a stream: they read input frames, drive the event loop and yield the finished frames."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Generator, Iterator, Mapping
from contextlib import suppress
from typing import Any, Protocol, TypeVar

from smelt.call.outcome import attached
from smelt.call.part import FramePart
from smelt.call.preparation import Preparation
from smelt.frames.adapt import adapt_part
from smelt.loop.driver import Driver, PausingLoop
from smelt.loop.one_thread import OneThreadLoop
from smelt.plan.answers import RowFailure
from smelt.plan.rows import Key
from smelt.streaming.flow import Flow, Wants
from smelt.streaming.shape import Shape
from smelt.streaming.stepwise import ending

F = TypeVar("F")
T = TypeVar("T")
Watch = Callable[[Mapping[int, RowFailure]], None]


class Entry(Protocol):
    """Where frames enter a run.

    Attributes:
        flow: The run, which is driven as a `Flow`; None before the first frame.
    """

    @property
    def flow(self) -> Any: ...

    def take(self, data: Any, *, is_partial_shown: bool) -> Any:
        """Check the next frame and put it into the run."""
        ...

    def finished(self, found: Any) -> Any:
        """The native frame of a finished one."""
        ...

    async def stop(self) -> None:
        """End the run, if there is one."""
        ...


class Inlet:
    """Prepares the call of each input frame. All later frames must have the shape of the first one.

    Attributes:
        flow: The run of the stream; None before the first frame.
    """

    def __init__(
        self, prepared: Callable[[Any], Preparation], rows: int | None = None, watch: Watch = lambda failures: None
    ) -> None:
        """Start without frames. *prepared* prepares the call of the first frame; *rows*: expected total, if known.

        *watch* is called with the failures of each finished frame.
        """
        self._watch = watch
        self.flow: Flow | None = None
        self._prepared = prepared
        self._rows = rows
        self._call: Preparation | None = None
        self._shape: Shape | None = None
        self._number = 0

    def take(self, data: Any, *, is_partial_shown: bool) -> Flow:
        """Check the next frame and put it into the flow.

        Raises:
            SmeltConfigError: *data* is no frame, or does not fit the first frame or the prompt.
        """
        frame = adapt_part(data, None if self._call is None else self._call.frame)
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

    def finished(self, found: FramePart) -> Any:
        """The native frame with its answers."""
        self._watch(found.answers.failures)
        return attached(found.call, found.answers)

    async def stop(self) -> None:
        """End the run, if there is one."""
        if self.flow is not None:
            await self.flow.stop()


def driven(frames: Iterator[F], inlet: Entry, *, pauses: bool = True) -> Generator[F, None, None]:
    """Yield the finished frames. While the caller has control, or a frame is read, the loop and its clock stop.

    If the frames come from another stream, both share a loop and its clock, which run whenever one of them waits for
    replies.

    Args:
        frames: The frames.
        inlet: Where they enter.
        pauses: Whether the caller may keep control for long while requests are in flight. If not, the clock is the
            system's, so that the run shares its lane with others and may use a pacer.
    """
    with Driver.shared(PausingLoop if pauses else OneThreadLoop) as driver, ending(driver, lambda: inlet.flow):
        while True:
            found = driver.run(inlet.flow.interruptible_step()) if inlet.flow is not None else Wants.MORE
            if not isinstance(found, Wants):
                finished, found = inlet.finished(found), Wants.MORE
                yield finished
                del finished
            elif found is Wants.NOTHING or not _has_read(frames, inlet, driver):
                return


def _has_read(frames: Iterator[Any], inlet: Entry, driver: Driver) -> bool:
    """Read the next frame; return whether there is a flow to drive."""
    try:
        with driver.serving():
            data = next(frames)
        with driver.turn:
            inlet.take(data, is_partial_shown=True)
    except StopIteration:
        return _has_ended(inlet, driver)
    except Exception as trouble:
        if not _has_ended(inlet, driver, trouble):
            raise
    return True


def _has_ended(inlet: Entry, driver: Driver, trouble: Exception | None = None) -> bool:
    """End the input; return whether there were frames. *trouble* is raised after the frames before it were yielded."""
    if inlet.flow is None:
        return False
    with driver.turn:
        inlet.flow.end(trouble)
    return True


async def awaited(frames: Iterator[F] | AsyncIterator[F], inlet: Entry) -> AsyncGenerator[F, None]:
    """Yield the finished frames, on the running event loop."""
    reading: asyncio.Task[None] | None = None
    try:
        await _aread(frames, inlet)
        while inlet.flow is not None:
            found = await inlet.flow.step()
            if not isinstance(found, Wants):
                finished, found = inlet.finished(found), Wants.MORE
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


async def _aread(frames: Iterator[Any] | AsyncIterator[Any], inlet: Entry) -> None:
    """Read the next frame, or end the flow if there is none."""
    try:
        data = await anext(frames) if isinstance(frames, AsyncIterator) else next(frames)
        inlet.take(data, is_partial_shown=False)
    except (StopIteration, StopAsyncIteration):
        if inlet.flow is not None:
            inlet.flow.end()
    except (Exception, asyncio.CancelledError) as trouble:
        if inlet.flow is None or (task := asyncio.current_task()) is None or task.cancelling():
            raise
        inlet.flow.end(trouble)  # Also a cancellation that comes from the source: nobody has cancelled this task.
