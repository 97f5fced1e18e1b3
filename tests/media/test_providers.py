"""Media over every protocol: real SDKs, real HTTP, and what real providers refuse."""

from __future__ import annotations

from typing import Any

import pandas as pd
import pytest

import smelt
from smelt.errors import BadRequestError, SmeltConfigError
from smelt.providers.base import Capabilities
from tests.conftest import MakeScenario
from tests.fakeserver import Scenario
from tests.media.pictures import Seen, crc, png
from tests.models import served
from tests.providers.asking import EACH, adapter

PNGS = [png(number) for number in range(7)]
WAV = b"RIFF\x24\0\0\0WAVEfmt \x10\0\0\0\1\0\1\0\x40\x1f\0\0\x40\x1f\0\0\1\0\x08\0data"
CLIPS = [WAV + bytes([at]) for at in range(3)]
SCANS = [b"%PDF-1.4\n1 0 obj <</Type /Page>> endobj " + bytes([at]) for at in range(3)]
SAYS: dict[str, Any] = {"crc": {"crc": "photo"}, "colour": {"colour": "picture"}}


@pytest.fixture(params=EACH)
def name(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setenv("GOOGLE_CLOUD_PROJECT", "acme")
    return str(request.param)


def limits(name: str) -> Capabilities:
    return adapter(name, "http://localhost:1").capabilities


def ask(server: Scenario, name: str, cells: list[Any], **options: Any) -> Any:
    frame = pd.DataFrame({"photo": pd.Series(cells, dtype=object)})
    settings: dict[str, Any] = {"batch_size": 3, "ledger": False, "progress": False, "shuffle": False, **options}
    return smelt.transform(frame, "What is in {photo}?", Seen, model=served(name, server), **settings)


def test_each_picture_is_answered_under_its_own_row(name: str, scenario: MakeScenario) -> None:
    out = ask(scenario(answers=SAYS), name, PNGS)

    assert out["crc"].tolist() == [crc(one) for one in PNGS]


@pytest.mark.parametrize(("kind", "cells"), [("document", SCANS), ("audio", CLIPS)], ids=["document", "audio"])
def test_other_media_are_sent_one_by_one_or_refused(
    name: str, scenario: MakeScenario, kind: Any, cells: list[bytes]
) -> None:
    server = scenario(answers=SAYS)
    if kind not in limits(name).media:
        with pytest.raises(SmeltConfigError, match="The rows hold (PDFs|audio), and .* takes .* only"):
            ask(server, name, cells)
        assert server.stats().requests == 0
        return

    out = ask(server, name, cells, batch_size="auto")

    assert out["crc"].tolist() == [crc(one) for one in cells]
    assert server.stats().requests == len(cells)


@pytest.mark.filterwarnings("ignore")  # That what is behind an address may change.
def test_addresses_are_passed_on_or_refused_before_a_request(name: str, scenario: MakeScenario) -> None:
    server = scenario(log=True)
    cells = ["https://pictures.example/1.png", "https://pictures.example/2.png?signature=secret"]
    media = {"photo": smelt.Image(urls=True)}
    if "image" not in limits(name).media_urls:
        with pytest.raises(SmeltConfigError, match="fetches no images from URLs"):
            ask(server, name, cells, media=media)
        assert server.stats().requests == 0
        return

    ask(server, name, cells, media=media, batch_size=1)

    sent = str([one["body"] for one in server.stats().log])
    assert all(cell in sent for cell in cells)


def test_a_model_that_reads_text_only_ends_the_run_at_its_first_refusal(name: str, scenario: MakeScenario) -> None:
    server = scenario(media={"is_text_only": True})

    with pytest.raises(BadRequestError, match="Choose a model that takes them"):
        ask(server, name, PNGS, batch_size=1, concurrency=1)

    assert server.stats().requests == 1


def test_a_picture_that_cannot_be_decoded_costs_its_row_only(name: str, scenario: MakeScenario) -> None:
    server = scenario(answers=SAYS, media={"undecodable": [crc(PNGS[2])]})

    out = ask(server, name, PNGS)

    assert out["crc"].isna().tolist() == [at == 2 for at in range(7)]
    assert "image" in out["smelt_error"][2]


@pytest.mark.filterwarnings("ignore")  # That what is behind an address may change.
def test_a_dead_address_costs_its_row_only(name: str, scenario: MakeScenario) -> None:
    if "image" not in limits(name).media_urls:
        pytest.skip("It fetches none.")
    cells = [f"https://pictures.example/{at}.png" for at in range(4)]
    server = scenario(answers={"crc": {"const": 1}}, media={"dead": cells[1:2]})

    out = ask(server, name, cells, media={"photo": smelt.Image(urls=True)}, batch_size=1)

    assert out["crc"].isna().tolist() == [False, True, False, False]


@pytest.mark.filterwarnings("ignore:.*one by one")  # The test of the order has three.
def test_a_server_that_takes_one_picture_at_a_time_gets_them_so(name: str, scenario: MakeScenario) -> None:
    server = scenario(answers=SAYS, media={"most": 1})

    out = ask(server, name, PNGS[:4])

    assert out["crc"].tolist() == [crc(one) for one in PNGS[:4]]
