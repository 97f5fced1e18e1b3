"""Estimates how many tokens a model thinks before it answers, from its name and the caller's parameters.

Thinking tokens are billed as output and count against the output limit, so the limit must include them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from smelt.providers.traits import traits_of

USUAL_ROOM = 4_000  # Tokens: four times what most requests of this kind take, so that few replies are cut off.

_EFFORTS = {
    "none": 0,
    "minimal": 1_000,
    "low": 2_000,
    "medium": USUAL_ROOM,
    "high": 16_000,
    "xhigh": 32_000,
    "max": 32_000,
}


def thinking_room(model: str, params: Mapping[str, Any]) -> int:
    """Output tokens to reserve for thoughts at first.

    Args:
        model: The model's name, as the provider calls it.
        params: Parameters of every request; a thinking parameter overrides the name.
    """
    asked = _asked(params)
    return asked if asked is not None else USUAL_ROOM * traits_of(model).thinks


def thinking_params(params: Mapping[str, Any]) -> Mapping[str, Any]:
    """The parameters that change how much a model thinks."""
    told = _with_passed_on(params)
    return {name: told[name] for name in _PARAMS if name in told}


def _asked(params: Mapping[str, Any]) -> int | None:
    found = [_in_words(value) for value in thinking_params(params).values()]
    return max((room for room in found if room is not None), default=None)


def _with_passed_on(params: Mapping[str, Any]) -> Mapping[str, Any]:
    """The parameters, with those that Bedrock passes on to the model beside them."""
    passed_on = params.get("additionalModelRequestFields")
    return {**params, **passed_on} if isinstance(passed_on, Mapping) else params


_PARAMS = (
    *("thinking", "reasoning", "reasoning_effort", "thinking_config", "effort", "output_config"),
    "chat_template_kwargs",
)
_BUDGETS = ("budget_tokens", "max_tokens", "thinking_budget", "thinkingBudget")
_LEVELS = ("effort", "thinking_level", "thinkingLevel")
_SWITCHES = ("enabled", "enable_thinking", "thinking")
_TYPES = {"enabled": USUAL_ROOM, "adaptive": USUAL_ROOM, "disabled": 0, "between_tools": 0}


def _in_words(value: object) -> int | None:
    """The tokens that one parameter asks for, in any provider's words; None if it does not say."""
    if isinstance(value, str):
        return _EFFORTS.get(value.lower())
    if not isinstance(value, Mapping):
        return None
    for name in _BUDGETS:
        budget = value.get(name)
        if type(budget) is int:  # -1: no limit.
            return USUAL_ROOM if budget < 0 else budget
    for name in _LEVELS:
        if isinstance(level := value.get(name), str) and level.lower() in _EFFORTS:
            return _EFFORTS[level.lower()]
    for name in _SWITCHES:
        if isinstance(switch := value.get(name), bool):
            return USUAL_ROOM * switch
    return _TYPES.get(str(value.get("type")))
