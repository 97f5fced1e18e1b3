"""The rows of one frame of a run, with the call about them; several such parts joined into one."""

from __future__ import annotations

from array import array
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from smelt.call.preparation import Preparation
from smelt.engine.parts import Part
from smelt.engine.supply import positions
from smelt.frames.adapt import adapt_part, joined
from smelt.plan.answers import Answers
from smelt.plan.rows import Folded, Key


@dataclass(eq=False, kw_only=True, repr=False)
class FramePart(Part):
    """The rows of one frame.

    Attributes:
        call: The call about these rows.
    """

    call: Preparation


def part_of(call: Preparation, *, start: int = 0, keys: Mapping[Key, int] | None = None) -> FramePart:
    """The rows of *call*, without outcomes; skipped rows are marked.

    Args:
        call: The call.
        start: The position of its first row in the run.
        keys: The keys of its distinct rows, as filled in by `plan.rows.fold`; None for a run over one frame.
    """
    answers = Answers(len(call.source), len(call.output.fields), call.folded.twins)
    if call.folded.skipped is not None:
        answers.skip(call.folded.skipped)
    return FramePart(
        call=call,
        start=start,
        source=call.source,
        order=positions(call.folded.distinct, start),
        answers=answers,
        keys=keys or {},
        arranged=call.arranged,
    )


def as_one(call: Preparation, parts: Sequence[FramePart]) -> tuple[Preparation, Answers]:
    """The calls and answers of several frames, joined into one. *call* is the call if there are no parts."""
    for part in parts:
        part.answers.spread()
    if len(parts) == 1:
        return parts[0].call, parts[0].answers
    frames = [part.call.frame.native for part in parts]
    distinct = array("q", (at for part in parts for at in part.call.folded.distinct))
    whole = replace(
        call,
        frame=adapt_part(joined(frames) if frames else call.frame.take([])),
        folded=Folded(distinct=distinct, twins=None, media=call.folded.media),
    )
    answers = Answers(sum(part.rows for part in parts), len(call.output.fields))
    start = 0
    for part in parts:
        answers.extend(start, part.answers)
        start += part.rows
    return whole, answers
