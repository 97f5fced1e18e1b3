"""The caller's own code gets a medium as an object with its bytes, in the cell where the caller has it."""

from __future__ import annotations

import json
from typing import Any

import pandas as pd
import pytest

import smelt  # noqa: F401  # Registers the accessor.
from smelt.errors import SmeltConfigError
from smelt.plan.media import Media
from smelt.providers.agent import asked
from smelt.providers.base import Capabilities
from smelt.testing import ScriptedProvider
from tests.media.pictures import Seen, crc, png

PNGS = [png(number) for number in range(5)]
FRAME = pd.DataFrame({"sku": range(5), "photo": pd.Series([*PNGS[:4], None], dtype=object)})
QUESTION = "What does {photo} of {sku} show?"


def said(row: Any) -> dict[str, int]:
    photo = row["photo"]
    return {"crc": -1 if photo is None else crc(photo.data)}


async def worker(row: dict[str, Any]) -> dict[str, int]:
    assert row["photo"] is None or (row["photo"].type, row["photo"].kind) == ("image/png", "image")
    return said(row)


EXPECTED = [*map(crc, PNGS[:4]), -1]


def test_a_function_gets_the_bytes() -> None:
    out = FRAME.smelt.transform(QUESTION, Seen, model=worker, progress=False)

    assert out["crc"].tolist() == EXPECTED


def test_a_scripted_provider_gets_the_bytes_and_keeps_the_rows_as_text() -> None:
    provider = ScriptedProvider(said)

    out = FRAME.smelt.transform(QUESTION, Seen, model=provider, ledger=False, progress=False)

    assert out["crc"].tolist() == EXPECTED
    rows, _ = json.JSONDecoder().raw_decode(provider.requests[0].user)
    assert {row["row"]["photo"]["media"] for row in rows if row["row"]["photo"]} == {"image/png"}
    assert len(provider.requests) == 2  # Images travel by four.


def test_the_mock_answers_by_the_bytes() -> None:
    first, second, other = (
        pd.DataFrame({"photo": pd.Series(cells, dtype=object)}).smelt.transform(
            "What is {photo}?", Seen, model="mock:", progress=False
        )["crc"]
        for cells in (PNGS[:2], PNGS[:2], PNGS[1:3])
    )

    assert first.tolist() == second.tolist()
    assert other[0] == first[1]
    assert first[0] != first[1]


def test_an_agent_gets_text_and_then_its_media() -> None:
    photo = Media(type="image/png", data=PNGS[0], size=len(PNGS[0]))

    parts: Any = asked("What is it?", {"id": "k7f2x", "row": {"sku": 1, "photo": photo}})

    assert '{"sku": 1, "photo": {"media": "image/png", "as": "photo"}}' in parts[0]
    assert parts[1] == "photo:"
    assert (parts[2].data, parts[2].media_type) == (PNGS[0], "image/png")


def test_text_that_looks_like_a_medium_stays_what_it_is() -> None:
    provider = ScriptedProvider(lambda row: {"crc": int(row["note"] == {"as": "k7f2x/photo", "media": "x"})})
    frame = pd.DataFrame({"note": [{"media": "x", "as": "k7f2x/photo"}], "photo": [PNGS[0]]})

    out = frame.smelt.transform("What is {photo}, by {note}?", Seen, model=provider, ledger=False, progress=False)

    assert out["crc"].tolist() == [1]


def test_a_model_that_is_known_to_read_text_is_refused_before_a_request() -> None:
    provider = ScriptedProvider(said, capabilities=Capabilities())

    with pytest.raises(SmeltConfigError, match="The rows hold images, and scripted:script reads text only"):
        FRAME.smelt.transform(QUESTION, Seen, model=provider, progress=False)

    assert provider.requests == []
