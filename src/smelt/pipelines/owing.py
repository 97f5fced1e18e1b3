"""What rows that were begun still need to reach the last step, so that a budget ends in whole rows.

The first step of a span takes new rows only if the money also suffices to carry all rows that were begun through the
steps after it. What a row costs in a step is learnt from its replies, and estimated before the first one.
"""

from __future__ import annotations

from collections.abc import Collection

from smelt.call.requestsize import most_rows
from smelt.engine.purse import Account
from smelt.pipelines.asking import StepRun
from smelt.plan.tokens import reply_bytes, text_tokens
from smelt.providers.base import Usage

_ROW_TOKENS = 40  # Of a row, before the first one was sent.


def owed(account: Account, rows: int, runs: Collection[StepRun]) -> tuple[float, int]:
    """Dollars and tokens that the rows begun, and *rows* more, need in the steps after that of *account*.

    Args:
        account: The account of a step that wants to send a request.
        rows: The new rows in it.
        runs: The runs of the steps of the span.
    """
    own = next((run for run in runs if run.account is account), None)
    if own is None or own.before:  # Later steps spend what the first one left to them.
        return 0.0, 0
    after = [run for run in runs if own in run.before]
    is_over = not any(run.is_busy for run in after) and not account.has_requests
    begun = rows if is_over else account.asked + rows
    parts = [_needed(run, begun, 0 if is_over else run.gone) for run in after]
    return sum(cost for cost, _ in parts), sum(tokens for _, tokens in parts)


def _needed(run: StepRun, begun: int, gone: int) -> tuple[float, int]:
    """Dollars and tokens for *begun* rows of the first step, of which *gone* are past *run* already."""
    rows = max(0, begun - gone)
    account = run.account
    if account.asked:
        cost, tokens = account.held()
        return rows * (account.cost + cost) / account.asked, round(rows * (account.tokens + tokens) / account.asked)
    call = run.call
    usage = Usage(
        input_tokens=text_tokens(len(call.system)) // most_rows(call) + _ROW_TOKENS,
        output_tokens=text_tokens(reply_bytes(call.output.fields)),
    )
    likely = account.likely(usage)
    price = (account.price(likely) or 0.0) if account.max_cost is not None else 0.0
    return rows * price, rows * ((likely.input_tokens or 0) + (likely.output_tokens or 0))
