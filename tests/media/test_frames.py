"""A cell that can be nothing else than a medium is sent as one, from every kind of frame."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import PIL.Image
import polars as pl
import pyarrow as pa
import pytest

import smelt
from tests.conftest import MakeScenario
from tests.media.pictures import Seen, crc, png
from tests.models import served

PNGS = [png(number) for number in range(7)]
SAYS = {"crc": {"crc": "photo"}}
FRAMES: dict[str, Callable[[list[bytes]], Any]] = {
    "pandas objects": lambda cells: pd.DataFrame({"sku": range(len(cells)), "photo": pd.Series(cells, dtype=object)}),
    "pandas arrow": lambda cells: pd.DataFrame(
        {"sku": range(len(cells)), "photo": pd.array(cells, dtype=pd.ArrowDtype(pa.binary()))}
    ),
    "pandas structs": lambda cells: pd.DataFrame({"photo": [{"bytes": one, "path": None} for one in cells]}),
    "pandas arrow structs": lambda cells: pd.DataFrame(
        {
            "photo": pd.array(
                [{"bytes": one, "path": "x.png"} for one in cells],
                dtype=pd.ArrowDtype(pa.struct([("bytes", pa.binary()), ("path", pa.string())])),
            )
        }
    ),
    "pandas images": lambda cells: pd.DataFrame({"photo": [PIL.Image.open(io.BytesIO(one)) for one in cells]}),
    "polars binary": lambda cells: pl.DataFrame({"sku": range(len(cells)), "photo": cells}),
    "polars objects": lambda cells: pl.DataFrame(
        {"photo": pl.Series([PIL.Image.open(io.BytesIO(one)) for one in cells], dtype=pl.Object)}
    ),
    "polars structs": lambda cells: pl.DataFrame({"photo": [{"bytes": one, "path": "x.png"} for one in cells]}),
    "records": lambda cells: [{"sku": at, "photo": one} for at, one in enumerate(cells)],
    "arrow": lambda cells: pa.table({"photo": pa.array(cells, pa.binary())}),
}


def said(out: Any) -> list[Any]:
    """The answers in a frame of any kind."""
    if isinstance(out, list):
        return [row["crc"] for row in out]
    return list(out["crc"].to_pylist() if isinstance(out, pa.Table) else out["crc"].to_list())


@pytest.mark.parametrize("kind", FRAMES)
def test_each_picture_is_answered_under_its_own_row(kind: str, scenario: MakeScenario) -> None:
    server = scenario(answers=SAYS)
    out = smelt.transform(
        FRAMES[kind](PNGS),
        "What does {photo} show?",
        Seen,
        model=served("openai", server),
        batch_size=3,
        ledger=False,
        progress=False,
    )
    assert said(out) == [crc(one) for one in PNGS]
    assert server.stats().requests == 3


def test_a_file_that_changes_before_it_is_sent_costs_its_row_and_no_other(
    tmp_path: Path, scenario: MakeScenario
) -> None:
    server = scenario(answers=SAYS)
    paths = [tmp_path / f"{at}.png" for at in range(4)]
    for path, data in zip(paths, PNGS, strict=False):
        path.write_bytes(data)

    def change(event: Any) -> None:
        paths[2].write_bytes(PNGS[6])

    frame = pd.DataFrame({"photo": [*paths, None]})
    out = smelt.transform(
        frame,
        "What does {photo} show?",
        Seen,
        model=served("openai", server),
        media=["photo"],
        batch_size=10,
        ledger=False,
        progress=change,
        max_attempts=1,
    )
    assert out["crc"].tolist()[:2] == [crc(PNGS[0]), crc(PNGS[1])]
    assert "the file has changed since this run began" in out["smelt_error"][2]
    assert out["crc"][3] == crc(PNGS[3])
    assert out["smelt_error"][4] is not None  # The fake has nothing to say of a null, which is no number.
    assert server.stats().rows_sent == 4
