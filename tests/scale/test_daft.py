"""The recipe for Daft, which is in no dependency group, since it needs an older pyarrow: install it to run this."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from pyarrow import parquet

from tests.scale import jobs

os.environ |= {"DO_NOT_TRACK": "true", "DAFT_ANALYTICS_ENABLED": "0"}  # It would report where it runs.
pytest.importorskip("daft", reason="Daft is not installed")

pytestmark = [pytest.mark.scale, pytest.mark.filterwarnings("ignore")]


def test_the_page_shows_what_runs(page: Path) -> None:
    jobs.run_page("daft")

    found = parquet.read_table(page / "answers")
    assert found.num_rows == 3
    assert found["sector"].null_count == 0
    assert found["smelt_error"].null_count == 3
