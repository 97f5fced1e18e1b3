"""A price that the caller names: `smelt.Model(…, price={"input": 0.4, "output": 1.6})`."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from dataclasses import dataclass, fields
from typing import Any

from smelt.errors import SmeltConfigError
from smelt.messages import nearest
from smelt.providers.base import DECISIONS, Usage

_PARTS = ("batch", "flex")
_LEVEL = frozenset(
    {"", "standard", DECISIONS}
)  # Tiers at the named price. Questions cost their input: nothing is made.


@dataclass(frozen=True, kw_only=True)
class Price:
    """What a model costs, in US dollars per million tokens. There is no price per request, and none above a length.

    Attributes:
        input: Input tokens.
        output: Output tokens, reasoning included.
        cached: Input tokens read from the provider's cache. None: as *input*.
        written: Input tokens written to the provider's cache. None: as *input*.
        batch: What a batch job costs, as a part of all of these: 0.5 is half the price. None: not known.
        flex: The same for the flex tier.
        stored: What a million tokens cost that the provider keeps for an hour (Gemini). None: the vendor's list price.
    """

    input: float
    output: float
    cached: float | None = None
    written: float | None = None
    batch: float | None = None
    flex: float | None = None
    stored: float | None = None

    @classmethod
    def read(cls, given: object) -> Price:
        """The price in the caller's mapping.

        Raises:
            SmeltConfigError: It is no mapping of these names to numbers.
        """
        if not isinstance(given, Mapping):
            raise SmeltConfigError.for_type("price", given, 'a dict like {"input": 0.4, "output": 1.6}')
        names = [one.name for one in fields(cls)]
        for name, value in given.items():
            if name not in names:
                raise SmeltConfigError(f"price has no {str(name)[:40]!r}.{nearest(str(name), names)}")
            _check(name, value)
        if not {"input", "output"} <= given.keys():
            raise SmeltConfigError("price needs the price of 'input' and of 'output', in dollars per million tokens.")
        return cls(**given)

    def of(self, usage: Usage, level: Collection[str] = ()) -> float | None:
        """The cost of a request, or None if its usage is not known, or the price of its tier.

        *level* are the vendor's tiers that cost what the standard one does.
        """
        part = self._part(usage.tier)
        if part is None and usage.tier in level:
            part = 1.0
        if part is None or usage.input_tokens is None or usage.output_tokens is None:
            return None
        cached = min(usage.cached_input_tokens or 0, usage.input_tokens)
        written = min(usage.written_input_tokens or 0, usage.input_tokens - cached)
        dollars = (
            (usage.input_tokens - cached - written) * self.input
            + cached * (self.input if self.cached is None else self.cached)
            + written * (self.input if self.written is None else self.written)
            + usage.output_tokens * self.output
        )
        return part * dollars / 1_000_000 + (usage.stored_usd or 0.0)

    def _part(self, tier: str) -> float | None:
        if tier in _PARTS:
            part: float | None = getattr(self, tier)
            return part
        return 1.0 if tier in _LEVEL else None


def _check(name: str, value: Any) -> None:
    shown = f"price[{name!r}]"
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise SmeltConfigError.for_type(shown, value, "a number")
    if not (math.isfinite(value) and value >= 0):
        raise SmeltConfigError.for_value(shown, value, "a number of 0 or more")
    if name in _PARTS and value > 1:
        raise SmeltConfigError.for_value(shown, value, "a part of the price, such as 0.5")
