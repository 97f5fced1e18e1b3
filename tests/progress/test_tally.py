"""The throughput of a run, and how long it will still take."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest

from smelt.progress.tally import Tally, Throughput
from tests.progress.events import START, ended, folded, sent, settled


class TestPace:
    def test_it_is_the_same_for_many_small_and_few_large_replies(self) -> None:
        small, large = Throughput(), Throughput()
        for second in range(1, 121):
            small = small.after(1, float(second))
        for minute in (60.0, 120.0):
            large = large.after(60, minute)

        assert small.per_second == pytest.approx(1.0)
        assert large.per_second == pytest.approx(1.0)

    def test_rows_at_one_instant_are_no_infinite_throughput(self) -> None:
        assert Throughput().after(20, 10.0).after(20, 10.0).per_second == pytest.approx(2 * 20 / 10, rel=0.2)

    def test_it_follows_a_change(self) -> None:
        throughput = Throughput()
        for second in range(1, 301):
            throughput = throughput.after(10 if second <= 150 else 1, float(second))

        assert throughput.per_second == pytest.approx(1.0, rel=0.1)

    def test_rows_that_needed_no_request_are_left_out(self) -> None:
        tally = folded(
            [
                (0, START),
                (0.001, settled(500)),
                (0, sent()),
                (1, ended()),
                (1, settled(500)),
                (2, settled(500)),
                (12, settled(520)),
            ]
        )

        assert tally.seconds_left == pytest.approx(240)

    def test_the_outlook_does_not_jump_while_the_pool_fills(self) -> None:
        """One small request proves the model, then 64 of 20 rows are in flight, each for 0.5 s ± 30 %."""
        draw = random.Random(7)
        replies = [(1.0, 0.5, 5)]
        for _ in range(64):
            now = 1.0
            while now < 40:
                seconds = 0.5 * draw.uniform(0.7, 1.3)
                now += seconds
                replies.append((now, seconds, 20))
        tally, done, shown = Tally(), 0, []
        tally.take(replace(START, rows=100_000), 0.5)
        tally.take(sent(), 0.5)
        for now, seconds, rows in sorted(replies):
            done += rows
            tally.take(replace(ended(), seconds=seconds), now)
            tally.take(settled(done), now)
            if (left := tally.seconds_left) is not None:
                shown.append(now + left)

        assert min(shown) == pytest.approx(41, rel=0.12)
        assert max(shown) == pytest.approx(41, rel=0.12)

    def test_without_one_there_is_no_outlook(self) -> None:
        assert folded([(0, START), (0, sent())]).seconds_left is None
