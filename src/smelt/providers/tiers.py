"""Service tiers: which models have a cheaper one, how it is asked for, and which parameters change only the price."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

from smelt.errors import SmeltConfigError
from smelt.providers.base import BatchLimits, Provider

_PRICED_ONLY: Final = frozenset({"service_tier", "serviceTier", "cache_ttl"})
_DEEPEST: Final = 8


def priced_only(name: str) -> bool:
    """Whether the parameter *name* changes what an answer costs and how long it takes, and never the answer."""
    return name in _PRICED_ONLY or name.startswith("prompt_cache_")


def flex_of(provider: Provider) -> Mapping[str, Any]:
    """The parameters that ask *provider* for its flex tier.

    Raises:
        SmeltConfigError: Its model has none; names the Batch API if it has one.
    """
    found = next((flex for one in _layers(provider) if (flex := getattr(one, "flex", None))), None)
    if found is not None:
        return dict(found)
    has_jobs = any(isinstance(getattr(one, "batching", None), BatchLimits) for one in _layers(provider))
    cure = 'mode="batch" asks at half the price, within 24 hours.' if has_jobs else "Leave out mode=."
    some = "OpenAI has one for gpt-5 to gpt-6.1, and Gemini from 2.5 on."
    raise SmeltConfigError(
        f'mode="flex" needs a flex tier, and smelt knows none of {provider.name}:{provider.model}. {some} {cure}'
    )


def _layers(provider: Any) -> Iterator[Any]:
    """*provider*, and the providers that it stands around, if it has hooks or defaults."""
    for _ in range(_DEEPEST):
        if provider is None:
            return
        yield provider
        provider = getattr(provider, "inner", None) or getattr(provider, "provider", None)
