"""A step of a lazy plan, and a stream, in a real kernel: collected, interrupted, left."""

from __future__ import annotations

import time

import pytest

from tests.conftest import MakeScenario
from tests.models import RULES, served
from tests.notebook.kernel import Kernel
from tests.patience import BUSY

SETUP = """
import polars as pl, smelt
from tests.models import Company
rows = pl.LazyFrame({"name": [f"c{at}" for at in range(4_000)], "number": range(4_000)})
model = smelt.Model("openai", "fake-1", api_key="sk-proj-test", base_url=BASE)
seen = []
def tell(event):
    if getattr(event, "answered", 0) and not seen:
        seen.append(event); print(event)
"""


@pytest.fixture(autouse=True)
def _setup(kernel: Kernel, scenario: MakeScenario) -> None:
    base = served("openai", scenario(answers=RULES, latency=0.15)).base_url
    assert kernel.run(f"BASE = {base!r}\n{SETUP}").error is None


def test_a_lazy_step_works_in_a_cell_and_shows_its_progress(kernel: Kernel) -> None:
    cell = kernel.run(
        "lazy = rows.smelt.transform('Describe {name} {number}.', Company, model=model)\n"
        "found, again = lazy.head(40).collect(), lazy.head(40).smelt.collect()\n"
        "print((found['echo'] == found['name']).all(), found.equals(again))"
    )

    assert (cell.printed, cell.complaints, cell.error) == ("True True\n", "", None)
    assert [shown["text/plain"].startswith("smelt: 100 %, 40 rows") for shown in cell.displays] == [True, True]


@pytest.mark.whole
def test_a_stream_works_in_a_cell_and_one_that_was_left_is_gone_on_with_in_the_next(kernel: Kernel) -> None:
    begun = kernel.run(
        "frames = smelt.stream(rows.head(60).collect_batches(chunk_size=20), 'Tell {name} {number}.', Company, "
        "model=model, progress=False)\nprint(next(frames).height)"
    )
    rest = kernel.run("print([frame.height for frame in frames], frames.metrics.failed_rows)")

    assert (begun.printed, begun.complaints, begun.error) == ("20\n", "", None)
    assert (rest.printed, rest.complaints, rest.error) == ("[20, 20] 0\n", "", None)


@pytest.mark.parametrize("end", ["smelt.collect()", "smelt.sink_parquet('lazy.parquet')"])
@pytest.mark.whole
def test_an_interrupt_ends_it_soon_and_the_kernel_goes_on(kernel: Kernel, end: str) -> None:
    running = kernel.start(
        "lazy = rows.smelt.transform('Describe {name} {number}.', Company, model=model, batch_size=2, concurrency=2,"
        f" progress=tell)\nlazy.{end}"
    )
    running.wait_for_output()

    interrupted = kernel.interrupt()
    cell = running.result()

    assert time.monotonic() - interrupted < BUSY
    assert cell.error == "SmeltInterrupt"
    after = kernel.run("print(lazy.head(2).collect().height); import shutil; shutil.rmtree('lazy.parquet.smelt', True)")
    assert (after.printed, after.error) == ("2\n", None)
