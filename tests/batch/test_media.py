"""Pictures in batch mode: their lines go to the disk one block at a time, so memory does not grow with them."""

from __future__ import annotations

import random
import tracemalloc
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

import smelt
from tests.conftest import MakeScenario
from tests.media.pictures import Seen, png
from tests.models import served

_EACH = 250_000  # Bytes of a picture; 333,000 in a line.
_MOST = 40 * 2**20  # A third of what 200 pictures take as raw bytes and as lines. Measured: 30 MB.


@pytest.mark.slow
@pytest.mark.whole
def test_two_hundred_pictures_are_not_in_memory_together(scenario: MakeScenario, tmp_path: Path) -> None:
    noise = random.Random(1).randbytes(_EACH)
    for number in range(200):
        (tmp_path / f"{number}.png").write_bytes(png(number) + noise)
    frame = pd.DataFrame({"photo": [f"{number}.png" for number in range(200)]})
    server = scenario()
    options: dict[str, Any] = {"media": {"photo": smelt.Image(root=tmp_path)}}
    options |= {"mode": "batch", "wait": False, "ledger": tmp_path / "a.sqlite", "progress": False, "batch_size": 5}
    smelt.run(frame[:10], "Look at {photo}.", Seen, model=served("openai", server), **options)  # Loads what is used.

    tracemalloc.start()
    try:
        result = smelt.run(frame, "Look at {photo}.", Seen, model=served("openai", server), **options)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()

    assert result.metrics.pending_rows >= 190
    assert sum(job["lines"] for job in server.jobs().jobs) >= 38
    assert peak < _MOST
