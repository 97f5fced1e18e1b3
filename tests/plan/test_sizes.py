"""How many rows a request carries, by aim: tables of single decisions, and whole runs in numbers only."""

from __future__ import annotations

from collections import deque

import pytest
from hypothesis import given
from hypothesis import strategies as st

from smelt.plan.sizes import Aim, Queued, Ration, fewest_rows, rows_wanted

SHAPES = {"company": (174, 31.0), "review": (216, 76.0), "invoice": (263, 135.0), "a page": (2_368, 76.0)}
PROMISED = {"balanced": 1.15, "cheap": 1.0, "fast": 1.5}


def begun(aim: Aim, shared: int = 174, row: float = 31.0, requests: int = 1, rows: int = 5) -> Ration:
    """The ration of a run that has sent *rows* rows."""
    return Ration(aim=aim, shared=shared, requests=requests, rows=rows, tokens=rows * row)


@pytest.mark.parametrize(
    ("rows", "workers", "busy", "aim", "wanted"),
    [
        pytest.param(10_000, 32, 0, "balanced", 25, id="many rows: full"),
        pytest.param(10_000, 512, 0, "balanced", 21, id="all may leave now: even, with a few workers to spare"),
        pytest.param(10_000, 512, 0, "cheap", 25, id="cheap: full all the same"),
        pytest.param(95, 512, 0, "balanced", 16, id="few rows: no smaller than the ration allows"),
        pytest.param(95, 512, 0, "fast", 7, id="few rows, fast: half the size"),
        pytest.param(95, 512, 0, "cheap", 24, id="few rows, cheap: as few requests as possible, evenly"),
        pytest.param(300, 20, 19, "balanced", 15, id="the end, one at a time: smaller, so that none is late"),
        pytest.param(300, 20, 19, "fast", 15, id="the end, fast: no smaller than balanced"),
        pytest.param(450, 20, 19, "balanced", 22, id="before the end: a little smaller"),
    ],
)
def test_a_size_follows_from_the_rows_that_are_left(rows: int, workers: int, busy: int, aim: Aim, wanted: int) -> None:
    # After one request of five rows, or in a long run that had full ones.
    ration = begun(aim) if rows == 95 else begun(aim, requests=400, rows=10_000)

    assert rows_wanted(Queued(rows=rows, workers=workers, busy=busy, most=25), ration) == wanted


@pytest.mark.parametrize("aim", ["balanced", "cheap", "fast"])
def test_where_a_rate_limit_keeps_requests_apart_they_are_full(aim: Aim) -> None:
    queued = Queued(rows=95, workers=512, busy=0, most=25, is_paced=True)

    assert rows_wanted(queued, begun(aim)) == 24  # Four requests, evenly.


@pytest.mark.parametrize("aim", ["balanced", "cheap", "fast"])
@pytest.mark.parametrize("most", [1, 3, 12])
def test_quality_limits_every_aim(aim: Aim, most: int) -> None:
    assert rows_wanted(Queued(rows=200, workers=8, busy=0, most=most), begun(aim)) <= most


def test_thoughts_make_requests_larger_for_every_aim_but_not_too_large() -> None:
    assert rows_wanted(Queued(rows=95, workers=512, busy=0, most=25, fewest=20), begun("fast")) == 20
    assert rows_wanted(Queued(rows=95, workers=512, busy=0, most=25, fewest=90), begun("fast")) == 25


def test_before_the_first_request_nothing_is_known_of_the_instructions() -> None:
    assert rows_wanted(Queued(rows=1_000, workers=1, busy=0, most=5), Ration()) == 5


def sent(aim: Aim, rows: int, shared: int, row: float, workers: int) -> tuple[int, float]:
    """Requests and input tokens of a run: a first request of five rows, then *workers* at a time."""
    ration, left, tokens = Ration(aim=aim), rows, 0.0
    in_flight: deque[int] = deque()
    while left:
        if len(in_flight) == (workers if ration.requests else 1):
            in_flight.popleft()
        most = 5 if not ration.requests else 25
        count = min(left, rows_wanted(Queued(rows=left, workers=workers, busy=len(in_flight), most=most), ration))
        ration.take(count, count * row, shared=shared)
        in_flight.append(count)
        left, tokens = left - count, tokens + shared + count * row
    return ration.requests, tokens


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("aim", ["balanced", "cheap", "fast"])
@pytest.mark.parametrize("rows", [100, 1_000, 10_000])
@pytest.mark.parametrize("workers", [1, 8, 64, 512])
def test_a_run_keeps_to_what_its_aim_may_cost(shape: str, aim: Aim, rows: int, workers: int) -> None:
    shared, row = SHAPES[shape]
    twenty = rows // 20 * shared + rows * row

    _, tokens = sent(aim, rows, shared, row, workers)

    assert tokens <= PROMISED[aim] * twenty


@given(
    shared=st.integers(1, 20_000),
    row=st.floats(1, 5_000),
    rows=st.integers(100, 3_000),
    workers=st.integers(1, 512),
    aim=st.sampled_from(["balanced", "fast"]),
)
def test_any_run_of_a_hundred_rows_keeps_to_it(shared: int, row: float, rows: int, workers: int, aim: Aim) -> None:
    twenty = -(-rows // 20) * shared + rows * row

    _, tokens = sent(aim, rows, shared, row, workers)

    # The ration is whole requests. A run of a hundred rows has five of them, so one that does not fit weighs much.
    assert tokens <= PROMISED[aim] * twenty + shared


@given(shared=st.integers(0, 20_000), row=st.floats(1, 5_000), dearer=st.sampled_from([1.1, 1.45]))
def test_instructions_cost_at_most_their_share_more_than_with_twenty_rows(
    shared: int, row: float, dearer: float
) -> None:
    rows = fewest_rows(shared, row, dearer)

    assert shared / rows + row <= dearer * (shared / 20 + row) * (1 + 1e-9)
    assert rows <= 20
