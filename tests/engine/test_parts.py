"""The outcomes of a stream: each goes to its frame, and to the rows of later frames that are the same."""

from __future__ import annotations

from array import array
from collections.abc import Sequence

from smelt.engine.parts import Part, Parts
from smelt.plan.answers import Answers, RowFailure
from smelt.plan.rows import Key, Unsendable

FAILED = RowFailure("missing", "No answer came.")


class Source:
    names = ("a",)

    def __len__(self) -> int:
        return 0

    def texts(self, positions: Sequence[int]) -> list[str | Unsendable]:
        return []


def part(start: int, *rows: str) -> Part:
    """A part with rows that are known by their text."""
    keys: dict[Key, int] = {row: at for at, row in reversed(list(enumerate(rows)))}
    order = [start + at for at in sorted(keys.values())]
    first = {row: keys[row] for row in rows}
    answers = Answers(len(rows), 1, array("q", [first[row] for row in rows]))
    return Part(start=start, source=Source(), order=order, answers=answers, keys=keys)


def test_an_outcome_goes_to_its_part() -> None:
    parts = Parts()
    one, two = part(0, "a", "b"), part(2, "c", "d")
    parts.add(one)
    parts.add(two)

    parts.accept(1, ["B"])
    parts.fail(3, FAILED)

    assert one.answers.columns == [[None, "B"]]
    assert two.answers.failures == {1: FAILED}
    assert (parts.answered, parts.failed, parts.settled, len(parts)) == (1, 1, 2, 4)
    assert [parts.is_settled(at) for at in range(4)] == [False, True, False, True]


def test_outcomes_that_come_together_go_where_each_of_them_would() -> None:
    parts = Parts()
    gone, one, two = part(0, "x"), part(1, "a", "b", "a"), part(4, "b", "c")
    parts.add(gone)
    parts.accept(0, ["X"])
    parts.hand_over()
    parts.add(one)
    parts.add(two)

    parts.accept_all([0, 1], [["late"], ["A"]])
    parts.accept_all([5, 2], [["C"], ["B"]])

    one.answers.spread()
    assert [one.answers.columns, two.answers.columns] == [[["A", "B", "A"]], [["B", "C"]]]
    assert (parts.answered, parts.settled) == (6, 6)


def test_a_part_hears_at_once_of_all_its_rows_in_a_reply_about_several_parts() -> None:
    parts, heard = Parts(), list[tuple[int, ...]]()
    for one in (part(0, "a", "b", "c"), part(3, "d", "e")):
        one.heard = lambda places: heard.append(tuple(places))
        parts.add(one)

    parts.accept_all([3, 1, 4, 0], [["D"], ["B"], ["E"], ["A"]])

    assert heard == [(0, 1), (0, 1)]


def test_a_part_is_not_written_out_with_its_rows() -> None:
    shown = repr(part(0, "secret"))

    assert "secret" not in shown


def test_it_says_when_a_part_has_all_its_outcomes() -> None:
    told: list[int] = []
    parts = Parts(lambda: told.append(parts.settled))
    parts.add(part(0, "a", "b"))
    parts.add(part(2, "c"))

    parts.accept(0, ["A"])
    parts.accept(2, ["C"])
    parts.accept(1, ["B"])

    assert told == [2, 3]


def test_a_row_of_a_later_part_is_not_asked_and_gets_what_the_first_one_gets() -> None:
    parts = Parts()
    one, two, three = part(0, "a", "b"), part(2, "b", "c"), part(4, "c", "b", "a")

    asked = [list(parts.add(one)), list(parts.add(two)), list(parts.add(three))]
    parts.accept(1, ["B"])
    parts.fail(3, FAILED)

    assert asked == [[0, 1], [3], []]
    assert two.answers.columns == [["B", None]]
    assert three.answers.columns == [[None, "B", None]]
    assert three.answers.failures == {0: FAILED}


def test_what_became_of_a_row_already_is_known_at_once() -> None:
    parts = Parts()
    parts.add(part(0, "a", "b", "c"))
    parts.accept(0, ["A"])
    parts.fail(1, FAILED)
    later = part(3, "a", "b")

    asked = parts.add(later)

    assert list(asked) == []
    assert later.is_settled
    assert (later.answers.columns, later.answers.failures) == ([["A", None]], {1: FAILED})


def test_a_part_that_was_handed_over_is_forgotten() -> None:
    parts = Parts()
    one, two = part(0, "a"), part(1, "b")
    parts.add(one)
    parts.add(two)
    parts.accept(0, ["A"])

    assert parts.hand_over() is one

    assert parts.front is two
    assert parts.rows_under_way == 1
    assert parts.is_settled(0)
    parts.accept(0, ["late"])
    assert one.answers.columns == [["A"]]
    assert list(parts.add(part(2, "a"))) == [2]


def test_the_rest_is_failed_and_the_parts_that_had_a_rest_are_cut() -> None:
    parts = Parts()
    one, two, three = part(0, "a"), part(1, "a", "b"), part(3, "b")
    for each in (one, two, three):
        parts.add(each)
    parts.accept(0, ["A"])

    parts.fail_rest(FAILED)

    assert [each.is_cut for each in (one, two, three)] == [False, True, True]
    assert parts.settled == 4
    assert two.answers.columns == [["A", None]]
    assert (two.answers.failures, three.answers.failures) == ({1: FAILED}, {0: FAILED})
