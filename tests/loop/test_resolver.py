"""Names are looked up by the system, in a process that nobody has to wait for."""

from __future__ import annotations

import asyncio
import os
import socket
from pathlib import Path
from typing import Any

import pytest

from smelt.loop.one_thread import OneThreadLoop
from smelt.loop.resolver import GETENT, Names
from tests.patience import BUSY


def shell(script: str) -> tuple[str, ...]:
    """A resolver of our own; the name is `$1`."""
    return ("/bin/sh", "-c", script, "sh")


TWO = shell("echo '127.0.0.7 STREAM one'; echo '127.0.0.7 DGRAM'; echo '::1 STREAM'")


def look_up(host: Any, *, resolver: tuple[str, ...], **options: Any) -> list[Any]:
    """What the loop finds for *host* if *resolver* is the system's."""

    class Loop(OneThreadLoop):
        pass

    async def work() -> list[Any]:
        return await asyncio.get_running_loop().getaddrinfo(host, 80, **options)

    Loop.resolver = resolver
    with asyncio.Runner(loop_factory=Loop) as runner:
        return runner.run(work())


@pytest.mark.skipif(not Path(GETENT[0]).exists(), reason="This system has no getent.")
async def test_the_systems_own_resolver_is_asked() -> None:
    addresses = await Names().addresses("localhost")

    assert addresses
    assert set(addresses) <= {"127.0.0.1", "::1"}


@pytest.mark.parametrize("host", ["some.example", b"some.example"], ids=["str", "bytes"])
def test_an_entry_says_what_the_stock_call_says_of_the_address(host: Any) -> None:
    found = look_up(host, resolver=TWO, type=socket.SOCK_STREAM)

    assert found == [
        *socket.getaddrinfo("127.0.0.7", 80, type=socket.SOCK_STREAM),
        *socket.getaddrinfo("::1", 80, type=socket.SOCK_STREAM),
    ]


def test_addresses_of_another_family_are_left_out() -> None:
    assert {entry[4][0] for entry in look_up("some.example", resolver=TWO, family=socket.AF_INET)} == {"127.0.0.7"}


@pytest.mark.parametrize("host", ["127.0.0.1", "::1", "2130706433", "localhost", b"127.0.0.1", None])
def test_addresses_and_this_machine_start_no_process(host: Any) -> None:
    found = look_up(host, resolver=shell("exit 2"))

    assert found == socket.getaddrinfo(host, 80)


def test_a_name_that_does_not_resolve_is_the_stock_error() -> None:
    with pytest.raises(socket.gaierror, match="Name or service not known"):
        look_up("some.example", resolver=shell("exit 2"))


@pytest.mark.parametrize(
    "command", [("/no/such/command",), shell("exit 1"), shell("kill -9 $$")], ids=["none", "other", "killed"]
)
async def test_where_nobody_can_be_asked_it_says_so(command: tuple[str, ...]) -> None:
    assert await Names(command).addresses("some.example") is None


async def test_many_share_one_look_up_and_its_answer(tmp_path: Path) -> None:
    asked = tmp_path / "asked"
    names = Names(shell(f"echo $1 >> {asked}; echo 10.0.0.1"))

    together = await asyncio.gather(*(names.addresses("some.example") for _ in range(100)))
    later = await names.addresses("some.example")

    assert [*together, later] == [["10.0.0.1"]] * 101
    assert asked.read_text() == "some.example\n"


def test_an_answer_is_used_for_half_a_minute(tmp_path: Path) -> None:
    asked = tmp_path / "asked"

    class Later(OneThreadLoop):
        resolver = shell(f"echo $1 >> {asked}; echo 127.0.0.7")
        passed = 0.0

        def time(self) -> float:
            return super().time() + self.passed

    async def work() -> list[int]:
        loop = asyncio.get_running_loop()
        assert isinstance(loop, Later)
        counts = []
        for seconds in (0.0, 29.0, 31.0):
            loop.passed = seconds
            await loop.getaddrinfo("some.example", 80)
            counts.append(len(asked.read_text().splitlines()))
        return counts

    with asyncio.Runner(loop_factory=Later) as runner:
        assert runner.run(work()) == [1, 1, 2]


async def test_a_failure_is_not_remembered(tmp_path: Path) -> None:
    there = tmp_path / "there"
    names = Names(shell(f"test -e {there} && echo 10.0.0.1 || exit 2"))

    first = await names.addresses("some.example")
    there.touch()

    assert (first, await names.addresses("some.example")) == ([], ["10.0.0.1"])


async def test_a_silent_name_server_holds_nobody_past_a_deadline(tmp_path: Path) -> None:
    pid = tmp_path / "pid"
    names = Names(shell(f"echo $$ > {pid}; exec sleep 300"))
    loop = asyncio.get_running_loop()
    started, other = loop.time(), asyncio.create_task(names.addresses("some.example"))

    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.05):
            await names.addresses("some.example")
    while not (pid.exists() and pid.read_text()):
        await asyncio.sleep(0.01)
    os.kill(int(pid.read_text()), 0)  # Someone still waits.
    other.cancel()
    await asyncio.wait([other])

    assert loop.time() - started < BUSY
    with pytest.raises(ProcessLookupError, match="No such process"):
        os.kill(int(pid.read_text()), 0)


async def test_who_asks_after_all_have_given_up_is_answered(tmp_path: Path) -> None:
    slow = tmp_path / "slow"
    slow.touch()
    names = Names(shell(f"test -e {slow} && exec sleep 30; echo 10.0.0.1"))
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.05):
            await names.addresses("some.example")

    slow.unlink()

    assert await names.addresses("some.example") == ["10.0.0.1"]
