"""The calls of a cascade: the same question to a cheap and a strong model, checked before money is spent."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from smelt.call.conflicts import refuse_beside
from smelt.call.gauge import check_calibrator
from smelt.call.options import Settings
from smelt.call.preparation import Pick, Preparation, prepare
from smelt.call.promise import is_of_sides, promised
from smelt.call.resolve import resolve_model
from smelt.errors import SmeltConfigError
from smelt.frames.adapt import adapt
from smelt.frames.base import Frame
from smelt.providers.prices import check_priced
from smelt.trust.calibration import Calibrator

_MOST_MODELS = 3


def prepare_all(
    data: Any,
    prompt: str,
    output_model: Any,
    models: Sequence[Any],
    settings: Settings,
    *,
    pick: Pick | None = None,
    adapt: Callable[[Any], Frame] = adapt,
    is_sent: bool = True,
) -> Preparation:
    """The call to the last of *models*, with the same call to the `earlier` ones; the arguments are those of `prepare`.

    Raises:
        SmeltConfigError: An argument is wrong (this class or a subclass); nothing was sent.
    """
    _check_models(models, settings)
    _check_options(settings)
    call = prepare(
        data, prompt, output_model, models[-1], settings, pick=pick, adapt=adapt, is_sent=is_sent, is_cascade=True
    )
    promised(call)
    cheaper = [resolve_model(one, params=settings.params, needs_key=is_sent) for one in models[:-1]]
    calls = [*(replace(call.asked_of(one), is_scored=settings.votes == 1) for one in cheaper), call]
    check_calibrator(calls[0])
    if isinstance(settings.with_confidence, Calibrator):  # It is about the first model alone.
        bare = replace(settings, with_confidence=False)
        calls[1:-1] = [replace(one, settings=bare) for one in calls[1:-1]]
    asked = [(names([one])[0], one.provider.origin, one.identity) for one in calls]
    if doubled := [one for one in asked if asked.count(one) > 1]:
        raise SmeltConfigError(f"The cascade has {doubled[0][0]} twice, and a model always agrees with itself.")
    if settings.max_cost is not None and is_sent:
        for one in calls:
            check_priced(one.provider)
    return replace(call, earlier=tuple(calls[:-1]))


def calls_of(call: Preparation) -> tuple[Preparation, ...]:
    """The calls of a cascade to one model each, the cheapest first; the last one has one vote."""
    settings = replace(call.settings, votes=1, sure=None, with_confidence=False)
    return (*call.earlier, replace(call, earlier=(), settings=settings))


def names(calls: Sequence[Preparation]) -> tuple[str, ...]:
    """The models of *calls* as `provider:name`; with a number behind it if several have one name."""
    found = [f"{one.provider.name}:{one.provider.model}" for one in calls]
    if len(set(found)) == len(found):
        return tuple(found)
    return tuple(f"{name} ({number})" for number, name in enumerate(found, 1))


def _check_models(models: Sequence[Any], settings: Settings) -> None:
    if not settings.targets:
        raise SmeltConfigError(
            "A list of models is a cascade, and needs to know how good it has to be: target_accuracy=0.95 promises "
            "that 95 % of the answers are those of the last model. To see models side by side, use compare."
        )
    if is_of_sides(settings) and settings.target_accuracy is not None:
        raise SmeltConfigError("target_accuracy= does not go together with target_precision= and target_recall=.")
    if not 2 <= len(models) <= _MOST_MODELS:
        raise SmeltConfigError(f"A cascade takes 2 or {_MOST_MODELS} models, the cheapest first, not {len(models)}.")
    if is_of_sides(settings) and len(models) != 2:
        raise SmeltConfigError("With target_precision= and target_recall= a cascade takes two models.")
    if None in models:
        raise SmeltConfigError("The list of models has None. Name each model of a cascade.")


def _check_options(settings: Settings) -> None:
    others = {
        'via="decisions"': settings.via == "decisions",
        "extend=True": settings.extend,
    }
    refuse_beside(f"{min(settings.targets)}=", others)
    if settings.with_confidence is True and settings.votes == 1:
        raise SmeltConfigError(
            "with_confidence=True tells how much the votes of the cheap model agree, so it needs votes=2 or more. With "
            "votes=1, pass the .calibrator of evaluate(..., model=cheap, with_confidence=True)."
        )
