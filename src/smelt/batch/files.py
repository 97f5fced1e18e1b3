"""The files of a job: its request file, and the artefacts if the caller wants them. Only their owner can read them."""

from __future__ import annotations

import errno
import json
import os
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, BinaryIO

from smelt.errors import SmeltConfigError, SmeltError, StoreFullError
from smelt.ledger.jobs import COLUMNS, JobRow
from smelt.providers.batching import LINE_CAP, Item

MANIFEST = "manifest.json"
FORMAT = 1
"""The version of the manifest."""


class Folder:
    """The artefacts of one job: `requests.jsonl`, `manifest.json`, `results.jsonl` and `errors.jsonl`.

    They hold the rows, byte for byte as they went out and came in.
    """

    def __init__(self, root: Path | None, tag: str, *, kind: str = "jobs") -> None:
        """Take the folder `jobs/<tag>` in *root*; None keeps no artefacts."""
        self._root = root
        self._path = None if root is None else root / kind / tag

    @contextmanager
    def requests(self) -> Iterator[BinaryIO]:
        """The new request file, open to write and read. Without artefacts it has no name, and is gone when closed."""
        with self.written():
            file = self.new("requests.jsonl") if self._path else tempfile.TemporaryFile("w+b")  # noqa: SIM115  # Below.
        try:
            yield file
        finally:
            with suppress(OSError):  # What a full disk did not take is written once more by `close`.
                file.close()

    def results(self, source: str) -> BinaryIO | None:
        """The new file for the lines of a job's *source*, `results` or `errors`; None without artefacts."""
        return None if self._path is None else self.new(f"{source}.jsonl")

    def note(self, job: JobRow, asked: Mapping[str, Any]) -> None:
        """Write the manifest: atomically, since the process may end at any time.

        Args:
            job: What the ledger knows of the job. A new state is added to the history in the manifest.
            asked: What `smelt.batch.read` must know of the question.
        """
        if self._path is None:
            return
        history = history_in(self._path / MANIFEST)
        if not history or history[-1].get("state") != job.state:
            history = [*history, {"state": job.state, "at": time.time(), "detail": job.detail}]
        self.write_manifest({**asked, **{name: getattr(job, name) for name in COLUMNS}, "history": history})

    def write_manifest(self, told: Mapping[str, Any]) -> None:
        """Replace the manifest."""
        assert self._path is not None
        beside = self._path / f".manifest.{os.getpid()}"
        with self.written(), self.new(beside.name) as file:
            file.write(json.dumps({"format": FORMAT, **told}, indent=1).encode())
        with self.written():
            beside.replace(self._path / MANIFEST)

    def new(self, name: str) -> BinaryIO:
        """A new file of this name, open to write and read."""
        assert self._path is not None
        with self.written():
            self._path.mkdir(mode=0o700, parents=True, exist_ok=True)
            path = self._path / name
            path.unlink(missing_ok=True)
            return os.fdopen(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600), "w+b")

    def more(self, name: str) -> BinaryIO:
        """The file of this name, open to append."""
        assert self._path is not None
        return (self._path / name).open("ab")

    @contextmanager
    def written(self) -> Iterator[None]:
        """Turn what a disk does while files are written into an error of ours.

        Raises:
            StoreFullError: The disk is full.
            SmeltConfigError: No file can be written.
        """
        try:
            yield
        except (TimeoutError, SmeltError):
            raise  # An `OSError`, too, but not of a disk; or said already.
        except OSError as problem:
            if problem.errno in (errno.ENOSPC, errno.EDQUOT):
                raise StoreFullError.for_files(self._root or tempfile.gettempdir()) from None
            if self._root is None:
                raise
            raise SmeltConfigError(
                f"artefacts= names {self._root}, where no file can be written: {problem.strerror}. Give another "
                "directory, or leave it out."
            ) from None


class KeptResults:
    """The files of a job's results while they are read. A disk that takes no more of them does not stop the reading."""

    def __init__(self, folder: Folder) -> None:
        """Keep the lines in *folder*."""
        self.problem: str | None = None
        self._folder = folder
        self._files: dict[str, BinaryIO | None] = {}

    def keep(self, item: Item) -> None:
        """Write the line of *item* as it came."""
        if self.problem is not None:
            return
        try:
            if item.source not in self._files:
                self._files[item.source] = self._folder.results(item.source)
            if (file := self._files[item.source]) is not None:
                file.write(item.raw)
                if len(item.raw) >= LINE_CAP:  # Its end was not read, and the next line must not follow on it.
                    file.write(b"\n")
        except (SmeltError, OSError) as problem:
            self._give_up(problem)

    def close(self) -> None:
        """All lines are read, or the reading ended early."""
        for file in self._files.values():
            try:
                if file is not None:
                    file.close()
            except OSError as problem:
                self._give_up(problem)

    def _give_up(self, problem: Exception) -> None:
        self.problem = (problem.strerror if isinstance(problem, OSError) else None) or str(problem)


def history_in(path: Path) -> list[dict[str, Any]]:
    """The states in the manifest at *path*, oldest first; none if there is no manifest that can be read."""
    try:
        told = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError):
        return []
    history = told.get("history") if isinstance(told, dict) else None
    return [one for one in history if isinstance(one, dict)] if isinstance(history, list) else []
