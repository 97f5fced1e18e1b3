"""Runs that share the lane of a pacer over a socket: their pace, the pacer's death and return, and hostile peers."""

from __future__ import annotations

import asyncio
import os
import random
import socket
import stat
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from pydantic_core import from_json, to_json

from smelt.engine.events import Event, Resumed, Waiting
from smelt.engine.limiter import JobOver, TooLong
from smelt.errors import SmeltConfigError
from smelt.lanes.caps import Caps
from smelt.lanes.desk import Membership
from smelt.lanes.errands import ask_pacer
from smelt.lanes.jobrun import JobRun
from smelt.lanes.jobs import FORGOTTEN, HALTED
from smelt.lanes.lane import RunLane
from smelt.lanes.lines import proof_of
from smelt.lanes.places import went_away
from smelt.lanes.remote import PATIENCE, RemoteLane
from smelt.lanes.serving import serve
from smelt.loop.bridge import run_blocking
from smelt.loop.jumping import run_jumping
from smelt.providers.base import Billing, CallFailed, Reply, Usage
from tests.lanes.server import USAGE, Client, Server, limited, make_lane

CAPS = Caps(concurrency=64)


@pytest.fixture
def place(tmp_path: Path) -> str:
    return str(tmp_path / "pacer")


def cents(usage: Usage) -> float:
    """A cent a hundred tokens."""
    return ((usage.input_tokens or 0) + (usage.output_tokens or 0)) / 10_000


@asynccontextmanager
async def listening(place: str, token: str = "") -> AsyncIterator[None]:
    until, is_ready = asyncio.Event(), asyncio.Event()
    task = asyncio.create_task(serve(place, token, is_ready.set, until=until))
    await is_ready.wait()
    try:
        yield
    finally:
        until.set()
        await task


def lane_of(
    place: str,
    *,
    seed: int = 0,
    token: str = "",
    caps: Caps = CAPS,
    tell: Any = None,
    name: str = "",
    job: JobRun | None = None,
) -> RemoteLane:
    def own(wanted: Caps) -> RunLane:
        return make_lane(seed)

    member = Membership(place, token, lambda salt: f"{salt.hex()} {name}", "fake", None, job, cents)
    return RemoteLane(member, caps, tell or (lambda event: None), own)


def at_a_pacer(
    place: str, clients: Callable[[Server], list[Client]], *, end: float, **server: Any
) -> tuple[Server, list[Client]]:
    """The clients, after so many seconds with a pacer."""

    async def work() -> tuple[Server, list[Client]]:
        asked = Server(rng=random.Random(7), **server)
        made = clients(asked)
        async with listening(place):
            with suppress(TimeoutError):
                async with asyncio.timeout(end):
                    await asyncio.gather(*(one.run() for one in made))
            for one in made:
                one.lane.__exit__()
        return asked, made

    return run_jumping(work()).result


@pytest.mark.parametrize("announce", [True, False], ids=["announced", "hidden"])
def test_eight_processes_share_a_limit_evenly_and_are_hardly_refused(announce: bool, place: str) -> None:
    limit, start, end = limited(1200, announce=announce, retry_after=True), 8.0, 30.0

    asked, clients = at_a_pacer(
        place,
        lambda server: [Client(server=server, lane=lane_of(place, seed=at), requests=10**9) for at in range(8)],
        end=end,
        limit=limit,
        latency=0.3,
    )

    late = [what for when, what, _ in asked.asked if when >= start]
    replies, refusals = late.count("reply"), late.count("rate_limit")
    shares = [sum(at >= start for at in client.answered) for client in clients]
    assert replies / (20 * (end - start)) >= 0.95
    assert refusals / (replies + refusals) <= 0.02
    assert min(shares) / max(shares) >= 0.75
    assert not any(client.lane.notices for client in clients)


def test_a_pacer_that_dies_and_comes_back_loses_no_request_and_a_second(place: str) -> None:
    async def work() -> tuple[list[float], RemoteLane]:
        server, lane = Server(limit=limited(600), latency=0.3, rng=random.Random(7)), lane_of(place)
        client = Client(server=server, lane=lane, requests=400)
        async with listening(place):
            running = asyncio.create_task(client.run())
            await asyncio.sleep(8)
        assert lane._live is not None  # The end is heard in the next turn.
        await asyncio.sleep(10)
        assert lane._live is None
        async with listening(place):
            await asyncio.sleep(11)
            assert lane._live is not None
            await running
            assert not lane._live.slots
            lane.__exit__()
        return client.answered, lane

    answered, lane = run_jumping(work()).result

    gaps = [after - before for before, after in pairwise(answered)]
    assert len(answered) == 400
    assert max(gaps) < 5
    assert lane.notices == [
        f"The pacer {place} was away (its connection broke), so this process paced itself meanwhile."
    ]


async def silent(place: str, greets: bool) -> asyncio.Server:
    """A pacer that takes connections, and says nothing after the greeting."""

    class Mute(asyncio.Protocol):
        def connection_made(self, transport: asyncio.BaseTransport) -> None:
            assert isinstance(transport, asyncio.Transport)
            if greets:
                transport.write(b'[3,"00","00"]\n["j"]\n')

    return await asyncio.get_running_loop().create_unix_server(Mute, place)


@pytest.mark.parametrize("greets", [True, False], ids=["frozen later", "never answers"])
def test_a_pacer_that_says_nothing_is_given_up_within_five_seconds(greets: bool, place: str) -> None:
    async def work() -> float:
        server = await silent(place, greets)
        lane, loop = lane_of(place), asyncio.get_running_loop()
        slot = await lane.admit(USAGE)
        waited = loop.time()
        lane.complete(slot, Reply(text="{}", usage=USAGE))
        lane.__exit__()
        server.close()
        return waited

    assert 0 < run_jumping(work()).result <= 5


def test_without_a_pacer_a_run_paces_itself_and_says_so_once(place: str) -> None:
    async def work() -> list[str]:
        with lane_of(place) as lane:
            for _ in range(3):
                lane.complete(await lane.admit(USAGE), Reply(text="{}", usage=USAGE))
            return lane.notices

    [notice] = run_jumping(work()).result

    assert notice.startswith(f"The pacer {place} was away (")
    assert "paced itself" in notice


def test_the_next_runs_do_not_wait_for_a_pacer_that_is_away_nor_say_so_again(place: str) -> None:
    async def ask() -> tuple[float, list[str]]:
        began = asyncio.get_running_loop().time()
        with lane_of(place) as lane:
            lane.complete(await lane.admit(USAGE), Reply(text="{}", usage=USAGE))
            took = asyncio.get_running_loop().time() - began
            await asyncio.sleep(5)  # It tries in the background.
            return took, lane.notices

    async def work() -> list[tuple[float, list[str]]]:
        mute = await silent(place, greets=False)
        found = [await ask(), await ask(), await ask()]
        mute.close()
        Path(place).unlink(missing_ok=True)  # noqa: ASYNC240  # It is over.
        async with listening(place):
            found.append(await ask())
        found.append(await ask())
        return found

    first, second, third, back, again = run_jumping(work()).result

    assert first[0] == PATIENCE
    assert [len(notices) for _, notices in (first, second, third, back, again)] == [1, 0, 0, 0, 1]
    assert max(took for took, _ in (second, third, back, again)) < 0.1


def test_a_wrong_token_ends_the_run_also_if_the_pacer_was_away_before(place: str) -> None:
    async def work() -> None:
        with lane_of(place) as lane:
            lane.release(await lane.admit(USAGE))
        async with listening(place, token="the right one"):
            with lane_of(place, token="another one") as lane:
                for _ in range(2):
                    lane.release(await lane.admit(USAGE))
                    await asyncio.sleep(1)

    with pytest.raises(SmeltConfigError, match="refuses this process: the token is another one"):
        run_jumping(work())


def test_what_is_told_of_a_block_waits_little_for_a_pacer_that_is_away(place: str) -> None:
    went_away(place)
    with socket.socket(socket.AF_UNIX) as mute:
        mute.bind(place)
        mute.listen()
        began = time.monotonic()
        with pytest.raises(OSError, match="timed out"):
            ask_pacer(place, "", "end", "job", must_wait=False)

    assert time.monotonic() - began < 2


def test_a_request_that_was_sent_and_cancelled_counts_as_estimated_and_one_that_was_not_costs_nothing(
    place: str,
) -> None:
    async def work() -> tuple[dict[str, Any], int]:
        async with listening(place):
            await say(place, "open", "job", None, 1_000, None)
            with lane_of(place, job=JobRun(job="job", run="r", max_tokens=1_000)) as lane:
                usage = Usage(input_tokens=60, output_tokens=40)
                slot = await lane.admit(usage)
                lane.complete(slot, Reply(text="{}", usage=usage))
                for is_sent in (True, False, True, False):
                    slot = await lane.admit(usage)
                    if is_sent:
                        await lane.sending(slot)
                    lane.release(slot)
                slot = await lane.admit(usage)
                await lane.sending(slot)
                lane.release(slot, is_counted=True)  # The provider refused it.
                lost = await lane.admit(usage)
                await lane.sending(lost)
                lane.complete(lost, CallFailed("timeout", Billing.UNKNOWN, "No reply."))
                found, left = await say(place, "look", "job"), 0
                with suppress(JobOver):
                    while True:
                        lane.complete(await lane.admit(usage), Reply(text="{}", usage=usage))
                        left += 1
                return found, left

    found, left = run_jumping(work()).result

    assert (found["requests"], found["possible_duplicates"], found["cost_usd"]) == (4, 3, None)
    assert 4 <= left <= 5  # Of nine that were left after the first; a request is expected to take up to 1.5 as much.


def test_a_wrong_token_ends_the_run(place: str) -> None:
    async def work() -> None:
        async with listening(place, token="the right one"):
            with lane_of(place, token="another one") as lane:
                await lane.admit(USAGE)

    with pytest.raises(SmeltConfigError, match="refuses this process: the token is another one") as told:
        run_jumping(work())
    assert "the right one" not in str(told.value)


def test_a_run_that_leaves_or_dies_frees_its_slots(place: str) -> None:
    async def work() -> tuple[int, int]:
        async with listening(place):
            first, second = (lane_of(place, caps=Caps(concurrency=1), seed=at) for at in range(2))
            await first.admit(USAGE)
            await second.admit(USAGE)  # The caps of two processes add up.
            assert first._desk is not None
            assert first._desk.transport is not None
            first._desk.on_lost = lambda: None
            first._desk.transport.abort()
            await asyncio.sleep(0.1)
            third = lane_of(place, caps=Caps(concurrency=1), seed=3)
            slot = await third.admit(USAGE)
            seen = third.limit, third.workers
            third.release(slot)
            second.__exit__()
            third.__exit__()
            return seen

    done = run_jumping(work())

    assert done.seconds < 3
    assert done.result[0] >= 1


def test_a_place_that_was_given_to_a_dead_process_was_not_used(place: str) -> None:
    """Its own limit says how many it can have sent."""

    async def work() -> int:
        async with listening(place):
            dead, alive = (lane_of(place, caps=Caps(concurrency=2), job=JobRun(job="job", run=run)) for run in "da")
            with alive:
                alive.complete(await alive.admit(USAGE), Reply(text="{}", usage=USAGE))
                for _ in range(3):  # The caps of two processes add up.
                    await dead.admit(USAGE)
                assert dead._desk is not None
                assert dead._desk.transport is not None
                dead._desk.on_lost = lambda: None
                dead._desk.transport.abort()
                await asyncio.sleep(0.1)
                found = await say(place, "look", "job")
                return int(found["possible_duplicates"])

    assert run_jumping(work()).result == 2


def test_waits_are_told_and_a_cancelled_request_holds_no_slot(place: str) -> None:
    told: list[Event] = []

    async def work() -> float:
        async with listening(place):
            with lane_of(place, caps=Caps(concurrency=2), tell=told.append) as lane:
                slot = await lane.admit(USAGE)
                refusal = CallFailed("rate_limit", Billing.REJECTED, "Slow down.", retry_after=30.0)
                lane.complete(slot, refusal)
                waiting = asyncio.create_task(lane.admit(USAGE))
                await asyncio.sleep(1)
                waiting.cancel()
                with suppress(asyncio.CancelledError):
                    await waiting
                lane.release(await lane.admit(USAGE))
                return asyncio.get_running_loop().time()

    assert 30 <= run_jumping(work()).result <= 33
    assert isinstance(told[0], Waiting)
    assert isinstance(told[-1], Resumed)


def test_a_wait_that_is_too_long_is_refused_with_its_reason(place: str) -> None:
    async def work() -> None:
        async with listening(place):
            with lane_of(place, caps=Caps(concurrency=2, max_wait=10)) as lane:
                refusal = CallFailed("rate_limit", Billing.REJECTED, "Key sk-c4n4ry!", retry_after=3600.0)
                lane.complete(await lane.admit(USAGE), refusal)
                await lane.admit(USAGE)

    with pytest.raises(TooLong, match=r"longer than this run waits \(max_wait\)\. Run again in 1 h"):
        run_jumping(work())


def test_no_message_and_no_key_is_in_what_is_said(place: str) -> None:
    said = bytearray()

    async def work() -> None:
        class Ear(asyncio.Protocol):
            def connection_made(self, transport: asyncio.BaseTransport) -> None:
                assert isinstance(transport, asyncio.Transport)
                transport.write(b'[3,"00","00"]\n')
                self.transport = transport

            def data_received(self, data: bytes) -> None:
                said.extend(data)
                for line in data.splitlines():
                    what, number, *_ = from_json(line)
                    self.transport.write(
                        b'["j"]\n' if what == "join" else to_json(["s", number, 9, 1, False, False]) + b"\n"
                    )

        server = await asyncio.get_running_loop().create_unix_server(Ear, place)
        with lane_of(place, token="t0ken-c4n4ry") as lane:
            failure = CallFailed("server", Billing.UNKNOWN, "About row c4n4ry.", status=500, request_id="req-c4n4ry")
            lane.complete(await lane.admit(USAGE), failure)
            lane.complete(await lane.admit(USAGE), Reply(text="c4n4ry", usage=USAGE, model="c4n4ry"))
            await asyncio.sleep(1)
        server.close()

    run_jumping(work())

    assert b'"server"' in said
    assert b"c4n4ry" not in said


@pytest.mark.parametrize(
    "line",
    [b"x" * 70_000, b"\xff\n", b"{}\n", b"[]\n", b'["join"]\n', b'["a",1,1,1,1]\n', b"[[[[\n",
     b'["join",1,2,3,4,5,6,7,8,9,10]\n', b'["look",1,"job"]\n', b'["end","",2]\n'],
    ids=lambda line: line[:12].decode("latin-1"),
)  # fmt: skip
def test_a_stranger_is_dropped_and_harms_nobody(line: bytes, place: str) -> None:
    async def work() -> bytes:
        async with listening(place, token="secret"):
            with lane_of(place, token="secret") as lane:
                slot = await lane.admit(USAGE)
                reader, writer = await asyncio.open_unix_connection(place)
                writer.write(line)
                said = await reader.read()
                writer.close()
                lane.complete(slot, Reply(text="{}", usage=USAGE))
                lane.release(await lane.admit(USAGE))
        return said

    assert b"secret" not in run_jumping(work()).result


@pytest.mark.parametrize(
    "lines",
    [[["a", 1, -1, 1, 1]], [["a", 1, 1, 1, 1], ["a", 1, 1, 1, 1]], [["d", 1]], [["a", 1, 1, 1, 1], ["d", 1]],
     [["a", 1, 1, 1, 1], ["d", 1, -1, 1, 1, 1, {}]],
     [["l", 0, None, None, 1]], [["a", [], 1, 1, 1]], [["a", 1, 1e300, 1, 1]], [["d", {}]]],
    ids=str,
)  # fmt: skip
def test_a_member_that_says_nonsense_is_dropped_and_its_slots_are_free(lines: list[Any], place: str) -> None:
    async def work() -> None:
        async with listening(place):
            lane = lane_of(place)
            lane.release(await lane.admit(USAGE))
            assert lane._desk is not None
            lane._desk.on_lost = lambda: None
            for one in lines:
                lane._desk.say(*one)
            await asyncio.sleep(0.1)
            with lane_of(place) as other:
                other.release(await other.admit(USAGE))
            lane.__exit__()

    assert run_jumping(work()).seconds < 5


def test_the_lanes_of_two_limits_do_not_wait_for_each_other(place: str) -> None:
    async def work() -> float:
        async with listening(place):
            with lane_of(place, name="one") as one, lane_of(place, name="two") as two:
                refusal = CallFailed("rate_limit", Billing.REJECTED, "Slow down.", retry_after=30.0)
                one.complete(await one.admit(USAGE), refusal)
                two.release(await two.admit(USAGE))
                return asyncio.get_running_loop().time()

    assert run_jumping(work()).result < 5


def test_a_socket_is_closed_to_others_and_one_in_use_is_not_taken(place: str) -> None:
    async def work() -> int:
        async with listening(place):
            mode = stat.S_IMODE(os.stat(place).st_mode)  # noqa: PTH116
            with pytest.raises(FileExistsError, match="another pacer listens"):
                await serve(place, "", lambda: None, until=asyncio.Event())
            return mode

    assert run_jumping(work()).result == 0o600
    assert not Path(place).exists()


async def say(place: str, *line: Any) -> Any:
    """What the pacer answers to a line about a job."""
    reader, writer = await asyncio.open_unix_connection(place)
    _, _, nonce = from_json(await reader.readline())
    what, job, *rest = line
    writer.write(to_json([what, proof_of("", nonce, job), job, *rest]) + b"\n")
    _, answer = from_json(await reader.readline())
    writer.close()
    return answer


STOPPED = {"requests": 1, "input_tokens": 0, "output_tokens": 0, "cached_input_tokens": 0, "possible_duplicates": 0,
           "cost_usd": 0, "rows": 0, "failed": 0, "known": 0, "errors": [], "raised": None,
           "stop": ["auth", "Unknown key.", 401, "req-1"]}  # fmt: skip


def test_a_verdict_refuses_what_the_job_asks_anywhere_and_no_other_job(place: str) -> None:
    async def work() -> tuple[list[CallFailed | None], float]:
        async with listening(place):
            mine = [lane_of(place, job=JobRun(job="mine", run=f"r{at}")) for at in range(3)]
            other = lane_of(place, job=JobRun(job="other", run="r"))
            slot = await mine[0].admit(USAGE)
            mine[0].complete(slot, CallFailed("rate_limit", Billing.REJECTED, "Slow down.", retry_after=600.0))
            waiting = asyncio.create_task(mine[1].admit(USAGE))
            await asyncio.sleep(1)
            await say(place, "end", "mine", "b", "r0", STOPPED)
            stops = []
            for asked in (waiting, mine[2].admit(USAGE)):
                with pytest.raises(JobOver, match="The job is over") as over:
                    await asked
                stops.append(over.value.stop)
            soon = asyncio.get_running_loop().time()
            other.release(await other.admit(USAGE))  # It waits for the rate limit, as before.
            mine[2].release(await mine[2].admit(USAGE))  # The verdict is over.
            for one in (*mine, other):
                one.__exit__()
            return stops, soon

    stops, soon = run_jumping(work()).result

    assert soon < 3
    assert [(one.kind, one.message, one.status, one.request_id) for one in stops if one] == [
        ("auth", "Unknown key.", 401, "req-1")
    ] * 2


@pytest.mark.parametrize("limit", [{"max_cost": 1.0}, {"max_tokens": 10_000}], ids=str)
def test_the_limit_of_a_job_holds_for_its_processes_together(limit: dict[str, Any], place: str) -> None:
    in_flight = 0
    most = 0

    async def ask(lane: RemoteLane, rng: random.Random) -> tuple[int, str]:
        nonlocal in_flight, most
        spent = 0
        while True:
            try:
                slot = await lane.admit(Usage(input_tokens=60, output_tokens=40))
            except JobOver as over:
                return spent, str(over.fault)
            in_flight += 1
            most = max(most, in_flight)
            await asyncio.sleep(rng.uniform(0.1, 1.0))
            in_flight -= 1
            took = rng.randint(100, 300)
            spent += took
            usage = Usage(input_tokens=took, output_tokens=0)
            lane.complete(slot, Reply(text="{}", usage=usage), cents(usage))

    async def work() -> list[tuple[int, str]]:
        async with listening(place):
            await say(place, "open", "job", limit.get("max_cost"), limit.get("max_tokens"), None)
            lanes = [lane_of(place, seed=at, job=JobRun(job="job", run=f"r{at}", **limit)) for at in range(4)]
            rng = random.Random(7)
            found = await asyncio.gather(*(ask(lane, rng) for lane in lanes for _ in range(4)))
            for lane in lanes:
                lane.__exit__()
            return list(found)

    found = run_jumping(work()).result

    total = sum(spent for spent, _ in found)
    assert 9_000 <= total <= 10_000 + 300 * most
    assert {fault.partition(": ")[0] for _, fault in found} == {"The job's budget is spent"}


def test_a_job_with_a_limit_asks_nothing_while_the_pacer_is_away_or_has_forgotten_it(place: str) -> None:
    async def work() -> tuple[str, list[str], float]:
        job = JobRun(job="job", run="r", max_tokens=1_000)
        with lane_of(place, job=job) as lane:
            asking = asyncio.create_task(lane.admit(USAGE))
            await asyncio.sleep(30)
            assert not asking.done()
            async with listening(place):
                with pytest.raises(JobOver, match="The job is over") as over:
                    await asking
                back = asyncio.get_running_loop().time()
                return str(over.value.fault), lane.notices, back

    fault, [notice], back = run_jumping(work()).result

    assert fault == FORGOTTEN
    assert "so this process asked nothing meanwhile" in notice
    assert back <= 41


def test_a_job_with_a_limit_waits_for_the_pacer_no_longer_than_it_may(place: str) -> None:
    async def work() -> None:
        with lane_of(place, caps=Caps(concurrency=2, max_wait=20), job=JobRun(job="j", run="r", left=9.0)) as lane:
            await lane.admit(USAGE)

    with pytest.raises(TooLong, match=r"which holds the limits of the job, has been away for 20 s \(max_wait\)"):
        run_jumping(work())


def test_a_halt_admits_nothing_more_of_the_runs_that_are_there(place: str) -> None:
    async def work() -> list[str]:
        async with listening(place):
            there = lane_of(place, job=JobRun(job="job", run="r1"))
            slot = await there.admit(USAGE)
            await say(place, "halt", "job")
            there.complete(slot, Reply(text="{}", usage=USAGE))  # What is in flight ends as usual.
            said = []
            for lane in (there, lane_of(place, job=JobRun(job="job", run="r2"))):
                with pytest.raises(JobOver, match="The job is over") as over:
                    await lane.admit(USAGE)
                assert over.value.stop is not None
                said.append(over.value.stop.message)
                lane.__exit__()
            await asyncio.sleep(4)
            with lane_of(place, job=JobRun(job="job", run="r3")) as later:
                later.release(await later.admit(USAGE))
            return said

    assert run_jumping(work()).result == [HALTED, HALTED]


@pytest.mark.slow
def test_the_command_serves_at_an_address_to_those_that_know_the_token(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        place = f"127.0.0.1:{free.getsockname()[1]}"
    command = [sys.executable, "-m", "smelt", "pacer", "--listen", place]
    bare = {**os.environ, "SMELT_PACER_TOKEN": ""}
    refused = subprocess.run(command, check=False, capture_output=True, text=True, env=bare)
    monkeypatch.setenv("SMELT_PACER_TOKEN", "t0ken-c4n4ry")
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    said = process.stdout.readline()

    async def ask(token: str) -> list[str]:
        with lane_of(place, token=token) as lane:
            for _ in range(3):
                lane.complete(await lane.admit(USAGE), Reply(text="{}", usage=USAGE))
            return lane.notices

    assert refused.returncode == 2
    assert "Set SMELT_PACER_TOKEN" in refused.stderr
    assert f"SMELT_PACER={place}" in said
    assert "c4n4ry" not in said
    assert run_blocking(ask("t0ken-c4n4ry")) == []
    with pytest.raises(SmeltConfigError, match="the token is another one"):
        run_blocking(ask("guessed"))
    process.terminate()
    assert process.wait() == 0
    process.stdout.close()
