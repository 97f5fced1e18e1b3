"""The rows of a stream on their way into the queue."""

from __future__ import annotations

import asyncio

import pytest

from smelt.engine.parts import Parts
from smelt.engine.supply import Supply, positions
from smelt.loop.jumping import run_jumping


@pytest.mark.parametrize(("order", "start", "found"), [([2, 0], 0, [2, 0]), ([2, 0], 100, [102, 100]), ([], 7, [])])
def test_positions_count_from_the_beginning_of_the_stream(order: list[int], start: int, found: list[int]) -> None:
    assert list(positions(order, start)) == found


def test_whoever_waits_for_rows_is_let_go_at_the_end_of_the_stream() -> None:
    supply = Supply(Parts())

    async def work() -> tuple[bool, bool]:
        asyncio.get_running_loop().call_later(5, supply.end)
        first, second = await asyncio.gather(supply.more(), supply.more())
        return first, second

    jumped = run_jumping(work())

    assert jumped.result == (False, False)
    assert jumped.seconds == pytest.approx(5, abs=0.1)


def test_only_one_worker_waits_for_rows() -> None:
    supply = Supply(Parts())

    async def work() -> tuple[bool, bool]:
        first = asyncio.create_task(supply.more())
        await asyncio.sleep(0)
        second = await supply.more()
        is_waiting = not first.done()
        supply.end()
        await first
        return second, is_waiting

    assert run_jumping(work()).result == (False, True)
