"""The data of a run: what it asks (`Work`), its statistics (`Counts`) and how it ended (`Halt`, `Ending`)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from smelt.engine.events import RowsSettled
from smelt.engine.policy import Policy
from smelt.errors import SmeltError
from smelt.plan.answers import Outcomes
from smelt.plan.chunks import AutoSize
from smelt.plan.compact import Compact
from smelt.plan.decisions import Decision
from smelt.plan.kinds import Field
from smelt.plan.schema import Output
from smelt.plan.sizes import Aim
from smelt.plan.wire import REMINDER
from smelt.providers.base import DECISIONS, CallFailed, Request, Usage

_SOME = Usage(input_tokens=1, output_tokens=1)


@dataclass(frozen=True, kw_only=True, eq=False)
class Work:
    """What a run asks of its rows. The rows themselves come from a `Supply`.

    Attributes:
        output: The schema of an answer.
        asked: The fields to ask for: all of the output's, or only the fields that earlier answers lack.
        system: The instructions.
        array_system: The instructions for replies that are one array of rows, if *system* asks for another shape and
            the server may not hold replies to it; empty otherwise.
        params: The caller's own parameters for the provider.
        row_tokens: Output tokens allowed for one row.
        most_rows: Rows per request at most.
        first_rows: Rows of the first request if smelt chooses the number.
        is_auto: Whether smelt chooses the number of rows per request.
        aim: What it chooses by.
        timeout: Seconds for one call.
        deadline: Seconds for the whole run, or None.
        ends_at: The time of the loop at which *deadline* has passed; None if it counts from the start of the run.
        stop_on_failure: Whether the first row that is given up ends the run.
        policy: The retry limits.
        reply_bytes: The usual size of the answer to one row, in bytes.
        completing: By position, the JSON of earlier answers that replies only add fields to; None if replies are
            complete.
        output_model: The caller's class of an answer, or `str`, for providers that are the caller's own code.
        prompt: The caller's question, for the same.
        compact: How rows are asked for the first time on the compact wire. None: in the keyed form. Rows that are asked
            again always are.
        wire: Whether it is used; "auto": if the ledger or a pilot says so.
        decisions: What is asked of each row at the provider's endpoint for decisions; empty if the model writes text.
        reminder: What is said after the rows.
        scores: As in `Request`.
    """

    output: Output
    asked: tuple[Field, ...]
    system: str
    params: Mapping[str, Any]
    row_tokens: int
    most_rows: int
    is_auto: bool
    timeout: float
    aim: Aim = "balanced"
    array_system: str = ""
    first_rows: int = 5
    deadline: float | None = None
    ends_at: float | None = None
    stop_on_failure: bool = False
    policy: Policy = Policy()
    reply_bytes: int = 0
    completing: Mapping[int, str] | None = None
    output_model: type[Any] | None = None
    prompt: str = ""
    compact: Compact | None = None
    wire: Literal["keyed", "compact", "auto"] = "keyed"
    decisions: tuple[Decision, ...] = ()
    reminder: str = REMINDER
    scores: int = 0

    @property
    def question_bytes(self) -> int:
        """About how many bytes the questions about one row take."""
        return sum([one.bytes for one in self.decisions])

    @property
    def tier(self) -> str:
        """What stands for the service tier of its requests, if they have a price of their own."""
        return DECISIONS if self.decisions else ""

    def size_at_first(self) -> AutoSize:
        """The rows per request before the first reply."""
        if not self.is_auto:
            return AutoSize(most=self.most_rows, rows=float(self.most_rows))
        return AutoSize(most=self.most_rows, rows=float(self.first_rows), goal=float(self.most_rows))


@dataclass(kw_only=True, eq=False)
class Counts:
    """The statistics of a run, and its first request. Token counts are sums over the replies that reported them.

    Attributes:
        announced: Requests recorded in the ledger; also the number of the newest one.
        reused: The caller's rows whose answers came from the ledger.
        reused_cost_usd: Dollars that these answers cost when they were bought; None if not known.
        requests: Requests that were sent.
        retries: Requests that carried rows which were sent before.
        rate_limited: Requests refused by a rate limit.
        possible_duplicates: Requests that may have been billed without an answer.
        strangers: Rows of replies whose token was not in the request.
        hopeless: Rows that were given up before the first reply.
        pending: The caller's rows that wait in jobs of a Batch API; they count as failed in the parts.
        stranded: Those of them whose answers no waiting brings.
        input_tokens: Input tokens, cached ones included.
        output_tokens: Output tokens, reasoning included.
        cached_input_tokens: Input tokens read from the provider's cache.
        written_input_tokens: Input tokens written to the provider's cache.
        reasoning_tokens: Output tokens spent on reasoning.
        wasted_tokens: Tokens, input and output, paid for answers that were not used.
        tiers: Replies by the service tier that served them.
        standard_requests: Replies that the usual tier served, in a run that prefers a cheaper one.
        standard_rows: Rows in those requests.
        cost_usd: Dollars; None as soon as one price is unknown.
        first_request: The first request, as it was sent; None before that.
        wire: The wire that was used, and why.
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
    pending: int = 0
    stranded: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    cached_input_tokens: int = 0
    written_input_tokens: int = 0
    reasoning_tokens: int = 0
    wasted_tokens: int = 0
    tiers: Counter[str] = field(default_factory=Counter)
    standard_requests: int = 0
    standard_rows: int = 0
    cost_usd: float | None = 0.0
    first_request: Request | None = None
    wire: str = "keyed"

    def add(self, usage: Usage, cost_usd: float | None) -> None:
        """Add the usage of one request to the sums; one unknown price makes the whole cost unknown."""
        self.input_tokens += usage.input_tokens or 0
        self.output_tokens += usage.output_tokens or 0
        self.cached_input_tokens += usage.cached_input_tokens or 0
        self.written_input_tokens += usage.written_input_tokens or 0
        self.reasoning_tokens += usage.reasoning_tokens or 0
        self.tiers[usage.tier or "standard"] += 1
        self.cost_usd = None if self.cost_usd is None or cost_usd is None else self.cost_usd + cost_usd

    def include(self, other: Counts) -> None:
        """Add the counts of another run of the same call."""
        for name in _SUMS:
            setattr(self, name, getattr(self, name) + getattr(other, name))
        self.tiers.update(other.tiers)
        self.cost_usd = _sum(self.cost_usd, other.cost_usd)
        self.reused_cost_usd = _sum(self.reused_cost_usd, other.reused_cost_usd)
        self.first_request = self.first_request or other.first_request

    def waste(self, usage: Usage, *, sent: int, used: int) -> None:
        """Count what a request with *sent* rows cost beyond the *used* answers."""
        tokens = (usage.input_tokens or 0) + (usage.output_tokens or 0)
        self.wasted_tokens += round(tokens * (sent - used) / sent) if sent else tokens


@dataclass(frozen=True, kw_only=True, eq=False)
class Halt:
    """Why sending stopped. Both fields are None after an interrupt or a stop on failure.

    Attributes:
        stop: The provider's failure that concerns every row, or None.
        fault: The error of the ledger or the budget, or None.
    """

    stop: CallFailed | None = None
    fault: SmeltError | None = None


@dataclass(frozen=True, kw_only=True, eq=False)
class Ending:
    """How a run ended.

    Attributes:
        counts: Its statistics.
        stop: The provider's failure that stopped it, or None.
        fault: The error of the ledger or the budget that stopped it, or None.
        notices: Notices for the caller.
    """

    counts: Counts
    stop: CallFailed | None
    fault: SmeltError | None
    notices: Sequence[str]

    @property
    def why(self) -> CallFailed | SmeltError | None:
        """What stopped it before its end, but for its deadline; None if nothing did."""
        return self.stop or self.fault


_SUMS = (
    *("announced", "reused", "requests", "retries", "rate_limited", "possible_duplicates", "strangers", "hopeless"),
    *("input_tokens", "output_tokens", "cached_input_tokens", "written_input_tokens", "reasoning_tokens"),
    *("wasted_tokens", "standard_requests", "standard_rows"),
)


def _sum(one: float | None, other: float | None) -> float | None:
    return None if one is None or other is None else one + other


def rows_settled(answers: Outcomes, counts: Counts) -> RowsSettled:
    """The event with the number of rows that have their outcome by now."""
    return RowsSettled(answered=answers.answered + answers.skipped, failed=answers.failed, reused=counts.reused)


def is_free(price: Callable[[Usage], float | None]) -> bool:
    """Whether the model costs nothing, so that no request can be billed."""
    return price(_SOME) == 0
