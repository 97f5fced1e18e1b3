"""The figures that lanes must reach, in virtual time; "ideal" is what a client needs that knows the provider's bucket.

Bursts are seconds of the rate that a rested bucket holds. Each situation runs over several seeds.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import statistics
from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import pairwise
from typing import Any

import pytest

from smelt.lanes.lane import RunLane
from smelt.loop.jumping import run_jumping
from tests.conftest import whole
from tests.fakeserver.limiter import Limit
from tests.lanes.server import Client, Server, in_flight_of, limited, make_boards, make_lane

RATE = 10.0  # Requests per second: 600 a minute.
pytestmark = pytest.mark.slow


def ask(
    requests: int, seed: int, *, patience: float = float("inf"), lane: dict[str, Any] | None = None, **server: Any
) -> tuple[Server, float]:
    """Send *requests* to a server, and the seconds that it took."""

    async def work() -> Server:
        asked = Server(rng=random.Random(seed), **server)
        await Client(server=asked, lane=make_lane(seed, **(lane or {})), requests=requests, patience=patience).run()
        return asked

    jumped = run_jumping(work())
    return jumped.result, jumped.seconds


def ask_for(seconds: float, seed: int, *, lane: dict[str, Any] | None = None, **server: Any) -> Server:
    """Send as many requests as possible in so many *seconds*."""

    async def work() -> Server:
        asked = Server(rng=random.Random(seed), **server)
        client = Client(server=asked, lane=make_lane(seed, **(lane or {})), requests=10**9)
        try:
            async with asyncio.timeout(seconds):
                await client.run()
        except TimeoutError:
            return asked
        raise AssertionError("It can never be done.")

    return run_jumping(work()).result


def count(server: Server, kind: str, start: float = 0.0, end: float = float("inf")) -> int:
    return sum(what == kind and start <= at < end for at, what, _ in server.asked)


def refused(server: Server) -> float:
    return count(server, "rate_limit") / len(server.asked)


def ideal(requests: int, burst: float) -> float:
    return max(0.0, requests - RATE * burst) / RATE + 0.5


@pytest.mark.parametrize(
    ("requests", "burst", "says", "is_late"),
    [
        pytest.param(1000, 1, "openai", False, id="then", marks=pytest.mark.whole),
        pytest.param(1000, 1, "openai", True, id="now"),
        pytest.param(1000, 1, "anthropic", False, id="in seconds"),
        pytest.param(1000, 60, "openai", False, id="a large bucket", marks=pytest.mark.whole),
        pytest.param(200, 10, "anthropic", False, id="few requests"),
    ],
)
def test_an_announced_limit_is_used_up_and_not_exceeded(requests: int, burst: int, is_late: bool, says: str) -> None:
    server, seconds = ask(requests, burst, limit=limited(burst=burst), is_late=is_late, says=says)

    used = count(server, "reply", 5.0) / (RATE * (server.asked[-1][0] - 5.0))
    assert used >= 0.95
    assert refused(server) <= 0.005
    assert seconds <= 1.15 * ideal(requests, burst) + 1.0


@pytest.mark.parametrize("is_late", [True, False], ids=["now", "then"])
def test_a_short_job_leaves_nothing_of_an_announced_limit_unused_at_its_end(is_late: bool) -> None:
    server, seconds = ask(200, 1, limit=limited(1200), latency=0.2, is_late=is_late)

    assert seconds <= 1.05 * ((200 - 20) / 20 + 0.2)
    assert refused(server) == 0


@pytest.mark.parametrize("seed", range(2))
def test_a_short_job_leaves_little_of_a_hidden_limit_unused_at_its_end(seed: int) -> None:
    server, seconds = ask(200, seed, limit=limited(1200, announce=False), latency=0.2)

    assert seconds <= 1.08 * ((200 - 20) / 20 + 0.2)
    assert count(server, "rate_limit") <= 70


@pytest.mark.parametrize("seed", [0])
@pytest.mark.parametrize(("requests", "burst"), whole((1000, 1), (2000, 60)))
@pytest.mark.parametrize(
    ("retry_after", "slower", "share"), [(True, 1.15, 0.03), (False, 1.3, 0.08)], ids=["told to wait", "told nothing"]
)
def test_a_hidden_limit_is_found(
    retry_after: bool, slower: float, share: float, requests: int, burst: int, seed: int
) -> None:
    limit = limited(burst=burst, announce=False, retry_after=retry_after)

    server, seconds = ask(requests, seed, limit=limit)

    assert seconds <= slower * ideal(requests, burst)
    assert refused(server) <= share


@pytest.mark.parametrize("seed", [0])
@pytest.mark.parametrize("burst", [1, 10])
@pytest.mark.parametrize(("retry_after", "slower"), [(True, 1.15), (False, 1.3)], ids=["told to wait", "told nothing"])
def test_a_hidden_limit_is_found_in_few_requests(retry_after: bool, slower: float, burst: int, seed: int) -> None:
    limit = limited(burst=burst, announce=False, retry_after=retry_after)

    server, seconds = ask(200, seed, limit=limit)

    assert seconds <= slower * ideal(200, burst)
    # Nobody can know where the bucket ends; but what was sent beyond it is no more than it held, and a few.
    assert count(server, "rate_limit") <= RATE * burst + 20


@pytest.mark.parametrize("seed", [0])
@pytest.mark.parametrize("announce", [True, False], ids=["announced", "hidden"])
def test_a_burst_that_suffices_is_used(announce: bool, seed: int) -> None:
    server, seconds = ask(200, seed, limit=limited(burst=60, announce=announce))

    assert seconds <= 1.6
    assert refused(server) == 0


@pytest.mark.parametrize(
    ("burst", "announce", "retry_after"),
    [
        pytest.param(1, True, True, id="announced"),
        pytest.param(1, False, True, id="hidden, told to wait", marks=pytest.mark.whole),
        pytest.param(1, False, False, id="hidden, told nothing"),
        pytest.param(60, False, True, id="a large bucket, hidden", marks=pytest.mark.whole),
    ],
)
def test_a_limit_that_falls_to_a_tenth_and_returns_is_followed(burst: int, announce: bool, retry_after: bool) -> None:
    usual = limited(burst=burst, announce=announce, retry_after=retry_after)
    tenth = replace(usual, requests_per_minute=60.0)

    server = ask_for(360.0, burst, limit=usual, steps=[(60.0, tenth), (200.0, usual)])

    low, high = count(server, "reply", 90.0, 200.0) / 110.0, count(server, "reply", 260.0, 360.0) / 1000.0
    # A hidden bucket that holds a single request loses one with every look whether it refills faster.
    assert low >= (0.9 if announce or burst > 1 else 0.5)
    assert high >= 0.9
    assert count(server, "rate_limit", 90.0, 200.0) <= (1 if announce else 0.15 * 110)


@pytest.mark.parametrize(
    ("charges", "says"),
    [(150, "openai"), (300, "anthropic"), (600, "openai")],
    ids=["half as charged", "as charged", "twice as charged"],
)
@pytest.mark.parametrize("burst", [10])
def test_tokens_per_minute_are_used_up_and_not_exceeded(burst: int, charges: int, says: str) -> None:
    limit = Limit(requests_per_minute=100_000, tokens_per_minute=charges * 300.0, burst=burst)

    server, _ = ask(600, burst, limit=limit, charges=charges, says=says)

    end = server.asked[-1][0]
    assert count(server, "reply", 5.0) / (5.0 * (end - 5.0)) >= 0.93
    assert refused(server) <= 0.01


def shares(seed: int, limit: Limit, *, later: float) -> tuple[float, float]:
    """What the first of two processes gets while both ask, and the refusals of both."""

    async def work() -> tuple[Server, list[Client]]:
        server = Server(limit=limit, rng=random.Random(seed))
        clients = [Client(server=server, lane=make_lane(2 * seed + one), requests=1200) for one in (0, 1)]

        async def second() -> None:
            await asyncio.sleep(later)
            await clients[1].run()

        await asyncio.gather(clients[0].run(), second())
        return server, clients

    server, clients = run_jumping(work()).result
    start, end = later + 30.0, min(client.answered[-1] for client in clients)
    both = [sum(start <= at <= end for at in client.answered) for client in clients]
    return both[0] / sum(both), refused(server)


@pytest.mark.parametrize(
    ("burst", "announce", "later"),
    [
        pytest.param(1, True, 0.0, id="announced", marks=pytest.mark.whole),
        pytest.param(60, True, 30.0, id="announced, one later"),
        pytest.param(1, False, 0.0, id="hidden", marks=pytest.mark.whole),
        pytest.param(1, False, 30.0, id="hidden, one later"),
    ],
)
def test_two_processes_share_a_key(burst: int, announce: bool, later: float) -> None:
    share, refusals = shares(1, limited(burst=burst, announce=announce), later=later)

    assert 0.375 <= share <= 0.625
    assert refusals <= 0.05


def group(
    processes: int,
    seed: int,
    limit: Limit,
    *,
    end: float = 34.0,
    apart: float = 0.15,
    is_one_machine: bool = False,
    process_freezes: Callable[[int], Sequence[tuple[float, float]]] = lambda _: (),
    **server: Any,
) -> tuple[float, float, list[int]]:
    """What so many processes come to that begin one after the other: quota used, 429s, and what each of them gets."""
    start, boards = 8.0, make_boards(seed)

    def lane(at: int) -> RunLane:
        return make_lane(100 * seed + at, board=boards(at) if is_one_machine else None)

    async def work() -> tuple[Server, list[Client]]:
        asked = Server(limit=limit, latency=0.3, rng=random.Random(seed), **server)
        clients = [
            Client(server=asked, lane=lane(at), requests=10**9, freezes=process_freezes(at)) for at in range(processes)
        ]

        async def begin(at: int) -> None:
            await asyncio.sleep(apart * at)
            await clients[at].run()

        try:
            async with asyncio.timeout(end):
                await asyncio.gather(*map(begin, range(processes)))
        except TimeoutError:
            return asked, clients
        raise AssertionError("It can never be done.")

    asked, clients = run_jumping(work()).result
    replies, refusals = count(asked, "reply", start), count(asked, "rate_limit", start)
    shares = [sum(at >= start for at in client.answered) for client in clients]
    assert limit.requests_per_minute is not None
    used = replies / (limit.requests_per_minute / 60 * (end - start))
    return used, refusals / (replies + refusals), shares


@pytest.mark.parametrize("is_late", whole(True, False), ids=["now", "then"])
def test_four_processes_keep_to_a_limit_whose_headers_reset_to_nothing(is_late: bool) -> None:
    groups = [group(4, seed, limited(1200, resets=False), is_late=is_late) for seed in range(2)]

    assert statistics.mean(used for used, _, _ in groups) >= 0.95
    assert all(refusals <= 0.03 for _, refusals, _ in groups)
    assert statistics.mean(min(shares) / max(shares) for _, _, shares in groups) >= 0.4
    assert all(min(shares) >= 0.3 * max(shares) for _, _, shares in groups)


@pytest.mark.parametrize("is_late", whole(False, True), ids=["then", "now"])
def test_eight_processes_share_an_announced_limit(is_late: bool) -> None:
    groups = [group(8, seed, limited(1200), is_late=is_late) for seed in range(2)]

    assert statistics.mean(used for used, _, _ in groups) >= 0.95
    assert all(refusals <= 0.03 for _, refusals, _ in groups)
    assert statistics.mean(min(shares) / max(shares) for _, _, shares in groups) >= 0.5
    assert all(min(shares) >= 0.4 * max(shares) for _, _, shares in groups)


@pytest.mark.parametrize("burst", [1, 10])
@pytest.mark.parametrize("seed", whole(0, 1))
def test_eight_processes_find_a_hidden_limit_together(seed: int, burst: int) -> None:
    used, refusals, shares = group(8, seed, limited(1200, announce=False, burst=burst))

    assert used >= 0.95
    assert refusals <= 0.055
    assert min(shares) >= 0.25 * max(shares)


def test_processes_that_nobody_tells_how_long_to_wait_do_not_starve_each_other() -> None:
    used, refusals, shares = group(8, 1, limited(1200, announce=False, retry_after=False))

    assert used >= 0.95
    assert refusals <= 0.08
    assert min(shares) >= 0.15 * max(shares)


@pytest.mark.parametrize(
    ("processes", "rpm", "burst", "apart"),
    [
        *whole((8, 1200, 1, 0.0), (8, 1200, 1, 0.15), (8, 1200, 1, 0.5), (8, 1200, 10, 0.15), (4, 1200, 1, 0.15)),
        (2, 600, 1, 1.5),
    ],
)
def test_processes_of_one_machine_get_equal_shares_of_a_hidden_limit(
    processes: int, rpm: int, burst: int, apart: float
) -> None:
    limit = limited(rpm, announce=False, burst=burst)

    used, refusals, shares = group(processes, 0, limit, apart=apart, is_one_machine=True)

    assert used >= 0.95
    assert refusals <= 0.02
    assert min(shares) >= 0.8 * max(shares)


def test_processes_of_one_machine_share_a_limit_of_bare_refusals() -> None:
    used, refusals, shares = group(8, 0, limited(1200, announce=False, retry_after=False), is_one_machine=True)

    assert used >= 0.9
    assert refusals <= 0.05
    assert min(shares) >= 0.8 * max(shares)


def spells(seed: str, until: float, *, apart: float, least: float, most: float) -> list[tuple[float, float]]:
    """Freezes that begin *apart* seconds after the one before, in the mean, and take so many seconds."""
    rng, at, frozen = random.Random(seed), 0.0, list[tuple[float, float]]()
    while (start := at + rng.expovariate(1 / apart)) < until:
        at = start + rng.uniform(least, most)
        frozen.append((start, at))
    return frozen


@pytest.mark.parametrize(
    ("until", "processes", "server", "seed"),
    [
        pytest.param(8.0, 0.6, 1e9, 10, id="the processes at first", marks=pytest.mark.whole),
        pytest.param(8.0, 0.6, 1e9, 11, id="the processes at first, all of them"),
        pytest.param(10.0, 0.8, 1.0, 0, id="processes and server at first", marks=pytest.mark.whole),
        pytest.param(10.0, 0.8, 1.0, 5, id="processes and server at first, for longer"),
        pytest.param(10.0, 0.8, 1.0, 6, id="processes and server at first, by turns", marks=pytest.mark.whole),
        pytest.param(34.0, 2.0, 3.0, 6, id="processes and server, all the time"),
    ],
)
def test_processes_of_one_machine_keep_to_a_hidden_limit_although_they_or_the_server_freeze(
    until: float, processes: float, server: float, seed: int
) -> None:
    """A busy machine gives no CPU for seconds: what little was sent meanwhile is not the rate."""
    used, refusals, shares = group(
        8,
        seed,
        limited(1200, announce=False),
        is_one_machine=True,
        freezes=spells(f"{seed}", until, apart=server, least=0.3, most=1.5),
        process_freezes=lambda at: spells(f"{seed} {at}", until, apart=processes, least=0.5, most=3.0),
    )

    assert used >= (0.85 if until < 34 else 0.7)
    assert refusals <= 0.08
    assert min(shares) >= 0.5 * max(shares)


def test_processes_of_one_machine_share_a_slow_limit() -> None:
    used, refusals, shares = group(8, 0, limited(180, announce=False), end=100.0, is_one_machine=True)

    assert used >= 0.95
    assert refusals <= 0.08  # By its nature: a bucket of three requests among eight.
    assert min(shares) >= 0.7 * max(shares)


def test_what_some_processes_leave_the_others_take() -> None:
    """Of eight, six end after some ten seconds; two use the whole limit from then on."""
    boards = make_boards()

    async def work() -> Server:
        asked = Server(limit=limited(1200, announce=False), latency=0.3, rng=random.Random(0))
        sizes = [25] * 6 + [10**9] * 2
        clients = [
            Client(server=asked, lane=make_lane(at, board=boards(at)), requests=size) for at, size in enumerate(sizes)
        ]

        async def run(client: Client) -> None:
            with client.lane:
                await client.run()

        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(60):
                await asyncio.gather(*map(run, clients))
        return asked

    asked = run_jumping(work()).result

    assert count(asked, "reply", 25, 60) >= 0.95 * 35 * 20
    assert count(asked, "rate_limit", 25, 60) <= 0.03 * 35 * 20


def test_processes_of_one_machine_follow_a_limit_that_falls_and_returns() -> None:
    boards, full = make_boards(), limited(1200, announce=False)
    steps = [(20.0, limited(120, announce=False)), (80.0, full)]

    async def work() -> Server:
        asked = Server(limit=full, latency=0.3, rng=random.Random(0), steps=steps)
        clients = [Client(server=asked, lane=make_lane(at, board=boards(at)), requests=10**9) for at in range(4)]
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(160):
                await asyncio.gather(*(client.run() for client in clients))
        return asked

    asked = run_jumping(work()).result

    assert count(asked, "reply", 40, 80) >= 0.7 * 40 * 2
    assert count(asked, "rate_limit", 40, 80) <= 0.2 * 40 * 2
    assert count(asked, "reply", 120, 160) >= 0.9 * 40 * 20


@pytest.mark.parametrize("seed", [0])
def test_one_bad_reply_in_ten_slows_nobody_down(seed: int) -> None:
    _, usual = ask(1000, seed)

    server, seconds = ask(1000, seed, faults=("server", "connection", "server", *27 * (None,)))

    assert len(server.asked) <= 1.12 * 1000
    assert seconds <= 1.25 * usual


@pytest.mark.parametrize(
    ("limit", "most"),
    [(None, 16), (limited(3000), 64), (limited(3000, announce=False), 64)],
    ids=["unlimited", "announced", "hidden"],
)
def test_an_outage_is_watched_by_single_probes(limit: Limit | None, most: int) -> None:
    server = ask_for(635.0, most, limit=limit, outage=(10.0, 610.0), lane={"most": most})

    probes = [at for at, kind, _ in server.asked if kind == "server"]
    late = [at for at in probes if at >= 40.0]
    assert len(probes) - len(late) <= 100
    assert all(after - before >= 10.0 for before, after in pairwise(late))
    before, after = count(server, "reply", 5.0, 10.0), count(server, "reply", 625.0, 630.0)
    assert after >= 0.9 * before


@pytest.mark.parametrize("seed", [0])
def test_stalled_requests_hold_up_no_others(seed: int) -> None:
    _, usual = ask(2000, seed, lane={"most": 64})

    _, seconds = ask(2000, seed, lane={"most": 64}, stalls=0.01, patience=3.0)

    assert seconds <= 1.3 * usual


@pytest.mark.parametrize("seed", range(2))
def test_an_unlimited_server_is_asked_for_everything_at_once(seed: int) -> None:
    async def best() -> None:
        server = Server(rng=random.Random(seed))
        await server.send()
        await asyncio.gather(*(server.send() for _ in range(499)))

    _, seconds = ask(500, seed)

    assert seconds <= 1.25 * run_jumping(best()).seconds


@pytest.mark.parametrize("most", [512])
@pytest.mark.parametrize("slots", [4, 16])
def test_a_server_that_queues_is_kept_busy_with_a_short_queue(slots: int, most: int) -> None:
    async def work() -> list[int]:
        server = Server(slots=slots, rng=random.Random(slots))
        client = Client(server=server, lane=make_lane(slots, most=most, at_once=64), requests=200 * slots)
        return await in_flight_of(client)

    jumped = run_jumping(work())

    assert jumped.seconds <= 100.0 / 0.88
    assert sum(jumped.result) / len(jumped.result) <= 2.5 * slots
