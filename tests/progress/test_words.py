"""The counts of a run in phrases."""

from __future__ import annotations

from dataclasses import replace

import pytest

from smelt.engine.events import (
    Event,
    JobsRunning,
    Resumed,
    RunEnded,
    Waiting,
)
from smelt.messages import lasted
from smelt.progress.notebook import text
from smelt.progress.terminal import line
from smelt.progress.words import named, percent, phrases
from tests.progress.events import START, ended, folded, sent, settled


class TestPhrases:
    def test_a_run_that_has_not_begun_shows_its_rows_only(self) -> None:
        assert phrases(folded([(0, START)]), 0) == ["0 of 1,000 rows"]

    def test_everything_that_is_known_is_shown(self) -> None:
        tally = folded(
            [
                (0, START),
                (0, sent(3)),
                (1, ended(in_flight=2)),
                (1, settled(10)),
                (2, settled(20)),
                (10, ended(tokens=45_200, cost_usd=0.0123, in_flight=2)),
                (10, ended(ok=False, in_flight=2)),
                (10, settled(97, 3)),
            ]
        )

        assert phrases(tally, 10) == [
            "100 of 1,000 rows",
            "1:30 min left",
            "3 rows failed",
            "$0.0123",
            "2 in flight",
            "45.2k tokens",
            "1 request failed",
        ]

    def test_one_unknown_price_hides_the_dollars(self) -> None:
        tally = folded([(0, START), (0, ended(tokens=10, cost_usd=0.5)), (0, ended(tokens=10))])

        assert phrases(tally, 0) == ["0 of 1,000 rows", "20 tokens"]

    def test_a_failed_request_without_tokens_hides_no_dollars(self) -> None:
        tally = folded([(0, START), (0, ended(tokens=10, cost_usd=0.5)), (0, ended(ok=False))])

        assert "$0.5000" in phrases(tally, 0)

    def test_a_wait_for_jobs_has_the_counts_of_the_provider(self) -> None:
        jobs = JobsRunning(jobs=2, requests=4_000, done=1_200, failed=3, rows=100_000, seconds=90.0)
        wait = Waiting(seconds=60.0, reason="openai's 2 jobs")
        told = folded([(0, START), (5, jobs), (5, wait)])

        expected = "waiting 55 s for openai's 2 jobs: 1,200 of 4,000 requests done, 3 failed, 1:35 min since the submit"
        assert phrases(told, 10)[1] == expected
        assert expected in line(told, 10, columns=110)
        assert "1,200 of 4,000" in text(told, 10)
        assert phrases(folded([(0, START), (5, jobs), (5, wait), (6, Resumed())]), 10) == ["0 of 1,000 rows"]

    def test_a_wait_until_a_job_may_be_submitted_has_no_counts(self) -> None:
        none = JobsRunning(jobs=0, requests=0, done=0, failed=0, rows=0, seconds=0.0)
        told = folded([(0, START), (0, none), (0, Waiting(seconds=60.0, reason="room in openai's queue of jobs"))])

        assert phrases(told, 0)[1] == "waiting 1:00 min for room in openai's queue of jobs"

    def test_a_wait_says_for_what_and_counts_down(self) -> None:
        tally = folded([(0, START), (5, Waiting(seconds=12.0, reason="openai's limit"))])

        assert phrases(tally, 5)[1] == "waiting 12 s for openai's limit"
        assert phrases(tally, 9.5)[1] == "waiting 8 s for openai's limit"
        assert phrases(tally, 30)[1] == "waiting for openai's limit"

    def test_a_wait_without_an_end_has_no_seconds(self) -> None:
        tally = folded([(0, START), (5, Waiting(seconds=float("inf"), reason="the network"))])

        assert phrases(tally, 5)[1] == "waiting for the network"

    @pytest.mark.parametrize("event", [Resumed(), sent()], ids=["resumed", "a request leaves"])
    def test_the_wait_is_over_when(self, event: Event) -> None:
        tally = folded([(0, START), (5, Waiting(seconds=12.0, reason="openai's limit")), (6, event)])

        assert not any("waiting" in one for one in phrases(tally, 6))

    def test_the_end_says_how_long_it_took(self) -> None:
        tally = folded([(5, START), (47, settled(1_000)), (47, RunEnded())])

        assert phrases(tally, 47) == ["1,000 rows in 42 s"]

    def test_an_early_end_says_why_and_how_far(self) -> None:
        tally = folded([(0, START), (0, sent(8)), (9, settled(400)), (9, RunEnded(reason="interrupted"))])

        assert phrases(tally, 9) == ["interrupted", "400 of 1,000 rows in 9.0 s"]

    def test_an_interrupt_tells_rows_in_flight_from_rows_that_failed_and_rows_never_asked(self) -> None:
        end = RunEnded(reason="interrupted", unanswered=590, in_flight=40)
        tally = folded([(0, START), (0, sent(8)), (9, settled(400, 10)), (9, settled(400, 600)), (9, end)])

        assert phrases(tally, 9) == [
            "interrupted",
            "410 of 1,000 rows (40 more in flight) in 9.0 s",
            "10 rows failed",
        ]

    def test_a_long_name_of_a_step_leaves_room_for_the_rest_of_a_line(self) -> None:
        names = [named(folded([(0, replace(START, step=step))])) for step in ("", "stance", "a_name_as_long_as_a_line")]

        assert names == ["smelt", "smelt stance", "smelt a_name_as_long_as_a_line"]
        assert named(folded([(0, replace(START, step="a_name_that_is_too_long_for_a_line"))])) == (
            "smelt a_name_that_is_too_long…"
        )

    def test_until_the_first_answer_the_columns_that_are_sent_are_named(self) -> None:
        start = replace(START, columns=("name", "about"))

        assert phrases(folded([(0, start), (0, sent())]), 0)[1] == "sends 2 columns: name, about"
        assert len(phrases(folded([(0, start), (0, sent()), (9, settled(20))]), 9)) == 2

    @pytest.mark.parametrize(
        ("seconds", "shown"), [(0.003, "<0.1 s"), (0.42, "0.4 s"), (9.94, "9.9 s"), (9.96, "10 s"), (61, "1:01 min")]
    )
    def test_a_short_run_is_not_said_to_take_a_second(self, seconds: float, shown: str) -> None:
        assert lasted(seconds) == shown


def test_a_request_that_the_end_broke_off_is_no_failed_one() -> None:
    broken_off = replace(ended(ok=False), is_broken_off=True)
    tally = folded([(0, START), (1, ended(ok=False)), (2, broken_off), (2, RunEnded(reason="interrupted"))])

    assert phrases(tally, 2)[-1] == "1 request failed"


@pytest.mark.parametrize("reason", ["stopped", "interrupted"])
def test_rows_that_a_stopped_run_left_are_not_done(reason: str) -> None:
    end = RunEnded(reason=reason, unanswered=1_000)
    tally = folded([(0, START), (1, settled(0, 1_000)), (1, end)])

    assert percent(tally) == 0
    assert line(tally, 1, columns=120).startswith("smelt   0% |")


@pytest.mark.parametrize(("done", "shown"), [(0, 0), (999, 99), (1_000, 100)])
def test_percent_is_100_only_at_the_end(done: int, shown: int) -> None:
    assert percent(folded([(0, START), (0, settled(done))])) == shown
