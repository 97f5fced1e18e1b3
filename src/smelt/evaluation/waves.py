"""Runs about chosen rows, one after the other, of which the answers to the last one tell what is asked next."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import Any

from smelt.call.execution import Execution
from smelt.call.outcome import Outcome, value_of
from smelt.call.part import FramePart, part_of
from smelt.call.preparation import Preparation
from smelt.engine.supply import Supply
from smelt.engine.work import Counts
from smelt.errors import warn
from smelt.evaluation.truth import Leaf, leaves
from smelt.messages import printable
from smelt.plan.kinds import Array, Text
from smelt.plan.schema import Output
from smelt.providers.base import CallFailed


class Waves:
    """The runs. Like an `Execution`: Ctrl-C stops them.

    Attributes:
        counts: The statistics of all runs so far.
        is_kept: Whether a ledger stores the answers.
        is_whole: Whether no run ended early.
    """

    def __init__(self, call: Preparation, compared: Sequence[Leaf]) -> None:
        """Begin with no run; *call* is that of the first one, and *compared* the fields that are compared."""
        self.counts = Counts()
        self.is_kept = False
        self.is_whole = True
        self._compared = compared
        self._last = Execution(call, Supply.of(part_of(call)))

    @property
    def outcome(self) -> Outcome:
        """The outcome of the last run."""
        return self._last.outcome

    async def answers(self, part: FramePart, rows: Sequence[int], **limits: Any) -> dict[int, Hashable]:
        """Ask *part*, which is about *rows* of the whole; the answers by row, in a form in which equal ones are equal.

        Args:
            part: What is asked.
            rows: The position of each of its rows in the whole.
            **limits: As in `Execution`.
        """
        self._last = Execution(part.call, Supply.of(part), **limits)
        try:
            await self._last.run_safely()
        finally:
            self.is_kept = self._last.is_kept
            self.counts.include(self._last.counts)
        ending = self._last.ending
        self.is_whole = self.is_whole and ending is not None and ending.why is None and not part.is_cut
        data = [None if one is None else value_of(part.call.output, one) for one in part.answers.rows()]
        return {row: key for row, key, one in zip(rows, self.keys(data), data, strict=True) if one is not None}

    def keys(self, data: Sequence[Any]) -> list[Hashable]:
        """The answers in *data* in a form in which equal ones are equal."""
        return keys_of(self._compared, data)

    def check_ended(self, what: str, *, has_found: bool) -> None:
        """Warn that *what* ended early, and why, if it did.

        Raises:
            SmeltAPIError: Nothing was answered, because of the account, the model or the server.
        """
        if self.is_whole:
            return
        if not has_found and (error := self.outcome.error(self.outcome.result())) is not None:
            raise error
        why = self._last.ending and self._last.ending.why
        reason = why.message if isinstance(why, CallFailed) else str(why or "its deadline passed.")
        warn(f"{what} ended early, so it knows less than it could: {printable(reason)}")


def wire_of(call: Preparation) -> Any:
    """The wire on which rows are asked that were asked before: no pilot chooses it."""
    return "keyed" if call.settings.wire == "auto" else call.settings.wire


def keys_of(compared: Sequence[Leaf], data: Sequence[Any]) -> list[Hashable]:
    """The answers in *data*, cut to the fields that are *compared*, in a form in which equal ones are equal."""
    return list(zip(*(leaf.compared(data) for leaf in compared), strict=True))


def compared_fields(output: Output) -> list[Leaf]:
    """The fields that are compared: all but texts, which differ every time; only texts if there is nothing else."""
    every = list(leaves(output).values())
    return [one for one in every if not _is_text(one)] or every


def _is_text(leaf: Leaf) -> bool:
    kind = leaf.kind.item if isinstance(leaf.kind, Array) else leaf.kind
    return isinstance(kind, Text)
