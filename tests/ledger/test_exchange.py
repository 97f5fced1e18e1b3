"""The traffic of one run with an answer store that is slow, silent, gone or another one."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence

import pytest

from smelt.errors import SmeltWarning, StoreError
from smelt.ledger import exchange, outage
from smelt.ledger.answerstore import PutRefused
from smelt.ledger.exchange import INTERRUPTED, LAST, Exchange
from smelt.loop.jumping import run_jumping

URL = "postgresql://ada:s3cret@db.example:5433/answers"


class Store:
    """A store in memory, that is away or silent when the test says so."""

    def __init__(self) -> None:
        self.kept: dict[bytes, bytes] = {}
        self.secret = b"s" * 32
        self.is_away = self.is_silent = self.is_cut = self.is_full = self.is_locked = False
        self.opened = self.puts = self.line = 0

    async def open(self) -> bytes:
        await self._turn(is_opening=True)
        self.opened += 1
        return self.secret

    async def get(self, keys: Sequence[bytes]) -> Sequence[bytes | None]:
        await self._turn()
        return [self.kept.get(key) for key in keys]

    async def put(self, pairs: Mapping[bytes, bytes]) -> None:
        await self._turn()
        if self.is_full:
            raise PutRefused("command not allowed when used memory > 'maxmemory'")
        self.puts += 1
        self.kept = {**pairs, **self.kept}

    def close(self) -> None:
        self.line += 1

    async def _turn(self, *, is_opening: bool = False) -> None:
        line = self.line
        await asyncio.sleep(3600 if self.is_silent or (self.is_locked and not is_opening) else 0.01)
        if line != self.line:
            raise ConnectionError("the connection was closed")
        if self.is_cut:
            self.is_cut = False
            raise ConnectionError("terminating connection due to idle-session timeout")
        if self.is_away:
            raise ConnectionError("server closed the connection; password=s3cret")


@pytest.fixture(autouse=True)
def reached(monkeypatch: pytest.MonkeyPatch) -> None:
    """This process has reached no store yet."""
    monkeypatch.setattr(exchange, "_secrets", {})
    monkeypatch.setattr(exchange, "_left", {})
    monkeypatch.setattr(outage, "_outages", {})


def exchange_of(store: Store, asked: bytes = b"spec") -> Exchange:
    return Exchange(store, URL, lambda secret: asked, lambda: asyncio.get_running_loop().time())


def test_answers_come_back_to_another_run_that_asks_the_same_and_to_no_other() -> None:
    store = Store()

    async def two_machines() -> list[Sequence[str | None]]:
        first, second, other = exchange_of(store), exchange_of(store), exchange_of(store, b"other spec")
        assert await first.fetch(["a", "b"]) == [None, None]
        first.put({"a": '{"x": 1}'})
        await first.finish()
        return [await one.fetch(["b", "a"]) for one in (second, other)]

    assert run_jumping(two_machines()).result == [[None, '{"x": 1}'], [None, None]]
    assert all(len(key) == 16 for key in store.kept)


def test_many_small_puts_share_few_round_trips_and_settled_waits_for_them() -> None:
    store = Store()

    async def busy() -> int:
        one = exchange_of(store)
        await one.fetch([])
        for at in range(500):
            one.put({f"row {at}": "{}"})
            await asyncio.sleep(0.001)
        await one.settled()
        return len(store.kept)

    assert run_jumping(busy()).result == 500
    assert store.puts <= 60


def test_a_store_that_was_never_reached_ends_the_run_before_anything_is_sent() -> None:
    store = Store()
    store.is_away = True

    words = r"postgresql://db\.example:5433/answers cannot be used.*nothing was sent"
    with pytest.raises(StoreError, match=words) as told:
        run_jumping(exchange_of(store).fetch(["a"]))

    assert "s3cret" not in str(told.value)
    assert "ada" not in str(told.value)


def test_a_store_that_goes_away_and_comes_back_gets_everything_and_is_told_of_once() -> None:
    store = Store()

    async def outage() -> None:
        one = exchange_of(store)
        await one.fetch(["a"])
        store.is_away = True
        for at in range(20):
            one.put({f"row {at}": "{}"})
            await one.settled()  # Nothing waits for a store that is away.
            assert await one.fetch([f"row {at}"]) == [None]
            await asyncio.sleep(5)
        store.is_away = False
        one.put({"last": "{}"})
        await one.finish()

    with pytest.warns(SmeltWarning, match=r"answers is away.*loses nothing") as told:
        run_jumping(outage())

    assert len(told) == 1
    assert "s3cret" not in str(told[0].message)
    assert len(store.kept) == 21


def test_what_a_run_could_not_hand_on_is_handed_on_by_the_next_one_of_this_process() -> None:
    """An engine's blocks are runs of their own rows: no later run looks at those of a block during an outage."""
    store = Store()

    async def block(row: str, *, is_away: bool) -> None:
        one = exchange_of(store)
        store.is_silent = False
        await one.fetch([])
        store.is_silent = is_away
        one.put({row: "{}"})
        await one.finish()
        one.close()

    async def blocks() -> None:
        await block("first", is_away=False)
        with pytest.warns(SmeltWarning, match="is away"):
            await block("second", is_away=True)
        assert len(store.kept) == 1
        await asyncio.sleep(100)
        await block("third", is_away=False)

    run_jumping(blocks())

    assert len(store.kept) == 3


def test_a_known_store_that_does_not_answer_holds_a_block_for_seconds() -> None:
    store = Store()

    async def blocks() -> float:
        await exchange_of(store).fetch(["a"])
        store.is_silent, began = True, asyncio.get_running_loop().time()
        with pytest.warns(SmeltWarning, match="did not answer in time"):
            assert await exchange_of(store).fetch(["a"]) == [None]
        return asyncio.get_running_loop().time() - began

    assert run_jumping(blocks()).result <= 3


def test_only_the_first_block_of_an_outage_waits_and_the_others_go_on_at_once() -> None:
    store = Store()
    waited: list[float] = []

    async def block(number: int) -> None:
        loop, one = asyncio.get_running_loop(), exchange_of(store)
        began = loop.time()
        await one.fetch([f"row {number}"])
        await asyncio.sleep(0.5)  # The model is asked.
        one.put({f"row {number}": "{}"})
        await one.settled()
        await one.finish()
        one.close()
        waited.append(loop.time() - began - 0.5)

    async def blocks() -> None:
        await block(0)
        store.is_silent = True
        for number in range(1, 80):
            await block(number)
        store.is_silent = False
        for number in range(80, 90):
            await block(number)

    with pytest.warns(SmeltWarning, match="did not answer in time") as told:
        run_jumping(blocks())

    assert len(told) == 1
    assert sum(waited[1:80]) <= 2 * 3 + 0.1  # The first one, and one after half a minute.
    assert len(store.kept) == 90
    assert max(waited[81:]) < 0.1


def test_a_store_that_refuses_at_once_is_tried_at_once_and_so_is_back_at_once() -> None:
    store = Store()

    async def blocks() -> Sequence[str | None]:
        await exchange_of(store).fetch(["a"])
        store.is_away = True
        one = exchange_of(store)
        await one.fetch(["a"])
        one.put({"a": "{}"})
        await one.finish()
        one.close()
        store.is_away = False
        await asyncio.sleep(0.3)
        last = exchange_of(store)
        await last.fetch([])
        await last.finish()  # It has nothing of its own to hand on.
        return await exchange_of(store).fetch(["a"])

    with pytest.warns(SmeltWarning, match="is away"):
        assert run_jumping(blocks()).result == ["{}"]

    assert outage.outage(URL) is None


def test_a_store_that_lets_in_and_then_says_nothing_is_not_back() -> None:
    store = Store()

    async def blocks() -> float:
        loop, first = asyncio.get_running_loop(), exchange_of(store)
        await first.fetch(["a"])
        store.is_locked = True
        await first.fetch(["a"])
        await first.finish()
        first.close()
        began = loop.time()
        for _ in range(20):
            one = exchange_of(store)
            assert await one.fetch(["a"]) == [None]
            await asyncio.sleep(1)
            await one.finish()
            one.close()
        return loop.time() - began - 20

    with pytest.warns(SmeltWarning, match="did not answer in time") as told:
        assert run_jumping(blocks()).result < 0.1

    assert len(told) == 1


def test_a_store_that_is_full_is_read_and_told_of_once() -> None:
    store = Store()

    async def runs() -> list[Sequence[str | None]]:
        first = exchange_of(store)
        await first.fetch([])
        first.put({"a": "{}"})
        await first.finish()
        store.is_full = True
        found = []
        for row in ("b", "c"):
            one = exchange_of(store)
            found.append(await one.fetch(["a"]))
            one.put({row: "{}"})
            await one.settled()
            found.append(await one.fetch(["a"]))
            await one.finish()
            one.close()
        store.is_full = False
        await asyncio.sleep(1)
        last = exchange_of(store)
        await last.fetch(["a"])
        last.put({"d": "{}"})
        await last.finish()
        return found

    with pytest.warns(SmeltWarning, match=r"takes no answers: command not allowed.*hands on what is missing") as told:
        assert run_jumping(runs()).result == [["{}"]] * 4

    assert len(told) == 1
    assert len(store.kept) == 4


def test_a_look_up_and_a_put_that_lose_their_connection_share_a_new_one() -> None:
    store = Store()

    async def both() -> Sequence[str | None]:
        one = exchange_of(store)
        await one.fetch(["a"])
        one.put({"a": "{}"})
        looking = asyncio.ensure_future(one.fetch(["b"]))
        await asyncio.sleep(0.005)
        store.close()
        return await looking

    assert run_jumping(both()).result == [None]
    assert store.opened == 2


def test_a_connection_that_was_closed_while_idle_is_opened_again_without_a_word() -> None:
    store = Store()

    async def idle() -> Sequence[str | None]:
        one = exchange_of(store)
        await one.fetch(["a"])
        one.put({"a": "{}"})
        store.is_cut = True
        await one.settled()
        store.is_cut = True
        return await one.fetch(["a"])

    assert run_jumping(idle()).result == ["{}"]
    assert store.opened == 3


def test_a_silent_store_is_given_up_after_some_seconds_and_does_not_hold_the_end() -> None:
    store = Store()

    async def silence() -> tuple[float, float]:
        one, loop = exchange_of(store), asyncio.get_running_loop()
        await one.fetch([])
        store.is_silent = True
        one.put({"a": "{}"})
        began = loop.time()
        await one.settled()
        given_up = loop.time() - began
        await one.finish()
        return given_up, loop.time() - began - given_up

    with pytest.warns(SmeltWarning, match="did not answer in time"):
        waited, ending = run_jumping(silence()).result

    assert waited <= 20
    assert ending <= LAST


def test_ctrl_c_does_not_wait_for_the_store() -> None:
    store = Store()

    async def interrupted() -> None:
        one = exchange_of(store)
        await one.fetch([])
        store.is_silent = True
        one.put({"a": "{}"})
        await one.finish(INTERRUPTED)

    with pytest.warns(SmeltWarning, match="is away"):
        assert run_jumping(interrupted()).seconds < 1


def test_a_later_run_of_a_process_that_knows_the_store_does_without_it() -> None:
    store = Store()

    async def block() -> Sequence[str | None]:
        one = exchange_of(store)
        found = await one.fetch(["a"])
        one.put({"a": "{}"})
        await one.settled()
        await one.finish()
        return found

    run_jumping(exchange_of(store).fetch([]))
    store.is_away = True

    with pytest.warns(SmeltWarning, match="is away"):
        assert run_jumping(block()).result == [None]


def test_what_was_meant_for_another_database_is_not_put_into_the_new_one() -> None:
    store = Store()

    async def swapped() -> None:
        one = exchange_of(store)
        await one.fetch([])
        store.is_away = True
        one.put({"a": "{}"})
        await one.settled()
        store.is_away, store.secret = False, b"t" * 32
        await one.finish()
        one.put({"b": "{}"})
        await one.finish()

    with pytest.warns(SmeltWarning, match="is away"):
        run_jumping(swapped())

    assert len(store.kept) == 1
