"""The tokens of media are in the estimate, the budget and the lane, and a bill far above them ends the run."""

from __future__ import annotations

from typing import Any

import pandas as pd
import pytest

import smelt
from smelt.engine.budget import overbilled
from smelt.errors import SmeltWarning
from tests.conftest import MakeScenario
from tests.fakeserver import Scenario
from tests.media.pictures import Seen, crc, png
from tests.models import served

PNGS = [png(number, side=1_024) for number in range(12)]
FRAME = pd.DataFrame({"photo": pd.Series(PNGS, dtype=object)})
SAYS: dict[str, Any] = {"crc": {"crc": "photo"}}
QUESTION = "What is in {photo}?"


def run(server: Scenario, **options: Any) -> Any:
    settings: dict[str, Any] = {"ledger": False, "progress": False, "concurrency": 1, **options}
    return smelt.transform(FRAME, QUESTION, Seen, model=served("openai", server), **settings)


def test_an_estimate_counts_media_by_the_formula_of_the_model() -> None:
    tile, patch, bare = (
        smelt.estimate(FRAME, QUESTION, Seen, model=model)
        for model in ("openai:gpt-4o", "openai:gpt-4.1-mini", "anthropic:claude-haiku-4-5")
    )

    assert (tile.media_tokens, patch.media_tokens) == (12 * 765, 12 * 1_659)
    assert bare.media_tokens == 12 * 1_369
    assert tile.input_tokens > tile.media_tokens
    assert "(9,180 of them for media)" in repr(tile)
    assert tile.cost_usd is not None
    assert tile.cost_usd > 9_180 * 2e-6


def test_a_first_bill_far_above_the_estimate_ends_the_run_and_keeps_what_is_paid(scenario: MakeScenario) -> None:
    server = scenario(answers=SAYS, media={"tokens": 66_000})

    with pytest.warns(SmeltWarning, match="were expected. The server may read media as text"):
        out = run(server)

    assert out["crc"].notna().sum() == 4  # Those of the first request.
    assert server.stats().requests == 1


def test_a_limit_of_the_caller_takes_its_place(scenario: MakeScenario) -> None:
    server = scenario(answers=SAYS, media={"tokens": 66_000})

    out = run(server, max_tokens_total=10_000_000)

    assert out["crc"].tolist() == [crc(one) for one in PNGS]


def test_a_bill_as_expected_goes_on(scenario: MakeScenario) -> None:
    server = scenario(answers=SAYS, media={"tokens": 1_500})

    assert run(server)["crc"].tolist() == [crc(one) for one in PNGS]


def test_the_budget_knows_media_before_they_are_sent(scenario: MakeScenario) -> None:
    server = scenario(answers=SAYS, media={"tokens": 16_384})

    with pytest.warns(SmeltWarning, match="max_tokens_total=1,000"):
        run(server, max_tokens_total=1_000)

    assert server.stats().requests == 0


@pytest.mark.parametrize(
    ("billed", "expected", "media", "is_wrong"),
    [
        (66_000, 1_700, 1, True),
        (6_801, 1_700, 1, True),
        (6_800, 1_700, 1, False),
        (1_601, 150, 1, False),  # Small pictures cost some models as much as large ones.
        (16_100, 150, 4, True),
        (16_000, 150, 4, False),
        (9_000_000, 10, 0, False),
        (None, 1_700, 1, False),
    ],
)
def test_four_times_the_estimate_is_too_much(billed: int | None, expected: int, media: int, is_wrong: bool) -> None:
    assert bool(overbilled(billed, expected, media)) is is_wrong
