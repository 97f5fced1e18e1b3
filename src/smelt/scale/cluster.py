"""The pacer of a Ray cluster: a named actor, which all drivers of the cluster share and the first one starts."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import Any

from smelt.errors import warn
from smelt.lanes.credit import Book, book_named
from smelt.lanes.lines import VERSION
from smelt.lanes.pacers import Pacers
from smelt.lanes.places import Door, door_of, find_by

NAME, NAMESPACE = f"smelt_pacer_{VERSION}", "smelt"
PLACE = f"ray:{NAME}"
_TO_START = 30.0  # Seconds.
_IDLE = 600.0  # Seconds after the last client until it leaves, and
_KEPT = 86_400.0  # if it knows a job, since somebody may ask what that cost.
_GLANCE = 15.0  # Seconds between two looks at whether anybody is there.


class PacerOfCluster:
    """What the actor runs: a pacer on Ray's own event loop, at a port that the system chose, with a token of its own.

    It hands out both only by Ray's own calls, to whoever may use the cluster. After its process or machine died, Ray
    starts it anew, elsewhere and with another token.
    """

    def __init__(
        self, host: str | None = None, leave: Callable[[], None] | None = None, book: Book | None = None
    ) -> None:
        """Serve from the first call on: only there is the event loop.

        Args:
            host: The address of this machine; None: as Ray knows it.
            leave: Ends this process for good; None: as Ray does.
            book: As in `Pacers`; None: that of this actor, whose id it keeps when Ray starts it anew.
        """
        self._host = host
        self._leave = leave or _leave
        self._pacers = Pacers(secrets.token_hex(), book=book or book_named(f"ray {_this_actor()}"))
        self._door: asyncio.Future[Door] | None = None
        self._server: asyncio.Server | None = None
        self._idle_since: float | None = None

    async def door(self) -> tuple[str, str]:
        """The address and the token."""
        self._idle_since = None
        if self._door is None:
            self._door = asyncio.ensure_future(self._open())
        try:
            found = await asyncio.shield(self._door)
        except Exception:
            self._door = None  # The next call tries again.
            raise
        return found.place, found.token

    async def _open(self) -> Door:
        loop, host = asyncio.get_running_loop(), self._host or _this_machine()
        self._server = await loop.create_server(self._pacers.connection, host, 0)
        port = self._server.sockets[0].getsockname()[1]
        loop.call_later(_GLANCE, self._look)
        return Door(f"[{host}]:{port}" if ":" in host else f"{host}:{port}", self._pacers.token)

    def close(self) -> None:
        """Drop all clients, and serve nobody else."""
        if self._server is not None:
            self._server.close()
        self._pacers.close()

    def _look(self) -> None:
        """Leave some time after the last client: a detached actor stays as long as its cluster else."""
        loop = asyncio.get_running_loop()
        now = loop.time()
        if self._pacers.clients or self._idle_since is None:
            self._idle_since = now
        elif now - self._idle_since >= (_KEPT if self._pacers.jobs else _IDLE):
            self._leave()
            return
        loop.call_later(_GLANCE, self._look)


def _this_actor() -> str:
    import ray

    return str(ray.get_runtime_context().get_actor_id())


def _this_machine() -> str:
    """The address at which the machines of the cluster reach this one, which may not be the first that it has."""
    import ray

    here = ray.get_runtime_context().get_node_id()
    return next(str(node["NodeManagerAddress"]) for node in ray.nodes() if node["NodeID"] == here)


def _leave() -> None:
    import ray

    ray.kill(ray.get_runtime_context().current_actor)


def start() -> Any:
    """The actor, started if it is not there. Does not wait for it.

    Beside the process that asks, since that one's machine stays as long as the job does.
    """
    import ray
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=True)
    actor = ray.remote(PacerOfCluster).options(
        name=NAME,
        namespace=NAMESPACE,
        get_if_exists=True,
        lifetime="detached",
        num_cpus=0,
        max_restarts=-1,
        scheduling_strategy=here,
    )
    return actor.remote()


def is_started() -> bool:
    """Start the actor, and say whether Ray took that on; a warning tells why if it did not."""
    try:
        start()
    except Exception as problem:  # noqa: BLE001  # Whatever Ray says: rows can be asked without it.
        warn(f"Ray starts no actor for the pacer, so each worker paces itself: {_first_line(problem)}")
        return False
    return True


def wait() -> None:
    """Wait until the actor is there, for half a minute at most, so that the first block does not begin without it."""
    with suppress(OSError):
        door_of(PLACE, "", _TO_START)


def begin(name: str) -> Any:
    """Ask the actor for its door, as `places.Look`."""
    import ray
    from ray.exceptions import RayError

    if not ray.is_initialized():  # Else Ray starts a cluster, in which there is no such pacer.
        raise ConnectionError("Ray does not run in this process")
    try:
        return partial(_answer, start().door.remote())
    except (RayError, ValueError, RuntimeError) as problem:
        raise ConnectionError(f"Ray has no actor for it: {_first_line(problem)}") from None


def _answer(asked: Any, seconds: float) -> Door | None:
    import ray
    from ray.exceptions import GetTimeoutError, RayError

    try:
        return Door(*ray.get(asked, timeout=seconds))
    except GetTimeoutError:
        return None
    except RayError as problem:
        raise ConnectionError(f"its actor is away: {_first_line(problem)}") from None


def _first_line(problem: Exception) -> str:
    return (str(problem).strip() or type(problem).__name__).splitlines()[0][:200]


find_by("ray", begin)
