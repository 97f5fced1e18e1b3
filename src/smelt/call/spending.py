"""What a call may spend: its limit, its part of a shared one, and the price list that both go by."""

from __future__ import annotations

import asyncio
from functools import partial

from smelt.call.options import Settings
from smelt.call.preparation import Preparation
from smelt.engine.budget import Budget
from smelt.engine.events import Event, RequestSent
from smelt.engine.purse import Account, Purse
from smelt.providers.base import Provider
from smelt.providers.prices import cost_of, price_for
from smelt.providers.usage import asked_tier

_ON_ITS_WAY = 0.1  # Seconds; by then the SDK has sent the request, and the loop only waits for the reply.


def budget_of(call: Preparation) -> Budget:
    """The spending limit of *call*."""
    settings = call.settings
    return Budget(
        max_cost=settings.max_cost,
        max_tokens=settings.max_tokens_total,
        price=partial(cost_of, call.provider),
        tier=asked_tier(call.params),
    )


def account_of(call: Preparation, purse: Purse, limits: Settings) -> Account:
    """The part of *call* in a spending limit that several runs share which go on at the same time.

    Args:
        call: The call.
        purse: What is shared.
        limits: The options of all runs together.
    """
    return Account(
        max_cost=limits.max_cost,
        max_tokens=limits.max_tokens_total,
        price=partial(cost_of, call.provider),
        tier=asked_tier(call.params),
        purse=purse,
    )


class PriceLoading:
    """An observer that loads the price list, which is slow, while the loop waits for the first reply."""

    def __init__(self, provider: Provider) -> None:
        self._provider = provider
        self._has_begun = False
        self._timer: asyncio.TimerHandle | None = None

    def __call__(self, event: Event) -> None:
        if not self._has_begun and isinstance(event, RequestSent):
            self._has_begun = True
            # In the next loop iteration: in this one the SDK still builds the request.
            asyncio.get_running_loop().call_soon(self._begin)

    def _begin(self) -> None:
        loop = asyncio.get_running_loop()
        self._timer = loop.call_later(_ON_ITS_WAY, price_for, self._provider)

    def close(self) -> None:
        """Do not load it any more."""
        if self._timer is not None:
            self._timer.cancel()
