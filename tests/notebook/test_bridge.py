"""Blocking calls and progress in a real kernel, where a loop is running already."""

from __future__ import annotations

import time

import pytest

from tests.notebook.kernel import Kernel
from tests.patience import BUSY

WORK = """
import asyncio, threading
from smelt.observe.reporter import Reporter
from smelt.engine.events import RequestSent, RowsSettled, RunEnded, RunStarted
from smelt.loop.bridge import run_blocking
from smelt.errors import SmeltInterrupt
from smelt.progress.drawing import display_for

async def work(*, chunks=5, seconds=0.0, progress=None):
    "Answer 20 rows per chunk; an interrupt brings those that are done."
    loop, answered = asyncio.get_running_loop(), 0
    with Reporter(display_for(progress, clock=loop.time)) as report:
        report(RunStarted(rows=20 * chunks, distinct_rows=20 * chunks, provider="p", model="<m>"))
        try:
            for number in range(1, chunks + 1):
                report(RequestSent(number=number, rows=20, in_flight=1))
                await asyncio.sleep(seconds)
                answered += 20
                report(RowsSettled(answered=answered, failed=0))
        except asyncio.CancelledError:
            raise SmeltInterrupt("Interrupted.", partial_result=answered) from None
        report(RunEnded())
    return answered
"""


@pytest.fixture(autouse=True, scope="module")
def _work(kernel: Kernel) -> None:
    assert kernel.run(WORK).error is None


def test_67_a_blocking_call_works_in_a_cell_and_says_nothing(kernel: Kernel) -> None:
    cell = kernel.run("print(run_blocking(work(progress=False)))")

    assert (cell.printed, cell.complaints, cell.error) == ("100\n", "", None)


def test_it_works_in_a_cell_that_awaits(kernel: Kernel) -> None:
    cell = kernel.run("await asyncio.sleep(0)\nprint(run_blocking(work(progress=False)), await work(progress=False))")

    assert (cell.printed, cell.complaints, cell.error) == ("100 100\n", "", None)


def test_it_starts_no_thread(kernel: Kernel) -> None:
    cell = kernel.run("before = threading.enumerate(); run_blocking(work()); print(threading.enumerate() == before)")

    assert cell.printed == "True\n"


def test_67_an_interrupt_brings_what_was_done_soon(kernel: Kernel) -> None:
    running = kernel.start(
        "tell = lambda event: print(event) if isinstance(event, RowsSettled) else None\n"
        "try:\n"
        "    run_blocking(work(chunks=10_000, seconds=0.05, progress=tell))\n"
        "except SmeltInterrupt as stop:\n"
        "    partial = stop.partial_result"
    )
    running.wait_for_output()

    interrupted = kernel.interrupt()
    running.result()

    assert time.monotonic() - interrupted < BUSY
    assert 20 <= int(kernel.run("print(partial)").printed) < 200_000


def test_67_the_kernel_is_usable_after_an_interrupt(kernel: Kernel) -> None:
    running = kernel.start("print('on'); run_blocking(work(seconds=30.0, progress=False))")
    running.wait_for_output()
    kernel.interrupt()
    running.result()

    cell = kernel.run(
        "await asyncio.sleep(0.01)\n"
        "print(run_blocking(work(progress=False)), asyncio.get_event_loop() is asyncio.get_running_loop())"
    )

    assert (cell.printed, cell.error) == ("100 True\n", None)


def test_an_interrupted_cell_ends_in_it_and_its_progress_says_so(kernel: Kernel) -> None:
    running = kernel.start("run_blocking(work(seconds=30.0))")
    running.wait_for_output()
    kernel.interrupt()

    cell = running.result()

    assert cell.error == "SmeltInterrupt"
    (shown,) = cell.displays
    assert shown["text/plain"].startswith("smelt: 0 %, interrupted, 0 of 100 rows in")


def test_progress_is_one_display_that_moves(kernel: Kernel) -> None:
    running = kernel.start("run_blocking(work(seconds=0.06));")
    running.wait_for_output()
    cell = running.result()

    assert len(cell.displays) == 1
    assert cell.displays[0]["text/plain"].startswith("smelt: 100 %, 100 rows in")
    assert cell.complaints == ""


def test_a_saved_notebook_holds_the_last_state(kernel: Kernel) -> None:
    notebook = kernel.save("run_blocking(work());")

    (output,) = notebook.cells[0].outputs
    assert output.output_type == "display_data"
    assert '<progress value="100" max="100"' in output.data["text/html"]
    assert "p:&lt;m&gt; · 100 rows in" in output.data["text/html"]
    assert output.data["text/plain"].startswith("smelt: 100 %, 100 rows in")
