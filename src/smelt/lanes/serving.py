"""The pacer as a server, at an address or a Unix socket."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
from collections.abc import Callable
from functools import partial
from pathlib import Path

from smelt.environment import environ
from smelt.errors import SmeltConfigError
from smelt.lanes.credit import book_of
from smelt.lanes.lines import PLACE, address_of, is_place
from smelt.lanes.pacers import Pacers, Show
from smelt.loop.one_thread import OneThreadLoop


def run(place: str, say: Callable[[str], None], show: Show) -> None:
    """Serve at *place* until Ctrl-C or SIGTERM; *say* shows where, and *show* how far the jobs are, as in `Pacers`.

    Raises:
        SmeltConfigError: *place* is no address, it cannot be used, or an address has no token.
    """
    token = environ().get("SMELT_PACER_TOKEN", "")
    if not is_place(place):
        raise SmeltConfigError.for_value("--listen", place, PLACE)
    if not token and "/" not in place:
        raise SmeltConfigError(
            "Anybody who reaches a port of this machine could slow the runs down. Set SMELT_PACER_TOKEN, here and for "
            "the workers, to a long random text: python -c 'import secrets; print(secrets.token_hex())'"
        )

    async def serving() -> None:
        until, loop = asyncio.Event(), asyncio.get_running_loop()
        for one in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(one, until.set)
        ready = partial(say, f"A pacer listens. For the workers: SMELT_PACER={place}")
        await serve(place, token, ready, until=until, show=show)

    try:
        with asyncio.Runner(loop_factory=OneThreadLoop) as runner:
            runner.run(serving())
    except OSError as problem:
        raise SmeltConfigError(f"The pacer cannot listen at {place}: {problem.strerror or problem}.") from None


async def serve(
    place: str,
    token: str,
    ready: Callable[[], None],
    *,
    until: asyncio.Event,
    show: Show = lambda job, figures: None,
) -> None:
    """Serve at *place*, the address or the path of a Unix socket, until the event *until*.

    Args:
        place: `HOST:PORT`, or a path.
        token: As `Pacers`.
        ready: Called when clients may connect.
        until: Ends the server.
        show: As in `Pacers`.

    Raises:
        OSError: The place cannot be used.
    """
    pacers, loop = Pacers(token, show=show, book=book_of(place)), asyncio.get_running_loop()
    if (address := address_of(place)) is None:
        server = await loop.create_unix_server(pacers.connection, sock=_private_socket(place))
    else:
        server = await loop.create_server(pacers.connection, address[0] or None, address[1], reuse_address=True)
    try:
        ready()
        await until.wait()
    finally:
        server.close()
        pacers.close()
        if address is None:
            Path(place).unlink(missing_ok=True)  # noqa: ASYNC240  # It is over.


def _private_socket(path: str) -> socket.socket:
    """A Unix socket at *path* that only this user can use. One that nobody listens at any more is replaced."""
    sock = socket.socket(socket.AF_UNIX)
    try:
        with socket.socket(socket.AF_UNIX) as probe:
            if not probe.connect_ex(path):
                raise FileExistsError(f"{path} is in use: another pacer listens there.")
        if (place := Path(path)).exists():
            if not place.is_socket():
                raise FileExistsError(f"{path} is another file.")
            place.unlink()
        before = os.umask(0o177)
        try:
            sock.bind(path)
        finally:
            os.umask(before)
    except BaseException:
        sock.close()
        raise
    return sock
