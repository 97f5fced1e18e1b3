"""A server that shows its model the media of a request in another order is found before rows share a request."""

from __future__ import annotations

import random
from typing import Any

import pandas as pd
import pytest

import smelt
from smelt.engine.mediaorder import ask, is_right, picture, question
from smelt.errors import SmeltWarning
from smelt.plan.media import Media
from smelt.providers.base import Billing, CallFailed, Capabilities, Reply
from smelt.testing import ScriptedProvider, run_jumping
from tests.conftest import MakeScenario
from tests.fakeserver import Scenario
from tests.media.pictures import Seen, crc, png
from tests.models import served

PNGS = [png(number) for number in range(7)]
SAYS: dict[str, Any] = {"crc": {"crc": "photo"}, "colour": {"colour": "picture"}}
FRAME = pd.DataFrame({"photo": pd.Series(PNGS, dtype=object)})


def run(server: Scenario, name: str = "vllm", **options: Any) -> Any:
    settings: dict[str, Any] = {"batch_size": 3, "ledger": False, "progress": False, **options}
    return FRAME.smelt.transform("What is in {photo}?", Seen, model=served(name, server), **settings)


def test_each_row_is_sent_alone_to_a_server_that_mixes_up_the_pictures(scenario: MakeScenario) -> None:
    server = scenario(answers=SAYS, media={"permutes": True})

    with pytest.warns(SmeltWarning, match="rows with media are sent one by one"):
        out = run(server)

    assert out["crc"].tolist() == [crc(one) for one in PNGS]
    assert server.stats().requests == 1 + len(PNGS)


def test_without_the_test_such_a_server_gives_rows_the_answers_of_others(scenario: MakeScenario) -> None:
    server = scenario(answers=SAYS, media={"permutes": True})

    out = run(server, "openai")  # It is known to keep the order.

    assert out["crc"].tolist() != [crc(one) for one in PNGS]


def test_a_server_that_keeps_the_order_is_tested_once_per_process(scenario: MakeScenario) -> None:
    server = scenario(answers=SAYS)

    first, second = run(server), run(server)

    assert first["crc"].tolist() == second["crc"].tolist() == [crc(one) for one in PNGS]
    assert server.stats().requests == 1 + 3 + 3


def test_a_model_that_cannot_tell_colours_gets_one_row_at_a_time(scenario: MakeScenario) -> None:
    server = scenario(answers={**SAYS, "colour": {"const": "red"}})

    with pytest.warns(SmeltWarning, match="one by one"):
        out = run(server)

    assert out["crc"].tolist() == [crc(one) for one in PNGS]


def test_a_reply_to_the_test_that_cannot_be_read_is_no_proof_of_disorder(scenario: MakeScenario) -> None:
    server = scenario(answers=SAYS, script={"0": "malformed"})

    out = run(server)

    assert out["crc"].tolist() == [crc(one) for one in PNGS]
    assert server.stats().requests == 2 + 3


def test_nothing_is_tested_where_rows_travel_alone_anyway(scenario: MakeScenario) -> None:
    server = scenario(answers=SAYS)

    run(server, batch_size="auto")

    assert server.stats().requests == len(PNGS)


def test_the_tokens_of_the_test_are_counted(scenario: MakeScenario) -> None:
    server = scenario(answers=SAYS)

    result = smelt.run(
        FRAME, "What is in {photo}?", Seen, model=served("vllm", server), batch_size=3, ledger=False, progress=False
    )

    assert result.metrics.input_tokens == server.stats().input_tokens
    assert result.metrics.requests == server.stats().requests


def test_a_test_that_fails_says_nothing_about_the_order() -> None:
    provider = ScriptedProvider({}, script=[CallFailed("server", Billing.REJECTED, "no")])

    found = run_jumping(ask(provider, provider.capabilities, {}, timeout=1.0, rng=random.Random(0)))

    assert found.result == (None, None)


@pytest.mark.parametrize("codec", ["array", "keyed"])
def test_three_small_pictures_are_shown_each_after_its_name(codec: Any) -> None:
    colours = ["blue", "red", "green"]

    asked = question(Capabilities(codec=codec), ["k7f2x", "p3xwb", "q4zzz"], colours, {}, timeout=1.0)

    media = [one for one in asked.parts if isinstance(one, Media)]
    names = [one.rpartition("\n")[2] for one in asked.parts if isinstance(one, str)][:3]
    assert [one.data for one in media] == [picture(colour) for colour in colours]
    assert names == ["k7f2x/picture:", "p3xwb/picture:", "q4zzz/picture:"]
    assert all(len(one.data) < 200 for one in media)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('{"rows": [{"id": "k7f2x", "colour": "red"}, {"id": "p3xwb", "colour": "blue"}]}', True),
        ('{"rows": [{"id": "p3xwb", "colour": "Blue "}, {"id": "k7f2x", "colour": "RED"}]}', True),
        ('{"rows": [{"id": "k7f2x", "colour": "blue"}, {"id": "p3xwb", "colour": "red"}]}', False),
        ('{"rows": [{"id": "k7f2x", "colour": "red"}, {"id": "p3xwb", "colour": "none"}]}', None),
        ('{"rows": [{"id": "k7f2x", "colour": "red"}]}', None),
        ("I see three pictures.", None),
    ],
)
def test_only_the_right_colour_under_each_token_counts(text: str, expected: bool | None) -> None:
    assert is_right(Reply(text=text), ["k7f2x", "p3xwb"], ["red", "blue"], "array") is expected
