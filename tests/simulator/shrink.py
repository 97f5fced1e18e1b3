"""The smallest world that breaks the same thing."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import fields, replace
from typing import Any

from tests.simulator.invariants import broken
from tests.simulator.stage import play
from tests.simulator.world import World

_SIZES = ("rows", "batch_size", "concurrency")
_LISTS = ("launches", "outages", "faults", "poison")


def shrunk(world: World) -> World:
    """*world* without everything that its first broken invariant can do without."""
    wanted = _first(world)
    smaller: World | None = world
    while smaller is not None:
        world = smaller
        smaller = next((one for one in _smaller(world) if _first(one) == wanted), None)
    return world


def _first(world: World) -> str | None:
    found = broken(play(world))
    return found[0].split(":")[0] if found else None


def _smaller(world: World) -> Iterator[World]:
    plain = World(seed=world.seed)
    for one in fields(world):
        if one.name not in ("seed", "launches", *_SIZES) and getattr(world, one.name) != getattr(plain, one.name):
            yield replace(world, **{one.name: getattr(plain, one.name)})
    for name in _LISTS:
        listed = tuple(getattr(world, name))
        for at in range(len(listed)):
            if name != "launches" or len(listed) > 1:
                yield _changed(world, name, listed[:at] + listed[at + 1 :])
    for name in _SIZES:
        size = getattr(world, name)
        if isinstance(size, int):
            yield from (_changed(world, name, less) for less in (1, size // 2, size - 1) if 0 < less < size)
    plain_launch = type(world.launches[0])()
    for at, launch in enumerate(world.launches):
        for one in fields(launch):
            if getattr(launch, one.name) != getattr(plain_launch, one.name):
                changed = replace(launch, **{one.name: getattr(plain_launch, one.name)})
                yield replace(world, launches=(*world.launches[:at], changed, *world.launches[at + 1 :]))


def _changed(world: World, name: str, value: Any) -> World:
    return replace(world, **{name: value})
