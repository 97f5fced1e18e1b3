"""What a request takes from each limit."""

from __future__ import annotations

import pytest

from smelt.lanes.amounts import Amounts, amounts_of, quotas_of
from smelt.lanes.limits import Limits, Quota
from smelt.providers.base import Usage


@pytest.mark.parametrize(
    ("usage", "otherwise", "amounts"),
    [
        (Usage(input_tokens=30, output_tokens=12), None, Amounts(1, 42, 30, 12)),
        (Usage(), None, Amounts(1, 0, 0, 0)),
        (Usage(input_tokens=30), Usage(input_tokens=99, output_tokens=7), Amounts(1, 37, 30, 7)),
        (Usage(input_tokens=0, output_tokens=0), Usage(input_tokens=9, output_tokens=9), Amounts(1, 0, 0, 0)),
        (Usage(), Usage(input_tokens=9), Amounts(1, 9, 9, 0)),
    ],
    ids=["reported", "nothing", "half reported", "reported as none", "estimated"],
)
def test_what_is_not_reported_is_taken_from_the_estimate(
    usage: Usage, otherwise: Usage | None, amounts: Amounts
) -> None:
    assert amounts_of(usage, otherwise) == amounts


def test_quotas_stand_in_the_order_of_the_amounts() -> None:
    limits = Limits(**{name: Quota(limit=at, remaining=at) for at, name in enumerate(Amounts._fields, start=1)})

    assert [quota and quota.limit for quota in quotas_of(limits)] == [1, 2, 3, 4]
    assert quotas_of(Limits()) == (None, None, None, None)
