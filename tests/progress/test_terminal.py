"""The display in a terminal, and whatever stands in for stderr."""

from __future__ import annotations

import os
import pty
import subprocess
import sys
import termios

import pytest

from smelt.engine.events import (
    Waiting,
)
from smelt.progress.terminal import line
from tests.conftest import whole
from tests.progress.events import START, ended, folded, sent, settled


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
from smelt.observe.reporter import Reporter
from smelt.engine.events import RequestSent, RowsSettled, RunEnded, RunStarted
from smelt.loop.jumping import run_jumping
from smelt.progress.drawing import display_for

async def work():
    with Reporter(display_for(None, clock=asyncio.get_running_loop().time)) as report:
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
    "environ", whole({}, {"TQDM_DISABLE": "1"}, {"TQDM_MININTERVAL": "soon"}), ids=["plain", "no tqdm", "odd tqdm"]
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
