"""The dollars and tokens of a job, over all its processes. Requests in flight count as spent."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass, field
from operator import add, mul, sub
from typing import NamedTuple

_FIRST_RATIO = 1.5  # Of what a request takes to its estimate, before the first one has ended: as in `engine.budget`.
_MEMORY = 0.9  # Weight of the old value, as there.


class Spent(NamedTuple):
    """Dollars and tokens of a request."""

    cost: float
    tokens: float


_NOTHING = Spent(0.0, 0.0)  # Of what has no limit, or is not in flight.


@dataclass(kw_only=True, eq=False)
class Allowance:
    """What a job may spend, and what it has spent.

    The first request of a job goes alone, because nobody knows what it takes. Later ones are expected to take what
    their run expects, corrected by what others took. So the job spends too much by at most what is in flight.

    Attributes:
        max_cost: Dollars, or None.
        max_tokens: Tokens, input and output together, or None.
        cost: Dollars spent so far.
        tokens: Tokens spent so far.
    """

    max_cost: float | None
    max_tokens: int | None
    cost: float = 0.0
    tokens: float = 0.0
    _held: dict[Hashable, tuple[Spent, Spent | None]] = field(default_factory=dict)  # What is reserved, and estimated.
    _sent: dict[Hashable, Spent] = field(default_factory=dict)  # Those of them that may have been sent, and their sum.
    _in_flight: Spent = _NOTHING
    _lapsed: set[Hashable] = field(default_factory=set)  # Those of them whose end may be told much later.
    _ratio: Spent = field(default_factory=lambda: Spent(_FIRST_RATIO, _FIRST_RATIO))
    _usual: Spent | None = None

    @property
    def granted(self) -> Spent:
        """What was spent, and what is reserved for requests that may have been sent; 0 of what has no limit."""
        return Spent(
            0.0 if self.max_cost is None else self.cost + self._in_flight.cost,
            0.0 if self.max_tokens is None else self.tokens + self._in_flight.tokens,
        )

    @property
    def is_idle(self) -> bool:
        """Whether nothing is in flight that may soon turn out to cost less than reserved."""
        return len(self._held) == len(self._lapsed)

    def take(self, request: Hashable, estimate: Spent | None) -> bool:
        """Reserve what *request* will take, if there is so much; *estimate*: as its run expects, None if it cannot."""
        likely = self._usual if estimate is None else Spent(*map(mul, estimate, self._ratio))
        if likely is None and not self.is_idle:
            return False
        wanted = likely or Spent(0.0, 0.0)
        cost = self.cost + sum([one.cost for one, _ in self._held.values()]) + wanted.cost
        tokens = self.tokens + sum([one.tokens for one, _ in self._held.values()]) + wanted.tokens
        is_too_much = (self.max_cost is not None and cost > self.max_cost) or (
            self.max_tokens is not None and tokens > self.max_tokens
        )
        if is_too_much:
            return False
        self._held[request] = wanted, estimate
        return True

    def grant(self, request: Hashable) -> None:
        """*request* may be sent from now on."""
        if request in self._held and request not in self._sent:
            self._sent[request] = self._held[request][0]
            self._in_flight = Spent(*map(add, self._in_flight, self._sent[request]))

    def free(self, request: Hashable) -> None:
        """*request* cost nothing. Does nothing if it has ended."""
        self._held.pop(request, None)
        self._landed(request)
        self._lapsed.discard(request)

    def lapse(self, request: Hashable) -> None:
        """The end of *request* may be told much later: until then it has taken what is reserved, and nobody waits."""
        if request in self._held:
            self._lapsed.add(request)

    def charge(self, request: Hashable, cost: float | None, tokens: int | None) -> None:
        """*request* took so much; None: as much as was reserved. Does nothing if it has ended."""
        if request not in self._held:
            return
        reserved, estimate = self._held.pop(request)
        self._landed(request)
        self._lapsed.discard(request)
        took = Spent(reserved.cost if cost is None else cost, tokens or reserved.tokens)
        self.cost += took.cost
        self.tokens += took.tokens
        if not tokens:
            return
        self._usual = took if self._usual is None else Spent(*map(_learnt, self._usual, took))
        if estimate is not None:
            self._ratio = Spent(*map(_corrected, self._ratio, took, estimate))

    def _landed(self, request: Hashable) -> None:
        reserved = self._sent.pop(request, _NOTHING)
        self._in_flight = Spent(*map(sub, self._in_flight, reserved)) if self._sent else _NOTHING

    def __str__(self) -> str:
        limits = []
        if self.max_cost is not None:
            limits.append(f"${self.cost:,.4f} of max_cost=${self.max_cost:,.4f}")
        if self.max_tokens is not None:
            limits.append(f"{self.tokens:,.0f} of max_tokens_total={self.max_tokens:,} tokens")
        return " and ".join(limits)


def _learnt(old: float, found: float) -> float:
    """It rises at once and falls slowly."""
    return max(found, old * _MEMORY + found * (1 - _MEMORY))


def _corrected(ratio: float, took: float, estimate: float) -> float:
    return _learnt(ratio, took / estimate) if estimate else ratio
