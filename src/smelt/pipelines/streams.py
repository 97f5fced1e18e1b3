"""The iterators that `stream` and `astream` of a pipeline return."""

from __future__ import annotations

from smelt.pipelines.result import StepResult
from smelt.streaming.driving import Entry, F
from smelt.streaming.stream import AsyncStream, Stream


def _steps(inlet: Entry) -> dict[str, StepResult]:
    return {} if inlet.flow is None else inlet.flow.steps


class PipelineStream(Stream[F]):
    """Iterates over the finished frames, in order, once. To end it early, `close` it or leave its `with` block.

    Attributes:
        metrics: The sums over all steps so far; the rows are those of the frames that were handed over. None before the
            first frame.
        steps: What each step has done so far.

    Examples:
        >>> pipe = smelt.pipeline(model=scripted).transform("Classify {name}.", Company)
        >>> frames = pipe.stream([df])
        >>> next(frames)["sector"].tolist(), frames.steps["company"].metrics.requests
        (['tech', 'health'], 1)
        >>> frames.close()
    """

    @property
    def steps(self) -> dict[str, StepResult]:
        """What each step has done so far, by its name. The rows that failed in it are in the frames."""
        return _steps(self._inlet)


class AsyncPipelineStream(AsyncStream[F]):
    """`PipelineStream` for `async for`. To end it early, `await` its `aclose` or leave its `async with` block.

    Attributes:
        metrics: As in `PipelineStream`.
        steps: As in `PipelineStream`.

    Examples:
        >>> import asyncio
        >>> pipe = smelt.pipeline(model=scripted).transform("Classify {name}.", Company)
        >>> async def main():
        ...     async with pipe.astream([df]) as frames:
        ...         first = await anext(frames)
        ...         return first["sector"].tolist(), frames.metrics.total_rows
        >>> asyncio.run(main())
        (['tech', 'health'], 2)
    """

    @property
    def steps(self) -> dict[str, StepResult]:
        """What each step has done so far, by its name. The rows that failed in it are in the frames."""
        return _steps(self._inlet)
