"""Where the pacer is: what the environment says, and what an engine is asked."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest

from smelt.errors import SmeltConfigError
from smelt.lanes import places
from smelt.lanes.places import Door, door, door_of, find_by, pacer_place
from smelt.loop.jumping import run_jumping

OF_ENGINE = "test:pacer"


@pytest.mark.parametrize(
    ("given", "of_engine", "wanted"),
    [
        ({}, None, None),
        ({}, OF_ENGINE, OF_ENGINE),
        ({"SMELT_PACER": " "}, OF_ENGINE, OF_ENGINE),
        ({"SMELT_PACER": "off"}, OF_ENGINE, None),
        ({"SMELT_PACER": "/run/pacer"}, OF_ENGINE, "/run/pacer"),
        ({"SMELT_PACER": "10.0.0.7:7400", "SMELT_PACER_TOKEN": "x"}, None, "10.0.0.7:7400"),
    ],
    ids=str,
)
def test_the_environment_wins_over_the_engine(given: dict[str, str], of_engine: str | None, wanted: str | None) -> None:
    assert pacer_place(given, of_engine) == wanted


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"SMELT_PACER": "test:pacer"}, "SMELT_PACER must be the address of a pacer"),
        ({"SMELT_PACER": "10.0.0.7:7400"}, "SMELT_PACER_TOKEN is not set"),
    ],
    ids=["name", "token"],
)
def test_what_is_no_address_is_refused(given: dict[str, str], words: str) -> None:
    with pytest.raises(SmeltConfigError, match=words):
        pacer_place(given, OF_ENGINE)


@pytest.fixture
def asked() -> Iterator[list[str]]:
    """An engine that says at the third look where the pacer is; what it was asked for."""
    names: list[str] = []

    def begin(name: str) -> places.Look:
        names.append(name)
        looks = iter([None, None, Door("10.0.0.7:7400", "t0ken")])
        return lambda seconds: next(looks)

    find_by("test", begin)
    yield names
    del places._finders["test"]


def test_an_engine_is_asked_for_its_pacer_each_time_without_blocking_the_loop(asked: list[str]) -> None:
    async def work() -> tuple[Door, Door]:
        return await door(OF_ENGINE, ""), await door("10.0.0.8:7400", "other")

    named, given = run_jumping(work()).result

    assert (named, given) == (("10.0.0.7:7400", "t0ken"), ("10.0.0.8:7400", "other"))
    assert asked == ["pacer"]
    asyncio.run(door(OF_ENGINE, ""))
    assert asked == ["pacer", "pacer"]


def test_an_engine_that_does_not_know_in_time_is_no_pacer(asked: list[str]) -> None:
    with pytest.raises(TimeoutError, match="it has not started within 5 s"):
        door_of(OF_ENGINE, "", 5.0)


def test_neither_address_nor_token_shows_in_a_message() -> None:
    assert repr(Door("10.0.0.7:7400", "t0ken")) == "Door()"
