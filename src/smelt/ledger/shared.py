"""The ledger of a run that shares its answers with other machines."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from smelt.ledger.base import NO_SCORES, Claim, Holding
from smelt.ledger.exchange import Exchange
from smelt.ledger.recorder import Recorder
from smelt.plan.chunks import Pending
from smelt.plan.scores import Scores
from smelt.plan.validate import Accepted
from smelt.providers.base import CallFailed, Reply


class SharedLedger:
    """The ledger of this machine, beside a store of answers that machines share.

    Answers of the store are written into the ledger before rows are looked up there, and answers that the store lacks
    are handed on to it. An answer is handed on when the ledger has the reply that brought it. A request begins only
    after all earlier answers of this run are in the store: so if this machine dies, others pay again for no more rows
    than the run had in flight.
    """

    is_blank = False  # The store may know any row.
    is_learning = False

    def __init__(self, recorder: Recorder, exchange: Exchange, *, is_refresh: bool) -> None:
        """Record in *recorder*, share by *exchange*; *is_refresh*: the answers of others do not count."""
        self._recorder = recorder
        self._exchange = exchange
        self._is_refresh = is_refresh

    @property
    def wire(self) -> str:
        """As `RunLedger.wire`."""
        return self._recorder.wire

    def keep_wire(self, verdict: str) -> None:
        """As `RunLedger.keep_wire`."""
        self._recorder.keep_wire(verdict)

    async def fetch(self, texts: Sequence[str]) -> None:
        """Write the answers that only the store has into the ledger, and hand on those that only the ledger has.

        Raises:
            StoreError: The store was never reached, or the ledger cannot be written to.
        """
        sought = [] if self._is_refresh else [text for text in texts if text]
        found = await self._exchange.fetch(sought)
        elsewhere = {text: answer for text, answer in zip(sought, found, strict=True) if answer is not None}
        here = self._recorder.answers(sought)
        new = {text: answer for text, answer in elsewhere.items() if text not in here}
        if new:
            await self._recorder.take_over(new)
        self._exchange.put({text: answer for text, answer in here.items() if text not in elsewhere})

    def recall(self, texts: Sequence[str]) -> Sequence[tuple[Any, ...] | None]:
        """As `RunLedger.recall`."""
        return self._recorder.recall(texts)

    def scores(self, texts: Sequence[str]) -> Sequence[Scores | None]:
        """As `RunLedger.scores`: those of this machine's own answers, since machines share the answers alone."""
        return self._recorder.scores(texts)

    def held(self, texts: Sequence[str]) -> Sequence[Holding | None]:
        """As `RunLedger.held`."""
        return self._recorder.held(texts)

    async def intend(self, number: int, rows: Sequence[Pending], tokens: Sequence[str], estimate: int) -> Claim:
        """As `RunLedger.intend`; the answers so far are also in the store when this returns."""
        claim = await self._recorder.intend(number, rows, tokens, estimate)
        await self._exchange.settled()  # Afterwards: the reply whose slot this request takes is parsed only now.
        return claim

    def withdraw(self, number: int) -> None:
        """As `RunLedger.withdraw`."""
        self._recorder.withdraw(number)

    async def receive(self, number: int, outcome: Reply | CallFailed, cost_usd: float | None) -> None:
        """As `RunLedger.receive`."""
        await self._recorder.receive(number, outcome, cost_usd)

    def commit(
        self,
        number: int,
        accepted: Sequence[Accepted],
        unread: str | None = None,
        scores: Mapping[int, Scores] = NO_SCORES,
    ) -> None:
        """As `RunLedger.commit`, and hand the answers on."""
        self._recorder.commit(number, accepted, unread, scores)
        self._exchange.put({row.text: answer for row, _, answer in accepted})

    def wind_down(self) -> None:
        """As `RunLedger.wind_down`."""
        self._recorder.wind_down()

    async def await_others(self) -> None:
        """As `RunLedger.await_others`."""
        await self._recorder.await_others()

    def reused_cost_usd(self) -> float | None:
        """As `RunLedger.reused_cost_usd`; not known if answers of other machines are among them."""
        return self._recorder.reused_cost_usd()
