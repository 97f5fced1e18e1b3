"""A sink's rows on their way into its file: parts beside it, each complete once it has its name.

A part is called `000007-2048-<digest>.arrow`: its place, its rows, and what the rows were made of. Renaming is what
commits it, so a sink that is killed leaves whole parts and at most one file without a name. `manifest.json` says which
sink they belong to.
"""

from __future__ import annotations

import fcntl
import json
import os
import shutil
from array import array
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path
from typing import Any, Self

import polars as pl

from smelt.errors import SmeltConfigError

_MANIFEST = "manifest.json"


@dataclass(frozen=True, kw_only=True)
class Part:
    """Rows that are finished.

    Attributes:
        path: The file.
        rows: How many.
        digest: Of the input rows that they were made of.
    """

    path: Path
    rows: int
    digest: str

    @classmethod
    def at(cls, path: Path) -> Self:
        """The part in the file at *path*."""
        _, rows, digest = path.stem.split("-")
        return cls(path=path, rows=int(rows), digest=digest)


class Parts:
    """The parts of one sink.

    Attributes:
        whole: Where the file is written before it has its place; Polars may judge by its ending.
        found: Those that an earlier try has left.
        rows: Rows in all that there are by now.
    """

    def __init__(self, folder: Path) -> None:
        """Look at what is in *folder*."""
        self._folder = folder
        self.whole = folder / f"whole.{folder.stem}"
        self._nameless = folder / "part"
        self.found = [Part.at(path) for path in _paths(folder)]
        self.rows = sum(part.rows for part in self.found)
        self._next = len(self.found)

    def add(self, frame: pl.DataFrame, digest: str) -> None:
        """Keep *frame*, the rows after those that are there."""
        with self._nameless.open("wb") as file:
            frame.write_ipc(file, compression="lz4")
            file.flush()
            os.fsync(file.fileno())
        self._nameless.rename(self._folder / f"{self._next:06}-{frame.height}-{digest}.arrow")
        _sync(self._folder)
        self._next += 1
        self.rows += frame.height

    def tidy(self) -> None:
        """Remove what was not written to its end, such as on a full disk; the parts stay."""
        for path in (self.whole, self._nameless):
            path.unlink(missing_ok=True)

    def joined(self, schema: pl.Schema) -> pl.LazyFrame:
        """All rows, in order."""
        paths = _paths(self._folder)
        return pl.scan_ipc(paths, glob=False) if paths else pl.LazyFrame(schema=schema)


@contextmanager
def parts_for(target: Path, manifest: Mapping[str, Any], *, restart: bool) -> Iterator[Parts]:
    """The parts of the sink into *target*, for this process alone; removed when all went well, or where there are none.

    Raises:
        SmeltConfigError: Another process is at it, or the parts that are there are those of another sink.
    """
    folder = target.with_name(f"{target.name}.smelt")
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / _MANIFEST).open("a+", encoding="utf-8") as file:
        _lock(file.fileno(), target)
        if restart:
            file.truncate(0)
        _settle(file, folder, manifest)
        parts, is_done = Parts(folder), False
        try:
            yield parts
            is_done = True
        finally:
            if is_done or not parts.rows:
                _clear(folder)
                shutil.rmtree(folder)
            else:
                parts.tidy()


def publish(written: Path, target: Path) -> None:
    """Put the file *written* in the place of *target*, at once and for good."""
    with written.open("rb") as file:
        os.fsync(file.fileno())
    written.replace(target)
    _sync(target.parent)


class Digest:
    """Tells whether rows are the same rows in the same order, to one version of Polars."""

    def __init__(self) -> None:
        self._hash = blake2b(digest_size=16)

    def add(self, frame: pl.DataFrame) -> None:
        """Take the rows of *frame*."""
        plain = frame.with_columns(pl.col(pl.Categorical).cast(pl.String))  # Whose numbers differ between processes.
        self._hash.update(array("Q", plain.hash_rows().to_list()).tobytes())

    def __str__(self) -> str:
        return self._hash.hexdigest()


def _lock(descriptor: int, target: Path) -> None:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        is_free = os.fstat(descriptor).st_nlink > 0  # Else a process that has just ended removed what is locked here.
    except BlockingIOError:
        is_free = False
    if not is_free:
        raise SmeltConfigError(f"Another process is writing {target}. Wait for it, or write to another path.")


def _settle(file: Any, folder: Path, manifest: Mapping[str, Any]) -> None:
    """Write the manifest, or compare it with the one that is there, if there are parts."""
    file.seek(0)
    text = file.read()
    found = _read(text) if _paths(folder) else None
    if found is not None and (changed := [name for name in manifest if found.get(name) != manifest[name]]):
        raise SmeltConfigError(
            f"{folder} has the finished rows of another sink: {' and '.join(changed)} changed since. "
            "Pass restart=True to throw them away, or write to another path."
        )
    if found is None:
        _clear(folder)
        file.truncate(0)
        json.dump(manifest, file)
        file.flush()
        os.fsync(file.fileno())


def _read(text: str) -> dict[str, Any] | None:
    """The manifest; None where there is none, or one that was never finished."""
    try:
        found = json.loads(text)
    except ValueError:
        return None
    return found if isinstance(found, dict) else None


def _clear(folder: Path) -> None:
    """Remove the parts. The manifest stays: it is what is locked.

    The last one goes first, so that whoever is killed meanwhile leaves the parts of the first rows.
    """
    for path in sorted(folder.iterdir(), reverse=True):
        if path.name != _MANIFEST:
            path.unlink()


def _paths(folder: Path) -> list[Path]:
    """The files of the parts in *folder*, in order."""
    return sorted(folder.glob("[0-9]*-*-*.arrow"))


def _sync(folder: Path) -> None:
    """Make the names in *folder* last."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
