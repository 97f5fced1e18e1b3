"""What became of each row beside its answer: its requests, and its share of their tokens and dollars.

Kept only for a run whose caller asked for it. A row takes some eighty bytes.
"""

from __future__ import annotations

from array import array
from collections.abc import Container, Iterable, Sequence
from dataclasses import dataclass, field, replace
from math import fsum

from smelt.plan.chunks import Pending
from smelt.providers.base import Billing, CallFailed, Reply, Usage

_COUNTED = ("input_tokens", "output_tokens", "cached_input_tokens", "reasoning_tokens")


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """What is known of one request.

    Attributes:
        number: Its number in the run.
        request_id: The provider's id of it.
        model: The model that answered, as the provider names it.
        finish: Why the model stopped, or the kind of failure.
        notes: What the provider said about the reply.
        reasoning: What the model thought, if the provider returns it.
    """

    number: int
    request_id: str | None
    model: str | None
    finish: str
    notes: str | None = None
    reasoning: str | None = None


@dataclass(eq=False)
class Details:
    """The details of the rows of a run over one frame, by position. Rows that are equal to an earlier row have none.

    Attributes:
        rows: The number of rows.
        seen: The last request that carried a row, or the one that answered it.
        answered: Whether a request answered the row; not the ledger.
        requests: How many requests carried it.
        attempts: How many paid replies there were for it.
        tokens: Its share of the tokens, by their kind.
        cost_usd: Its share of the dollars.
        is_unpriced: Whether the price of one of its requests is not known.
    """

    rows: int
    seen: dict[int, Seen] = field(default_factory=dict)
    answered: bytearray = field(init=False)
    requests: array[int] = field(init=False)
    attempts: array[int] = field(init=False)
    tokens: dict[str, array[int]] = field(init=False)
    cost_usd: array[float] = field(init=False)
    is_unpriced: bytearray = field(init=False)
    _extra: list[tuple[Usage, float | None]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.answered, self.is_unpriced = bytearray(self.rows), bytearray(self.rows)
        self.requests, self.attempts = array("i", [0]) * self.rows, array("i", [0]) * self.rows
        self.tokens = {name: array("q", [0]) * self.rows for name in _COUNTED}
        self.cost_usd = array("d", [0.0]) * self.rows

    def carried(self, number: int, rows: Sequence[Pending], outcome: Reply | CallFailed, cost: float | None) -> None:
        """A request with *rows* has ended, and cost so much."""
        places = [row.position for row in rows]
        is_paid = isinstance(outcome, Reply) or outcome.billing is Billing.PAID_BAD
        seen = _seen(number, outcome)
        for at in places:
            self.requests[at] += 1
            self.attempts[at] += is_paid
            if not self.answered[at]:
                self.seen[at] = seen
        if isinstance(outcome, Reply) or outcome.usage.is_reported:
            self._share(places, outcome.usage, cost)
        while self._extra:
            self._share(places, *self._extra.pop())

    def accepted(self, number: int, rows: Sequence[Pending], reply: Reply) -> None:
        """A reply has answered *rows*."""
        seen = _seen(number, reply)
        for row in rows:
            self.seen[row.position] = seen
            self.answered[row.position] = 1

    def include(self, other: Details, pairs: Iterable[tuple[int, int]], *, before: int, known: Container[int]) -> None:
        """Add what became of rows in another run of the same call.

        Args:
            other: The details of that run.
            pairs: Each row, with its position in that run.
            before: How many requests the call made before: its own go on from there.
            known: The positions in that run of rows that the ledger answered.
        """
        for at, place in pairs:
            self.requests[at] += other.requests[place]
            self.attempts[at] += other.attempts[place]
            for name, shares in self.tokens.items():
                shares[at] += other.tokens[name][place]
            self.cost_usd[at] += other.cost_usd[place]
            self.is_unpriced[at] |= other.is_unpriced[place]
            seen, is_answered = other.seen.get(place), other.answered[place]
            if seen is not None and (is_answered or not self.answered[at]):
                self.seen[at] = replace(seen, number=before + seen.number)
            if is_answered or place in known:
                self.answered[at] = is_answered
        self._extra += other._extra

    def overhead(self, usage: Usage, cost: float | None) -> None:
        """A request without rows cost so much: the rows of the next request share it."""
        self._extra.append((usage, cost))

    def settle(self, total_usd: float | None) -> None:
        """Make the shares of dollars sum to *total_usd*, by `math.fsum`: it was summed in another order."""
        spent = [at for at, share in enumerate(self.cost_usd) if share]
        if total_usd is None or not spent:
            return
        self.cost_usd[max(spent, key=self.cost_usd.__getitem__)] += total_usd - fsum(self.cost_usd)

    def _share(self, places: Sequence[int], usage: Usage, cost: float | None) -> None:
        for name, shares in self.tokens.items():
            each, rest = divmod(getattr(usage, name) or 0, len(places))
            for nth, at in enumerate(places):
                shares[at] += each + (nth < rest)
        for at in places:
            if cost is None:
                self.is_unpriced[at] = 1
            else:
                self.cost_usd[at] += cost / len(places)


def _seen(number: int, outcome: Reply | CallFailed) -> Seen:
    if isinstance(outcome, CallFailed):
        return Seen(number=number, request_id=outcome.request_id, model=None, finish=outcome.kind)
    return Seen(
        number=number,
        request_id=outcome.request_id,
        model=outcome.model,
        finish=outcome.finish,
        notes=outcome.notes or None,
        reasoning=outcome.reasoning or None,
    )
