"""What this process has learnt of models: how much they think, how long answers are, which questions were answered."""

from __future__ import annotations

import json
from collections import OrderedDict
from collections.abc import Hashable, Mapping
from typing import Any

from smelt.engine.room import Room
from smelt.providers.base import CompleteProvider
from smelt.providers.thinking import thinking_params, thinking_room

_MOST = 64  # Cached rooms; the least recently used one is dropped, as for lanes.

_rooms: OrderedDict[Hashable, Room] = OrderedDict()


def room_of(provider: CompleteProvider, params: Mapping[str, Any]) -> Room:
    """What replies have shown of *provider*'s model, those to earlier runs of this process included.

    If the provider's origin is not an HTTP address, nothing is kept between runs, as for lanes.

    Args:
        provider: The provider that answers.
        params: The parameters of every request: the provider's own and those of the call.
    """
    given = provider.thinking_tokens
    if not provider.origin.startswith(("http://", "https://")):
        return Room.starting_at(_start(provider, params, given))
    told = json.dumps(thinking_params(params), sort_keys=True, default=repr)
    key = (provider.name, provider.deployment, provider.model, provider.key, told, given)
    room = _rooms.get(key) or _rooms.setdefault(key, Room.starting_at(_start(provider, params, given)))
    _rooms.move_to_end(key)
    while len(_rooms) > _MOST:
        _rooms.popitem(last=False)
    return room


def _start(provider: CompleteProvider, params: Mapping[str, Any], given: int | None) -> int:
    """The caller's value, else one from parameters, name and capabilities. A budget in the parameters is never cut."""
    known = thinking_room(provider.model, params)
    if given is None:
        return max(known, provider.capabilities.thinking_tokens)
    return max(given, known) if thinking_params(params) else given
