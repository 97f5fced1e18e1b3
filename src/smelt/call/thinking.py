"""The rooms for thoughts of this process: one for each provider, origin, model and way of thinking."""

from __future__ import annotations

import json
from collections import OrderedDict
from collections.abc import Hashable, Mapping
from typing import Any

from smelt.engine.room import Room
from smelt.providers.base import Provider
from smelt.providers.thinking import thinking_params, thinking_room

_MOST = 64  # Rooms that are remembered, as with lanes.

_rooms: OrderedDict[Hashable, Room] = OrderedDict()


def room_of(provider: Provider, params: Mapping[str, Any]) -> Room:
    """The room for thoughts of *provider*, with what earlier runs of this process have learnt.

    A provider that is not asked over a network keeps nothing between runs, as with lanes.

    Args:
        provider: Whom to ask.
        params: The parameters of every request, its own and those of the call.
    """
    given: int | None = getattr(provider, "thinking_tokens", None)
    if not provider.origin.startswith(("http://", "https://")):
        return Room.starting_at(_start(provider, params, given))
    told = json.dumps(thinking_params(params), sort_keys=True, default=repr)
    key = (provider.name, provider.origin, provider.model, told, given)
    room = _rooms.get(key) or _rooms.setdefault(key, Room.starting_at(_start(provider, params, given)))
    _rooms.move_to_end(key)
    while len(_rooms) > _MOST:
        _rooms.popitem(last=False)
    return room


def _start(provider: Provider, params: Mapping[str, Any], given: int | None) -> int:
    """What the caller set; else what parameters and name tell. A budget in the parameters is always allowed in full."""
    known = thinking_room(provider.model, params)
    if given is None:
        return max(known, provider.capabilities.thinking_tokens)
    return max(given, known) if thinking_params(params) else given
