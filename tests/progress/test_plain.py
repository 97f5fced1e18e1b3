"""Plain lines, where stderr is no terminal."""

from __future__ import annotations

import re
from collections.abc import Iterable

import pandas as pd
import pytest

import smelt
from smelt.engine.events import (
    Event,
    RunEnded,
    RunStarted,
    Waiting,
)
from smelt.loop.jumping import run_jumping
from smelt.progress.drawing import Drawing
from smelt.progress.plain import PlainFace
from smelt.providers.base import Billing, CallFailed
from smelt.testing import ScriptedProvider
from tests.progress.events import START, settled


class TestPlainFace:
    @staticmethod
    def lines(capsys: pytest.CaptureFixture[str], events: Iterable[tuple[float, Event]]) -> list[str]:
        now = 0.0
        drawing = Drawing(PlainFace(), lambda: now)
        drawing(START)
        for now, event in events:
            drawing(event)
        drawing(RunEnded())
        return capsys.readouterr().err.splitlines()

    def test_a_short_run_prints_one_line(self, capsys: pytest.CaptureFixture[str]) -> None:
        events = [(k / 600, settled(k)) for k in range(1, 1_001)]

        assert self.lines(capsys, events) == ["smelt: openai:gpt, 1,000 rows in 1.7 s"]

    def test_a_slow_run_prints_a_line_per_10_seconds(self, capsys: pytest.CaptureFixture[str]) -> None:
        events = [(float(k), settled(k)) for k in range(1, 36)]

        shown = [one.split(",")[0] for one in self.lines(capsys, events)]

        assert shown == ["smelt: 1 %", "smelt: 2 %", "smelt: 3 %", "smelt: openai:gpt"]

    def test_a_fast_run_prints_a_line_per_5_percent(self, capsys: pytest.CaptureFixture[str]) -> None:
        events = [(k / 20, settled(k)) for k in range(1, 1_000)]

        assert len(self.lines(capsys, events)) == 19 + 1

    def test_a_very_fast_run_prints_a_line_per_2_seconds(self, capsys: pytest.CaptureFixture[str]) -> None:
        events = [(k / 100, settled(k)) for k in range(1, 1_000)]

        assert len(self.lines(capsys, events)) == 4 + 1

    def test_a_wait_that_becomes_longer_has_another_line(self, capsys: pytest.CaptureFixture[str]) -> None:
        waits = [
            (now, Waiting(seconds=seconds, reason="openai's limit")) for now, seconds in ((1.0, 12.0), (2.0, 60.0))
        ]

        shown = self.lines(capsys, waits)

        assert [line.split(", ")[-1] for line in shown[:-1]] == [
            "waiting 12 s for openai's limit",
            "waiting 1:00 min for openai's limit",
        ]

    def test_rows_that_were_not_asked_are_never_shown_as_failed(self, capsys: pytest.CaptureFixture[str]) -> None:
        now = 0.0
        drawing = Drawing(PlainFace(), lambda: now)
        drawing(START)
        for now, event in ((20.0, settled(500)), (40.0, settled(500, 500))):
            drawing(event)
        drawing(RunEnded(reason="interrupted", unanswered=500))

        assert [line.split(",")[0] for line in capsys.readouterr().err.splitlines()] == [
            "smelt: 50 %",
            "smelt: openai:gpt",
        ]

    def test_no_rows_print_nothing(self, capsys: pytest.CaptureFixture[str]) -> None:
        drawing = Drawing(PlainFace(), lambda: 0.0)

        drawing(RunStarted(rows=0, distinct_rows=0, provider="p", model="m"))
        drawing(RunEnded())

        assert capsys.readouterr().err == ""


def test_a_run_that_is_told_to_wait_says_so_and_for_how_long(capsys: pytest.CaptureFixture[str]) -> None:
    refusal = CallFailed("rate_limit", Billing.REJECTED, "Slow down.", status=429, retry_after=40)
    model = ScriptedProvider({"text": "fine"}, script=[None, refusal], name="openai")

    run_jumping(
        smelt.arun(pd.DataFrame({"n": range(40)}), "Look at {n}.", str, model=model, batch_size=1, concurrency=4)
    )

    assert re.search(r"waiting 4[01] s for openai's limit", capsys.readouterr().err)
