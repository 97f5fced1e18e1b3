"""Pipelines over data larger than memory: `stream` and `astream` of a pipeline."""

from __future__ import annotations

from collections.abc import AsyncIterable, Iterable, Mapping
from typing import TYPE_CHECKING, Any, TypeVar, Unpack

from smelt.api.chain import Chain
from smelt.call.options import Options
from smelt.errors import ConfigTypeError
from smelt.frames.adapt import adapt
from smelt.frames.base import Frame
from smelt.pipelines.checks import Checked, check, checked_options
from smelt.tracebacks import plainly

if TYPE_CHECKING:
    from smelt.pipelines.inlet import PipelineInlet
    from smelt.pipelines.streams import AsyncPipelineStream, PipelineStream

T = TypeVar("T")


class PipeStreams(Chain):
    """The verbs that take an iterator of frames."""

    @plainly
    def stream(self, frames: Iterable[T], **options: Unpack[Options]) -> PipelineStream[T]:
        """Run all steps on an iterator of frames, and yield each finished frame. Spends money.

        All frames share one run, and all steps work at the same time. Frames are read ahead, few at first, and leave in
        their order, each with the rows that the steps made of its rows. Memory does not grow with the number of frames.
        While you hold a frame, the run is paused. The functions of `filter`, `assign` and `where` get pieces of at most
        1,024 rows of one frame, so they cannot look across all rows. A `map` or `aggregate` needs all rows and is
        refused.

        Args:
            frames: As in `smelt.stream`: an iterator of pandas or Polars frames, Arrow tables or record batches, or
                lists of dicts, all with the same columns. A `pyarrow.RecordBatchReader` is one.
            **options: As in `run`, except `artefacts`.

        Returns:
            An iterator of frames of the same library, in the same order. Leaving its `with` block, or dropping it, ends
            the run; paid answers are in the ledger, and a stream of the same rows continues from there.

        Raises:
            SmeltConfigError: A step is wrong, or a later frame does not fit the first one.
            SmeltError: As in `run`, after the frames that were finished before; `.partial_result` has the frames that
                were read and not yielded.

        Examples:
            >>> pipe = smelt.pipeline(model=scripted).transform("Classify {name}.", Company)
            >>> pieces = (df.iloc[at : at + 1] for at in range(2))
            >>> with pipe.stream(pieces) as frames:
            ...     [frame["sector"].tolist() for frame in frames]
            [['tech'], ['health']]
        """
        from smelt.pipelines.streams import PipelineStream

        return PipelineStream(frames, self._inlet(options), "pipe.astream")

    @plainly
    def astream(self, frames: Iterable[T] | AsyncIterable[T], **options: Unpack[Options]) -> AsyncPipelineStream[T]:
        """`stream` for `async for`, on the running event loop; *frames* may be an asynchronous iterator. Spends money.

        Requests continue while you hold a frame. Use `async with`, or `await` the `aclose` of the returned iterator:
        leaving an `async for` early does not end the run.

        Args:
            frames: As in `stream`, or an asynchronous iterator of such frames.
            **options: As in `stream`.

        Returns:
            An asynchronous iterator of frames of the same library, in the same order.

        Raises:
            SmeltError: As in `stream`. A cancelled task raises `CancelledError`; what was paid for is in the ledger.

        Examples:
            >>> import asyncio
            >>> pipe = smelt.pipeline(model=scripted).transform("Classify {name}.", Company)
            >>> async def main():
            ...     async with pipe.astream([df]) as frames:
            ...         return [frame["sector"].tolist() async for frame in frames]
            >>> asyncio.run(main())
            [['tech', 'health']]
        """
        from smelt.pipelines.streams import AsyncPipelineStream

        return AsyncPipelineStream(frames, self._inlet(options))

    def _inlet(self, options: Mapping[str, Any]) -> PipelineInlet:
        from smelt.pipelines.inlet import PipelineInlet, require_pieces

        def checked(frame: Frame) -> Checked:
            found = self._checked_on(frame, options)
            require_pieces(found)
            return found

        if {**self._options, **options}.get("artefacts") is not None:
            raise ConfigTypeError(
                "A stream of a pipeline does not take artefacts=: write each frame as it comes, or use run."
            )
        checked(adapt([]))  # What can be known without a frame.
        return PipelineInlet(checked, self.name)

    def _planned(self, frame: Any, options: Mapping[str, Any]) -> Any:
        """The LazyFrame *frame* with this pipeline as a node of its plan. Sends nothing."""
        from smelt.frames.polars import empty
        from smelt.lazy.piped import piped
        from smelt.pipelines.planned import Plan, may_stream

        if {**self._options, **options}.get("artefacts") is not None:
            raise ConfigTypeError("A pipeline in a lazy plan does not take artefacts=. Collect first, and use run.")
        checked = self._checked_on(adapt(empty(frame)), options)
        return piped(frame, Plan(checked, self.name, is_streamed=may_stream(checked)))

    def _checked_on(self, frame: Frame, options: Mapping[str, Any], *, is_sent: bool = True) -> Checked:
        given = {**self._options, **checked_options(options, of_a_step=False)}
        given.pop("artefacts", None)  # The files of a pipeline, and not those of the jobs of a step.
        return check(self._steps, frame, self._model, given, is_sent=is_sent)
