"""The cost of a request in US dollars, by genai-prices (offline; the `prices` extra).

The price is computed per request, because some models cost more per token above a length. Unknown is None, never 0.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from importlib.util import find_spec

from smelt.errors import SmeltConfigError
from smelt.providers.base import Usage
from smelt.providers.vendors import VENDORS

Price = Callable[[Usage], float | None]


def cost_usd(provider: str, model: str, usage: Usage) -> float | None:
    """The cost of one request, or None if the price or the usage is not known. The embedded model costs nothing.

    The first call of a process that needs the price list loads it: 0.8 to 1.1 s of CPU on a busy machine. The first
    call for another model then takes 0.2 to 0.6 ms, and each later one 0.1 to 0.3 ms (genai-prices 0.2.3, two cores).
    """
    return price_of(provider, model)(usage)


def check_priced(provider: str, model: str) -> None:
    """Check that *model* has a price, which `max_cost` needs.

    Raises:
        SmeltConfigError: The price of *model* is not known.
    """
    if cost_usd(provider, model, Usage(input_tokens=1, output_tokens=1)) is not None:
        return
    cure = "" if find_spec("genai_prices") else ", or install the price list: pip install 'dfsmelt[prices]'"
    raise SmeltConfigError(
        f"max_cost needs a price, and the price of {provider}:{model} is not known. Use max_tokens_total instead{cure}."
    )


@lru_cache(maxsize=64)
def price_of(provider: str, model: str) -> Price:
    """A function from one request's usage to its cost; call this before the run, because it may load the price list."""
    vendor = VENDORS.get(provider)
    if vendor is not None and vendor.is_free:
        return lambda usage: 0.0
    if vendor is None or vendor.priced_as is None:
        return lambda usage: None  # A self-hosted server, or a provider that the list does not cover.
    try:
        import genai_prices
        from genai_prices.data_snapshot import get_snapshot
    except ImportError:
        return lambda usage: None
    try:
        name = model.removeprefix("models/")
        seller, priced = get_snapshot().find_provider_model(name, None, vendor.priced_as, None)
    except LookupError:
        return lambda usage: None

    def cost(usage: Usage) -> float | None:
        if usage.input_tokens is None or usage.output_tokens is None:
            return None
        cached = min(usage.cached_input_tokens or 0, usage.input_tokens)  # The list refuses more cached than sent.
        counts = genai_prices.Usage(
            input_tokens=usage.input_tokens,
            output_tokens=usage.output_tokens,
            cache_read_tokens=cached,
            cache_write_tokens=min(usage.written_input_tokens or 0, usage.input_tokens - cached),
        )
        try:
            return float(priced.calc_price(counts, seller).total_price)
        except ValueError:
            return None

    return cost
