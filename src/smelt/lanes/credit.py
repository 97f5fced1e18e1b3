"""What a pacer has written down of each job with limits, so that one that is started anew in its place goes on.

A pacer writes what it is about to grant before it grants it, with some more, so that it writes seldom: some hundred
times for a job. After it was killed, what is written counts as spent. It is at most a step more than was granted, and
never less.
"""

from __future__ import annotations

import hashlib
import math
import os
import socket
import stat
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from pydantic_core import from_json, to_json

from smelt.environment import cache_folder, environ
from smelt.errors import warn
from smelt.lanes.allowance import Spent
from smelt.lanes.lines import address_of, dollars_of, seconds_of, tokens_of

_STEP = 0.01  # Of a limit: what a job may lose if its pacer is killed.
_KEPT = 7 * 86_400.0  # Seconds after the last word about a job.
_PAUSE = 3_600.0  # Seconds between two looks for older ones.
_LARGEST = 1 << 14  # Bytes.
_NOTHING = Spent(0.0, 0.0)  # Before the first request.
_FORM = 1  # Of the file; incremented when it changes.


@dataclass(frozen=True, kw_only=True)
class Credit:
    """What is written of a job.

    Attributes:
        job: What the job is called.
        max_cost: As `Allowance.max_cost`.
        max_tokens: As `Allowance.max_tokens`.
        deadline: Seconds, or None.
        ends_at: When they have passed, by the system's clock; None if they do not count yet.
        granted: What may have been spent; 0 of what has no limit.
    """

    job: str
    max_cost: float | None
    max_tokens: int | None
    deadline: float | None
    ends_at: float | None = None
    granted: Spent = _NOTHING

    def covering(self, needed: Spent) -> Spent | None:
        """What to write before *needed* may be spent; None if what is written covers it."""
        if needed.cost <= self.granted.cost and needed.tokens <= self.granted.tokens:
            return None
        step = Spent(_STEP * (self.max_cost or 0.0), _STEP * (self.max_tokens or 0))
        return Spent(*[max(old, new + more) for old, new, more in zip(self.granted, needed, step, strict=True)])


class Book:
    """The folder of a pacer with a file for each job.

    It trusts only what was written since the machine was started, since the last writes before a power cut may be lost,
    and on this machine, since elsewhere another process may go on with the same files.

    Args:
        find: Finds the folder, which is made when it is needed; None to keep nothing.
        pacer: What tells this pacer from others that use the folder.
        clock: The system's clock.
    """

    def __init__(
        self, find: Callable[[], Path] | None = None, pacer: str = "", clock: Callable[[], float] = time.time
    ) -> None:
        self.clock = clock
        self._find = find
        self._pacer = pacer
        self._is_warned = False
        self._to_tidy = -math.inf

    def write(self, credit: Credit) -> bool:
        """Replace what is written of a job; whether that was possible. If not, a warning says so once."""
        if self._find is None:
            return True
        try:
            path = self._path(credit.job, make=True)
            if self.clock() >= self._to_tidy:
                self._to_tidy = self.clock() + _PAUSE
                self._remove_old(path.parent)
            _replace(path, to_json({"form": _FORM, "boot": _boot(), **vars(credit)}), self.clock())
        except (OSError, RuntimeError) as problem:
            self._give_up(credit.job, problem)
            return False
        return True

    def read(self, job: str) -> Credit | None:
        """What is written of *job*; None if that is nothing, is old, or cannot be relied on."""
        if self._find is None:
            return None
        try:
            path = self._path(job, make=False)
            if path.stat().st_mtime < self.clock() - _KEPT:
                return None
            with path.open("rb") as file:
                found = _credit(**from_json(file.read(_LARGEST)))
        except (OSError, RuntimeError, ValueError, TypeError):
            return None
        return found if found.job == job else None

    def _path(self, job: str, *, make: bool) -> Path:
        assert self._find is not None
        folder = self._find()
        if make:
            missing = [one for one in (folder, *folder.parents) if not one.exists()]
            for one in reversed(missing):
                one.mkdir(mode=0o700, exist_ok=True)
        found = folder.lstat()
        if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.geteuid() or found.st_mode & 0o077:
            raise PermissionError(f"{folder} is not a private folder of this user")
        return folder / f"{hashlib.sha256(to_json([self._pacer, job])).hexdigest()[:32]}.json"

    def _remove_old(self, folder: Path) -> None:
        for one in [*folder.glob("*.json"), *folder.glob("*.new")]:
            with suppress(OSError):
                if one.stat().st_mtime < self.clock() - _KEPT:
                    one.unlink()

    def _give_up(self, job: str, problem: Exception) -> None:
        """What is written does not cover what will be granted, so it must not be read again."""
        with suppress(OSError, RuntimeError):
            self._path(job, make=False).unlink()
        if not self._is_warned:
            self._is_warned = True
            reason = getattr(problem, "strerror", None) or problem
            warn(f"What jobs spend cannot be written down ({reason}), so none with limits outlives this pacer.")


def book_of(place: str) -> Book:
    """The book of the pacer at *place*: beside its socket, or in this user's cache folder."""
    if address_of(place) is None:
        return Book(lambda: Path(f"{place}.jobs"))
    return book_named(f"{socket.gethostname()} {place}")  # Containers have the same addresses.


def book_named(pacer: str) -> Book:
    """The book of *pacer* in this user's cache folder."""
    return Book(lambda: cache_folder(environ()) / "pacers", pacer)


def _replace(path: Path, data: bytes, now: float) -> None:
    """Write *data* as of *now*: the clock of a file system may be another one."""
    new = path.with_suffix(".new")
    flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC
    with os.fdopen(os.open(new, flags, 0o600), "wb") as file:
        file.write(data)
        if not _boot():  # Else a power cut makes the file void.
            file.flush()
            os.fsync(file.fileno())
    os.utime(new, (now, now))
    new.replace(path)


def _credit(*, form: Any, boot: Any, job: Any, granted: Any, ends_at: Any, **limits: Any) -> Credit:
    """What a file says. Raises ValueError or TypeError if it is of another form, or from before the last start."""
    if form != _FORM or boot != _boot() or not isinstance(job, str):
        raise ValueError("It is not from here and now.")
    cost, tokens = granted
    return Credit(
        job=job,
        max_cost=dollars_of(limits.pop("max_cost")),
        max_tokens=tokens_of(limits.pop("max_tokens")),
        deadline=seconds_of(limits.pop("deadline")),
        ends_at=dollars_of(ends_at),
        granted=Spent(dollars_of(cost) or 0.0, dollars_of(tokens) or 0.0),
        **limits,
    )


@cache
def _boot() -> str:
    """What tells this start of this machine from others; empty if the system does not say, as macOS."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    except OSError:
        return ""
