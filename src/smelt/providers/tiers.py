"""Service tiers: which models have a cheaper one, how it is asked for, and which parameters change only the price."""

from __future__ import annotations

from typing import Final

_PRICED_ONLY: Final = frozenset({"service_tier", "serviceTier", "cache_ttl"})


def priced_only(name: str) -> bool:
    """Whether the parameter *name* changes what an answer costs and how long it takes, and never the answer."""
    return name in _PRICED_ONLY or name.startswith("prompt_cache_")
