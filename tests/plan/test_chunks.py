"""The line gives every row out once; the size of chunks follows what replies bear."""

from __future__ import annotations

import random
from collections.abc import Sequence

from hypothesis import given
from hypothesis import strategies as st

from smelt.plan.chunks import AutoSize, Chunk, Line, Pending, Size
from smelt.plan.rows import Unsendable


def line_of(texts: Sequence[str | Unsendable | None], rejected: list[int] | None = None) -> Line:
    return Line(
        order=range(len(texts)),
        texts=lambda positions: [texts[at] for at in positions],
        reject=lambda position, reason: (rejected if rejected is not None else []).append(position),
    )


def test_chunks_are_cut_by_rows_and_by_bytes() -> None:
    line = line_of(["x" * 10] * 3 + ["x" * 100] + ["x" * 10] * 3)

    sizes = []
    while (chunk := line.next(Size(rows=3, input_bytes=50))) is not None:
        sizes.append([len(row.text) for row in chunk.rows])

    assert sizes == [[10, 10, 10], [100], [10, 10, 10]]


def sums(lengths: Sequence[int], rows: int) -> list[int]:
    """Characters of the chunks of so many rows, in turn."""
    line = line_of(["x" * length for length in lengths])
    chunks = iter(lambda: line.next(Size(rows=rows)), None)
    return [sum(len(row.text) for row in chunk.rows) for chunk in chunks]


def test_rows_of_much_the_same_length_stay_in_order() -> None:
    line = line_of(["bb", "a", "ccc", "a"])

    chunks = iter(lambda: line.next(Size(rows=2)), None)

    assert [[row.position for row in chunk.rows] for chunk in chunks] == [[0, 1], [2, 3]]


def test_long_and_short_rows_are_mixed_so_that_chunks_are_as_long_as_each_other() -> None:
    lengths = [number * number for number in range(1, 101)]

    first, *others = sums(lengths, 5)

    assert len(others) == 19
    assert max(others) <= 1.5 * min(others)
    assert first <= 1.1 * min(others)


def test_the_longest_rows_leave_first_but_none_while_all_others_wait_for_the_reply() -> None:
    first, second, *others = sums([10] * 500 + [5_000] + [10] * 499, 10)

    assert first == 100
    assert second > 5_000
    assert max(others) == 100


@given(st.lists(st.integers(1, 3_000), max_size=80), st.integers(1, 9), st.integers(0, 99))
def test_a_line_is_cut_the_same_way_every_time(lengths: list[int], rows: int, seed: int) -> None:
    random.Random(seed).shuffle(lengths)

    once, again = sums(lengths, rows), sums(lengths, rows)

    assert once == again
    assert sum(once) == sum(lengths)


def test_whole_chunks_go_first_and_as_they_are() -> None:
    line = line_of(["a", "b", "c"])
    first = line.next(Size(rows=2))
    assert first is not None

    line.put_whole(first.halves())

    assert [[row.text for row in chunk.rows] for chunk in iter(lambda: line.next(Size(rows=9)), None)] == [
        ["a"],
        ["b"],
        ["c"],
    ]


def test_rows_asked_again_travel_with_fresh_ones() -> None:
    line = line_of(["a", "b", "c"])
    first = line.next(Size(rows=1))
    assert first is not None
    first.rows[0].attempts = 1

    line.put_again(first.rows)
    chunk = line.next(Size(rows=9))

    assert chunk is not None
    assert [row.text for row in chunk.rows] == ["a", "b", "c"]
    assert chunk.is_repeat


def test_a_row_without_text_is_rejected_and_one_that_is_known_is_left_out() -> None:
    rejected: list[int] = []
    line = line_of([Unsendable("bytes"), "a", None, "b"], rejected)

    chunk = line.next(Size(rows=9))

    assert chunk is not None
    assert [row.position for row in chunk.rows] == [1, 3]
    assert rejected == [0]


@given(
    st.integers(0, 60),
    st.lists(st.sampled_from(["next", "halve", "again", "singles", "later"]), max_size=40),
    st.integers(0, 99),
)
def test_whatever_happens_every_row_is_in_line_or_out_of_it_exactly_once(
    count: int, steps: list[str], seed: int
) -> None:
    rng = random.Random(seed)
    line = line_of(["x" * rng.randint(1, 60) for _ in range(count)])
    out: list[int] = []

    for step in steps:
        chunk = line.next(Size(rows=rng.randint(1, 7), input_bytes=100))
        if chunk is None:
            break
        if step == "halve":
            line.put_whole(chunk.halves())
        elif step == "singles":
            line.put_whole(chunk.singles())
        elif step == "later":
            line.put_last([chunk])
        elif step == "again":
            line.put_again(chunk.rows)
        else:
            out += [row.position for row in chunk.rows]
    left = line.rows_left

    rest = [row.position for chunk in iter(lambda: line.next(Size(rows=9)), None) for row in chunk.rows]
    assert len(rest) == left
    assert sorted(out + rest) == list(range(count))
    assert not line


def test_halving_ends_with_single_rows() -> None:
    chunks, requests = [Chunk(rows=tuple(Pending(at, "") for at in range(20)))], 0
    while any(len(chunk.rows) > 1 for chunk in chunks):
        chunks = [half for chunk in chunks for half in (chunk.halves() if len(chunk.rows) > 1 else (chunk,))]
        requests += 1

    assert len(chunks) == 20
    assert requests == 5


def test_the_size_starts_small_and_grows_while_replies_are_clean() -> None:
    size = AutoSize(most=25)
    seen = []
    for _ in range(8):
        seen.append(int(size.rows))
        size.learn(sent=int(size.rows), answered=int(size.rows), was_cut=False)

    assert seen == [5, 7, 11, 16, 25, 25, 25, 25]


def test_a_cut_reply_halves_the_size() -> None:
    size = AutoSize(most=40, rows=40)

    size.learn(sent=40, answered=13, was_cut=True)

    assert size.rows == 20


def test_many_invalid_rows_shrink_the_size_to_single_rows_at_the_least() -> None:
    size = AutoSize(most=40, rows=40)

    for _ in range(100):
        size.learn(sent=10, answered=5, was_cut=False)

    assert size.rows == 1


def test_a_few_invalid_rows_do_not() -> None:
    size = AutoSize(most=20, rows=20)

    for reply in range(200):
        size.learn(sent=20, answered=19 if reply % 2 else 20, was_cut=False)

    assert size.rows == 20
