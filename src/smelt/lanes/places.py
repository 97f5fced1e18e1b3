"""Where a pacer is: at an address, at the path of a socket, or where the name leads by which an engine knows it."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Mapping
from typing import NamedTuple, Protocol

from smelt.errors import SmeltConfigError
from smelt.lanes.lines import PLACE, is_place

_OFF = "off"
_GLANCE = 0.02  # Seconds between two looks at whether an engine has answered.


class Door(NamedTuple):
    """Where clients connect to a pacer.

    Attributes:
        place: `HOST:PORT`, or the path of a Unix socket.
        token: The token; empty if the socket itself is closed to others.
    """

    place: str
    token: str

    def __repr__(self) -> str:
        return "Door()"  # Neither belongs in a message.


class Look(Protocol):
    """A search for a pacer, which goes on elsewhere."""

    def __call__(self, seconds: float) -> Door | None:
        """What was found after so many *seconds* at most, blocking; None if that is not known yet.

        Raises:
            OSError: There is none.
        """


_finders: dict[str, Callable[[str], Look]] = {}
_away: dict[str, bool] = {}  # The places where no pacer answered last, and whether a run has said so.

os.register_at_fork(after_in_child=_away.clear)


def is_away(place: str) -> bool:
    """Whether the pacer at *place* did not answer this process last, so that it need not be waited for."""
    return place in _away


def went_away(place: str, *, is_told: bool = True) -> bool:
    """Note that the pacer at *place* does not answer; *is_told*: the caller says so. Returns whether that is news."""
    was_told = _away.get(place, False)
    _away[place] = was_told or is_told
    return not was_told


def came_back(place: str) -> None:
    """Note that the pacer at *place* answers."""
    _away.pop(place, None)


def find_by(kind: str, begin: Callable[[str], Look]) -> None:
    """Have the names `KIND:…` looked up by *begin*, which begins to look for one."""
    _finders[kind] = begin


def pacer_place(environ: Mapping[str, str], of_engine: str | None = None) -> str | None:
    """Where the pacer is, as `SMELT_PACER` says, else *of_engine*; None if there is none, or `SMELT_PACER` is "off".

    Raises:
        SmeltConfigError: `SMELT_PACER` is no address, or there is no token for it.
    """
    place = environ.get("SMELT_PACER", "").strip()
    if not place:
        return of_engine
    if place == _OFF:
        return None
    if not is_place(place):
        raise SmeltConfigError.for_value("The environment variable SMELT_PACER", place, f'{PLACE}, or "off"')
    if "/" not in place and not environ.get("SMELT_PACER_TOKEN"):
        raise SmeltConfigError(
            "SMELT_PACER names a pacer on the network, and SMELT_PACER_TOKEN is not set. Set it to the pacer's token."
        )
    return place


def door_of(place: str, token: str, seconds: float) -> Door:
    """The door of the pacer at *place*, found within *seconds*; *token*: that of a place that is no name.

    Raises:
        OSError: It is not there.
    """
    if (look := _looking(place)) is None:
        return Door(place, token)
    if (found := look(seconds)) is None:
        raise TimeoutError(f"it has not started within {seconds:.0f} s")
    return found


async def door(place: str, token: str) -> Door:
    """As `door_of`, without blocking the loop, for as long as it takes."""
    if (look := _looking(place)) is None:
        return Door(place, token)
    while (found := look(0.0)) is None:  # noqa: ASYNC110  # The engine tells no event of this loop.
        await asyncio.sleep(_GLANCE)
    return found


def _looking(place: str) -> Look | None:
    kind, _, name = place.partition(":")
    begin = None if is_place(place) else _finders.get(kind)
    return None if begin is None else begin(name)
