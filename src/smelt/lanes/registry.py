"""The lanes of this process: one for each provider, address, model and key."""

from __future__ import annotations

import asyncio
import hashlib
import os
import random
import time
from collections import OrderedDict
from collections.abc import Callable, Hashable
from weakref import WeakSet

from smelt.engine.events import Event
from smelt.environment import environ
from smelt.lanes.board import Find, on_this_machine
from smelt.lanes.caps import Caps
from smelt.lanes.desk import Membership
from smelt.lanes.jobrun import JobRun
from smelt.lanes.lane import Lane, RunLane
from smelt.lanes.pacer import Pacer
from smelt.lanes.places import pacer_place
from smelt.lanes.queue import time_of
from smelt.lanes.remote import RemoteLane
from smelt.providers.base import CompleteProvider, Usage

# Lanes that are kept; beyond that, the least recently used one is dropped. Chosen, not measured: more models and keys
# than a process uses at a time.
_MOST = 64
# Requests in flight on a server that queues, before replies show how many it can use. With 32 and 128, jobs of 25
# requests per slot take 1.20 to 1.28 times the ideal on 16 and 64 slots instead of 1.12 (`python -m tests.bench.tuning
# registry`).
_AT_ONCE = 64
_SALT = os.urandom(16)  # So that a fingerprint of a key is useless outside this process.

_lanes: OrderedDict[Hashable, Lane] = OrderedDict()
_remote: WeakSet[RemoteLane] = WeakSet()


def join(
    provider: CompleteProvider,
    caps: Caps,
    tell: Callable[[Event], None],
    *,
    tier: str = "",
    job: JobRun | None = None,
    price: Callable[[Usage], float | None] = lambda usage: None,
) -> RunLane | RemoteLane:
    """Join the lane of *provider*, from inside the running loop; close the returned access to leave it.

    A lane outlives the runs, with what it has learnt. A run has a lane of its own in three cases: the provider is not
    asked over a network, so nobody shares its limit; the loop's clock is not the system's, so times cannot be shared;
    or the loop runs inside another loop on this thread, which could not run until this one ends. After a fork, the
    child process starts with new lanes. If there is a pacer, it keeps the lane, for the runs of all processes.

    Args:
        provider: The provider to ask.
        caps: The limits of the run.
        tell: Receives the events about waiting.
        tier: A service tier that has limits of its own; empty for the usual one.
        job: What the run is a part of; None if it is alone.
        price: Dollars for the usage of one request, or None if unknown. Called only if a job's dollars are limited.

    Raises:
        SmeltConfigError: `SMELT_PACER` is no address, or there is no token for it.
    """
    is_limited = job is not None and job.is_limited  # Then the pacer is asked, whatever the provider is.
    is_shared = is_limited or provider.origin.startswith(("http://", "https://"))
    is_own = not is_shared or not _is_on_system_time()

    def own(caps: Caps) -> RunLane:
        return _new(provider, caps).join(caps, tell) if is_own else _own(provider, caps, tell, tier)

    of_engine = None if job is None else job.pacer
    place = None if is_own else pacer_place(environ(), of_engine)
    if place is None or (not is_limited and any(one.is_hidden for one in _remote)):
        return own(caps)
    member = Membership(
        place=place,
        token=environ().get("SMELT_PACER_TOKEN", ""),
        lane=lambda salt: hashlib.blake2b("\0".join(_limit(provider, tier)).encode(), key=salt).hexdigest(),
        provider=provider.name,
        at_once=_at_once(provider),
        job=job,
        price=price,
    )
    lane = RemoteLane(member, caps, tell, own)
    _remote.add(lane)
    return lane


def _own(provider: CompleteProvider, caps: Caps, tell: Callable[[Event], None], tier: str) -> RunLane:
    key = (os.getpid(), provider.name, provider.deployment, provider.model, tier, _fingerprint(provider))
    lane = _lanes.get(key) or _lanes.setdefault(key, _new(provider, caps, _board(provider, tier)))
    _lanes.move_to_end(key)
    while len(_lanes) > _MOST:
        _lanes.popitem(last=False)
    return (_new(provider, caps) if lane.is_hidden else lane).join(caps, tell)


def _new(provider: CompleteProvider, caps: Caps, board: Find | None = None) -> Lane:
    return Lane(Pacer(provider=provider.name, caps=caps, at_once=_at_once(provider), board=board))


def _at_once(provider: CompleteProvider) -> int | None:
    return _AT_ONCE if provider.capabilities.queues else None


def _board(provider: CompleteProvider, tier: str) -> Find:
    """A function that opens the board shared with other processes of this machine that use the same limit."""
    return on_this_machine("\0".join(_limit(provider, tier)), random.Random(os.urandom(16)))


def _limit(provider: CompleteProvider, tier: str) -> list[str]:
    """What names the limit. It holds the key, so it is hashed before it goes anywhere."""
    key = provider.key
    limit = [provider.name, provider.deployment, provider.model, "" if key is None else key.reveal()]
    return [*limit, tier] if tier else limit


def _fingerprint(provider: CompleteProvider) -> bytes | None:
    key = provider.key
    return None if key is None else hashlib.blake2b(key.reveal().encode(), key=_SALT, digest_size=16).digest()


def _is_on_system_time() -> bool:
    return abs(time_of(asyncio.get_running_loop()) - time.monotonic()) < 1.0
