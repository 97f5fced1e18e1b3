"""The rates of a listed model: dollars per token, learnt from the price list once and then multiplied.

A price of genai-prices takes 0.1 to 0.5 ms, and a run of a million rows asks for forty thousand. Within one step of a
model's price (some cost more above a length), the price is a sum of fixed amounts per token. So a few prices tell all
amounts, as exact decimals, and every other price of the step is their product with the counts: the same to the last
digit, in 5 µs.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from typing import Any

Counts = tuple[int, int, int, int]
"""Tokens: input, output, and of the input those read from and written to a cache."""
NAMES = ("input_tokens", "output_tokens", "cache_read_tokens", "cache_write_tokens")


@dataclass(frozen=True, slots=True)
class Rates:
    """Dollars per token of each kind, and per request."""

    each: tuple[Decimal, Decimal, Decimal, Decimal]
    fixed: Decimal

    @classmethod
    def of(cls, price: Callable[[Mapping[str, int]], Decimal], least: int) -> Rates:
        """The rates of requests with *least* input tokens, and of more up to the next step of the *price*."""

        def at(**counts: int) -> Decimal:
            return price({**dict.fromkeys(NAMES, 0), "input_tokens": least, **counts})

        base = at()
        first = at(input_tokens=least + 1) - base
        rest = (at(output_tokens=1) - base, at(cache_read_tokens=1) - base, at(cache_write_tokens=1) - base)
        return cls((first, *rest), base - least * first)

    def price(self, counts: Counts) -> Decimal:
        """The price of a request with these *counts*."""
        return sum(map(Decimal.__mul__, self.each, map(Decimal, counts)), self.fixed)


@dataclass(kw_only=True, eq=False)
class StepRates:
    """The rates of a model at one service tier, by the steps of its price.

    Attributes:
        price: The price in the list of a request with these tokens, by their names in the list.
        starts: The input tokens above which each further step begins, ascending.
        has_hours: Whether it has a price for long writes to a cache.
    """

    price: Callable[[Mapping[str, int]], Decimal]
    starts: Sequence[int]
    has_hours: bool
    _known: dict[int, Rates] = field(default_factory=dict)

    def of(self, counts: Counts) -> Decimal:
        """The price of a request with these *counts*, whose parts are no larger than their whole.

        Raises:
            ValueError: The list has no price for such a request.
        """
        step = bisect_left(self.starts, counts[0])
        if (rates := self._known.get(step)) is None:
            least = self.starts[step - 1] + 1 if step else 1
            if step < len(self.starts) and self.starts[step] <= least:  # A step of one token shows no rates.
                return self.price(dict(zip(NAMES, counts, strict=True)))
            rates = self._known[step] = Rates.of(self.price, least)
        return rates.price(counts)


def rates_of(priced: Any, seller: Any, context: dict[str, str], when: datetime) -> StepRates | None:
    """The rates of a model in *context* at this time; None if the list has none."""
    import genai_prices
    from genai_prices.types import TieredPrices

    if not _is_listed(context, priced, seller, when):
        return None
    listed = priced.get_prices(when, context)
    stepped = [one for one in vars(listed).values() if isinstance(one, TieredPrices)]

    def price(counts: Mapping[str, int]) -> Decimal:
        found = priced.calc_price(
            genai_prices.Usage(**counts), seller, genai_request_timestamp=when, price_context=context
        )
        total: Decimal = found.total_price
        return total

    starts = sorted({tier.start for one in stepped for tier in one.tiers})
    return StepRates(price=price, starts=starts, has_hours=_has_hours(listed))


def constraints_of(priced: Any) -> list[Any]:
    """What decides by the time which prices of a model are valid."""
    conditional = priced.prices if isinstance(priced.prices, list) else []
    found = [one.constraint for one in (*conditional, *(priced.price_variants or ()))]
    return [one for one in found if one is not None]


def _is_listed(context: Mapping[str, str], priced: Any, seller: Any, when: datetime) -> bool:
    """Whether the list has a price for *context*. It answers with the standard price if it has none.

    That is so for a model that *seller* takes from another seller's list, too.
    """
    if not context:
        return True
    is_own = any(priced is one for one in seller.models)
    variants = (one for one in priced.price_variants or () if one.constraint is None or one.constraint.active(when))
    return is_own and any(one.when.items() <= context.items() for one in variants)


def _has_hours(listed: Any) -> bool:
    """Whether the price of a long write to a cache is *listed*. If no write is, all of them cost what input costs."""
    return listed.cache_write_1h_mtok is not None or listed.cache_write_mtok is None
