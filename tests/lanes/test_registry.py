"""Which runs share a lane."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import pytest

from smelt.errors import SmeltConfigError, SmeltWarning
from smelt.lanes import registry
from smelt.lanes.caps import Caps
from smelt.lanes.lane import Lane, RunLane
from smelt.lanes.remote import RemoteLane
from smelt.loop.bridge import drive, run_blocking
from smelt.loop.driver import Driver
from smelt.loop.jumping import run_jumping
from smelt.loop.one_thread import OneThreadLoop
from smelt.providers.access import Access, find_access
from smelt.providers.base import Capabilities, Usage
from smelt.providers.own import complete
from smelt.providers.secrets import Secret
from smelt.providers.vendor import Vendor
from smelt.testing import ScriptedProvider

USUAL = Capabilities()


@dataclass
class Elsewhere(ScriptedProvider):
    """A provider as if it were asked over a network."""

    model: str = "m"
    origin: str = "https://api.example.com"
    key: Secret | None = None
    access: Access | None = None
    params: Mapping[str, Any] = field(default_factory=dict)
    thinking_tokens: int | None = None

    @property
    def deployment(self) -> str:
        return self.access.deployment if self.access else self.origin

    name: str = "example"
    capabilities: Capabilities = USUAL


def own(run: RunLane | RemoteLane) -> Lane:
    """The lane of this process that *run* joined."""
    assert isinstance(run, RunLane)
    return run.lane


def lane_of(provider: ScriptedProvider) -> Lane:
    async def join() -> Lane:
        return own(registry.join(complete(provider), Caps(concurrency=4), print))

    return asyncio.run(join())


@pytest.fixture(autouse=True)
def _empty(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "_lanes", type(registry._lanes)())


def test_runs_with_the_same_key_share_a_lane() -> None:
    assert lane_of(Elsewhere(key=Secret("sk-1"))) is lane_of(Elsewhere(key=Secret("sk-1")))


@pytest.mark.parametrize(
    "other",
    [
        Elsewhere(key=Secret("sk-2")),
        Elsewhere(key=None),
        Elsewhere(key=Secret("sk-1"), model="n"),
        Elsewhere(key=Secret("sk-1"), origin="http://localhost:8000"),
        Elsewhere(key=Secret("sk-1"), name="other"),
    ],
    ids=["key", "no key", "model", "origin", "provider"],
)
def test_whatever_differs_has_a_lane_of_its_own(other: Elsewhere) -> None:
    assert lane_of(Elsewhere(key=Secret("sk-1"))) is not lane_of(other)


def deployment(url: str) -> Elsewhere:
    vendor = Vendor(
        name="openai", base_url="https://api.openai.com/v1", key_variables=(), url_variables=(), hosted=True
    )
    access = find_access(vendor, api_key=Secret("sk-1"), base_url=url, allow_http=False, environ={})
    return Elsewhere(name="openai", origin=access.origin, access=access)


@pytest.mark.parametrize(
    ("url", "other", "is_shared"),
    [
        ("https://gateway.example/east/v1", "https://gateway.example/west/v1", False),
        ("https://x.azure.com/openai/deployments/a", "https://x.azure.com/openai/deployments/b", False),
        ("https://gateway.example/east/v1", "https://Gateway.example:443/east/v1/", True),
        ("https://api.openai.com/v1", "https://api.openai.com/v1beta", True),
    ],
    ids=["two paths of a gateway", "two deployments", "one address, written twice", "one account"],
)
def test_a_path_that_is_a_deployment_has_a_lane_of_its_own_and_an_account_has_one(
    url: str, other: str, is_shared: bool
) -> None:
    assert (lane_of(deployment(url)) is lane_of(deployment(other))) is is_shared


def test_a_script_has_no_limit_to_share() -> None:
    script = ScriptedProvider({"a": 1})

    assert lane_of(script) is not lane_of(script)
    assert not registry._lanes


def test_a_loop_that_pauses_shares_the_lane_and_hides_nothing_meanwhile() -> None:
    async def begin() -> RunLane | RemoteLane:
        run = registry.join(complete(Elsewhere()), Caps(concurrency=4), print)
        await run.sending(await run.admit(Usage()))
        return run

    with Driver() as driver:
        paused = driver.run(begin())
        assert lane_of(Elsewhere()) is own(paused)
        paused.__exit__()


def test_a_loop_with_a_clock_of_its_own_shares_nothing() -> None:
    async def join() -> Lane:
        return own(registry.join(Elsewhere(), Caps(concurrency=4), print))

    assert run_jumping(join()).result is not run_jumping(join()).result


def test_a_loop_that_hides_another_does_not_wait_for_it() -> None:
    async def outer() -> tuple[Lane, Lane, Lane]:
        with registry.join(Elsewhere(), Caps(concurrency=1), print) as run:
            await run.admit(Usage())
            hiding = run_blocking(inner())
            with registry.join(Elsewhere(), Caps(concurrency=1), print) as beside:
                return own(run), hiding, own(beside)

    async def inner() -> Lane:
        with registry.join(Elsewhere(), Caps(concurrency=1), print) as run:
            await run.admit(Usage())
            return own(run)

    with pytest.warns(SmeltWarning, match="blocks the event loop"):
        mine, hiding, beside = asyncio.run(outer())

    assert mine is beside
    assert mine is not hiding


def test_67_a_forked_process_learns_afresh(monkeypatch: pytest.MonkeyPatch) -> None:
    before = lane_of(Elsewhere())

    monkeypatch.setattr(os, "getpid", lambda: -1)

    assert lane_of(Elsewhere()) is not before


def test_only_so_many_lanes_are_remembered() -> None:
    for number in range(100):
        lane_of(Elsewhere(model=str(number)))

    assert len(registry._lanes) == 64


def test_no_key_is_kept() -> None:
    lane_of(Elsewhere(key=Secret("sk-canary")))

    assert "canary" not in repr(registry._lanes)


@pytest.mark.parametrize(
    ("place", "token", "said"),
    [
        ("somewhere", "t", "must be the address of a pacer"),
        ("host:port", "t", "must be the address of a pacer"),
        ("host:99999", "t", "must be the address of a pacer"),
        ("10.0.0.7:7400", "", "SMELT_PACER_TOKEN is not set"),
    ],
)
def test_a_wrong_pacer_is_refused_before_the_first_request(
    place: str, token: str, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SMELT_PACER", place)
    monkeypatch.setenv("SMELT_PACER_TOKEN", token)

    with pytest.raises(SmeltConfigError, match=said):
        lane_of(Elsewhere())


def test_with_a_pacer_runs_ask_it_and_name_their_lanes_without_the_key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SMELT_PACER", "/run/smelt/pacer")

    async def joined(provider: ScriptedProvider, tier: str = "") -> str:
        found = registry.join(complete(provider), Caps(concurrency=4), print, tier=tier)
        assert isinstance(found, RemoteLane)
        return found._member.lane(b"salt")

    one, key = Elsewhere(), Secret("sk-c4n4ry")
    names = [asyncio.run(joined(provider)) for provider in (one, Elsewhere(), Elsewhere(key=key))]

    assert names[0] == names[1] != names[2]
    assert asyncio.run(joined(one, "flex")) != names[0]
    assert "c4n4ry" not in names[2]


def test_a_call_inside_of_a_call_does_not_wait_for_the_slots_of_the_outer_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SMELT_PACER", "/nowhere/pacer")

    async def outer() -> bool:
        with registry.join(complete(Elsewhere()), Caps(concurrency=4), print) as lane:
            lane.release(await lane.admit(Usage()))
            return drive(inner(), loop_factory=OneThreadLoop)

    async def inner() -> bool:
        with registry.join(complete(Elsewhere()), Caps(concurrency=4), print) as lane:
            return isinstance(lane, RunLane)

    assert asyncio.run(outer())
