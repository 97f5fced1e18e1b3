"""How a vendor is told how much its model should think: `Model(thinking=…)` in the parameters of each API."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Literal, get_args

from smelt.errors import SmeltConfigError
from smelt.providers.thinking import thinking_room
from smelt.providers.traits import LEVELS, Traits, traits_of

Thinking = bool | Literal["minimal", "low", "medium", "high", "xhigh", "max"]
"""How much a model should think: not at all, as much as it does by itself, or at a level."""
NAMED = get_args(get_args(Thinking)[1])
_ON = "on"  # At no particular level.
# Tokens. 1,024 is the least that Anthropic takes, 24,576 the most of Gemini 2.5 Flash; the others are between.
_BUDGETS = {"minimal": 1_024, "low": 2_048, "medium": 8_192, "high": 16_384, "xhigh": 24_576, "max": 24_576}
_LITTLE = ("minimal", "low")
_SAMPLING = ("temperature", "top_p", "top_k", "presence_penalty", "frequency_penalty")


def effort_params(way: str | None, model: str, thinking: Thinking) -> tuple[Mapping[str, Any], str | None]:
    """The parameters that ask *model* for *thinking*, and a warning if it will think more than that.

    A level that the model does not have becomes the nearest one that it has, the lower of two. A model that always
    thinks is asked for its least, if that is little.

    Args:
        way: How the vendor is told: a key of `WAYS`, or None if it cannot be told.
        model: The model's name.
        thinking: What the caller asks for.

    Raises:
        SmeltConfigError: The model cannot do that, or there is no way to say it.
    """
    if way is None:
        raise SmeltConfigError("thinking= has no meaning for this provider. Leave it out.")
    traits = traits_of(model)
    level = _level(model, traits, thinking)
    if level is None:
        return {}, None
    surplus = thinking is False and level != "none"
    warning = f"{model} always thinks, so thinking=False asks it for its least: {level!r}." if surplus else None
    return WAYS[way](traits, level), warning


def check_sampling(model: str, params: Mapping[str, Any]) -> None:
    """Refuse a temperature and the like for a model that is known to refuse it.

    Raises:
        SmeltConfigError: Names the parameter.
    """
    sampling = traits_of(model).sampling
    name = next((one for one in _SAMPLING if one in params), None)
    if name is None or sampling == "always":
        return
    if sampling == "never":
        raise SmeltConfigError(f"{model} takes no {name!r}. Leave it out of params.")
    if thinking_room(model, params):
        raise SmeltConfigError(
            f"{model} takes no {name!r} while it thinks. Leave it out, or pass smelt.Model(…, thinking=False)."
        )


def _level(model: str, traits: Traits, thinking: Thinking) -> str | None:
    """The level to ask for; None if the model does by itself what is asked."""
    if thinking is False:
        return _off(model, traits)
    if traits.levels is None:
        return _ON if thinking is True else thinking
    if thinking is not True and traits.grades:
        return nearest_level(thinking, traits.grades)
    if traits.thinks:
        return None
    if not traits.levels:
        raise SmeltConfigError(f"{model} does not think. Leave thinking= out, or name a model that does.")
    return _ON


def _off(model: str, traits: Traits) -> str | None:
    if traits.levels is None:
        return "none"
    if traits.can_stop:
        return "none" if traits.thinks else None
    least = traits.grades[0] if traits.grades else None
    if least in _LITTLE:
        return least
    how = f"at {least!r} or more" if least else "and cannot be told how much"
    raise SmeltConfigError(f"{model} always thinks, {how}. Leave thinking=False out, or name a model that can stop.")


def nearest_level(wanted: str, levels: tuple[str, ...]) -> str:
    """The one of *levels* that is nearest to *wanted*; of two, the lower."""
    place = LEVELS.index(wanted)
    return min(levels, key=lambda level: (abs(LEVELS.index(level) - place), LEVELS.index(level)))


def _graded(traits: Traits, level: str) -> str:
    """*level*, or a medium one if none in particular is asked for."""
    return level if level != _ON else nearest_level("medium", traits.grades or LEVELS)


def _responses(traits: Traits, level: str) -> dict[str, Any]:
    return {"reasoning": {"effort": _graded(traits, level)}}


def _chat(traits: Traits, level: str) -> dict[str, Any]:
    return {"reasoning_effort": _graded(traits, level)}


def _router(traits: Traits, level: str) -> dict[str, Any]:
    """OpenRouter: some of its routes want `enabled` even beside an effort."""
    if level == "none":
        return {"reasoning": {"enabled": False}}
    return {"reasoning": {"enabled": True} if level == _ON else {"enabled": True, "effort": level}}


def _switch(traits: Traits, level: str) -> dict[str, Any]:
    return {"reasoning_effort": level} if level in traits.grades else {"reasoning": {"enabled": level != "none"}}


def _template(traits: Traits, level: str) -> dict[str, Any]:
    """Variables of the chat template. Templates have one of the two names, and ignore the other."""
    if level in traits.grades:
        return {"reasoning_effort": level}
    is_on = level != "none"
    return {"chat_template_kwargs": {"enable_thinking": is_on, "thinking": is_on}}


def _messages(traits: Traits, level: str) -> dict[str, Any]:
    if level == "none":
        return {"thinking": {"type": traits.off}}
    if traits.budgeted or traits.levels is None:
        return {"thinking": {"type": "enabled", "budget_tokens": _BUDGETS[_graded(traits, level)]}}
    return {"thinking": {"type": "adaptive"}} | ({"effort": level} if level != _ON else {})


def _gemini(traits: Traits, level: str) -> dict[str, Any]:
    if traits.budgeted:
        budgets = {"none": 0, _ON: -1, **_BUDGETS}  # -1: the model decides.
        return {"thinking_config": {"thinking_budget": budgets[level]}}
    return {"thinking_config": {"thinking_level": "MINIMAL" if level == "none" else _graded(traits, level).upper()}}


def _converse(traits: Traits, level: str) -> dict[str, Any]:
    """Bedrock passes fields on to the model: those of Claude, which has the level `max`, or those of gpt-oss."""
    if not traits.grades:
        raise SmeltConfigError(
            "How this model is told what thinking= says is not known. Leave it out, or say it in "
            "params['additionalModelRequestFields']."
        )
    if "max" not in traits.grades:
        return {"additionalModelRequestFields": _chat(traits, level)}
    told = _messages(traits, level)
    effort = {"output_config": {"effort": told.pop("effort")}} if "effort" in told else {}
    return {"additionalModelRequestFields": {**told, **effort}}


WAYS: Mapping[str, Callable[[Traits, str], dict[str, Any]]] = {
    "responses": _responses,
    "chat": _chat,
    "router": _router,
    "switch": _switch,
    "template": _template,
    "messages": _messages,
    "gemini": _gemini,
    "converse": _converse,
}
"""How vendors are told. The keys are the values of `Vendor.thinking`."""
