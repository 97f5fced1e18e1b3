"""Our own client: what it refuses before and while it reads."""

from __future__ import annotations

import asyncio
import socket
from contextlib import suppress
from typing import Any

import httpx2
import pytest
from pydantic import BaseModel

import smelt
from smelt.errors import SmeltAPIError
from smelt.loop.one_thread import OneThreadLoop
from smelt.providers.access import Access
from smelt.providers.http import client_for
from smelt.testing import ScriptedProvider
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
def test_a_name_that_leads_to_a_metadata_service_is_sent_nothing(host: str) -> None:
    """DNS rebinding: the name is harmless, the address behind it is not."""

    async def work() -> None:
        async with client_for(Access(base_url="http://harmless.example:1"), connections=1) as client:
            asked = client.build_request("POST", "http://harmless.example:1")
            with pytest.raises(httpx2.ConnectError, match="All connection attempts failed"):
                await client.send(asked)
            # What the transport calls when a connection is made, before it sends anything.
            await asked.extensions["trace"]("connection.connect_tcp.complete", {"return_value": Stream(host)})

    with (
        pytest.raises(httpx2.ConnectError, match="nothing is sent to it"),
        asyncio.Runner(loop_factory=Resolving) as runner,
    ):
        runner.run(work())


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


@pytest.mark.parametrize(
    "url",
    [
        "http://api.example/v1",
        "https://api.example:8443/v1",
        "https://evil.example/v1",
        "https://api.example.evil.example/v1",
        "https://api.example@evil.example/v1",
        "https://169.254.169.254/v1",
    ],
    ids=["downgrade", "port", "host", "suffix", "userinfo", "metadata"],
)
def test_nothing_is_sent_to_another_place_than_the_one_it_was_made_for(url: str) -> None:
    asked: list[object] = []

    class Watching(OneThreadLoop):
        async def getaddrinfo(self, *args: Any, **options: Any) -> list[Any]:
            asked.append(args)
            raise OSError

    async def work() -> None:
        async with client_for(Access(base_url="https://api.example/v1"), connections=1) as client:
            await client.post(url, headers={"authorization": "Bearer secret"})

    with (
        pytest.raises(httpx2.UnsupportedProtocol, match="is not sent to"),
        asyncio.Runner(loop_factory=Watching) as runner,
    ):
        runner.run(work())
    assert asked == []


@pytest.mark.parametrize("url", ["https://API.example/v1/x", "https://api.example:443/v1/x"], ids=["case", "port"])
def test_the_same_place_may_be_written_in_another_way(url: str) -> None:
    async def work() -> None:
        async with client_for(Access(base_url="https://api.example/v1"), connections=1) as client:
            await client.post(url)

    class Nowhere(OneThreadLoop):
        resolver = ("/bin/sh", "-c", "exit 2", "sh")

    with (
        pytest.raises(httpx2.ConnectError, match="Name or service not known"),
        asyncio.Runner(loop_factory=Nowhere) as runner,
    ):
        runner.run(work())


def test_a_connection_is_kept_for_the_next_request_and_left_after_a_failure(scenario: MakeScenario) -> None:
    fake = scenario(answers={}, script={2: "reset_before"})
    url = fake.base_url("compatible") + "/chat/completions"
    body = {"model": "m", "messages": []}

    async def work() -> list[int]:
        seen = []
        async with client_for(Access(base_url=url), connections=4) as client:
            for _ in range(5):
                with suppress(httpx2.ReadError):
                    await client.post(url, json=body)
                seen.append(fake.stats().connections)
        return seen

    with asyncio.Runner(loop_factory=OneThreadLoop) as runner:
        assert runner.run(work()) == [1, 1, 1, 2, 2]


def test_a_peer_that_closes_each_connection_after_its_reply_costs_two_requests(scenario: MakeScenario) -> None:
    fake = scenario(answers={}, always="close_soon")
    url = fake.base_url("compatible") + "/chat/completions"

    async def work() -> int:
        lost = 0
        async with client_for(Access(base_url=url), connections=4) as client:
            for _ in range(40):
                try:
                    await client.post(url, json={"model": "m", "messages": []})
                except httpx2.TransportError:
                    lost += 1
        return lost

    with asyncio.Runner(loop_factory=OneThreadLoop) as runner:
        assert runner.run(work()) <= 2


def test_who_gives_up_waiting_for_room_takes_none() -> None:
    connections, requests = 0, 0
    may_answer, is_gone = asyncio.Event(), asyncio.Event()

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal connections, requests
        connections += 1
        with suppress(asyncio.IncompleteReadError):
            while True:
                await reader.readuntil(b"\r\n\r\n")
                requests += 1
                await may_answer.wait()
                writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n")
        writer.close()
        is_gone.set()

    async def work() -> None:
        async with await asyncio.start_server(answer, "127.0.0.1", 0) as server:
            url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1"
            async with client_for(Access(base_url=url), connections=1) as client:
                async with asyncio.TaskGroup() as group:
                    group.create_task(client.get(url))
                    waiting = group.create_task(client.get(url))
                    while not requests:
                        await asyncio.sleep(0.01)
                    waiting.cancel()
                    may_answer.set()
                await client.get(url)
            await is_gone.wait()

    with asyncio.Runner(loop_factory=OneThreadLoop) as runner:
        runner.run(work())
    assert (requests, connections) == (2, 1)


def test_as_many_requests_as_there_are_connections_are_on_their_way_at_once() -> None:
    """A pool of httpx2's own has room for 100; the server answers nobody before it has met everybody."""
    connections, met = 101, 0
    everybody = asyncio.Event()

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal met
        await reader.readuntil(b"\r\n\r\n")
        met += 1
        if met == connections:
            everybody.set()
        await everybody.wait()
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n")
        writer.close()

    async def work() -> list[int]:
        async with await asyncio.start_server(answer, "127.0.0.1", 0, backlog=connections) as server:
            url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1"
            async with client_for(Access(base_url=url), connections=connections) as client:
                replies = await asyncio.gather(*(client.get(url, timeout=60.0) for _ in range(connections)))
        return [reply.status_code for reply in replies]

    with asyncio.Runner(loop_factory=OneThreadLoop) as runner:
        assert runner.run(work()) == [200] * connections


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


def test_what_a_providers_own_fault_says_is_told_without_its_key() -> None:
    key = "sk-proj-abcdefghijk123"

    def answer(row: Any) -> Any:
        raise RuntimeError(f"No luck\nwith {key}.")

    faulty = ScriptedProvider(answer)
    faulty.key = key  # type: ignore[attr-defined]  # As a provider of the caller's own may have it.
    with pytest.raises(SmeltAPIError, match=r"RuntimeError was raised: No luck with \[key\]\. The answers so far"):
        smelt.run([{"text": "a"}], "Sort {text}.", Label, model=faulty, ledger=False, progress=False)


class Label(BaseModel):
    label: str
