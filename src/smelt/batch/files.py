"""The files of a job: its request file, and the artefacts if the caller wants them. Only their owner can read them."""

from __future__ import annotations

import json
import os
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, BinaryIO

from smelt.errors import SmeltConfigError
from smelt.ledger.jobs import COLUMNS, JobRow

MANIFEST = "manifest.json"
FORMAT = 1
"""The version of the manifest."""


class Folder:
    """The artefacts of one job: `requests.jsonl`, `manifest.json`, `results.jsonl` and `errors.jsonl`.

    They hold the rows, byte for byte as they went out and came in.
    """

    def __init__(self, root: Path | None, tag: str) -> None:
        """Take the folder `jobs/<tag>` in *root*; None keeps no artefacts."""
        self._path = None if root is None else root / "jobs" / tag

    def requests(self) -> BinaryIO:
        """The new request file, open to write and read. Without artefacts it has no name, and is gone when closed."""
        if self._path is None:
            return tempfile.TemporaryFile("w+b")  # The caller closes it.
        return self._open("requests.jsonl")

    def results(self, source: str) -> BinaryIO | None:
        """The new file for the lines of a job's *source*, `results` or `errors`; None without artefacts."""
        return None if self._path is None else self._open(f"{source}.jsonl")

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
        known = {name: getattr(job, name) for name in COLUMNS}
        beside = self._path / f".manifest.{os.getpid()}"
        with self._open(beside.name) as file:
            file.write(json.dumps({"format": FORMAT, **asked, **known, "history": history}, indent=1).encode())
        beside.replace(self._path / MANIFEST)

    def _open(self, name: str) -> BinaryIO:
        assert self._path is not None
        try:
            self._path.mkdir(mode=0o700, parents=True, exist_ok=True)
            path = self._path / name
            path.unlink(missing_ok=True)
            return os.fdopen(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600), "w+b")
        except OSError as problem:
            raise SmeltConfigError(
                f"artefacts= names {self._path.parent.parent}, where no file can be written: {problem.strerror}. "
                "Give another directory, or leave it out."
            ) from None


def history_in(path: Path) -> list[dict[str, Any]]:
    """The states in the manifest at *path*, oldest first; none if there is no manifest that can be read."""
    try:
        told = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError):
        return []
    history = told.get("history") if isinstance(told, dict) else None
    return [one for one in history if isinstance(one, dict)] if isinstance(history, list) else []
