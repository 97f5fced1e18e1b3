"""Frames on their way into the stream of a pipeline: their checks, and what a stream cannot carry out."""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Any

from smelt.call.wiring import Wiring, wired
from smelt.errors import SmeltConfigError
from smelt.frames.adapt import adapt, adapt_part
from smelt.frames.base import Frame
from smelt.frames.records import RecordsFrame
from smelt.messages import shown_value
from smelt.pipelines.checks import Checked
from smelt.pipelines.rows import Table
from smelt.pipelines.spans import may_look_across, spans_of, users_code
from smelt.pipelines.steps import Ask, is_cascade, is_expression, needs_all_rows
from smelt.pipelines.streamed import Load, PipelineFlow
from smelt.streaming.shape import Shape


class PipelineInlet:
    """Checks the frames of a stream, and puts them into the run. All must have the shape of the first one.

    Attributes:
        flow: The run; None before the first frame.
    """

    def __init__(
        self,
        checked: Callable[[Frame], Checked],
        name: str,
        *,
        wiring: Wiring = wired,
        rows: int | None = None,
    ) -> None:
        """Begin without frames.

        Args:
            checked: Checks the pipeline on the first frame.
            name: The name of the pipeline.
            wiring: As in `PipelineFlow`.
            rows: Expected total, if known.
        """
        self.flow: PipelineFlow | None = None
        self._check = checked
        self._name = name
        self._wiring = wiring
        self._rows = rows
        self._checked: Checked | None = None
        self._first: Frame | None = None
        self._shape: Shape | None = None
        self._number = 0

    def take(self, data: Any, *, is_partial_shown: bool) -> PipelineFlow:
        """Check the next frame and put it into the run.

        Raises:
            SmeltConfigError: *data* is no frame, or does not fit the first frame or a step.
        """
        frame = adapt_part(data, self._first)
        self._number += 1
        if self._checked is None or self._shape is None or self._first is None:
            checked = self._checked = self._check(frame)
            self._first = frame if isinstance(frame, RecordsFrame) else adapt(frame.take([]))  # Rows are not kept.
            self._shape = Shape.of(data, frame.names, _sent(checked, frame.names))
        elif not self._first.names and frame.names:
            raise SmeltConfigError(
                "Frame 1 of the stream is an empty list, which does not tell its columns, and frame "
                f"{self._number} has {shown_value(list(frame.names))}. Leave empty lists out until rows come."
            )
        else:
            self._shape.require(data, frame.names, self._number)
        table = Table.of(data, self._checked.graph.inputs, self._first)
        if self.flow is None:
            self.flow = PipelineFlow(
                self._checked, self._name, wiring=self._wiring, rows=self._rows, is_partial_shown=is_partial_shown
            )
        self.flow.put(table)
        return self.flow

    def finished(self, found: Load) -> Any:
        """The native frame after all steps, with the error column."""
        assert self._checked is not None
        return Table.joined(found.finished).with_errors(self._checked.graph.error_column)

    async def stop(self) -> None:
        """End the run, if there is one."""
        if self.flow is not None:
            await self.flow.stop()


def require_pieces(checked: Checked) -> None:
    """Refuse a pipeline that cannot run on pieces of its input.

    Raises:
        SmeltConfigError: A step of it needs all rows, or an expression looks across rows. What a function does is not
            known.
    """
    for span in spans_of(checked.graph.nodes):
        for node in span.nodes:
            if any(is_expression(value) and may_look_across(value) for value in users_code(node)):
                raise SmeltConfigError(
                    f"An expression of step {shown_value(node.name)} looks across rows, such as a mean or a rank, and "
                    "a stream hands rows over before the last one is read. Use run, which gives it all rows."
                )
    for node in checked.graph.nodes:
        if is_cascade(node.step):
            raise SmeltConfigError(
                f"Step {shown_value(node.name)} is a cascade, whose promise is about all rows, and a stream hands rows "
                "over before the last one is read. Use run; or name one model in this step."
            )
        if needs_all_rows(node.step):
            raise SmeltConfigError(
                f"Step {shown_value(node.name)} ({node.step.verb}) needs all rows, and a stream hands rows over before "
                "the last one is read. Stream the steps before it, and run it on what they gave; or read all rows, and "
                "use run."
            )


def _sent(checked: Checked, names: Collection[str]) -> list[str]:
    """The columns of the input that are sent."""
    needs = [one for node in checked.graph.nodes if isinstance(node.step, Ask) for one in node.needs]
    return [name for name in dict.fromkeys(needs) if name in names and name in checked.graph.inputs]
