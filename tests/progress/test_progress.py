"""The three faces of progress, and the tally behind them."""

from __future__ import annotations

import asyncio
import io
import os
import pty
import random
import re
import subprocess
import sys
import termios
import threading
from collections.abc import Callable, Iterable
from dataclasses import replace
from html import unescape

import pandas as pd
import pytest

import smelt
from smelt.engine.events import (
    Event,
    Observer,
    RequestEnded,
    RequestSent,
    Resumed,
    RowsSettled,
    RunEnded,
    RunStarted,
    Waiting,
)
from smelt.errors import SmeltConfigError, SmeltWarning
from smelt.loop.jumping import run_jumping
from smelt.messages import clean, dollars, duration, lasted, price, tokens
from smelt.observe.reporter import Reporter
from smelt.progress.drawing import Drawing, progress_for
from smelt.progress.notebook import html, text
from smelt.progress.plain import PlainFace
from smelt.progress.tally import Tally, Throughput
from smelt.progress.terminal import line
from smelt.progress.words import percent, phrases
from smelt.providers.base import Billing, CallFailed
from smelt.testing import ScriptedProvider

START = RunStarted(rows=1_000, distinct_rows=1_000, provider="openai", model="gpt")


def sent(in_flight: int = 1) -> RequestSent:
    return RequestSent(number=1, rows=20, in_flight=in_flight)


def ended(*, ok: bool = True, tokens: int = 0, cost_usd: float | None = None, in_flight: int = 0) -> RequestEnded:
    return RequestEnded(
        number=1, rows=20, seconds=1.0, ok=ok, input_tokens=tokens, cost_usd=cost_usd, in_flight=in_flight
    )


def settled(answered: int, failed: int = 0) -> RowsSettled:
    return RowsSettled(answered=answered, failed=failed)


def folded(events: Iterable[tuple[float, Event]]) -> Tally:
    tally = Tally()
    for now, event in events:
        tally.take(event, now)
    return tally


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

    def test_until_the_first_answer_the_columns_that_are_sent_are_named(self) -> None:
        start = replace(START, columns=("name", "about"))

        assert phrases(folded([(0, start), (0, sent())]), 0)[1] == "sends 2 columns: name, about"
        assert len(phrases(folded([(0, start), (0, sent()), (9, settled(20))]), 9)) == 2

    @pytest.mark.parametrize(
        ("seconds", "shown"), [(0.003, "<0.1 s"), (0.42, "0.4 s"), (9.94, "9.9 s"), (9.96, "10 s"), (61, "1:01 min")]
    )
    def test_a_short_run_is_not_said_to_take_a_second(self, seconds: float, shown: str) -> None:
        assert lasted(seconds) == shown


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


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [
        (0, "0 s"),
        (0.2, "1 s"),
        (59.0, "59 s"),
        (59.5, "1:00 min"),
        (125, "2:05 min"),
        (3_599.5, "1:00 h"),
        (11_220, "3:07 h"),
        (345_600, "4 days"),
    ],
)
def test_durations_read_well(seconds: float, shown: str) -> None:
    assert duration(seconds) == shown


@pytest.mark.parametrize(
    ("amount", "shown"), [(0.00004, "<$0.0001"), (0.0123, "$0.0123"), (0.5, "$0.5000"), (1234.5, "$1,234.50")]
)
def test_dollars_read_well(amount: float, shown: str) -> None:
    assert dollars(amount) == price(amount) == shown


@pytest.mark.parametrize(("amount", "shown"), [(None, "unknown"), (0.0, "free")])
def test_what_costs_nothing_is_free_and_not_zero_dollars(amount: float | None, shown: str) -> None:
    assert price(amount) == shown


@pytest.mark.parametrize(
    ("number", "shown"),
    [(1, "1 token"), (950, "950 tokens"), (45_200, "45.2k tokens"), (999_999, "1.00M tokens")],
)
def test_tokens_read_well(number: int, shown: str) -> None:
    assert tokens(number) == shown


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


@pytest.mark.parametrize(
    ("dirty", "shown"),
    [
        ("a\x1b[31mb", "a [31mb"),
        ("a\r\nb\tc", "a b c"),
        ("a\u202eb\u2066c\u200bd", "a b c d"),
        ("a\u2028b\x9bc\ud800", "a b c"),
        ("x" * 1_000, "x" * 79 + "…"),
    ],
    ids=["escape", "line ends", "bidi", "separators", "long"],
)
def test_foreign_text_cannot_steer_a_terminal(dirty: str, shown: str) -> None:
    assert clean(dirty) == shown


@pytest.mark.parametrize(
    "shown",
    [html, text, lambda tally, now: line(tally, now, columns=80), lambda tally, now: line(tally, now, columns=60)],
    ids=["notebook", "its text", "terminal", "narrow terminal"],
)
def test_every_face_says_for_what_a_run_waits(shown: Callable[[Tally, float], str]) -> None:
    tally = folded([(0, START), (0, sent(9)), (9, settled(97, 3)), (9, Waiting(seconds=12.0, reason="openai's limit"))])

    assert "waiting 12 s for openai's limit" in unescape(shown(tally, 9))


class TestNotebookFace:
    def test_foreign_text_is_escaped(self) -> None:
        start = RunStarted(rows=10, distinct_rows=10, provider="openai", model="<script>alert(1)</script>")
        tally = folded([(0, start), (0, Waiting(seconds=1.0, reason='<img src=x onerror="1">'))])

        assert "<script>" not in html(tally, 0)
        assert "<img" not in html(tally, 0)

    def test_the_html_and_the_text_say_the_same(self) -> None:
        tally = folded([(0, START), (0, settled(400, 3))])

        assert '<progress value="403" max="1000"' in html(tally, 0)
        assert text(tally, 0) == "smelt: 40 %, 403 of 1,000 rows, 3 rows failed, openai:gpt"


class TestTerminalFace:
    @pytest.mark.parametrize("columns", [40, 80, 120])
    def test_the_line_fits(self, columns: int) -> None:
        tally = folded(
            [(0, START), (0, sent(9)), (9, ended(tokens=99, cost_usd=9.0, in_flight=8)), (9, settled(97, 3))]
        )

        shown = line(tally, 9, columns=columns)

        assert len(shown.format(bar="")) <= columns
        assert "100 of 1,000 rows" in shown

    def test_braces_in_a_reason_are_only_text(self) -> None:
        tally = folded([(0, START), (0, Waiting(seconds=1.0, reason="{bar.__class__}"))])

        assert "{bar.__class__}" in line(tally, 0, columns=120).format(bar=" ")

    @pytest.mark.parametrize("columns", [0, 100], ids=["a terminal that says 0 columns", "100 columns"])
    def test_a_terminal_gets_one_line_that_ends_at_100_percent_and_no_thread(self, columns: int) -> None:
        script = """
import asyncio, threading
from smelt.engine.events import RequestSent, RowsSettled, RunEnded, RunStarted
from smelt.loop.jumping import run_jumping
from smelt.progress.drawing import progress_for

async def work():
    with progress_for(None, clock=asyncio.get_running_loop().time) as report:
        report(RunStarted(rows=40, distinct_rows=40, provider="p", model="m"))
        report(RequestSent(number=1, rows=20, in_flight=1))
        await asyncio.sleep(3)
        report(RowsSettled(answered=40, failed=0))
        report(RunEnded())

run_jumping(work())
assert [one.name for one in threading.enumerate()] == ["MainThread"]
"""
        shown = in_terminal(script, columns)

        assert shown.count("\n") == 1
        assert "1 in flight" in shown
        assert shown.rstrip().endswith("| 40 rows in 3.0 s")


_STAND_INS = """
import errno, io, sys, warnings
import pandas as pd
import smelt
from pydantic import BaseModel
from smelt.testing import ScriptedProvider

class Out(BaseModel):
    label: str

class Log:  # As hosts put in its place: it has no isatty.
    def write(self, text): return len(text)
    def flush(self): pass

class Gone(io.StringIO):  # The other end of the pipe is gone.
    def write(self, text): raise OSError(errno.EPIPE, "Broken pipe")

class Console(io.StringIO):  # Of an editor: a terminal without a file descriptor.
    def isatty(self): return True

class Odd(Console):
    def isatty(self): raise RuntimeError("not now")

class GoneTerminal(Console):
    def write(self, text): raise OSError(errno.EIO, "Input/output error")

(closed := io.StringIO()).close()
ascii = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
warnings.simplefilter("always")
kept, found = sys.stderr, {}
stand_ins = {"none": None, "closed": closed, "log": Log(), "bytes": io.BytesIO(), "gone": Gone(), "console": Console(),
             "odd": Odd(), "gone terminal": GoneTerminal(), "ascii": ascii, "nothing like it": object()}
for name, stand_in in stand_ins.items():
    sys.stderr = stand_in
    try:
        # The second row gets no valid answer, and neither it nor what becomes of the display may raise.
        scripted = ScriptedProvider(lambda row: {"label": "right"} if row["text"] == "a" else {"label": None})
        frame = pd.DataFrame({"text": ["a", "b"]})
        found[name] = smelt.run(frame, "Sort {text}.", Out, model=scripted, max_attempts=1).metrics.failed_rows
    except Exception as error:
        found[name] = repr(error)
    finally:
        sys.stderr = kept
assert set(found.values()) == {1}, found
assert "2 rows" in stand_ins["console"].getvalue(), "the console shows the bar"
ascii.flush()
assert b"smelt: scripted" in ascii.buffer.getvalue()
"""


@pytest.mark.slow
@pytest.mark.parametrize(
    "environ", [{}, {"TQDM_DISABLE": "1"}, {"TQDM_MININTERVAL": "soon"}], ids=["plain", "no tqdm", "odd tqdm"]
)
def test_whatever_stands_in_for_stderr_costs_no_run_anything(environ: dict[str, str]) -> None:
    script = _STAND_INS if not environ else _STAND_INS.replace('assert "2 rows"', 'assert True or "2 rows"')

    done = subprocess.run(
        [sys.executable, "-c", script], env={**os.environ, **environ}, capture_output=True, text=True, check=False
    )

    assert (done.returncode, done.stderr) == (0, "")


def in_terminal(script: str, columns: int) -> str:
    """What *script* writes to a terminal on its stderr."""
    ours, theirs = pty.openpty()
    termios.tcsetwinsize(theirs, (24, columns))
    environment = {**os.environ, "TERM": "xterm"}
    with subprocess.Popen([sys.executable, "-c", script], stderr=theirs, env=environment) as process:
        os.close(theirs)
        shown = b""
        try:
            while part := os.read(ours, 65_536):
                shown += part
        except OSError:  # So Linux says that the other side has been closed.
            pass
        finally:
            os.close(ours)
    assert process.returncode == 0, shown.decode()
    return shown.decode()


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

    def test_no_rows_print_nothing(self, capsys: pytest.CaptureFixture[str]) -> None:
        drawing = Drawing(PlainFace(), lambda: 0.0)

        drawing(RunStarted(rows=0, distinct_rows=0, provider="p", model="m"))
        drawing(RunEnded())

        assert capsys.readouterr().err == ""


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

        with progress_for(seen.append) as report:
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

        with pytest.raises(type(problem), match=str(problem)), progress_for(seen.append) as report:
            report(START)
            raise problem

        assert seen == [START, RunEnded(reason=reason)]

    @pytest.mark.parametrize("setting", [False, lambda event: None], ids=["silent", "a function"])
    def test_a_recorder_gets_the_events_whatever_is_shown(self, setting: bool | Observer) -> None:
        recorded: list[Event] = []

        with progress_for(setting, recorder=recorded.append) as report:
            report(START)

        assert recorded == [START, RunEnded()]

    def test_an_observer_that_fails_takes_no_other_with_it(self) -> None:
        recorded: list[Event] = []

        def broken(event: Event) -> None:
            raise ValueError("no room")

        with progress_for(broken, recorder=recorded.append) as report:
            with pytest.warns(SmeltWarning, match="no room"):
                report(START)
            report(sent())

        assert recorded == [START, sent(), RunEnded()]

    def test_an_observer_that_fails_costs_a_warning_and_no_more(self) -> None:
        def broken(event: Event) -> None:
            raise ValueError("no room")

        with Reporter(broken) as report:
            with pytest.warns(SmeltWarning, match="no longer shown: ValueError: no room") as caught:
                report(START)
            report(RunEnded())

        assert caught[0].filename == __file__

    def test_false_is_silent(self, capsys: pytest.CaptureFixture[str]) -> None:
        with progress_for(False) as report:
            report(START)
            report(settled(1_000))
            report(RunEnded())

        assert capsys.readouterr() == ("", "")

    @pytest.mark.parametrize("setting", [None, True], ids=["automatic", "true"])
    def test_a_pipe_gets_plain_lines(self, setting: bool | None, capsys: pytest.CaptureFixture[str]) -> None:
        with progress_for(setting, clock=lambda: 0.0) as report:
            report(START)
            report(settled(1_000))

        assert capsys.readouterr() == ("", "smelt: openai:gpt, 1,000 rows in <0.1 s\n")

    def test_a_closed_stderr_costs_a_warning_and_no_more(self, monkeypatch: pytest.MonkeyPatch) -> None:
        closed = io.StringIO()
        with progress_for(None, clock=lambda: 0.0) as report:
            report(START)
            closed.close()
            monkeypatch.setattr(sys, "stderr", closed)
            with pytest.warns(SmeltWarning, match="closed file"):
                report(RunEnded())

    def test_something_else_is_refused(self) -> None:
        with pytest.raises(SmeltConfigError, match="progress must be True, False, None or a callable"):
            progress_for("yes")  # type: ignore[arg-type]


def test_a_run_that_is_told_to_wait_says_so_and_for_how_long(capsys: pytest.CaptureFixture[str]) -> None:
    refusal = CallFailed("rate_limit", Billing.REJECTED, "Slow down.", status=429, retry_after=40)
    model = ScriptedProvider({"text": "fine"}, script=[None, refusal], name="openai")

    run_jumping(
        smelt.arun(pd.DataFrame({"n": range(40)}), "Look at {n}.", str, model=model, batch_size=1, concurrency=4)
    )

    assert re.search(r"waiting 4[01] s for openai's limit", capsys.readouterr().err)
