"""Looks names up without standing still and without a thread: the system's own resolver, in a child process.

`socket.getaddrinfo` cannot be interrupted: while a name server is silent, which takes up to half a minute, the one thread of
a run stands still and with it every deadline. `getent` asks in the same way (hosts file, search domains, whatever
`nsswitch.conf` names), takes 3 ms, and can be killed. A DNS client of our own would see less than the system does, and
c-ares starts a thread (saghul/pycares#253, #286).
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
    """Addresses by name. Who asks for a name that is being looked up waits for the same answer, which stays for 30 s.

    Args:
        command: Takes a name as its last argument, and prints lines that begin with an address.
    """

    def __init__(self, command: Sequence[str] = GETENT) -> None:
        self._command = command
        self._lookups: dict[str, _Lookup] = {}

    async def addresses(self, name: str) -> list[str] | None:
        """The addresses of *name*, the best first; none where it does not resolve; None where it cannot be asked here."""
        lookup = self._lookups.get(name)
        if lookup is None or not lookup.is_fresh:
            try:
                lookup = self._lookups[name] = _Lookup([*self._command, name])
            except OSError:  # There is no such command, or no room for another process.
                return None
        return await lookup.answer()


class _Lookup:
    """One child process, and those who wait for it. It is killed when nobody does any longer."""

    def __init__(self, command: Sequence[str]) -> None:
        self._loop = asyncio.get_running_loop()
        # In a group of its own, out of reach of the terminal's Ctrl-C: its end would read as an answer.
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
        self._child.wait()  # It has closed its output or was killed: it is gone.


def _addresses(said: str, status: int) -> list[str] | None:
    if status not in (0, _NOT_FOUND):  # Another system's, which does not know what it was asked for.
        return None
    return list(dict.fromkeys(line.split()[0] for line in said.splitlines() if line.strip()))
