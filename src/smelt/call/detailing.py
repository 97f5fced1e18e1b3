"""Makes the frame `result.details` of what a run noted for each row."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from smelt.call.preparation import Preparation
from smelt.engine.details import Details, Seen
from smelt.frames.base import OutputColumn
from smelt.plan.answers import Answers
from smelt.plan.kinds import Boolean, Float, Integer, Kind, Text

_NOTHING = Seen(number=0, request_id=None, model=None, finish="")


def detailed(call: Preparation, answers: Answers, details: Details, total_usd: float | None) -> Any:
    """A frame with the index and the order of the caller's, and the details of each row in its columns.

    A row that is equal to an earlier one has the request of that one, and no share of its tokens and dollars.
    """
    details.settle(total_usd)
    kinds, values = _columns(answers, details, call.firsts)
    columns = [
        OutputColumn(name=name, kind=replace(kinds[name], nullable=True), values=values[name]) for name in values
    ]
    return call.frame.attach(columns, dropped=call.frame.names)


def _columns(
    answers: Answers, details: Details, firsts: Sequence[int]
) -> tuple[dict[str, Kind], dict[str, Sequence[Any]]]:
    seen = [details.seen.get(first, _NOTHING) for first in firsts]
    known = [answers.is_settled(at) and at not in answers.failures for at in range(details.rows)]
    values: dict[str, Sequence[Any]] = {
        "request": [one.number or None for one in seen],
        "request_id": [one.request_id for one in seen],
        "model": [one.model for one in seen],
        "finish": [one.finish or None for one in seen],
        "requests": [details.requests[first] for first in firsts],
        "attempts": [details.attempts[first] for first in firsts],
        "from_ledger": [has and not details.answered[first] for has, first in zip(known, firsts, strict=True)],
        **details.tokens,
        "cost_usd": [
            None if unpriced else share for unpriced, share in zip(details.is_unpriced, details.cost_usd, strict=True)
        ],
        "notes": [one.notes for one in seen],
        "reasoning": [one.reasoning for one in seen],
    }
    texts = ("request_id", "model", "finish", "notes", "reasoning")
    kinds: dict[str, Kind] = {name: Text() if name in texts else Integer() for name in values}
    return {**kinds, "from_ledger": Boolean(), "cost_usd": Float()}, values
