"""How much of each limit a request uses."""

from __future__ import annotations

from typing import NamedTuple

from smelt.lanes.limits import Limits, Quota
from smelt.providers.base import Usage


class Amounts(NamedTuple):
    """One number per limit that a provider may have, in the order of the pacer's buckets."""

    requests: float
    tokens: float
    input_tokens: float
    output_tokens: float


def amounts_of(usage: Usage, otherwise: Usage | None = None) -> Amounts:
    """How much a request with *usage* uses; numbers missing from it are taken from *otherwise*, else they are 0."""
    spent_in, spent_out = usage.input_tokens, usage.output_tokens
    if otherwise is not None:
        spent_in = otherwise.input_tokens if spent_in is None else spent_in
        spent_out = otherwise.output_tokens if spent_out is None else spent_out
    return Amounts(1.0, float((spent_in or 0) + (spent_out or 0)), float(spent_in or 0), float(spent_out or 0))


def quotas_of(limits: Limits) -> tuple[Quota | None, ...]:
    """The announced quotas, in the order of `Amounts`."""
    return limits.requests, limits.tokens, limits.input_tokens, limits.output_tokens
