"""Resolves host names without blocking and without a thread: the system's resolver (`getent`) in a child process.

`socket.getaddrinfo` cannot be interrupted: if a name server does not answer, it blocks for up to half a minute, and
with it the only thread of a run and all its timeouts. `getent` resolves in the same way (hosts file, search domains,
all sources in `nsswitch.conf`), takes 3 ms, and can be killed. A DNS client in smelt would know fewer sources than the
system, and c-ares starts a thread (saghul/pycares#253, #286).
"""

from __future__ import annotations

import asyncio
import os
import subprocess
from collections.abc import Sequence

GETENT = ("/usr/bin/getent", "ahosts", "--")
_NOT_FOUND = 2  # Its exit status for a name that does not resolve.
_FRESH_SECONDS = 30.0


class Names:
    """A cache of addresses by name. Concurrent look-ups of a name share one child process; answers are kept for 30 s.

    Args:
        command: The command; it gets a name as its last argument, and prints lines that begin with an address.
    """

    def __init__(self, command: Sequence[str] = GETENT) -> None:
        self._command = command
        self._lookups: dict[str, _Lookup] = {}

    async def addresses(self, name: str) -> list[str] | None:
        """The addresses of *name*, best first; empty if it does not resolve; None if the command does not work here."""
        lookup = self._lookups.get(name)
        if lookup is None or not lookup.is_fresh:
            try:
                lookup = self._lookups[name] = _Lookup([*self._command, name])
            except OSError:  # The command does not exist, or no process can be started.
                return None
        return await lookup.answer()


class _Lookup:
    """One child process and the tasks that wait for it. It is killed when no task waits any more."""

    def __init__(self, command: Sequence[str]) -> None:
        self._loop = asyncio.get_running_loop()
        # In its own process group, so that the terminal's Ctrl-C does not kill it: its end would look like an answer.
        self._child = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, process_group=0
        )
        assert self._child.stdout is not None
        self._pipe = self._child.stdout
        self._said = bytearray()
        self._waiting = 0
        self._started = self._loop.time()
        self._answer: asyncio.Future[list[str] | None] = self._loop.create_future()
        self._loop.add_reader(self._pipe, self._read)

    @property
    def is_fresh(self) -> bool:
        if not self._answer.done():
            return True
        is_good = not self._answer.cancelled() and self._answer.result()
        return bool(is_good) and self._loop.time() < self._started + _FRESH_SECONDS

    async def answer(self) -> list[str] | None:
        self._waiting += 1
        try:
            return await asyncio.shield(self._answer)
        finally:
            self._waiting -= 1
            if not self._waiting and not self._answer.done():
                self._child.kill()
                self._close()
                self._answer.cancel()

    def _read(self) -> None:
        if part := os.read(self._pipe.fileno(), 65_536):
            self._said += part
            return
        self._close()
        if not self._answer.done():
            self._answer.set_result(_addresses(self._said.decode(), self._child.returncode))

    def _close(self) -> None:
        self._loop.remove_reader(self._pipe)
        self._pipe.close()
        self._child.wait()  # Does not block: the child has closed its output or was killed.


def _addresses(said: str, status: int) -> list[str] | None:
    if status not in (0, _NOT_FOUND):  # A getent of another system, which does not know these arguments.
        return None
    return list(dict.fromkeys(line.split()[0] for line in said.splitlines() if line.strip()))
