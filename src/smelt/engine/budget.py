"""The spending limit of a run, checked before every request. Requests in flight count as spent.

The usage of a request is estimated: its input (instructions, schema and rows) from its bytes, its output from the usual
size of answers and reasoning. Both estimates are corrected by the reported usage. Until replies tell how much of the
input is written to the provider's cache, which costs more with some models, all of it is expected to be. The estimates
tend to be too high, so a run exceeds its budget at most by the amount by which the replies in flight exceed them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace

from smelt.providers.base import Usage

_FIRST_RATIO = 1.5  # The assumed ratio of output to its estimate, before the first reply.
_TOO_MUCH = 4  # Times the estimate.
_LEAST_MEDIUM = 1_000  # Tokens.
_MEMORY = 0.9  # Weight of the old ratio in the exponential mean when the ratio falls.
_SHORTEST_KEPT = 512  # No provider writes a shorter prompt to its cache.


@dataclass(kw_only=True, eq=False)
class Budget:
    """The money and tokens of one run.

    Attributes:
        max_cost: Dollars, or None.
        max_tokens: Tokens, input and output together, or None.
        price: Dollars for the usage of one request. Called only if there is a limit in dollars.
        tier: The service tier that requests ask for, if their estimate names none.
        cost: Dollars spent so far.
        tokens: Tokens spent so far.
    """

    max_cost: float | None = None
    max_tokens: int | None = None
    price: Callable[[Usage], float | None] = lambda usage: None
    tier: str = ""
    cost: float = 0.0
    tokens: int = 0
    _in_flight: dict[int, Usage] = field(default_factory=dict)
    _input_ratio: float = 1.0
    _output_ratio: float = _FIRST_RATIO
    _written_share: float = 1.0
    _served: dict[str, set[str]] = field(default_factory=dict)  # By the tier that was asked for.

    @property
    def is_limited(self) -> bool:
        """Whether there is any limit."""
        return self.max_cost is not None or self.max_tokens is not None

    @property
    def is_idle(self) -> bool:
        """Whether nothing is in flight, so that no reserved budget can be released."""
        return not self._in_flight

    def fits(self, estimate: Usage, rows: int = 0) -> bool:
        """Whether a request of this size may be sent now; *rows*: the rows in it that were not asked before."""
        return self._leaves_room(self.held(estimate))

    def held(self, *more: Usage) -> tuple[float, int]:
        """Dollars and tokens that the requests in flight and *more* are expected to take."""
        wanted = [self.likely(one) for one in (*self._in_flight.values(), *more)]
        tokens = sum(_tokens(one) for one in wanted)
        if self.max_cost is None:
            return 0.0, tokens
        # A price takes 0.2 ms, so all requests in flight are priced as their longest. They are of one size, mostly.
        by_tier: dict[str, list[Usage]] = {}
        for one in wanted:
            by_tier.setdefault(one.tier, []).append(one)
        return sum(len(ones) * self._dearest(max(ones, key=_tokens)) for ones in by_tier.values()), tokens

    async def has_room(self) -> bool:
        """Wait until others give up some of a budget that they share with this run; False if it shares none."""
        return False

    def _leaves_room(self, wanted: tuple[float, int]) -> bool:
        cost, tokens = wanted
        is_cheap = self.max_cost is None or self.cost + cost <= self.max_cost
        return is_cheap and (self.max_tokens is None or self.tokens + tokens <= self.max_tokens)

    def reserve(self, number: int, estimate: Usage) -> None:
        """Reserve the budget of a request before it is sent."""
        self._in_flight[number] = estimate

    def release(self, number: int) -> None:
        """Release the budget of a request that was not sent or cost nothing."""
        self._in_flight.pop(number, None)

    def charge(self, number: int, usage: Usage) -> None:
        """Count the usage of a request; numbers that the provider does not report are estimated."""
        estimate = self._in_flight.pop(number, Usage())
        if usage.input_tokens and estimate.input_tokens:
            self._input_ratio = _learnt(self._input_ratio, usage.input_tokens / estimate.input_tokens)
        if usage.output_tokens is not None and estimate.output_tokens:
            self._output_ratio = _learnt(self._output_ratio, usage.output_tokens / estimate.output_tokens)
        if usage.input_tokens:
            self._written_share = _learnt(self._written_share, (usage.written_input_tokens or 0) / usage.input_tokens)
            self._served.setdefault(estimate.tier or self.tier, set()).add(usage.tier)
        likely = self.likely(estimate)
        spent = usage
        if not usage.input_tokens:  # A reported 0 cannot be true.
            spent = likely if usage.output_tokens is None else replace(likely, output_tokens=usage.output_tokens)
        elif usage.output_tokens is None:
            spent = replace(usage, output_tokens=likely.output_tokens)
        self.tokens += _tokens(spent)
        if self.max_cost is not None:
            self.cost += self._priced(spent)

    def __str__(self) -> str:
        return self._said(self.cost, self.tokens)

    def _said(self, cost: float, tokens: int) -> str:
        limits = []
        if self.max_cost is not None:
            limits.append(f"${cost:,.4f} of max_cost=${self.max_cost:,.4f}")
        if self.max_tokens is not None:
            limits.append(f"{tokens:,} of max_tokens_total={self.max_tokens:,} tokens")
        return " and ".join(limits)

    def likely(self, estimate: Usage) -> Usage:
        """*estimate*, corrected by what replies were reported to take."""
        whole = round((estimate.input_tokens or 0) * self._input_ratio)
        return Usage(
            input_tokens=whole,
            output_tokens=round((estimate.output_tokens or 0) * self._output_ratio),
            audio_input_tokens=round((estimate.audio_input_tokens or 0) * self._input_ratio) or None,
            written_input_tokens=round(whole * self._written_share) if whole >= _SHORTEST_KEPT else 0,
            tier=estimate.tier or self.tier,
        )

    def _dearest(self, usage: Usage) -> float:
        """Dollars at the dearest of the tiers that served such requests so far and the one that is asked for."""
        served = self._served.get(usage.tier, set())
        return max(self._priced(replace(usage, tier=tier)) for tier in served | {usage.tier})

    def _priced(self, usage: Usage) -> float:
        """Dollars; the standard price for a tier that is not listed."""
        found = self.price(usage)
        if found is None and usage.tier:
            found = self.price(replace(usage, tier=""))
        return found or 0.0


def overbilled(billed: int | None, expected: int, media: int) -> str:
    """What is wrong with the bill of a first request with *media* media; empty if nothing is.

    Some gateways read the base64 of a picture as text, which costs a hundred times as much. A medium counts as 1,000
    tokens at least, because the minimum of some models is not known.

    Args:
        billed: Its input tokens, or None.
        expected: Their estimate.
        media: How many media it carried.
    """
    if not media or (billed or 0) <= _TOO_MUCH * max(expected, _LEAST_MEDIUM * media):
        return ""
    return (
        f"The first request with media was billed {billed:,} input tokens, and about {expected:,} were expected. The "
        "server may read media as text. No more requests were sent. If the bill is right, set max_cost= or "
        "max_tokens_total=, which is then the limit."
    )


def _learnt(ratio: float, found: float) -> float:
    """*ratio* updated by a new measurement *found*: it rises at once and falls slowly."""
    return max(found, ratio * _MEMORY + found * (1 - _MEMORY))


def _tokens(usage: Usage) -> int:
    return (usage.input_tokens or 0) + (usage.output_tokens or 0)
