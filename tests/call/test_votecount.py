"""Votes are counted as they come: a row is settled as soon as no vote that is left can change its answer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal

import pytest
from pydantic import BaseModel

from smelt.call.votecount import VoteCount
from smelt.call.voteround import Window
from smelt.engine.parts import Part, Parts
from smelt.plan.answers import Answers, RowFailure
from smelt.plan.rows import Unsendable
from smelt.plan.schema import read_output
from smelt.trust.votes import Panel


class Judged(BaseModel):
    mood: Literal["good", "bad"]


class Nothing:
    names = ("n",)

    def __len__(self) -> int:
        return 0

    def texts(self, positions: Sequence[int]) -> list[str | Unsendable]:
        return []


def part_of(rows: int, start: int = 0) -> Part:
    return Part(start=start, source=Nothing(), order=range(start, start + rows), answers=Answers(rows, 1), keys={})


def voted(rows: int, votes: Mapping[int, str], failures: Mapping[int, RowFailure] | None = None) -> Part:
    """A part of a round, in which rows at these places got a vote, or none."""
    part = part_of(rows)
    part.answers.accept_all(list(votes), [[value] for value in votes.values()])
    for place, failure in (failures or {}).items():
        part.answers.fail(place, failure)
    return part


@pytest.fixture
def window() -> Window:
    return Window(part=part_of(3))


def count_for(window: Window) -> VoteCount:
    parts = Parts()
    parts.add(window.part)
    return VoteCount(parts, Panel(read_output(Judged)))


def test_rows_whose_votes_differ_take_another_one(window: Window) -> None:
    count = count_for(window)

    first = count.take(window, voted(3, {0: "good", 1: "good", 2: "bad"}), [0, 1, 2], 2)
    second = count.take(window, voted(3, {0: "good", 1: "bad", 2: "bad"}), [0, 1, 2], 1)
    third = count.take(window, voted(3, {1: "bad"}), [1], 0)

    assert (first, second, third) == ([0, 1, 2], [1], [])
    assert window.part.answers.columns == [["good", "bad", "bad"]]
    assert (window.votes, count.has_short, count.has_failed) == ({}, False, False)


def test_a_failure_that_lasts_ends_a_row_with_the_votes_that_it_has(window: Window) -> None:
    count = count_for(window)
    spent, odd = RowFailure("budget", "Nothing is left."), RowFailure("invalid", "It is no answer.")

    count.take(window, voted(3, {0: "good"}, {1: spent, 2: odd}), [0, 1, 2], 2)
    goes_on = count.take(window, voted(3, {2: "bad"}, {0: spent}), [0, 2], 1)

    assert goes_on == [2]
    assert window.part.answers.columns == [["good", None, None]]
    assert window.part.answers.failures == {1: spent}
    assert (count.has_short, count.has_failed, window.part.is_cut) == (True, True, True)


def test_rows_that_get_no_other_vote_are_settled_by_those_that_they_have(window: Window) -> None:
    count = count_for(window)
    count.take(window, voted(3, {0: "good"}, {1: RowFailure("invalid", "It is no answer.")}), [0, 1], 2)

    count.close([(window, 0), (window, 1)])

    assert window.part.answers.columns == [["good", None, None]]
    assert window.part.answers.failures == {}
    assert count.has_short
