"""Checkpoints of a sink: finished rows are kept in files, the shards, beside the target until the target is complete.

A shard is named `000007-2048-<digest>.arrow`: its index, the number and the digest of its input rows. The
rename to this name commits it, so a killed sink leaves complete shards and at most one unnamed partial file.
`manifest.json` identifies the sink that the shards belong to.
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
_EARLY = "early-"


@dataclass(frozen=True, kw_only=True)
class Shard:
    """A file of finished rows.

    Attributes:
        path: The file.
        rows: Number of input rows. A pipeline may have made more or fewer of them.
        digest: Digest of the input rows of this shard.
    """

    path: Path
    rows: int
    digest: str

    @classmethod
    def at(cls, path: Path) -> Self:
        """The shard in the file at *path*."""
        _, rows, digest = path.stem.split("-")
        return cls(path=path, rows=int(rows), digest=digest)


class Shards:
    """The shards of one sink.

    Attributes:
        whole: Temporary path of the complete file. It ends as the target does, because Polars may check the extension.
        found: The shards so far, also those that an earlier, interrupted sink left.
        rows: Total input rows of all shards so far.
    """

    def __init__(self, folder: Path) -> None:
        """Read which shards are in *folder*."""
        self._folder = folder
        self.whole = folder / f"whole.{folder.stem}"
        self._nameless = folder / "part"
        self.tidy()
        self.found = [Shard.at(path) for path in _paths(folder)]
        self.rows = sum(shard.rows for shard in self.found)

    def add(self, frame: pl.DataFrame, rows: int, digest: str) -> None:
        """Write *frame* as the next shard, which was made of so many input *rows*, and commit it."""
        with self._nameless.open("wb") as file:
            frame.write_ipc(file, compression="lz4")
            file.flush()
            os.fsync(file.fileno())
        path = self._folder / f"{len(self.found):06}-{rows}-{digest}.arrow"
        self._nameless.rename(path)
        _sync(self._folder)
        self.found.append(Shard(path=path, rows=rows, digest=digest))
        self.rows += rows

    def tidy(self) -> None:
        """Remove incomplete files, for example after a full disk; the shards stay."""
        for path in (self.whole, self._nameless, *self._folder.glob(f"{_EARLY}*")):
            path.unlink(missing_ok=True)

    def early(self, number: int) -> Path:
        """The path for the finished piece *number*, while rows before it are not finished."""
        return self._folder / f"{_EARLY}{number}.arrow"

    def joined(self, schema: pl.Schema) -> pl.LazyFrame:
        """The rows of all shards, in order."""
        paths = _paths(self._folder)
        return pl.scan_ipc(paths, glob=False) if paths else pl.LazyFrame(schema=schema)


@contextmanager
def shards_for(target: Path, manifest: Mapping[str, Any], *, restart: bool) -> Iterator[Shards]:
    """The shards of the sink into *target*, locked for this process. Removed after success, or if no row is finished.

    Raises:
        SmeltConfigError: Another process holds the lock, or the existing shards belong to another sink.
    """
    folder = target.with_name(f"{target.name}.smelt")
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as problem:
        raise SmeltConfigError(f"{target} cannot be written: {problem.strerror}.") from None
    with (folder / _MANIFEST).open("a+", encoding="utf-8") as file:
        _lock(file.fileno(), target)
        if restart:
            file.truncate(0)
        _check_manifest(file, folder, manifest)
        shards, is_done = Shards(folder), False
        try:
            yield shards
            is_done = True
        finally:
            if is_done or not shards.rows:
                _clear(folder)
                shutil.rmtree(folder)
            else:
                shards.tidy()


def publish(written: Path, target: Path) -> None:
    """Replace *target* by the file *written*: atomic, and durable (fsync)."""
    with written.open("rb") as file:
        os.fsync(file.fileno())
    written.replace(target)
    _sync(target.parent)


class Digest:
    """Hash of rows in their order, to detect changed input. Comparable only within one version of Polars."""

    def __init__(self) -> None:
        self._hash = blake2b(digest_size=16)

    def add(self, frame: pl.DataFrame) -> None:
        """Add the rows of *frame* to the hash."""
        plain = frame.with_columns(pl.col(pl.Categorical).cast(pl.String))  # Category codes differ between processes.
        self._hash.update(array("Q", plain.hash_rows().to_list()).tobytes())

    def __str__(self) -> str:
        return self._hash.hexdigest()


def _lock(descriptor: int, target: Path) -> None:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        is_free = os.fstat(descriptor).st_nlink > 0  # 0 links: another process finished and removed this file.
    except BlockingIOError:
        is_free = False
    if not is_free:
        raise SmeltConfigError(f"Another process is writing {target}. Wait for it, or write to another path.")


def _check_manifest(file: Any, folder: Path, manifest: Mapping[str, Any]) -> None:
    """Compare *manifest* with the existing one if there are shards; else write it."""
    file.seek(0)
    text = file.read()
    found = _read(text) if _paths(folder) else None
    if found is not None and (changed := [name for name in manifest if found.get(name) != manifest[name]]):
        raise SmeltConfigError(
            f"{folder} has the finished rows of another sink: {' and '.join(changed)} changed since. "
            "Pass restart=True to delete them, or write to another path."
        )
    if found is None:
        _clear(folder)
        file.truncate(0)
        json.dump(manifest, file)
        file.flush()
        os.fsync(file.fileno())


def _read(text: str) -> dict[str, Any] | None:
    """The manifest; None if there is none, or if it was not written completely."""
    try:
        found = json.loads(text)
    except ValueError:
        return None
    return found if isinstance(found, dict) else None


def _clear(folder: Path) -> None:
    """Remove the shards. The manifest stays, because it holds the lock.

    The last shard is removed first, so a process that is killed meanwhile leaves the shards of the first rows.
    """
    for path in sorted(folder.iterdir(), reverse=True):
        if path.name != _MANIFEST:
            path.unlink()


def _paths(folder: Path) -> list[Path]:
    """The shard files in *folder*, in order."""
    return sorted(folder.glob("[0-9]*-*-*.arrow"))


def _sync(folder: Path) -> None:
    """Make renames in *folder* durable (fsync of the directory)."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
