"""`Stream` and `AsyncStream`, the iterators that `smelt.stream` and `smelt.astream` return."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Coroutine, Generator, Iterable, Iterator, Sequence
from dataclasses import replace
from types import TracebackType
from typing import Any, Generic, Self

from smelt.call.conflicts import refuse_whole
from smelt.call.options import Settings
from smelt.call.preparation import Preparation, prepare
from smelt.errors import ConfigTypeError, SmeltConfigError
from smelt.frames.adapt import adapt_part
from smelt.lanes.jobrun import JobRun
from smelt.loop.bridge import warn_of_blocking
from smelt.result import SmeltMetrics
from smelt.streaming.driving import Entry, F, Inlet, Watch, awaited, driven

_AN_ITERATOR = "an iterator of frames, such as pandas.read_csv(path, chunksize=10_000)"
_FRAMES = ("DataFrame", "LazyFrame", "Series", "Table", "RecordBatch", "dict", "str", "bytes")


def stream(
    frames: Iterable[F], call: Preparation, *, fields: Sequence[str] | None = None, rows: int | None = None
) -> Generator[F, None, None]:
    """Ask about the rows of *frames*, and yield each frame with its answers, in input order. Spends money.

    All frames share one run: one budget, one progress display, one run in the ledger, and requests that carry rows of
    several frames. Frames are read ahead of the frame that is yielded, few at first. Closing the generator cancels the
    requests in flight; paid answers stay in the ledger. Threads may take turns to iterate it.

    Args:
        frames: Frames of one library with one schema; they need the columns that *call* sends, and may lack others.
        call: The checked call, prepared with an empty frame of the whole schema
            (`smelt.call.preparation.prepare(pl.DataFrame(schema=...), prompt, output_model, model, settings)`). It
            decides which columns are sent and what the new ones are called (`call.columns`, `call.error_column`).
        fields: Names of the output model's fields to ask for; only their columns are attached, and the error column.
            None: all. A model with validators of its own is always asked for all its fields, and those are attached.
        rows: Expected number of rows, for the progress display; None if not known.

    Yields:
        Each frame, with the output columns and the error column appended.

    Raises:
        SmeltError: As `execution.execute`; and a `ColumnError` if a frame does not fit.
    """
    chosen = call.asking(fields)
    _refuse(chosen.settings)
    return driven(iter(frames), Inlet(lambda data: chosen, rows))


class _Metered:
    """Gives access to the metrics of the run."""

    def __init__(self, inlet: Entry) -> None:
        self._inlet = inlet

    @property
    def metrics(self) -> SmeltMetrics | None:
        """The metrics of the run so far; rows are those of all frames that were read. None before the first frame."""
        flow = self._inlet.flow
        return None if flow is None else flow.metrics


class Stream(_Metered, Generic[F]):
    """Iterates over the finished frames, in order, once. To end it early, `close` it or leave its `with` block.

    Attributes:
        metrics: The metrics of the run so far; rows are those of all frames that were read. None before the first
            frame.

    Examples:
        >>> frames = smelt.stream([df], "Classify {name}.", Company, model=scripted)
        >>> next(frames)["sector"].tolist(), frames.metrics.total_rows
        (['tech', 'health'], 2)
        >>> frames.close()
    """

    def __init__(
        self, frames: Iterable[F], inlet: Entry, awaited: str = "smelt.astream", *, pauses: bool = True
    ) -> None:
        """Take *frames* through *inlet*. *awaited*: what a warning recommends. *pauses*: as in `driven`."""
        super().__init__(inlet)
        self._finished: Generator[F, None, None] = driven(_sync(frames), inlet, pauses=pauses)
        self._is_begun = False
        self._awaited = awaited

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> F:
        if not self._is_begun:
            self._is_begun = True
            warn_of_blocking(self._awaited)
        return next(self._finished)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, problem: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """End the run: send nothing more, and wait a short grace period for replies. Does nothing if it has ended."""
        self._finished.close()


class AsyncStream(_Metered, Generic[F]):
    """`Stream` for `async for`. To end it early, `await` its `aclose` or leave its `async with` block.

    Attributes:
        metrics: The metrics of the run so far; rows are those of all frames that were read. None before the first
            frame.

    Examples:
        >>> import asyncio
        >>> async def main():
        ...     async with smelt.astream([df], "Classify {name}.", Company, model=scripted) as frames:
        ...         first = await anext(frames)
        ...         return first["sector"].tolist(), frames.metrics.total_rows
        >>> asyncio.run(main())
        (['tech', 'health'], 2)
    """

    def __init__(self, frames: Any, inlet: Entry) -> None:
        """Take *frames* through *inlet*."""
        super().__init__(inlet)
        source = aiter(frames) if hasattr(frames, "__aiter__") else _sync(frames)
        self._finished: AsyncGenerator[F, None] = awaited(source, inlet)

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
        """End the run: send nothing more, and wait a short grace period for replies. Does nothing if it has ended."""
        await self._finished.aclose()


def checked_inlet(
    prompt: str,
    output_model: Any,
    model: Any,
    settings: Settings,
    *,
    job: JobRun | None = None,
    watch: Watch = lambda failures: None,
) -> Inlet:
    """Where the frames of a stream enter, after all checks that need no frame.

    Args:
        prompt: As in `smelt.stream`.
        output_model: As in `smelt.stream`.
        model: As in `smelt.stream`.
        settings: The options.
        job: What the run is a part of; None if it is alone.
        watch: Called with the failures of each finished frame.
    """
    _refuse(settings)
    provider = prepare([], prompt, output_model, model, settings).provider

    def prepared(data: Any) -> Preparation:
        call = prepare(data, prompt, output_model, provider, settings, adapt=adapt_part)
        return call if job is None else replace(call, job=job)

    return Inlet(prepared, watch=watch)


def _refuse(settings: Settings) -> None:
    if settings.mode == "batch":
        raise SmeltConfigError(
            'mode="batch" answers within hours, and this hands frames over one after the other. Write the rows to a '
            'file: end a Polars plan with lf.smelt.transform(..., mode="batch"), and then .smelt.sink_parquet(path). '
            "Or use transform, one frame after the other; each finds its own job again."
        )
    refuse_whole(settings)
    if settings.extend:
        raise SmeltConfigError(
            "extend=True needs to see all rows before the first request, which a stream cannot do. Leave it out, and "
            "all fields are asked; or use transform."
        )


def _sync(frames: Any) -> Iterator[Any]:
    name = next((one.__name__ for one in type(frames).__mro__ if one.__name__ in _FRAMES), None)
    if name is not None or not hasattr(frames, "__iter__"):
        hint = " For one frame use transform." if name not in (None, "dict", "str", "bytes", "LazyFrame") else ""
        raise ConfigTypeError(f"frames must be {_AN_ITERATOR}, not a {type(frames).__name__}.{hint}")
    return iter(frames)
