"""Keeps rows that come only once, from a pipe or a database, in a private folder, where a plan can read them again."""

from __future__ import annotations

import signal
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from smelt.errors import SmeltConfigError, SmeltInterrupt

if TYPE_CHECKING:
    import polars as pl


@contextmanager
def private_folder() -> Iterator[Path]:
    """A folder that only its owner can enter; it is removed at the end, also after SIGTERM while it is filled."""
    before = signal.getsignal(signal.SIGTERM)
    try:
        with tempfile.TemporaryDirectory(prefix="smelt-") as folder:
            if before is signal.SIG_DFL:
                signal.signal(signal.SIGTERM, _terminate)
            yield Path(folder)
    finally:
        signal.signal(signal.SIGTERM, before)


def _terminate(signum: int, frame: object) -> None:
    interrupt = SmeltInterrupt("Stopped.")
    interrupt.signum = signum
    raise interrupt


def spooled(pieces: Iterator[pl.DataFrame], folder: Path, name: str, limit: int | None) -> pl.LazyFrame:
    """The first *limit* rows of *pieces*, as a plan over files in *folder*. *name* is what they are called in errors.

    Raises:
        SmeltConfigError: There are no columns.
    """
    import polars as pl

    files: list[Path] = []
    rows = 0
    for piece in pieces:
        files.append(folder / f"{len(files):06}.arrow")
        piece.write_ipc(files[-1], compression="lz4")
        rows += piece.height
        if limit is not None and rows >= limit:
            break
    plans = [pl.scan_ipc(file, glob=False) for file in files]
    if not plans or not plans[0].collect_schema():
        raise SmeltConfigError(f"{name} has no columns.")
    # A column may be null in all rows of a piece, or have integers in one and fractions in the next.
    return pl.concat(plans, how="vertical_relaxed")
