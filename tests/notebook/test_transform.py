"""The accessor in a real kernel: over real HTTP, interrupted, completed."""

from __future__ import annotations

import time

import pytest

from tests.conftest import MakeScenario
from tests.models import RULES, served
from tests.notebook.kernel import Kernel
from tests.patience import BUSY

SETUP = """
import threading
import pandas as pd, polars as pl, smelt
from tests.models import Company
frame = pd.DataFrame({"name": [f"c{at}" for at in range(4_000)], "number": range(4_000)})
model = smelt.Model("openai", "fake-1", api_key="sk-proj-test", base_url=BASE)
"""


@pytest.fixture(autouse=True)
def _setup(kernel: Kernel, scenario: MakeScenario) -> None:
    slow = scenario(answers=RULES, latency=0.15)
    base = served("openai", slow).base_url
    assert kernel.run(f"BASE = {base!r}\n{SETUP}").error is None


def test_a_sync_call_works_in_a_cell_on_both_libraries_without_a_thread(kernel: Kernel) -> None:
    cell = kernel.run(
        "before = set(threading.enumerate())\n"
        "one = frame[:40].smelt.transform('Describe {name} {number}.', Company, model=model)\n"
        "two = pl.from_pandas(frame[:40]).smelt.transform('Describe {name} {number}.', Company, model=model)\n"
        "print((one.echo == one.name).all(), two['echo'].to_list() == two['name'].to_list(),"
        " set(threading.enumerate()) - before)"
    )

    assert (cell.printed, cell.complaints, cell.error) == ("True True set()\n", "", None)
    assert "100 %, 40 rows" in cell.displays[0]["text/plain"]


def test_an_interrupt_returns_soon_and_keeps_finished_rows(kernel: Kernel) -> None:
    running = kernel.start(
        "seen = []\n"
        "def tell(event):\n"
        "    if getattr(event, 'answered', 0) and not seen:\n"
        "        seen.append(event); print(event)\n"
        "try:\n"
        "    frame.smelt.transform('Describe {name} {number}.', Company, model=model, batch_size=2, concurrency=2,"
        " progress=tell)\n"
        "except smelt.SmeltInterrupt as stop:\n"
        "    partial = stop.partial_result"
    )
    running.wait_for_output()

    interrupted = kernel.interrupt()
    running.result()

    assert time.monotonic() - interrupted < BUSY
    cell = kernel.run(
        "out = partial.frame; done = out[out.smelt_error.isna()]\n"
        "print(0 < len(done) < len(frame), len(out) == len(frame), (done.echo == done.name).all(),"
        " set(error.kind for error in partial.errors))"
    )
    assert (cell.printed, cell.error) == ("True True True {'interrupted'}\n", None)


def test_an_awaited_call_works_in_a_cell(kernel: Kernel) -> None:
    cell = kernel.run(
        "out = await frame[:20].smelt.atransform('Describe {name} {number}.', Company, model=model, progress=False)\n"
        "print((out.echo == out.name).all())"
    )

    assert (cell.printed, cell.error) == ("True\n", None)


def test_the_accessor_completes(kernel: Kernel) -> None:
    kernel.run("%config IPCompleter.use_jedi = False")  # Jedi reads the whole of pandas first.

    assert any(one.endswith("transform") for one in kernel.completions("frame.smelt.tr"))


def test_the_result_shows_itself(kernel: Kernel) -> None:
    cell = kernel.run("frame[:5].smelt.run('Describe {name} {number}.', Company, model=model, progress=False)")

    (shown,) = cell.displays
    assert "5 of 5 rows answered by openai:fake-1" in shown["text/html"]
    assert "5 of 5 rows answered by openai:fake-1" in shown["text/plain"]
