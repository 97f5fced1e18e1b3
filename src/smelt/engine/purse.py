"""One spending limit for several runs: each has an account, with prices and estimates of its own."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field

from smelt.engine.budget import Budget
from smelt.providers.base import Usage


@dataclass(kw_only=True, eq=False)
class Purse:
    """The money and tokens of runs that share a limit.

    Attributes:
        accounts: Those of the runs, in the order of their steps.
        on_wait: Called when a run begins to wait for room.
        owed: Dollars and tokens that rows still need in other runs, if the run of an account asks so many more of them.
    """

    accounts: list[Account] = field(default_factory=list)
    on_wait: Callable[[], None] = lambda: None
    owed: Callable[[Account, int], tuple[float, int]] = lambda account, rows: (0.0, 0)
    _waiting: list[asyncio.Future[None]] = field(default_factory=list)

    async def has_room(self) -> bool:
        """Wait until some of the limit is given up."""
        turn = asyncio.get_running_loop().create_future()
        self._waiting.append(turn)
        self.on_wait()
        await turn
        return True

    def wake(self) -> None:
        """Let the runs that wait for room look again."""
        waiting, self._waiting = self._waiting, []
        for turn in waiting:
            if not turn.done():
                turn.set_result(None)

    @property
    def waiting(self) -> int:
        """How many runs wait for room."""
        return sum(not turn.done() for turn in self._waiting)

    @property
    def is_stuck(self) -> bool:
        """Whether a run waits for room, and no request is in flight that could give any."""
        return self.waiting > 0 and self.is_idle

    @property
    def is_idle(self) -> bool:
        """Whether no run has a request in flight."""
        return not any(one.has_requests for one in self.accounts)


@dataclass(kw_only=True, eq=False)
class Account(Budget):
    """The part of one run in a purse. Its limits are those of the purse.

    Attributes:
        purse: The purse.
        asked: Rows of this run that were put into requests, without those that were asked again.
    """

    purse: Purse
    asked: int = 0

    def __post_init__(self) -> None:
        self.purse.accounts.append(self)

    def beside(self) -> Account:
        """An account of the same purse, for another run of the same call."""
        return Account(
            max_cost=self.max_cost, max_tokens=self.max_tokens, price=self.price, tier=self.tier, purse=self.purse
        )

    @property
    def has_requests(self) -> bool:
        """Whether this run has requests in flight."""
        return bool(self._in_flight)

    @property
    def is_idle(self) -> bool:
        """Whether nothing is in flight in any run, and no row on its way to one will give up what it reserves."""
        cost, tokens = self.purse.owed(self, 0)
        return self.purse.is_idle and not cost and not tokens

    def fits(self, estimate: Usage, rows: int = 0) -> bool:
        """Whether a request of this size may be sent now, and its rows can be carried through the other runs, too."""
        parts = [self.held(estimate), self.purse.owed(self, rows)]
        for other in self.purse.accounts:
            if other is not self:
                parts += [other.held(), (other.cost, other.tokens)]
        is_fitting = self._leaves_room((sum(cost for cost, _ in parts), sum(tokens for _, tokens in parts)))
        self.asked += rows if is_fitting else 0
        return is_fitting

    async def has_room(self) -> bool:
        """Wait until a run gives up some of the limit."""
        return await self.purse.has_room()

    def release(self, number: int) -> None:
        """Release the budget of a request that was not sent or cost nothing."""
        super().release(number)
        self.purse.wake()

    def charge(self, number: int, usage: Usage) -> None:
        """Count the usage of a request; numbers that the provider does not report are estimated."""
        super().charge(number, usage)
        self.purse.wake()

    def __str__(self) -> str:
        cost, tokens = sum(one.cost for one in self.purse.accounts), sum(one.tokens for one in self.purse.accounts)
        return self._said(cost, tokens)
