"""Which display shows a run, how often it is drawn, and who else sees the events."""

from __future__ import annotations

import asyncio
import io
import sys
import threading
from collections.abc import Callable
from html import unescape

import pytest

from smelt.engine.events import (
    Event,
    Observer,
    RunEnded,
    Waiting,
)
from smelt.errors import SmeltConfigError, SmeltWarning
from smelt.loop.jumping import run_jumping
from smelt.observe.reporter import Reporter
from smelt.progress.drawing import Drawing, display_for
from smelt.progress.notebook import html, text
from smelt.progress.tally import Tally
from smelt.progress.terminal import line
from tests.progress.events import START, folded, sent, settled


@pytest.mark.parametrize(
    "shown",
    [html, text, lambda tally, now: line(tally, now, columns=80), lambda tally, now: line(tally, now, columns=60)],
    ids=["notebook", "its text", "terminal", "narrow terminal"],
)
def test_every_face_says_for_what_a_run_waits(shown: Callable[[Tally, float], str]) -> None:
    tally = folded([(0, START), (0, sent(9)), (9, settled(97, 3)), (9, Waiting(seconds=12.0, reason="openai's limit"))])

    assert "waiting 12 s for openai's limit" in unescape(shown(tally, 9))


class CountingFace:
    """A face that remembers when it was drawn."""

    interval = 0.1
    moves = True

    def __init__(self) -> None:
        self.drawn: list[float] = []
        self.finished: list[str | None] = []

    def draw(self, tally: Tally, now: float) -> None:
        self.drawn.append(now)

    def finish(self, tally: Tally, now: float) -> None:
        self.finished.append(tally.ended)


class TestDrawing:
    def test_it_draws_at_most_ten_times_a_second(self) -> None:
        face = CountingFace()

        async def work() -> None:
            drawing = Drawing(face, asyncio.get_running_loop().time)
            drawing(START)
            for k in range(1_000):
                await asyncio.sleep(0.001)
                drawing(settled(k))
            drawing(RunEnded())

        run_jumping(work())

        assert len(face.drawn) <= 11
        assert face.finished == ["done"]

    def test_it_moves_while_nothing_happens_and_stops_at_the_end(self) -> None:
        face = CountingFace()

        async def work() -> None:
            drawing = Drawing(face, asyncio.get_running_loop().time)
            drawing(START)
            await asyncio.sleep(2.1)
            drawing(RunEnded())
            await asyncio.sleep(60)

        run_jumping(work())

        assert face.drawn == pytest.approx([0, 0.5, 1, 1.5, 2])

    def test_it_starts_no_thread(self) -> None:
        before = set(threading.enumerate())

        async def work() -> set[threading.Thread]:
            drawing = Drawing(CountingFace(), asyncio.get_running_loop().time)
            drawing(START)
            await asyncio.sleep(2)
            return set(threading.enumerate())

        assert run_jumping(work()).result == before


class TestReporter:
    def test_a_callable_gets_every_event(self) -> None:
        seen: list[Event] = []

        with Reporter(display_for(seen.append)) as report:
            report(START)
            report(RunEnded())

        assert seen == [START, RunEnded()]

    @pytest.mark.parametrize(
        ("problem", "reason"),
        [
            (KeyboardInterrupt("a"), "interrupted"),
            (asyncio.CancelledError("b"), "interrupted"),
            (OSError("c"), "stopped"),
        ],
        ids=["Ctrl-C", "cancelled", "error"],
    )
    def test_an_observer_that_saw_the_start_sees_an_end(self, problem: BaseException, reason: str) -> None:
        seen: list[Event] = []

        with pytest.raises(type(problem), match=str(problem)), Reporter(display_for(seen.append)) as report:
            report(START)
            raise problem

        assert seen == [START, RunEnded(reason=reason)]

    @pytest.mark.parametrize("setting", [False, lambda event: None], ids=["silent", "a function"])
    def test_a_recorder_gets_the_events_whatever_is_shown(self, setting: bool | Observer) -> None:
        recorded: list[Event] = []

        with Reporter(recorded.append, display_for(setting)) as report:
            report(START)

        assert recorded == [START, RunEnded()]

    def test_an_observer_that_fails_takes_no_other_with_it(self) -> None:
        recorded: list[Event] = []

        def broken(event: Event) -> None:
            raise ValueError("no room")

        with Reporter(recorded.append, display_for(broken)) as report:
            with pytest.warns(SmeltWarning, match="no room"):
                report(START)
            report(sent())

        assert recorded == [START, sent(), RunEnded()]

    def test_an_observer_that_fails_costs_a_warning_and_no_more(self) -> None:
        def broken(event: Event) -> None:
            raise ValueError("no room")

        with Reporter(broken) as report:
            with pytest.warns(
                SmeltWarning, match="broken gets no more events of this run: ValueError: no room"
            ) as caught:
                report(START)
            report(RunEnded())

        assert caught[0].filename == __file__

    def test_false_is_silent(self, capsys: pytest.CaptureFixture[str]) -> None:
        with Reporter(display_for(False)) as report:
            report(START)
            report(settled(1_000))
            report(RunEnded())

        assert capsys.readouterr() == ("", "")

    @pytest.mark.parametrize("setting", [None, True], ids=["automatic", "true"])
    def test_a_pipe_gets_plain_lines(self, setting: bool | None, capsys: pytest.CaptureFixture[str]) -> None:
        with Reporter(display_for(setting, clock=lambda: 0.0)) as report:
            report(START)
            report(settled(1_000))

        assert capsys.readouterr() == ("", "smelt: openai:gpt, 1,000 rows in <0.1 s\n")

    def test_a_closed_stderr_costs_a_warning_and_no_more(self, monkeypatch: pytest.MonkeyPatch) -> None:
        closed = io.StringIO()
        with Reporter(display_for(None, clock=lambda: 0.0)) as report:
            report(START)
            closed.close()
            monkeypatch.setattr(sys, "stderr", closed)
            with pytest.warns(SmeltWarning, match="closed file"):
                report(RunEnded())

    def test_something_else_is_refused(self) -> None:
        with pytest.raises(SmeltConfigError, match="progress must be True, False, None or a callable"):
            display_for("yes")  # type: ignore[arg-type]
