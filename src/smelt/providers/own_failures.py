"""Turns an exception of the caller's own function into a `CallFailed`, by its class; it may come from any library."""

from __future__ import annotations

import asyncio
import signal
import socket
import threading
from collections.abc import Awaitable, Mapping
from typing import Any, TypeVar

from smelt.providers.base import Billing, CallFailed
from smelt.providers.error_bodies import seconds_in
from smelt.providers.redact import redact

# By name, because none of these libraries is imported: httpx, OpenAI and Anthropic, requests, aiohttp, botocore.
_TIMEOUTS = frozenset({"TimeoutException", "APITimeoutError", "Timeout"})
_CONNECTIONS = frozenset({"TransportError", "APIConnectionError", "ClientConnectionError", "ConnectionError"})
_RATE_LIMITED = 429
_SERVER_ERRORS = range(500, 600)


T = TypeVar("T")


async def guarded(work: Awaitable[T]) -> T:
    """Await *work*, which is the caller's code, without letting it end tasks of smelt that it does not know.

    Raises:
        CancelledError: The task that awaits was cancelled.
        CallFailed: *work* raised `CancelledError` although nobody cancelled it, `SystemExit`, or `KeyboardInterrupt`
            in a program that ignores SIGINT.
        Exception: What *work* raised.
    """
    try:
        return await work
    except asyncio.CancelledError as problem:
        task = asyncio.current_task()
        if task is not None and task.cancelling():
            raise
        raise CallFailed("own_code", Billing.PAID_BAD, described(problem)) from problem
    # asyncio passes these two on through the loop, past every cleanup. So both end the run in order instead.
    except KeyboardInterrupt as problem:
        if threading.current_thread() is not threading.main_thread():
            raise
        if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # As in a shell's background job: it would reach nobody.
            raise _left(problem) from problem
        signal.raise_signal(signal.SIGINT)
        never: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        return await never  # Until the signal cancels this task.
    except SystemExit as problem:
        raise _left(problem) from problem


def _left(problem: BaseException) -> CallFailed:
    return CallFailed("own_setup", Billing.PAID_BAD, f"The run was left by {described(problem)}.")


def own_failure(problem: Exception) -> CallFailed:
    """The failure of a row for which the caller's function raised *problem*.

    A timeout, a broken connection, a 429 and a server error are retried like those of a provider, because they say
    nothing about the row. Any other exception fails the row: a 404, for example, may be about what the row names.
    """
    if isinstance(problem, CallFailed):
        return problem
    words = described(problem)
    names = {one.__name__ for one in type(problem).__mro__}
    if isinstance(problem, TimeoutError) or names & _TIMEOUTS:
        return CallFailed("timeout", Billing.UNKNOWN, words)
    # Billing is unknown, since the function may have asked others before: so a row is not tried without end.
    if isinstance(problem, ConnectionError | socket.gaierror) or names & _CONNECTIONS:
        return CallFailed("connection", Billing.UNKNOWN, words)
    status = status_of(problem)
    if status == _RATE_LIMITED:
        wait = seconds_in(headers_of(problem).get("retry-after"))
        return CallFailed("rate_limit", Billing.REJECTED, words, status=status, retry_after=wait)
    if status in _SERVER_ERRORS:
        return CallFailed("server", Billing.REJECTED, words, status=status)
    return CallFailed("own_code", Billing.PAID_BAD, words, status=status)


def described(problem: BaseException) -> str:
    """The class of an exception and its message, redacted and on one line."""
    try:
        message = str(problem)
    except Exception:  # noqa: BLE001  # The caller's own class may raise anything here.
        message = ""
    name = type(problem).__name__
    return redact(f"{name}: {message}" if message.strip() else name)


def status_of(problem: Exception) -> int | None:
    """The HTTP status that an exception of a client library carries, or None."""
    response = getattr(problem, "response", None)
    for holder, name in ((problem, "status_code"), (response, "status_code"), (problem, "status"), (problem, "code")):
        status = getattr(holder, name, None)
        if isinstance(status, int) and not isinstance(status, bool) and 100 <= status <= 599:
            return int(status)
    return None


def headers_of(problem: Exception) -> Mapping[str, str]:
    """The headers of the answer that an exception carries, with lower-case names; empty if there are none."""
    found: Any = getattr(getattr(problem, "response", None), "headers", None) or getattr(problem, "headers", None)
    try:
        return {str(name).lower(): str(value) for name, value in found.items()}
    except (AttributeError, TypeError, ValueError):
        return {}
