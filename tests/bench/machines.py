"""Two machines that work on one table, as network namespaces, with one database of answers and one pacer over TCP.

    python -m tests.bench.machines [redis] [killed] [cut] [stalled]

The database is PostgreSQL, unless `redis` is named. Needs Linux, root, `ip` and the database. Each machine has a ledger
and a home of its own. The road to the provider is apart from the road to the database and the pacer, which leads
through a router that can stop forwarding: then packets are lost, and no socket is told. Prints every figure with its
limit, and ends with an error if one is above it. Each situation takes 30 to 60 s.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, Self

import pyarrow as pa

import smelt
from tests import postgres, redis
from tests.bench.lanes import ROOT, Figure
from tests.fakeserver import FakeServer, Scenario
from tests.models import RULES, Company

BLOCKS, ROWS = 30, 40  # Of each machine; rows of a block.
PER_REQUEST, IN_FLIGHT = 5, 4
PACER, REDIS, TOKEN = 7411, 7412, "a-token-of-the-bench"
MACHINES = ("one", "two")
SERVICES = "10.79.0.2"
CUT = 12.0  # Seconds.

_store = "postgres"


def name(machine: str, block: int, row: int) -> str:
    return f"{machine} {block} {row}"


class Net:
    """The namespaces: each machine has one road to the provider, and one through the router to the services."""

    def __enter__(self) -> Self:
        self._id = f"smelt{os.getpid() % 10_000}"
        self._stack = ExitStack()
        self._make("net")
        for at, machine in enumerate(MACHINES, start=1):
            self._make(machine)
            self._join((None, f"10.77.{at}.1"), (machine, f"10.77.{at}.2"), f"p{at}")
            self._join(("net", f"10.78.{at}.1"), (machine, f"10.78.{at}.2"), f"s{at}")
            self._ip("-n", self._of(machine), "route", "add", "10.79.0.0/24", "via", f"10.78.{at}.1")
        self._join(("net", "10.79.0.1"), (None, "10.79.0.2"), "s0")
        self._ip("route", "add", "10.78.0.0/16", "via", "10.79.0.1")
        self.forward()
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def run(self, machine: str, *command: str, **env: str) -> subprocess.Popen[str]:
        """Start a process on *machine*."""
        inside = ["ip", "netns", "exec", self._of(machine), *command]
        return subprocess.Popen(inside, cwd=ROOT, env={**os.environ, **env}, stdout=subprocess.PIPE, text=True)

    def forward(self, *, machine: str = "", is_open: bool = True) -> None:
        """Let packets between *machine*, or all, and the services through; or lose them."""
        where = f"all.forwarding={int(is_open)}" if not machine else ""
        if where:
            self._in_router("sysctl", "-qw", f"net.ipv4.conf.{where}")
            return
        at = MACHINES.index(machine) + 1
        how = ("del" if is_open else "add", "blackhole", f"10.78.{at}.2/32")
        self._ip("-n", self._of("net"), "route", *how)  # What goes to the machine is lost,
        self._in_router("sysctl", "-qw", f"net.ipv4.conf.{self._id}s{at}a.forwarding={int(is_open)}")  # and from it.

    def _make(self, name: str) -> None:
        self._ip("netns", "add", self._of(name))
        self._stack.callback(self._ip, "netns", "del", self._of(name))
        self._ip("-n", self._of(name), "link", "set", "lo", "up")

    def _join(self, left: tuple[str | None, str], right: tuple[str | None, str], link: str) -> None:
        ends = [f"{self._id}{link}{end}" for end in "ab"]
        self._ip("link", "add", ends[0], "type", "veth", "peer", "name", ends[1])
        if here := [end for (space, _), end in zip((left, right), ends, strict=True) if space is None]:
            # With the namespace it would go too, but only later, and the next situation has the same addresses.
            self._stack.callback(self._ip, "link", "del", here[0])
        for (space, address), end in zip((left, right), ends, strict=True):
            if space is not None:
                self._ip("link", "set", end, "netns", self._of(space))
            inside = ("-n", self._of(space)) if space is not None else ()
            self._ip(*inside, "addr", "add", f"{address}/24", "dev", end)
            self._ip(*inside, "link", "set", end, "up")

    def _of(self, name: str) -> str:
        return f"{self._id}-{name}"

    def _in_router(self, *command: str) -> None:
        subprocess.run(["ip", "netns", "exec", self._of("net"), *command], check=True)

    @staticmethod
    def _ip(*command: str) -> None:
        subprocess.run(["ip", *command], check=True)


# --- what a machine does ----------------------------------------------------------------------------------------------


def work(url: str, store: str, *owners: str) -> None:
    """Ask the blocks of the *owners*, one after the other; print a line for each block."""
    model = smelt.Model("compatible", "fake-1", base_url=url, key_env="TEAM_KEY", allow_http=True)
    options: dict[str, Any] = {"batch_size": PER_REQUEST, "concurrency": IN_FLIGHT, "wire": "keyed", "ledger": store}
    mapper = smelt.Mapper(smelt.Job("Describe {name}.", Company, **options), model)
    for owner in owners:
        for block in range(BLOCKS):
            table = pa.table({"name": [name(owner, block, row) for row in range(ROWS)]})
            out = mapper(table)
            assert out["echo"].to_pylist() == table["name"].to_pylist()
            print(json.dumps([owner, block, out.num_rows - out["smelt_error"].null_count]), flush=True)


# --- situations -------------------------------------------------------------------------------------------------------


class Stage:
    """Both machines at work.

    Attributes:
        scenario: The provider.
        net: The network.
        jobs: The process of each machine.
    """

    def __init__(self, scenario: Scenario, net: Net, store: str, folder: Path, *, does_all: bool) -> None:
        """Begin; *does_all*: whether each machine also asks the blocks of the other when it has done its own."""
        self.scenario, self.net = scenario, net
        self.jobs: dict[str, subprocess.Popen[str]] = {}
        for at, machine in enumerate(MACHINES, start=1):
            (home := folder / machine).mkdir()
            url = scenario.base_url("compatible").replace("127.0.0.1", f"10.77.{at}.1")
            command = [sys.executable, "-m", "tests.bench.machines", "--work", url, store, machine]
            command += [one for one in MACHINES if one != machine and does_all]
            env = {
                "HOME": str(home),
                "SMELT_LEDGER": str(home / "ledger.sqlite"),
                "SMELT_PACER_TOKEN": TOKEN,
                "TEAM_KEY": "sk-test",
            }
            self.jobs[machine] = net.run(machine, *command, SMELT_PACER=f"{SERVICES}:{PACER}", **env)

    @property
    def sent(self) -> Counter[str]:
        """How often each row was sent."""
        return Counter(self.scenario.stats().rows_sent_by)

    def wait(self, is_reached: Callable[[Counter[str]], bool]) -> None:
        while not is_reached(self.sent):
            for machine, job in self.jobs.items():
                assert job.poll() is None, f"machine {machine} has ended too soon"
            time.sleep(0.1)

    def end(self) -> list[Any]:
        """What the machines that live print, to their end."""
        said = [job.communicate()[0].splitlines() for job in self.jobs.values()]
        assert all(job.returncode == 0 for job in self.jobs.values())
        return [json.loads(line) for lines in said for line in lines]


@contextmanager
def database() -> Iterator[tuple[Any, str]]:
    """The database of the answers, and its URL on the machines."""
    if _store == "redis":
        with redis.running("--port", str(REDIS), "--bind", SERVICES, "--protected-mode", "no") as server:
            yield server, f"redis://{SERVICES}:{REDIS}/0"
    else:
        with postgres.running(listens=SERVICES, trusts="10.78.0.0/16") as server:
            yield server, f"postgresql://smelt@{SERVICES}/postgres"


@contextmanager
def stage(*, does_all: bool = False) -> Iterator[tuple[Stage, Any]]:
    os.environ["FAKESERVER_HOST"] = "0.0.0.0"
    with (
        Net() as net,
        FakeServer() as server,
        database() as (kept, url),
        tempfile.TemporaryDirectory() as folder,
    ):
        pacer = subprocess.Popen(
            [sys.executable, "-m", "smelt", "pacer", "--listen", f"{SERVICES}:{PACER}"],
            env={**os.environ, "SMELT_PACER_TOKEN": TOKEN},
            stdout=subprocess.PIPE,
        )
        assert pacer.stdout is not None
        pacer.stdout.readline()
        try:
            scenario = server.scenario(answers=RULES, count_by="name", latency=0.2, jitter=0.1)
            yield Stage(scenario, net, url, Path(folder), does_all=does_all), kept
        finally:
            pacer.terminate()
            pacer.wait()


def killed() -> list[Figure]:
    """One machine is killed in the middle; the other one does what is left."""
    with stage(does_all=True) as (found, _):
        found.wait(lambda sent: _by(sent)["one"] > BLOCKS * ROWS // 3 and _by(sent)["two"] > 0)
        gone = found.jobs.pop("one")
        gone.send_signal(signal.SIGKILL)
        gone.wait()
        lines = found.end()
        sent = found.sent
    return [*_whole(lines, sent), Figure(name="rows sent twice", value=_twice(sent), limit=IN_FLIGHT * PER_REQUEST)]


def cut() -> list[Figure]:
    """The road between one machine and the services loses every packet for 12 s."""
    return _lost(lambda net, is_open: net.forward(machine="two", is_open=is_open))


def stalled() -> list[Figure]:
    """The same for both machines: the database and the pacer are away from all."""
    return _lost(lambda net, is_open: net.forward(is_open=is_open))


def _lost(turn: Callable[[Net, bool], None]) -> list[Figure]:
    with stage() as (found, store):
        found.wait(lambda sent: min(_by(sent)[machine] for machine in MACHINES) > BLOCKS * ROWS // 6)
        turn(found.net, False)
        until, quiet, seen, last = time.monotonic() + CUT, 0.0, _by(found.sent)["two"], time.monotonic()
        is_back = False
        while any(job.poll() is None for job in found.jobs.values()):
            time.sleep(0.1)
            now = time.monotonic()
            if not is_back and now > until:
                turn(found.net, True)
                is_back = True
            if (count := _by(found.sent)["two"]) > seen:
                quiet, seen, last = max(quiet, now - last), count, now
        lines, sent = found.end(), found.sent
        kept = len(store.kept())
    rows = len(MACHINES) * BLOCKS * ROWS
    return [
        *_whole(lines, sent),
        Figure(name="rows sent twice", value=_twice(sent), limit=0),
        Figure(name="s without a request of that machine, at most", value=quiet, limit=10),
        Figure(name="answers in the database, of all", value=kept / rows, limit=1, least=True),
    ]


def _by(sent: Counter[str]) -> Counter[str]:
    """Rows by the machine that they belong to."""
    return Counter(one.partition(" ")[0] for one in sent)


def _twice(sent: Counter[str]) -> int:
    return sent.total() - len(sent)


def _whole(lines: list[Any], sent: Counter[str]) -> list[Figure]:
    blocks = {(owner, block) for owner, block, _ in lines}
    return [
        Figure(name="blocks answered", value=len(blocks), limit=len(MACHINES) * BLOCKS, least=True),
        Figure(name="rows failed", value=sum(failed for _, _, failed in lines), limit=0),
        Figure(name="rows that were asked", value=len(sent), limit=len(MACHINES) * BLOCKS * ROWS, least=True),
    ]


SITUATIONS = {one.__name__: one for one in (killed, cut, stalled)}


def main(*names: str) -> None:
    """Run the situations, all unless some are named."""
    holds = True
    for one in names or SITUATIONS:
        print(f"{one}: {SITUATIONS[one].__doc__}", flush=True)
        for figure in SITUATIONS[one]():
            print(f"  {figure}", flush=True)
            holds = holds and figure.holds
    if not holds:
        sys.exit("over the limit")


if __name__ == "__main__":
    if sys.argv[1:2] == ["--work"]:
        work(*sys.argv[2:])
    else:
        if sys.argv[1:2] == ["redis"]:
            _store = sys.argv.pop(1)
        main(*sys.argv[1:])
