"""What a run is to do, what it did, and how it ended: the values around `Run`."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from smelt.engine.events import RowsSettled
from smelt.engine.policy import Policy
from smelt.errors import SmeltError
from smelt.plan.answers import Outcomes
from smelt.plan.kinds import Field
from smelt.plan.rows import RowSource
from smelt.plan.schema import Output
from smelt.providers.base import CallFailed, Request, Usage

_SOME = Usage(input_tokens=1, output_tokens=1)


@dataclass(frozen=True, kw_only=True, eq=False)
class Work:
    """What a run is to do.

    Attributes:
        source: The caller's rows.
        order: Positions of the rows to ask, in the order to ask them in.
        output: What an answer is.
        asked: The fields to ask for: all of the output's, or those that earlier answers lack.
        system: The instructions.
        params: The caller's own parameters for the provider.
        row_tokens: Output tokens that one row is allowed.
        most_rows: Rows per request at the most.
        first_rows: Rows of the first request where the number is smelt's to find.
        is_auto: Whether the number of rows per request is smelt's to find.
        timeout: Seconds for one call.
        deadline: Seconds for the whole run, or None.
        stop_on_failure: Whether the first row that is given up ends the run.
        policy: How persistent to be.
        reply_bytes: Bytes that the answer to one row usually takes.
        completing: By position, JSON of answers that replies only add fields to; None where replies are whole answers.
    """

    source: RowSource
    order: Sequence[int]
    output: Output
    asked: tuple[Field, ...]
    system: str
    params: Mapping[str, Any]
    row_tokens: int
    most_rows: int
    is_auto: bool
    timeout: float
    first_rows: int = 5
    deadline: float | None = None
    stop_on_failure: bool = False
    policy: Policy = Policy()
    reply_bytes: int = 0
    completing: Mapping[int, str] | None = None


@dataclass(kw_only=True, eq=False)
class Counts:
    """What a run did, in numbers, and the first thing it sent. Tokens are sums over the replies that reported them.

    Attributes:
        announced: Requests that the ledger was told of; numbers them.
        reused: The caller's rows that the ledger knew.
        reused_cost_usd: Dollars that their answers cost when they were bought; None if that is not known.
        requests: Requests that were sent.
        retries: Of these, those that carried a row again.
        rate_limited: Of these, those refused for rate.
        possible_duplicates: Of these, those that may have been billed without an answer.
        strangers: Rows of replies under no token that was sent.
        hopeless: Rows that were given up before anything was answered.
        input_tokens: Cached ones included.
        output_tokens: Reasoning included.
        cached_input_tokens: Read from the provider's cache.
        reasoning_tokens: Spent on reasoning.
        cost_usd: Dollars; None once one price is unknown.
        first_request: The first request, as it was sent; None before that.
    """

    announced: int = 0
    reused: int = 0
    reused_cost_usd: float | None = None
    requests: int = 0
    retries: int = 0
    rate_limited: int = 0
    possible_duplicates: int = 0
    strangers: int = 0
    hopeless: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    cached_input_tokens: int = 0
    reasoning_tokens: int = 0
    cost_usd: float | None = 0.0
    first_request: Request | None = None

    def add(self, usage: Usage, cost_usd: float | None) -> None:
        """Take the usage of one request into the sums; one unknown price makes the whole cost unknown."""
        self.input_tokens += usage.input_tokens or 0
        self.output_tokens += usage.output_tokens or 0
        self.cached_input_tokens += usage.cached_input_tokens or 0
        self.reasoning_tokens += usage.reasoning_tokens or 0
        self.cost_usd = None if self.cost_usd is None or cost_usd is None else self.cost_usd + cost_usd


@dataclass(frozen=True, kw_only=True, eq=False)
class Halt:
    """Why a run sends nothing more; neither of the two where it was interrupted, or ends at its first failed row.

    Attributes:
        stop: The provider's failure that concerns every row, or None.
        fault: What is wrong on this side: the ledger or the budget. None otherwise.
    """

    stop: CallFailed | None = None
    fault: SmeltError | None = None


@dataclass(frozen=True, kw_only=True, eq=False)
class Ending:
    """How a run ended.

    Attributes:
        counts: What it did.
        stop: The failure that stopped it, or None.
        fault: What stopped it on this side: the ledger or the budget. None otherwise.
        notices: Sentences that the caller should see.
    """

    counts: Counts
    stop: CallFailed | None
    fault: SmeltError | None
    notices: Sequence[str]


def settled(answers: Outcomes, counts: Counts) -> RowsSettled:
    """How many rows have reached their end by now, as observers are told."""
    return RowsSettled(answered=answers.answered + answers.skipped, failed=answers.failed, reused=counts.reused)


def is_free(price: Callable[[Usage], float | None]) -> bool:
    """Whether a model costs nothing, so that nothing of it can be billed."""
    return price(_SOME) == 0
