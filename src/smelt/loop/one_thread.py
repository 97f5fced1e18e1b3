"""An asyncio event loop that starts no helper thread."""

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

    The standard loop runs DNS look-ups in a thread pool; this loop runs them in a child process (`resolver.py`).
    Anything else that would run in the default thread pool, such as `asyncio.to_thread`, runs directly and blocks the
    loop.
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
        type: int = 0,  # noqa: A002  # The name in the standard method.
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
            with suppress(socket.gaierror):  # An address of the other family.
                found += socket.getaddrinfo(address, port, family, type, proto, flags | socket.AI_NUMERICHOST)
        if not found:
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        return found

    async def getnameinfo(self, sockaddr: Any, flags: int = 0) -> tuple[str, str]:
        return socket.getnameinfo(sockaddr, flags)

    def run_in_executor(  # type: ignore[override]  # the stub ties *args to *func* by a TypeVarTuple
        self, executor: Executor | None, func: Callable[..., T], *args: Any
    ) -> asyncio.Future[T]:
        if executor is not None:  # The caller's executor, with the caller's threads.
            return super().run_in_executor(executor, func, *args)
        future: asyncio.Future[T] = self.create_future()
        try:
            future.set_result(func(*args))
        except Exception as problem:  # noqa: BLE001  # Like an executor: the awaiting caller gets it.
            future.set_exception(problem)
        return future

    async def shutdown_default_executor(self, timeout: float | None = None) -> None:
        """Do nothing: there is no default executor, and the standard method would start a thread to wait for it."""


def _is_address(name: str) -> bool:
    try:
        socket.getaddrinfo(name, None, flags=socket.AI_NUMERICHOST)
    except socket.gaierror:
        return False
    return True
