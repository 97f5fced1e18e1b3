"""Counts votes as they come, and settles the rows whose answer no vote that is left can change."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from smelt.call.tally import LASTING
from smelt.call.voteround import Window
from smelt.engine.parts import Part, Parts
from smelt.engine.policy import UNASKED
from smelt.plan.answers import RowFailure
from smelt.trust.votes import Panel, Vote

_FINAL = UNASKED | LASTING  # Kinds of failures after which a row gets no other vote.


class VoteCount:
    """The count of one call.

    Attributes:
        has_short: Whether a row has an answer of fewer votes than it takes.
        has_failed: Whether a row has failed.
    """

    def __init__(self, parts: Parts, panel: Panel) -> None:
        """Count for the rows of *parts*, as *panel* decides."""
        self.has_short = self.has_failed = False
        self._parts = parts
        self._panel = panel

    def take(self, window: Window, part: Part, places: Sequence[int], left: int) -> list[int]:
        """Count the votes that rows of a window just got; return the places of those that take another one.

        Args:
            window: The window.
            part: Where the votes are stored.
            places: The rows.
            left: Votes that they may still get.
        """
        answers, start = part.answers, window.part.start
        decided: list[tuple[int, Vote]] = []
        failed: list[tuple[int, RowFailure]] = []
        undecided: list[int] = []
        for place in places:
            votes = window.votes.setdefault(place, [])
            if (failure := answers.failures.get(place)) is None:
                votes.append(tuple([column[place] for column in answers.columns]))
            answer = self._panel.answer(votes, left)
            is_last = not left
            if answer is None and failure is not None and failure.kind in _FINAL:
                answer, is_last = self._panel.answer(votes), True
                self.has_short = self.has_short or answer is not None
                window.part.is_cut = window.part.is_cut or failure.kind in UNASKED
            if answer is not None:
                decided.append((start + place, answer))
            elif not is_last:
                undecided.append(place)
                continue
            else:
                assert failure is not None  # It has no vote.
                failed.append((start + place, failure))
            del window.votes[place]
        self._settle(decided, failed)
        return undecided

    def close(self, rows: Iterable[tuple[Window, int]]) -> None:
        """Settle *rows* that get no other vote by those that they have, if they have any."""
        decided: list[tuple[int, Vote]] = []
        for window, place in rows:
            if (answer := self._panel.answer(window.votes.pop(place))) is not None:
                decided.append((window.part.start + place, answer))
        self.has_short = self.has_short or bool(decided)
        self._settle(decided, ())

    def _settle(self, decided: Sequence[tuple[int, Vote]], failed: Sequence[tuple[int, RowFailure]]) -> None:
        if decided:
            self._parts.accept_all([at for at, _ in decided], [values for _, values in decided])
        for at, failure in failed:
            self._parts.fail(at, failure)
        self.has_failed = self.has_failed or bool(failed)
