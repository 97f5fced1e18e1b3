"""The cost of a request in US dollars, by genai-prices (offline; the `prices` extra).

The price is computed per request, because some models cost more per token above a length, and at the price of the tier
that served it (`rates`). Unknown is None, never 0.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from functools import lru_cache, partial
from importlib.metadata import version
from importlib.util import find_spec
from itertools import islice
from math import fsum
from typing import Any

from smelt.errors import SmeltConfigError
from smelt.messages import nearest
from smelt.providers.base import DECISIONS, DecisionTerms, Provider, Usage
from smelt.providers.rates import NAMES, Counts, StepRates, constraints_of, rates_of
from smelt.providers.tariff import Price
from smelt.providers.vendor import Vendor
from smelt.providers.vendors import VENDORS

_SOME = Usage(input_tokens=1, output_tokens=1)
Pricing = Callable[[Usage], float | None]


def cost_usd(provider: str, model: str, usage: Usage) -> float | None:
    """The cost of one request, or None if the price or the usage is not known. The embedded model costs nothing.

    The first call of a process that needs the price list loads it: 0.8 to 1.1 s of CPU on a busy machine. The first
    call for another model then takes 1 to 3 ms, and each later one 5 µs (genai-prices 0.2.3, two cores).
    """
    return price_of(provider, model)(usage)


def cost_of(provider: Provider, usage: Usage, *, tier: str | None = None) -> float | None:
    """The cost of one request to *provider*; see `cost_usd`.

    Args:
        provider: Whom it is sent to.
        usage: Its tokens.
        tier: The tier to price it at, such as `batch`; None for the one in *usage*.
    """
    return price_for(provider)(usage if tier is None else replace(usage, tier=tier))


def total(dollars: Sequence[float | None]) -> float | None:
    """The sum of *dollars*; None if one of them is not known."""
    known = [one for one in dollars if one is not None]
    return fsum(known) if len(known) == len(dollars) else None


def check_priced(provider: Provider, tier: str = "") -> None:
    """Check that the model has a price, which `max_cost` needs; *tier*: that of the requests, if it has its own.

    Raises:
        SmeltConfigError: Its price is not known.
    """
    if cost_of(provider, _SOME, tier=tier) is not None:
        return
    cure = "" if find_spec("genai_prices") else ", or install the price list: pip install 'dfsmelt[prices]'"
    raise SmeltConfigError(
        f"max_cost needs a price, and the price of {provider.name}:{provider.model} is not known. Use "
        f"max_tokens_total instead; or name the price, smelt.Model(…, price={{…}}), or a model with the same "
        f"price, smelt.Model(…, priced_as=…){cure}."
    )


def check_named(priced_as: str) -> None:
    """Check that the price list has the model *priced_as*. Without the list, nothing is known, and nothing said.

    Raises:
        SmeltConfigError: It has not; names models that are near.
    """
    seller, _, model = priced_as.partition(":")
    if price_of(seller, model)(_SOME) is not None or not find_spec("genai_prices"):
        return
    from genai_prices.data_snapshot import get_snapshot

    _, seller_id = _listed(model, VENDORS[seller].priced_as)
    known = [one.id for listed in get_snapshot().providers if listed.id == seller_id for one in listed.models]
    raise SmeltConfigError(f"priced_as names {priced_as!r}, whose price is not known.{nearest(model, known)}")


def price_for(provider: Provider) -> Pricing:
    """The price that *provider* was given, else that of the model that its `priced_as` names, or that it asks."""
    layers = list(islice(_layers(provider), _DEEPEST))
    if (own := _own(layers)) is not None:
        vendor = VENDORS.get(provider.name)
        return partial(own.of, level=vendor.level_tiers if vendor else ())
    if (named := _named(layers)) is not None:
        seller, _, model = named.partition(":")
        return price_of(seller, model)
    address = next((one.access.base_url for one in layers if hasattr(one, "access")), "")
    return price_of(provider.name, provider.model, address)


def source_of(provider: Provider, tier: str = "") -> str:
    """Where the price of *provider*'s model comes from, such as "genai-prices 0.2.3"; empty if it has no price.

    *tier* is that of the requests, if it has its own price.
    """
    layers = list(islice(_layers(provider), _DEEPEST))
    if not (cost := cost_of(provider, _SOME, tier=tier)):
        return "" if cost is None else "nothing is charged"
    if _own(layers) is not None:
        return "the price that you named"
    if tier == DECISIONS:
        return "the vendor's price of November 2026"
    named = _named(layers)
    return f"{_list_name()}, as {named}" if named else _list_name()


def _own(layers: Sequence[Any]) -> Price | None:
    return next((found for one in layers if isinstance(found := getattr(one, "price", None), Price)), None)


def _named(layers: Sequence[Any]) -> str | None:
    return next((found for one in layers if isinstance(found := getattr(one, "priced_as", None), str)), None)


def _list_name() -> str:
    """The price list and its version; it has no date, unless it was updated in this process."""
    from genai_prices.data_snapshot import get_snapshot

    snapshot = get_snapshot()
    day = f", updated on {snapshot.timestamp:%Y-%m-%d}" if snapshot.from_auto_update else ""
    return f"genai-prices {version('genai-prices')}{day}"


def _layers(provider: Any) -> Iterator[Any]:
    """*provider*, and the provider that it stands around, if it has hooks or defaults."""
    while provider is not None:
        yield provider
        provider = getattr(provider, "inner", None) or getattr(provider, "provider", None)


_DEEPEST = 8


@lru_cache(maxsize=64)
def price_of(provider: str, model: str, base_url: str = "") -> Pricing:
    """A function from one request's usage to its cost; call this before the run, because it may load the price list.

    Args:
        provider: The provider's name.
        model: The model's name.
        base_url: The address, which finds the price if the provider's name does not.
    """
    vendor = VENDORS.get(provider)
    if vendor is not None and vendor.is_free:
        return lambda usage: 0.0
    listed = _price_in_list(vendor, model, base_url)
    if vendor is None:
        return listed
    if vendor.decisions is not None:
        terms = vendor.decisions
        return lambda usage: _of_decisions(usage, terms) if usage.tier == DECISIONS else listed(usage)
    if not vendor.tells_charge:
        return listed
    return lambda usage: listed(usage) if usage.charged_usd is None else usage.charged_usd


def _of_decisions(usage: Usage, terms: DecisionTerms) -> float | None:
    """The price of a request for decisions, which no list has."""
    return None if usage.input_tokens is None else usage.input_tokens * terms.input_usd / 1_000_000


def _price_in_list(vendor: Vendor | None, model: str, base_url: str) -> Pricing:
    name, seller_id = _listed(model.removeprefix("models/"), vendor.priced_as if vendor else None)
    address = base_url if base_url.startswith("https://") else None
    if vendor is None or (seller_id is None and address is None):
        return lambda usage: None  # A self-hosted server, or a provider that the list does not cover.
    try:
        from genai_prices.data_snapshot import get_snapshot
    except ImportError:
        return lambda usage: None
    try:
        seller, priced = get_snapshot().find_provider_model(name, None, seller_id, None if seller_id else address)
    except LookupError:
        return lambda usage: None

    # Questions at the price of another seller's model (`priced_as`) cost their input, as any request to it would.
    level, factors = {*vendor.level_tiers, DECISIONS}, vendor.tier_prices
    constraints = constraints_of(priced)
    known: dict[tuple[object, ...], StepRates | None] = {}

    def cost(usage: Usage) -> float | None:
        tier = "" if usage.tier in level else usage.tier
        terms = (tier, *[one.active(now()) for one in constraints])
        if terms not in known:
            known[terms] = rates_of(priced, seller, _context_of(tier), now())
        rates = known[terms]
        if rates is None and usage.tier in factors:
            usual = cost(replace(usage, tier=""))
            return None if usual is None else usual * factors[usage.tier]
        if rates is None or usage.input_tokens is None or usage.output_tokens is None:
            return None
        if usage.written_hour_tokens and not rates.has_hours:
            return None
        try:
            total = rates.price(_counts(usage)) if _is_special(usage) else rates.of(_usual_counts(usage))
        except ValueError:
            return None
        return float(total) + (usage.stored_usd or 0.0)

    return cost


def now() -> datetime:
    """The time that decides which of a model's prices is valid: some change on a date, some by the hour."""
    return datetime.now(UTC)


def _context_of(tier: str) -> dict[str, str]:
    """What the price list is told of a request that was served at *tier*; empty for the standard price.

    Sellers name their tiers by different keys.
    """
    if tier == "batch":
        return {"processing": tier}
    return {} if tier in ("", "standard") else {"service_tier": tier, "speed": tier}


def _is_special(usage: Usage) -> bool:
    """Whether *usage* has tokens that few requests have."""
    return bool(usage.written_hour_tokens or usage.audio_input_tokens)


def _usual_counts(usage: Usage) -> Counts:
    """The counts of *usage*. The price list refuses parts that are larger than their whole."""
    whole = usage.input_tokens or 0
    cached = min(usage.cached_input_tokens or 0, whole)
    return whole, usage.output_tokens or 0, cached, min(usage.written_input_tokens or 0, whole - cached)


def _counts(usage: Usage) -> dict[str, int]:
    """The same, and those of long writes and of sound, by their names in the list."""
    whole, _, cached, written = found = _usual_counts(usage)
    counts = dict(zip(NAMES, found, strict=True))
    counts["cache_write_1h_tokens"] = min(usage.written_hour_tokens or 0, written)
    if usage.audio_input_tokens:
        cached_audio = min(usage.cached_audio_tokens or 0, cached, usage.audio_input_tokens)
        audio = min(usage.audio_input_tokens, whole - written - (cached - cached_audio))
        counts |= {"input_audio_tokens": audio, "cache_audio_read_tokens": cached_audio, "cache_audio_write_tokens": 0}
    return counts


def _listed(model: str, seller: str | None) -> tuple[str, str | None]:
    """The names of *model* and of its seller in the price list.

    Hugging Face's models end in `:seller`, whose prices are listed one by one.
    """
    if seller is None or "{route}" not in seller:
        return model, seller
    name, _, route = model.rpartition(":")
    return name, seller.format(route=route) if name else None
