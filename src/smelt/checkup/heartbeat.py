"""The doctor's live check: sends one tiny question to each model, and reports its cost and duration."""

from __future__ import annotations

import random
import warnings
from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import BaseModel

from smelt.api.job import Job
from smelt.call.resolve import resolve_model
from smelt.checkup.examination import configured, default_model, installed, shown
from smelt.checkup.findings import Finding
from smelt.engine.mediaorder import ask as ask_for_colours
from smelt.errors import SmeltConfigError, SmeltWarning
from smelt.local.weights import CATALOG, DEFAULT, is_here
from smelt.loop.bridge import run_blocking
from smelt.messages import price
from smelt.model import Model, called, read_model
from smelt.providers.base import CompleteProvider, Reply
from smelt.providers.vendors import LOCAL
from smelt.result import SmeltMetrics, SmeltResult

_SECONDS = 60.0


class Fruit(BaseModel):
    is_fruit: bool


def ask_all(environ: Mapping[str, str], models: Sequence[Any] = ()) -> list[Finding]:
    """Ask *models*, or one model of each configured provider. Each question costs a small part of a cent."""
    asked = [_ask(model) for model in models] if models else [*map(_ask, _candidates(environ)), *_nameless(environ)]
    if not asked:
        asked = [
            Finding(part="live", name="nobody", state="absent", text="no provider is configured, so none was asked")
        ]
    return [shown(one, environ) for one in asked]


def _candidates(environ: Mapping[str, str]) -> list[Any]:
    """The default model, then a cheap model of each other configured provider, then the embedded model."""
    default = _default()
    known = getattr(default, "provider", None)
    models = [Model(one.name, one.cheap_model) for one in configured(environ) if one.cheap_model and one.name != known]
    if installed("xllamacpp") and is_here(CATALOG[DEFAULT]) and known != LOCAL.name:
        models.append(Model(LOCAL.name, DEFAULT))
    return models if default is None else [default, *models]


def _nameless(environ: Mapping[str, str]) -> list[Finding]:
    """A finding for each configured provider for which no model is known."""
    known = getattr(_default(), "provider", None)
    command = "python -m smelt doctor --live --model"
    return [
        Finding(
            part="live",
            name=one.name,
            state="absent",
            text=f"not asked, because no model is named: {command} {one.name}:NAME",
        )
        for one in configured(environ)
        if not one.cheap_model and one.name != known
    ]


def _default() -> Any:
    try:
        return default_model()
    except SmeltConfigError:  # The settings part already reports it.
        return None


def _ask(model: Any) -> Finding:
    name = str(model)
    try:
        named = read_model(model)
        name = called(named)
        result = _result(named)
    except Exception as problem:  # noqa: BLE001  # A broken SDK may raise anything.
        return Finding(part="live", name=name, state="broken", text=f"{type(problem).__name__}: {problem}")
    if result.errors:
        first = result.errors[0]
        return Finding(part="live", name=name, state="broken", text=f"{first.kind}: {first.message}")
    return Finding(part="live", name=name, state="fine", text=_spent(result.metrics) + _of_pictures(named))


def _result(model: Any) -> SmeltResult[Fruit]:
    # Configured defaults (a budget, parameters of another model) must not apply to this call.
    job = Job(
        "Is {word} a fruit?",
        Fruit,
        columns=None,
        params=None,
        max_attempts=2,
        timeout=_SECONDS,
        deadline=_SECONDS,
        max_cost=None,
        max_tokens_total=None,
        on_error="mark",
        ledger=False,
        progress=False,
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", SmeltWarning)
        return job.run(model, data=[{"word": "apple"}])


def _of_pictures(model: Any) -> str:
    """What three test pictures show of a server that is not known to keep the order of those of a request."""
    provider = resolve_model(model)
    limits = provider.capabilities
    if limits.keeps_media_order or "image" not in limits.media:
        return ""
    is_kept, _ = run_blocking(_shown_pictures(provider))
    if is_kept is None:  # Most models on such servers read text only.
        return ""
    return ", keeps the order of pictures" if is_kept else ", rows with pictures are sent one by one"


async def _shown_pictures(provider: CompleteProvider) -> tuple[bool | None, Reply | None]:
    async with provider.connect(connections=1) as connection:
        return await ask_for_colours(
            connection, provider.capabilities, provider.params, timeout=_SECONDS, rng=random.Random()
        )


def _spent(metrics: SmeltMetrics) -> str:
    cost = "price unknown" if metrics.cost_usd is None else price(metrics.cost_usd)
    tokens = f"{metrics.input_tokens:,} tokens in, {metrics.output_tokens:,} out"
    return f"answered in {metrics.wall_time_seconds:.1f} s, {tokens}, {cost}"
