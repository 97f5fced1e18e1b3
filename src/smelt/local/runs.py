"""Run files: which servers smelt runs on this machine for this user.

A keeper writes one for its server and deletes it at the end. If a keeper was killed, the next look at the run files
kills what is left of its server.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import socket
import stat
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from smelt.errors import SmeltConfigError
from smelt.local import keeper
from smelt.processes import exists

_ATTACH_SECONDS = 1.0


@dataclass(frozen=True, kw_only=True)
class Run:
    """A server, as its run file has it.

    Attributes:
        path: The run file.
        kind: Kind of server, such as `vllm`.
        model: The model.
        spec: Hash of what it was started with.
        devices: The devices that it was given, if any.
        owner: Process id of the owner; None if it ends only when nobody uses it.
        address: Its Unix socket, or its base URL.
        room: Its directory.
        keeper: Process id of the keeper, and its start time.
        server: Process id of the server, which is also its session, and its start time.
        since: When it was started, in seconds since 1970.
        boot: Id of the time since the machine started.
    """

    path: Path
    kind: str
    model: str
    spec: str
    devices: tuple[int, ...]
    owner: int | None
    address: str
    room: Path
    keeper: tuple[int, int]
    server: tuple[int, int]
    since: float
    boot: str

    @property
    def is_kept(self) -> bool:
        """Whether its keeper lives."""
        return self.boot == keeper.boot() and _is(*self.keeper)

    def attach(self) -> tuple[socket.socket, str] | None:
        """A connection to its keeper and the server's key; None if the server is about to end."""
        door = socket.socket(socket.AF_UNIX)
        door.settimeout(_ATTACH_SECONDS)
        heard = b""
        with contextlib.suppress(OSError):
            door.connect(str(self.room / keeper.DOOR))
            while not heard.endswith(b"\n") and (more := door.recv(4096)):
                heard += more
        if not heard.endswith(b"\n"):
            door.close()
            return None
        door.setblocking(False)
        return door, str(json.loads(heard)["key"])

    def gives_way(self) -> bool:
        """Ask the keeper of a server without an owner to end it if no process is attached; whether it does."""
        attached = self.attach()
        if attached is None:
            return not self.is_kept
        door, _ = attached
        with door:
            door.settimeout(_ATTACH_SECONDS)
            try:
                door.send(b"x")
                return door.recv(1) == b""
            except OSError:  # It says nothing in time.
                return False

    def stop(self) -> None:
        """Ask the keeper to end the server; it takes some seconds."""
        keeper.killed([self.keeper[0]] if self.is_kept else [], signal.SIGTERM)

    def clear(self) -> list[int]:
        """Kill what is left of a server whose keeper is gone; the processes."""
        pid, started = self.server
        found = keeper.process(pid)
        # A process id is not given away while a session bears it: another leader means that the session is over.
        is_over = self.boot != keeper.boot() or (found is not None and found.started != started)
        left = [] if is_over else keeper.belonging(pid)
        keeper.killed(left)
        if self.room.name.startswith("smelt-"):
            shutil.rmtree(self.room, ignore_errors=True)
        self.path.unlink(missing_ok=True)
        return left


def runs() -> list[Run]:
    """The servers that run, oldest first. What is left of others is killed."""
    found = []
    for run in _all():
        if run.is_kept:
            found.append(run)
        else:
            run.clear()
    return sorted(found, key=lambda run: run.since)


def home(environ: Mapping[str, str] = os.environ) -> Path:
    """The directory of run files, which only this user can enter.

    Raises:
        SmeltConfigError: Somebody else has made it.
    """
    named = environ.get("XDG_RUNTIME_DIR", "")
    if named and Path(named).is_absolute() and os.access(named, os.W_OK):
        place = Path(named) / "smelt"
    else:
        place = Path(tempfile.gettempdir()) / f"smelt-run-{os.getuid()}"
    place.mkdir(mode=0o700, exist_ok=True)
    about = place.lstat()
    if not stat.S_ISDIR(about.st_mode) or about.st_uid != os.getuid() or about.st_mode & 0o077:
        raise SmeltConfigError(f"{place} is not a directory of yours alone. Remove it, or set XDG_RUNTIME_DIR.")
    return place


def _all() -> Iterator[Run]:
    for path in home().glob("*.json"):
        try:
            about: dict[str, Any] = json.loads(path.read_text())
            yield Run(
                path=path,
                kind=about["kind"],
                model=about["model"],
                spec=about["spec"],
                devices=tuple(about["devices"]),
                owner=about["owner"],
                address=about["address"],
                room=Path(about["room"]),
                keeper=(about["keeper"], about["keeper_started"]),
                server=(about["server"], about["server_started"]),
                since=about["since"],
                boot=about["boot"],
            )
        except (OSError, ValueError, KeyError, TypeError):
            continue  # Gone meanwhile, or of another version.


def _is(pid: int, started: int) -> bool:
    found = keeper.process(pid)
    if found is None:
        return not Path("/proc").exists() and exists(pid)
    return found.is_alive and found.started == started
