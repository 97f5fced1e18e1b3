"""Hosts that refuse how they are asked for JSON, or ignore it: every row is answered, and little is asked in vain."""

from __future__ import annotations

import pandas as pd
import pytest

import smelt
from tests.conftest import MakeScenario
from tests.fakeserver.hosts import HOSTS
from tests.models import RULES, Company

# A reply that no schema shaped is noticed, and told.
pytestmark = pytest.mark.filterwarnings("ignore:vllm does not enforce the reply schema")

ROWS = 120
FRAME = pd.DataFrame({"name": [f"company {at}" for at in range(ROWS)], "number": range(ROWS)})


@pytest.mark.parametrize("host", HOSTS)
def test_every_row_is_answered_whatever_the_host_refuses(host: str, scenario: MakeScenario) -> None:
    fake = scenario(answers=RULES, host=host)
    model = smelt.Model("vllm", "fake-1", base_url=fake.base_url("compatible"))

    result = FRAME.smelt.run("Describe {name} {number}.", Company, model=model, batch_size=10, concurrency=4)

    assert result.frame.smelt_error.isna().all()
    assert result.frame.echo.tolist() == FRAME.name.tolist()
    stats = fake.stats()
    refused = stats.requests - stats.statuses[200]
    assert stats.statuses[200] == ROWS / 10
    assert refused <= 4 * 4  # At most once for each way, by each of the requests that are in flight at first.
