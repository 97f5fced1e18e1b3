"""Fixtures that every test may use."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any, Protocol

import pytest
from hypothesis import settings

from smelt import rooms
from smelt.lanes import registry
from tests.fakeserver import FakeServer, Scenario

# A slow machine is no fault, and CI looks at the same examples every time; elsewhere each run looks at new ones.
settings.register_profile("smelt", deadline=None, derandomize="CI" in os.environ)
settings.load_profile("smelt")


# A test that wants a ledger names one; else a test would find the answers of the one before, and in the user's own file.
os.environ["SMELT_LEDGER"] = "off"


@pytest.fixture(autouse=True)
def _forget_lanes() -> Iterator[None]:
    """What a lane learnt of the fake server in one test says nothing about the next."""
    yield
    registry._lanes.clear()
    rooms._rooms.clear()


class MakeScenario(Protocol):
    """Makes a scenario of the fake server; the options are those of `tests.fakeserver.config.Config`."""

    def __call__(self, **config: Any) -> Scenario: ...


@pytest.fixture(scope="session")
def fake() -> Iterator[FakeServer]:
    """The fake providers: one process per session, and per worker of xdist."""
    with FakeServer() as server:
        yield server


@pytest.fixture
def scenario(fake: FakeServer) -> Iterator[MakeScenario]:
    """A factory of scenarios that end with the test."""
    made: list[Scenario] = []

    def make(**config: Any) -> Scenario:
        made.append(fake.scenario(**config))
        return made[-1]

    yield make
    for one in made:
        one.close()
