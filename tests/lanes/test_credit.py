"""What a pacer writes down of jobs with limits: never less than was granted, seldom, and read by its successor only."""

from __future__ import annotations

import os
import random
import stat
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from pydantic_core import from_json, to_json

import smelt
from smelt.errors import SmeltWarning
from smelt.lanes import credit
from smelt.lanes.allowance import Spent
from smelt.lanes.credit import Book, Credit, book_of
from smelt.lanes.jobs import FORGOTTEN, SharedJob, SharedJobs
from tests.conftest import MakeScenario
from tests.models import RULES

WEEK = 7 * 86_400.0


class Counted(Book):
    """A book that counts its writes, and holds what was written last."""

    def __init__(self) -> None:
        super().__init__()
        self.writes = 0
        self.last: Credit | None = None

    def write(self, credit: Credit) -> bool:
        self.writes += 1
        self.last = credit
        return True

    def read(self, job: str) -> Credit | None:
        return self.last


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "pacer.jobs"


def book(folder: Path, pacer: str = "", now: Callable[[], float] = time.time) -> Book:
    return Book(lambda: folder, pacer, now)


def limited(folder: Path, **limits: Any) -> SharedJob:
    job = SharedJobs(book(folder)).named("job")
    job.limit(**{"max_cost": None, "max_tokens": 1_000, "deadline": None, **limits})
    return job


def spend(job: SharedJob, *, cost: float = 0.0, tokens: int = 0) -> None:
    assert job.take("request", None)
    job.grant("request")
    job.charge("request", cost, tokens)


def tokens_after(folder: Path, **more: Any) -> float | None:
    """What the next pacer counts as spent, or None if it does not know the job."""
    job = SharedJobs(book(folder, **more)).named("job")
    return None if job.allowance is None else job.allowance.tokens


@pytest.mark.parametrize("seed", range(6))
def test_a_job_never_spends_too_much_however_often_its_pacer_is_killed(seed: int) -> None:
    """Processes ask, wait, are refused, end; at any moment the pacer dies, and what it has admitted is paid for."""
    rng, written = random.Random(seed), Counted()
    most_cost, most_tokens = rng.choice([(10.0, None), (None, 100_000), (10.0, 100_000)])
    job = SharedJobs(written).named("job")
    job.limit(most_cost, most_tokens, None)
    spent, waiting, flying, kills = Spent(0.0, 0.0), dict[int, Spent](), dict[int, Spent](), 0
    for number in range(6_000):
        act = rng.random()
        took = Spent(rng.uniform(0.002, 0.01), rng.randint(20, 100))
        if act < 0.4 and len(waiting) < 30:
            if job.take(number, Spent(0.01, 100)):  # At least what any request takes.
                waiting[number] = took
        elif act < 0.7 and waiting and len(flying) < 30:
            one = rng.choice([*waiting])
            flying[one] = waiting.pop(one)
            job.grant(one)
        elif act < 0.73 and flying:
            one = rng.choice([*flying])
            del flying[one]
            job.allowance.free(one)  # type: ignore[union-attr]
        elif act < 0.9995 and flying:
            one = rng.choice([*flying])
            took = flying.pop(one)
            spent = Spent(spent.cost + took.cost, spent.tokens + took.tokens)
            job.charge(one, took.cost, int(took.tokens))
        elif act >= 0.9995:
            kills += 1
            for took in flying.values():  # They end, and nobody is told.
                spent = Spent(spent.cost + took.cost, spent.tokens + took.tokens)
            waiting, flying = {}, {}
            job = SharedJobs(written).named("job")
        assert written.last is not None
        for most, paid, granted, air in zip(
            (most_cost, most_tokens), spent, written.last.granted, map(sum, zip(*flying.values())), strict=False
        ):
            if most is not None:
                assert paid + air <= granted + 1e-9
                assert paid <= most + 1e-9

    assert written.writes <= 150 * (2 if most_cost and most_tokens else 1) + kills
    reached = max(one / most for one, most in zip(spent, (most_cost, most_tokens), strict=True) if most)
    assert reached >= 0.95 - 0.05 * kills


def test_a_killed_pacer_costs_a_job_a_hundredth_of_its_limit_and_one_that_is_ended_nothing(folder: Path) -> None:
    spend(limited(folder), tokens=200)
    assert tokens_after(folder) == 210
    jobs = SharedJobs(book(folder))
    spend(jobs.named("job"), tokens=100)

    jobs.settle()

    assert tokens_after(folder) == 310
    assert [stat.S_IMODE(one.stat().st_mode) for one in (folder, *folder.iterdir())] == [0o700, 0o600]


def test_what_only_waits_is_not_written(folder: Path) -> None:
    job = limited(folder)
    assert job.take("sent", Spent(0.0, 100))
    assert job.take("waits", Spent(0.0, 300))

    job.grant("sent")

    assert tokens_after(folder) == 160  # 100 are expected to be 150 before anything is known.


def test_dollars_and_tokens_are_both_kept_and_a_spent_job_stays_spent(folder: Path) -> None:
    job = limited(folder, max_cost=2.0)
    spend(job, cost=0.5, tokens=600)

    again = SharedJobs(book(folder)).named("job")

    assert again.refusal(0.0, is_limited=True, is_halted=False) is None
    assert str(again.allowance) == "$0.5200 of max_cost=$2.0000 and 610 of max_tokens_total=1,000 tokens"
    assert not again.take("more", Spent(0.1, 400))
    assert again.refusal(0.0, is_limited=True, is_halted=False) == [
        "b",
        f"The job's budget is spent: {again.allowance}.",
    ]


@pytest.mark.parametrize(("later", "left"), [(20.0, 40.0), (90.0, 0.0), (-500.0, 60.0)], ids=["on", "over", "back"])
def test_a_deadline_goes_on_by_the_systems_clock_which_may_be_set_back(folder: Path, later: float, left: float) -> None:
    clock = [time.time()]
    first = SharedJobs(book(folder, now=lambda: clock[0]), lambda: 1_000.0).named("job")
    first.limit(None, None, 60.0)
    assert first.left(1_000.0) == 60.0
    clock[0] += later

    again = SharedJobs(book(folder, now=lambda: clock[0]), lambda: 5.0).named("job")

    assert again.left(5.0) == pytest.approx(left)
    refused = ["b", "The job's deadline has passed."]
    assert [again.refusal(5.0 + left + more, is_limited=True, is_halted=False) for more in (4, 6)] == [None, refused]


def test_two_pacers_do_not_go_on_with_each_others_jobs(folder: Path) -> None:
    one = SharedJobs(book(folder, "10.0.0.7:7400")).named("job")
    one.limit(None, 1_000, None)
    spend(one, tokens=200)

    assert tokens_after(folder, pacer="10.0.0.7:7401") is None
    assert tokens_after(folder, pacer="10.0.0.7:7400") == 210


def rewritten(change: dict[str, Any]) -> Callable[[Path], object]:
    return lambda path: path.write_bytes(to_json({**from_json(path.read_bytes()), **change}))


@pytest.mark.parametrize(
    "harm",
    [
        lambda path: path.write_bytes(path.read_bytes()[:-9]),
        lambda path: path.write_bytes(b""),
        lambda path: path.write_bytes(b"\xff" * 99_999),
        lambda path: path.write_bytes(b"[1, 2]"),
        rewritten({"job": "another"}),
        rewritten({"boot": "before a power cut"}),
        rewritten({"form": 2}),
        rewritten({"granted": [0, -5]}),
        rewritten({"granted": [0, "Infinity"]}),
        rewritten({"granted": None}),
        rewritten({"max_tokens": True}),
        rewritten({"more": 1}),
        lambda path: os.utime(path, (time.time() - WEEK - 60,) * 2),
        lambda path: path.parent.chmod(0o755),
        lambda path: path.unlink(),
    ],
)
def test_what_is_torn_foreign_or_old_is_not_relied_on(folder: Path, harm: Callable[[Path], object]) -> None:
    spend(limited(folder), tokens=200)
    [path] = folder.iterdir()

    harm(path)

    job = SharedJobs(book(folder)).named("job")
    assert job.refusal(0.0, is_limited=True, is_halted=False) == ["b", FORGOTTEN]


def test_jobs_of_the_week_before_are_removed(folder: Path) -> None:
    limited(folder)
    (folder / "half.new").write_bytes(b"")
    (folder / "notes.txt").write_bytes(b"")
    for one in folder.iterdir():
        os.utime(one, (time.time() - WEEK - 60,) * 2)

    SharedJobs(book(folder)).named("next").limit(None, 1_000, None)

    assert sorted(one.suffix for one in folder.iterdir()) == [".json", ".txt"]
    assert SharedJobs(book(folder)).named("job").allowance is None


def test_a_disk_that_takes_nothing_more_leaves_nothing_that_is_too_little(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = limited(folder)

    def full(path: Path, data: bytes, now: float) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as broken:
        broken.setattr(credit, "_replace", full)
        with pytest.warns(SmeltWarning, match=r"cannot be written down \(No space left on device\)") as said:
            spend(job, tokens=200)
            spend(job, tokens=200)
        assert len(said) == 1
        assert tokens_after(folder) is None
    spend(job, tokens=100)

    assert tokens_after(folder) == 610  # It was expected to take 200, as those before.


def test_a_place_that_others_made_is_not_used(folder: Path) -> None:
    folder.mkdir()
    folder.chmod(0o777)

    with pytest.warns(SmeltWarning, match="is not a private folder of this user"):
        spend(limited(folder), tokens=200)

    assert [*folder.iterdir()] == []


def test_a_pacer_at_an_address_keeps_its_book_in_the_cache_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    for place in ("10.0.0.7:7400", f"{tmp_path}/pacer"):
        SharedJobs(book_of(place)).named("job").limit(1.0, None, None)

    found = Counter(str(one.parent.relative_to(tmp_path)) for one in tmp_path.rglob("*.json"))
    assert found == {"cache/smelt/pacers": 1, "pacer.jobs": 1}
    assert SharedJobs(book_of("10.0.0.7:7400")).named("job").is_limited
    monkeypatch.setattr("socket.gethostname", lambda: "another container, with the same home")
    assert not SharedJobs(book_of("10.0.0.7:7400")).named("job").is_limited


@pytest.mark.slow
def test_a_job_goes_on_at_the_next_pacer_and_spends_no_more(
    scenario: MakeScenario, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """kill -9 in the middle of a job with a budget, and another pacer at the same place."""
    server, place = scenario(answers=RULES, latency=0.05), str(tmp_path / "pacer")
    monkeypatch.setenv("SMELT_PACER", place)
    monkeypatch.setenv("TEAM_KEY", "key")
    model = smelt.Model("compatible", "fake-1", base_url=server.base_url("compatible"), key_env="TEAM_KEY")
    options: dict[str, Any] = {"batch_size": 5, "concurrency": 4, "wire": "keyed", "ledger": False}
    back: list[float] = []

    def killing() -> None:
        server.wait_until(lambda stats: stats.requests >= 20)
        pacers[0].kill()
        pacers[0].wait()
        pacers.append(started(place, ended))
        there, before = time.monotonic(), server.stats().requests
        server.wait_until(lambda stats: stats.requests > before)
        back.append(time.monotonic() - there)

    with ExitStack() as ended:
        pacers = [started(place, ended)]
        job = smelt.Job("About {name}.", {"sector": str}, **options, max_tokens_total=20_000)
        mapper = smelt.Mapper(job, model)
        killer = threading.Thread(target=killing)
        killer.start()
        away, over = "so this process asked nothing meanwhile", "The job's budget is spent"
        with pytest.warns(SmeltWarning, match=away), pytest.warns(SmeltWarning, match=over):
            rows = mapper([{"name": f"company {number}"} for number in range(1_000)])
        killer.join()
        found = mapper.metrics()

    errors = Counter(str(row["smelt_error"]).partition(":")[0] for row in rows)
    assert {*errors} == {"None", "budget"}
    spent = found.input_tokens + found.output_tokens
    assert 0.9 * 20_000 <= spent <= 20_000 + 4 * spent / found.requests
    assert found.requests == server.stats().requests >= 40
    assert back[0] <= 5.0


def started(place: str, ended: ExitStack) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "smelt", "pacer", "--listen", place]
    process = ended.enter_context(subprocess.Popen(command, stdout=subprocess.PIPE, text=True))
    ended.callback(process.terminate)
    assert process.stdout is not None
    assert place in process.stdout.readline()
    return process
