"""Our own client: what it refuses before and while it reads."""

from __future__ import annotations

import asyncio
import socket
from typing import Any

import httpx2
import pytest

from smelt.engine.loop import OneThreadLoop
from smelt.providers.http import client_for
from smelt.providers.keys import Access
from tests.conftest import MakeScenario


class Resolving(OneThreadLoop):
    """Resolves every name to one address."""

    address = "127.0.0.1"

    async def getaddrinfo(self, host: Any, port: Any, **options: Any) -> list[Any]:
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (self.address, port))]


class Stream:
    """A connection that was just made to *host*."""

    def __init__(self, host: str) -> None:
        self._peer = (host, 80)

    def get_extra_info(self, name: str) -> Any:
        return self._peer if name == "server_addr" else None


@pytest.mark.parametrize("host", ["169.254.169.254", "::ffff:169.254.169.254", "fd00:ec2::254", "fe80::1%eth0"])
async def test_a_name_that_leads_to_a_metadata_service_is_sent_nothing(host: str) -> None:
    """DNS rebinding: the name is harmless, the address behind it is not."""
    async with client_for(Access(base_url="http://harmless.example"), connections=1) as client:
        asked = client.build_request("POST", "http://harmless.example")
        (watch,) = client.event_hooks["request"]
        await watch(asked)

        with pytest.raises(httpx2.ConnectError, match="it is not asked"):
            await asked.extensions["trace"]("connection.connect_tcp.complete", {"return_value": Stream(host)})


def test_a_name_that_leads_elsewhere_is_asked(scenario: MakeScenario) -> None:
    fake = scenario()
    url = fake.base_url("compatible").replace("127.0.0.1", "harmless.example")

    async def work() -> int:
        async with client_for(Access(base_url=url), connections=1) as client:
            return (await client.post(url + "/chat/completions", content=b"{}")).status_code

    with asyncio.Runner(loop_factory=Resolving) as runner:
        assert runner.run(work()) == 400


def test_a_redirect_is_not_followed_even_when_it_is_asked_for(scenario: MakeScenario) -> None:
    other = scenario()
    fake = scenario(always={"fault": "redirect", "to": other.base_url("compatible") + "/chat/completions"})
    url = fake.base_url("compatible")

    async def work() -> int:
        async with client_for(Access(base_url=url), connections=1) as client:
            asked = client.build_request("POST", url + "/chat/completions", json={"model": "m", "messages": []})
            return (await client.send(asked, follow_redirects=True)).status_code

    with asyncio.Runner(loop_factory=OneThreadLoop) as runner:
        assert runner.run(work()) == 307
    assert other.stats().requests == 0


def test_a_proxy_is_not_used_for_this_machine(scenario: MakeScenario, monkeypatch: pytest.MonkeyPatch) -> None:
    for variable in ("HTTP_PROXY", "http_proxy", "ALL_PROXY"):
        monkeypatch.setenv(variable, "http://127.0.0.1:1")
    monkeypatch.delenv("NO_PROXY", raising=False)
    monkeypatch.delenv("no_proxy", raising=False)
    url = scenario().base_url("compatible")

    async def work() -> int:
        async with client_for(Access(base_url=url), connections=1) as client:
            return (await client.post(url + "/chat/completions", content=b"{}")).status_code

    with asyncio.Runner(loop_factory=OneThreadLoop) as runner:
        assert runner.run(work()) == 400
