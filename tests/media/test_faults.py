"""Rows with media fare like any rows when requests fail: asked again, halved, sent alone, and never mixed up."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pandas as pd
import pytest

import smelt
from smelt.errors import SmeltAPIError
from smelt.plan.media import Media
from smelt.providers.base import Request
from smelt.testing import ScriptedProvider
from tests.conftest import MakeScenario
from tests.fakeserver import Scenario, oddities
from tests.media.pictures import Seen, crc, png
from tests.models import served

PNGS = [png(number) for number in range(60)]
FRAME = pd.DataFrame({"photo": pd.Series(PNGS, dtype=object), "number": range(60)})
SAYS: dict[str, Any] = {"crc": {"crc": "photo"}, "colour": {"colour": "picture"}}
QUESTION = "What is in {photo} of {number}?"


def run(server: Scenario, name: str = "openai", **options: Any) -> Any:
    return smelt.transform(FRAME, QUESTION, Seen, model=served(name, server), ledger=False, progress=False, **options)


@pytest.mark.parametrize(
    "rates",
    [
        {"drop": 0.1, "invalid": 0.1, "duplicate": 0.1},
        {"malformed": 0.2, "truncate": 0.2},
        {"html": 0.2, "reset_mid_body": 0.1},
        {"swap_ids": 0.0, "shuffle": 1.0},
    ],
    ids=["rows", "replies", "transport", "order"],
)
@pytest.mark.filterwarnings("ignore:.*does not enforce the reply schema")
def test_pictures_keep_their_rows_through_faults(scenario: MakeScenario, rates: dict[str, float]) -> None:
    out = run(scenario(answers=SAYS, rates=rates, seed=3), max_attempts=6)

    answered = out["crc"].notna()
    assert answered.mean() > 0.9
    assert [crc(PNGS[at]) for at in out.index[answered]] == out["crc"][answered].tolist()


@pytest.mark.filterwarnings("ignore:.*does not enforce the reply schema")
def test_pictures_keep_their_rows_with_a_hostile_model(scenario: MakeScenario) -> None:
    odd = {name: rate for name, rate in oddities.rates(0.05, lost=0.01).items() if name not in oddities.ONCE}

    out = run(scenario(answers=SAYS, oddities=odd, seed=5))

    assert out["crc"].tolist() == [crc(one) for one in PNGS]


def test_a_row_that_no_server_bears_is_found_by_halving(scenario: MakeScenario) -> None:
    server = scenario(answers=SAYS, poison={"column": "number", "values": [17], "status": "bad_request"})

    out = run(server)

    assert out.index[out["crc"].isna()].tolist() == [17]


def test_isolation_sends_every_picture_alone(scenario: MakeScenario) -> None:
    server = scenario(answers=SAYS)

    run(server, isolation="row")

    assert server.stats().requests == 60


def test_pictures_travel_by_four_and_fewer_where_bytes_are_few(scenario: MakeScenario) -> None:
    server, small = scenario(answers=SAYS), ScriptedProvider(lambda row: {"crc": crc(row["photo"].data)})
    small.capabilities = replace(small.capabilities, media_bytes=2 * len(PNGS[59]))

    run(server)
    FRAME.smelt.transform(QUESTION, Seen, model=small, ledger=False, progress=False)

    assert server.stats().requests == 15
    assert max(sum(isinstance(one, Media) for one in asked.parts) for asked in small.requests) == 2


def test_a_hook_changes_the_texts_that_are_sent() -> None:
    provider = ScriptedProvider(lambda row: {"crc": 1})

    def before(request: Request) -> Request:
        return replace(request, parts=tuple(f"{one} " if isinstance(one, str) else one for one in request.parts))

    model = smelt.wrap(provider, before=before, tag="blank")
    FRAME.head(2).smelt.transform(QUESTION, Seen, model=model, ledger=False, progress=False)

    assert str(provider.requests[0].parts[0]).endswith("/photo: ")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda request: replace(request, user=f"{request.user} "), "rows with media are sent from parts"),
        (lambda request: replace(request, parts=("nothing",)), "removed the id"),
    ],
    ids=["user", "ids"],
)
def test_a_hook_that_changes_what_is_not_sent_is_told_so(change: Any, words: str) -> None:
    model = smelt.wrap(ScriptedProvider({"crc": 1}), before=change, tag="x")

    with pytest.raises(SmeltAPIError, match=words):
        FRAME.head(2).smelt.transform(QUESTION, Seen, model=model, ledger=False, progress=False)
