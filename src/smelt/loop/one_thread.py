"""An event loop that starts no thread."""

from __future__ import annotations

import asyncio
import functools
import os
import socket
from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from contextlib import suppress
from typing import Any, ClassVar, TypeVar

from smelt.loop.resolver import GETENT, Names

T = TypeVar("T")


class OneThreadLoop(asyncio.SelectorEventLoop):
    """A loop that starts no helper thread.

    The stock loop hands name look-ups to a thread pool; here they wait for a child process (`resolver.py`). What else it would
    hand over, `asyncio.to_thread` above all, is done in line.
    """

    resolver: ClassVar[Sequence[str]] = GETENT

    @functools.cached_property
    def _names(self) -> Names:
        return Names(self.resolver)

    async def getaddrinfo(  # type: ignore[override]  # the stub says `str | None` where `socket` says `bytes | str | None`
        self,
        host: str | bytes | None,
        port: str | int | None,
        *,
        family: int = 0,
        type: int = 0,  # noqa: A002  # The stock method's own name.
        proto: int = 0,
        flags: int = 0,
    ) -> list[Any]:
        name = os.fsdecode(host or "")
        if name in ("", "localhost") or _is_address(name):
            return socket.getaddrinfo(host, port, family, type, proto, flags)
        addresses = await self._names.addresses(name)
        if addresses is None:
            return socket.getaddrinfo(host, port, family, type, proto, flags)
        found: list[Any] = []
        for address in addresses:
            with suppress(socket.gaierror):  # Of the other family.
                found += socket.getaddrinfo(address, port, family, type, proto, flags | socket.AI_NUMERICHOST)
        if not found:
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        return found

    async def getnameinfo(self, sockaddr: Any, flags: int = 0) -> tuple[str, str]:
        return socket.getnameinfo(sockaddr, flags)

    def run_in_executor(  # type: ignore[override]  # the stub ties *args to *func* by a TypeVarTuple
        self, executor: Executor | None, func: Callable[..., T], *args: Any
    ) -> asyncio.Future[T]:
        if executor is not None:  # The caller's own, so the caller's own threads.
            return super().run_in_executor(executor, func, *args)
        future: asyncio.Future[T] = self.create_future()
        try:
            future.set_result(func(*args))
        except Exception as problem:  # noqa: BLE001  # As an executor does: it belongs to whoever awaits the call.
            future.set_exception(problem)
        return future

    async def shutdown_default_executor(self, timeout: float | None = None) -> None:
        """Do nothing: there is no default executor, and the stock method waits for it in a thread."""


def _is_address(name: str) -> bool:
    try:
        socket.getaddrinfo(name, None, flags=socket.AI_NUMERICHOST)
    except socket.gaierror:
        return False
    return True
