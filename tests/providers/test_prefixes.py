"""What a provider keeps for a run is made once, renewed in time, found again, and deleted at the end."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from smelt.loop.jumping import run_jumping
from smelt.providers import prefixes
from smelt.providers.base import Kept, shelf
from smelt.providers.prefixes import Prefixes, Unkeepable

HOUR = 3_600.0


class Server:
    """A provider that keeps texts on the clock of the loop; the calls and their times."""

    def __init__(self, *problems: Exception) -> None:
        self.calls: list[tuple[str, float]] = []
        self.problems = list(problems)
        self.lost: list[bool] = []  # For the next calls to make: whether the answer is lost, and shown at once.
        self.labels: dict[str, str] = {}

    async def make(self, text: str, seconds: float, label: str) -> tuple[str, int]:
        await self._called("make")
        name = f"kept/{sum(what == 'make' for what, _ in self.calls)}"
        if self.lost:
            if self.lost.pop(0):
                self.labels[label] = name
            raise TimeoutError
        return name, 2_000

    async def find(self, label: str) -> list[tuple[str, int]]:
        await self._called("find")
        return [(self.labels[label], 2_000)] if label in self.labels else []

    async def renew(self, name: str, seconds: float) -> None:
        await self._called("renew")

    async def drop(self, name: str) -> None:
        await self._called("drop")

    async def _called(self, what: str) -> None:
        self.calls.append((what, asyncio.get_running_loop().time()))
        await asyncio.sleep(0)
        if self.problems:
            raise self.problems.pop(0)


class Notes:
    """A shelf in memory."""

    def __init__(self) -> None:
        self.kept: dict[str, Kept] = {}

    def find(self, identity: str) -> Kept | None:
        return self.kept.get(identity)

    def put(self, identity: str, kept: Kept) -> None:
        self.kept[identity] = kept

    def drop(self, identity: str) -> None:
        self.kept.pop(identity, None)


@pytest.fixture(autouse=True)
def _on_the_loops_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(prefixes, "now", lambda: asyncio.get_running_loop().time())


def play(scene: Callable[[Prefixes], Awaitable[Any]], server: Server, notes: Notes | None = None) -> Any:
    """What *scene* returns, on a loop that jumps."""

    async def played() -> Any:
        token = shelf.set(notes or Notes())
        try:
            return await scene(Prefixes(server, "whose", seconds=HOUR))
        finally:
            shelf.reset(token)

    return run_jumping(played()).result


async def use(kept: Prefixes, times: int = 1) -> str | None:
    names = [await kept.name_of("text", makes=True) for _ in range(times)]
    return names[-1]


def test_requests_that_leave_together_have_it_made_once() -> None:
    server = Server()

    async def scene(kept: Prefixes) -> Any:
        return await asyncio.gather(*[kept.name_of("text", makes=True) for _ in range(5)])

    assert play(scene, server) == ["kept/1"] * 5
    assert server.calls[0] == ("make", 0.0)
    assert [what for what, _ in server.calls].count("make") == 1


def test_it_is_renewed_when_a_tenth_of_its_life_is_left() -> None:
    server = Server()

    async def scene(kept: Prefixes) -> Any:
        await use(kept, 10)
        await asyncio.sleep(0.95 * HOUR)
        await use(kept, 10)
        await asyncio.sleep(0.95 * HOUR)
        name = await use(kept)
        await kept.close()
        return name

    assert play(scene, server) == "kept/1"
    calls = [(what, round(at)) for what, at in server.calls]
    assert calls == [("make", 0), ("renew", 0), ("renew", 3_240), ("renew", 6_480), ("drop", 6_840)]


def test_what_is_seldom_used_is_not_renewed() -> None:
    server = Server()

    async def scene(kept: Prefixes) -> Any:
        await use(kept, 2)
        await asyncio.sleep(1.5 * HOUR)
        await kept.close()

    play(scene, server)

    assert server.calls == [("make", 0.0), ("renew", 0.0), ("drop", 1.5 * HOUR)]


def test_what_is_over_is_made_anew() -> None:
    server = Server()

    async def scene(kept: Prefixes) -> Any:
        first = await use(kept)
        await asyncio.sleep(1.5 * HOUR)
        return first, await use(kept)

    assert play(scene, server) == ("kept/1", "kept/2")


def test_what_the_provider_does_not_know_any_more_is_made_anew() -> None:
    server, notes = Server(), Notes()

    async def scene(kept: Prefixes) -> Any:
        kept.gone(str(await use(kept)))
        noted = dict(notes.kept)
        return noted, await use(kept)

    assert play(scene, server, notes) == ({}, "kept/2")


def test_storage_is_counted_until_now_and_once() -> None:
    async def scene(kept: Prefixes) -> Any:
        await use(kept)
        await asyncio.sleep(0.25 * HOUR)
        first = kept.take_bill()
        await asyncio.sleep(0.25 * HOUR)
        return first, kept.take_bill(), kept.take_bill()

    assert play(scene, Server()) == ((2_000, 500.0), (0, 500.0), (0, 0.0))


@pytest.mark.parametrize(("problem", "tries"), [(Unkeepable(), 1), (OSError("reset"), 2)], ids=["never", "broken"])
def test_nothing_is_raised_and_little_is_tried(problem: Exception, tries: int) -> None:
    server = Server(*[problem] * 9)

    async def scene(kept: Prefixes) -> Any:
        return await use(kept, 5)

    assert play(scene, server) is None
    assert [what for what, _ in server.calls].count("make") == tries


def test_a_failed_renewal_leaves_it_to_its_life() -> None:
    server = Server()

    async def scene(kept: Prefixes) -> Any:
        await use(kept, 10)
        await asyncio.sleep(1)
        server.problems = [OSError("reset")]
        await asyncio.sleep(0.95 * HOUR)
        still = await use(kept)
        await asyncio.sleep(0.1 * HOUR)
        return still, await use(kept)

    assert play(scene, server) == ("kept/1", "kept/2")


def test_what_was_made_for_a_lost_answer_is_found_and_used() -> None:
    server = Server()
    server.lost = [True]

    async def scene(kept: Prefixes) -> Any:
        name = await use(kept, 3)
        bill = kept.take_bill()[0]
        await kept.close()
        return name, bill

    assert play(scene, server) == ("kept/1", 2_000)
    assert [what for what, _ in server.calls] == ["make", "find", "drop"]


def test_what_is_shown_later_is_used_before_another_is_made() -> None:
    server = Server()
    server.lost = [False]

    async def scene(kept: Prefixes) -> Any:
        first = await use(kept)
        [label] = kept._known["text"].lost
        server.labels[label] = "kept/1"
        return first, await use(kept), await use(kept)

    assert play(scene, server) == (None, "kept/1", "kept/1")
    assert [what for what, _ in server.calls][:3] == ["make", "find", "find"]


def test_what_is_shown_at_last_is_deleted_at_the_end_of_the_run() -> None:
    server = Server()
    server.lost = [False, False]

    async def scene(kept: Prefixes) -> Any:
        await use(kept, 5)
        server.labels = dict.fromkeys(kept._known["text"].lost, "kept/late")
        await kept.close()

    play(scene, server)

    assert [what for what, _ in server.calls].count("make") == 2
    assert [what for what, _ in server.calls][-4:] == ["find", "drop", "find", "drop"]


def test_what_nobody_has_the_name_of_is_kept_for_minutes() -> None:
    lives: list[float] = []

    class Told(Server):
        async def make(self, text: str, seconds: float, label: str) -> tuple[str, int]:
            lives.append(seconds)
            return await super().make(text, seconds, label)

        async def renew(self, name: str, seconds: float) -> None:
            lives.append(seconds)
            await super().renew(name, seconds)

    async def scene(kept: Prefixes) -> Any:
        await use(kept)
        await asyncio.sleep(1)

    play(scene, Told())

    assert lives == [300.0, HOUR]


def test_the_run_after_a_crash_finds_it_and_deletes_it() -> None:
    server, notes = Server(), Notes()

    async def crashed(kept: Prefixes) -> Any:
        return await use(kept)

    async def next_run(kept: Prefixes) -> Any:
        name = await use(kept)
        await kept.close()
        return name

    assert play(crashed, server, notes) == play(next_run, server, notes) == "kept/1"
    assert [what for what, _ in server.calls if what != "renew"] == ["make", "drop"]
    assert notes.kept == {}


def test_what_a_run_that_is_alive_keeps_is_used_and_left_to_it() -> None:
    server, notes = Server(), Notes()
    notes.kept["whose\0text"] = Kept(name="kept/other", tokens=2_000, until=HOUR, is_ours=False)

    async def scene(kept: Prefixes) -> Any:
        name = await use(kept, 10)
        await asyncio.sleep(0.95 * HOUR)
        bill = kept.take_bill()
        await kept.close()
        return name, bill

    assert play(scene, server, notes) == ("kept/other", (0, 0.0))
    assert server.calls == []


def test_a_request_that_has_nothing_made_uses_what_is_there() -> None:
    server = Server()

    async def scene(kept: Prefixes) -> Any:
        before = await kept.name_of("text", makes=False)
        await use(kept)
        return before, await kept.name_of("text", makes=False)

    assert play(scene, server) == (None, "kept/1")
