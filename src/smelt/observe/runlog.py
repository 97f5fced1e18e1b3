"""The observer that writes every event of a run as a line of JSON."""

from __future__ import annotations

import json
import os
import stat
from datetime import UTC, datetime
from os import PathLike
from pathlib import Path

from smelt.engine.events import Event, RunEnded, RunStarted, facts
from smelt.errors import SmeltConfigError

_written = json.JSONEncoder(ensure_ascii=False).encode  # `json.dumps` makes an encoder for each line.
_HOW = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK


class RunLog:
    """Appends every event of the runs that it observes to a file, one JSON object a line.

    A line has `time` (UTC), `event`, `run_id` and the fields of the event: counts, times, the names of model and
    columns; no text of a row, no prompt and no key. Runs of several processes may share a file: each line is one write.
    Only you can read a file that this makes. If it cannot be written, a warning says so, and the run goes on.

    A line costs some fifteen microseconds. The file is opened anew for each run, so it may be moved between two runs.

    Examples:
        >>> log = smelt.observe.RunLog("runs.jsonl")
        >>> _ = df.smelt.transform("Classify {name}.", Company, model=scripted, observers=[log])
        >>> import json
        >>> lines = [json.loads(line) for line in open("runs.jsonl")]
        >>> lines[0]["event"], lines[0]["rows"], lines[-1]["event"]
        ('RunStarted', 2, 'RunEnded')
    """

    def __init__(self, path: str | PathLike[str]) -> None:
        """Write nothing yet.

        Args:
            path: The file. It is made when the first run begins; its directory must exist.

        Raises:
            SmeltConfigError: *path* is no path, or its directory does not exist.
        """
        if not isinstance(path, str | PathLike):
            raise SmeltConfigError.for_type("path", path, "the path of a file")
        self._path = Path(os.fspath(path)).absolute()
        if "\0" in str(self._path) or self._path.is_dir() or not self._path.parent.is_dir():
            raise SmeltConfigError.for_value("path", str(path), "the path of a file in a directory that exists")
        self._open: dict[str, int] = {}

    def __call__(self, event: Event) -> None:
        """Write *event*. Events of a run whose beginning was not seen are ignored."""
        if isinstance(event, RunStarted):
            self._open[event.run_id] = self._opened()
        file = self._open.get(event.run_id)
        if file is None:
            return
        now = datetime.now(UTC).isoformat(timespec="milliseconds")
        line = {"time": now, "event": type(event).__name__, **facts(event)}
        try:
            os.write(file, _written(line).encode(errors="replace") + b"\n")
        except OSError:
            self._close(event.run_id)
            raise
        if isinstance(event, RunEnded):
            self._close(event.run_id)

    def _opened(self) -> int:
        file = os.open(self._path, _HOW, 0o600)
        if not stat.S_ISREG(os.fstat(file).st_mode):
            os.close(file)
            raise OSError(f"{self._path} is no file")
        return file

    def _close(self, run_id: str) -> None:
        os.close(self._open.pop(run_id))
