"""Kill a run at a gap between two steps of its ledger, run it again, and check the ledger against the provider's bill.

The run is a process of its own and its provider is a real server, so nothing but the file survives a kill.
"""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import time
import warnings
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import groupby
from pathlib import Path
from typing import Any

import smelt
from smelt.call.options import Settings
from smelt.call.preparation import prepare
from smelt.call.running import execute
from smelt.call.wiring import wired
from smelt.engine.events import RowsSettled
from smelt.errors import StoreError
from smelt.ledger import lease, recorder
from smelt.ledger.keys import row_key
from smelt.ledger.opening import open_store
from smelt.model import Model
from tests.fakeserver import Scenario
from tests.fakeserver.answers import expected
from tests.fakeserver.model import tokens_of
from tests.ledger.forking import begin
from tests.models import KEYS, RULES, Company

OPENING_GAPS = ("reserved", "started", "recalled")
REQUEST_GAPS = ("intending", "begun", "written", "committed", "intended", "receiving", "received", "read")
CLOSING_GAPS = ("finishing", "finished", "merged")
PROMPT = "Describe {name} {number}."


Names = tuple[str, ...]
"""The rows of a request, by their names."""


@dataclass(frozen=True, kw_only=True)
class Bill:
    """What the ledger and the provider make of a job that was killed again and again.

    Attributes:
        kills: Processes that were killed.
        lost: Rows that were acknowledged before a kill and not known after it.
        late: Rows whose reply came after the lease of a frozen process had ended, and another one had asked them again:
            the ledger has both costs, and the first answer that came.
        twice: Rows that were sent more often than the ledger can explain.
        listed: Requests that the ledger says may have been billed without an answer.
        paid: Requests, input and output tokens by the ledger, listed ones that were billed included.
        billed: The same by the provider.
    """

    kills: int
    lost: int
    late: int
    twice: int
    listed: int
    paid: tuple[int, int, int]
    billed: tuple[int, int, int]


def job(rows: int) -> list[dict[str, Any]]:
    """The rows of the job."""
    return [{"name": f"company {at:05}", "number": at} for at in range(rows)]


def kill_and_resume(path: Path, scenario: Scenario, rows: int, kills: Iterable[tuple[str, int]]) -> Bill:
    """Run the job once for each of *kills* (a gap, and how often it is passed before), and then to its end."""
    answered, lost, killed = 0, 0, 0
    for gap, passes in [*kills, ("", 0)]:
        code, known, answered_now = _run(path, scenario, rows, gap, passes)
        assert code in (0, -signal.SIGKILL), code
        killed += code != 0
        lost += max(0, answered - known) if known is not None else 0
        answered = max(answered, answered_now)
    assert answered == rows
    return _bill(path, scenario, rows, killed, lost)


ROUGH = ("kill one", "kill both", "step", "freeze one", "freeze all", "remove", "remove alone", "replace", "move")
_LEASE, _BEAT = 1.0, 0.25  # Seconds: the lease of a frozen process ends within the bench, as it would within a minute.


def harm_and_resume(
    path: Path, scenario: Scenario, rows: int, harms: Sequence[str], rng: random.Random, server: int | None = None
) -> Bill:
    """Have two processes do the job together, once for each of *harms*, which comes in the middle, and then to its end.

    A file that is taken away is put back as the error says it can be. Rows that were acknowledged are lost if the
    ledger does not know them afterwards. *server* is the process id of the server, which is frozen, too.
    """
    lost = killed = known = 0
    for harm in harms:
        said = [path.parent.with_name(f"{path.parent.name}.{name}.said") for name in ("one", "other")]
        steps = path.parent.with_name(f"{path.parent.name}.step")
        steps.write_text("0")
        two = [begin(_work_roughly, path, scenario.base_url("openai"), rows, steps, one) for one in said]
        while not _are_at_it(said, two):
            time.sleep(0.005)  # Who opens a ledger after it was removed makes a new one, and rightly so.
        time.sleep(rng.uniform(0.0, 0.5))
        killed += _harm(path, harm, two, steps, rng)
        if harm.startswith("freeze"):
            _freeze([rng.choice(two)] if harm == "freeze one" else two, server if harm == "freeze all" else None, rng)
        if harm in ("kill one", "step") or harm.startswith("freeze"):  # The other one goes on for a while.
            time.sleep(rng.uniform(0.1, 0.6))
            killed += _kill(two)
        for process in two:
            process.join()
        _put_back(path, [one.read_text() for one in said if one.exists()])
        for one in said:
            one.unlink(missing_ok=True)
            for mark in (".recalled", ".received"):
                one.with_suffix(mark).unlink(missing_ok=True)
        with smelt.ledger.open(path) as ledger:
            ledger._merge()
            lost += max(0, known - ledger.count())
            known = ledger.count()
        if known == rows:
            break
    _run(path, scenario, rows, "", 0)
    return _bill(path, scenario, rows, killed, lost)


def _are_at_it(said: Sequence[Path], two: Sequence[Any]) -> bool:
    """Whether both have opened the ledger and one has got a reply, or they are done."""
    alive = [one for one, process in zip(said, two, strict=True) if process.is_alive()]
    is_paid = any(one.with_suffix(".received").exists() for one in said)
    return all(one.with_suffix(".recalled").exists() for one in alive) and (is_paid or not alive)


def _harm(path: Path, harm: str, two: Sequence[Any], steps: Path, rng: random.Random) -> int:
    """Do it; how many processes were killed."""
    steps.with_suffix(".new").write_text(str(rng.choice([-7_200, 90, 86_400])))
    if harm.startswith("kill"):
        return _kill(two if harm == "kill both" else [rng.choice(two)])
    if harm.startswith("freeze") or not any(one.is_alive() for one in two):
        return 0
    folder = path.parent
    if harm == "step":
        steps.with_suffix(".new").rename(steps)
    elif harm.startswith("remove"):
        for one in [path] if harm == "remove alone" else list(folder.glob(f"{path.name}*")):
            shutil.copy2(one, folder.with_name(f"{folder.name}.{one.name}.gone"))
            one.unlink()
    elif harm == "replace":
        other = path.with_name("other.sqlite")
        open_store(other).close()
        other.rename(path)
    else:
        folder.rename(folder.with_name(f"{folder.name}.moved"))
    return 0


def _freeze(stopped: Sequence[Any], server: int | None, rng: random.Random) -> None:
    """Stop processes, for less or longer than their lease, and let them go on, in any order."""
    pids = [one.pid for one in stopped if one.is_alive()] + ([] if server is None else [server])
    for pid in pids:
        os.kill(pid, signal.SIGSTOP)
    time.sleep(rng.uniform(0.1, 2.0 * _LEASE))
    rng.shuffle(pids)
    for pid in pids:
        os.kill(pid, signal.SIGCONT)
        time.sleep(rng.choice([0.0, 0.3]))


def _kill(doomed: Sequence[Any]) -> int:
    alive = [one for one in doomed if one.is_alive()]
    for one in alive:
        one.kill()
    return len(alive)


def _put_back(path: Path, said: Sequence[str]) -> None:
    """Follow what the errors say: the latest copy of all that was held takes its place."""
    folder = path.parent
    moved = folder.with_name(f"{folder.name}.moved")
    if moved.exists():
        if folder.exists():
            shutil.rmtree(folder)
        moved.rename(folder)
        return
    kept = [Path(one.partition(" is in ")[2].partition(": pass")[0]) for one in said if " is in " in one]
    kept = [one for one in kept if one.exists()]
    if kept:
        for one in folder.glob(f"{path.name}-*"):
            one.unlink()
        max(kept, key=lambda one: one.stat().st_mtime_ns).rename(path)
    gone = folder.with_name(f"{folder.name}.{path.name}.gone")
    if not path.exists():  # Both had ended by then, so nobody could say so.
        gone.rename(path)


def _work_roughly(path: Path, url: str, rows: int, steps: Path, said: Path) -> None:
    """A process whose time of day is off by what stands in *steps*, and that leaves in *said* why it ended."""

    def begun(name: str) -> None:
        if name in ("recalled", "received"):
            said.with_suffix(f".{name}").touch()

    real = time.time
    time.time = lambda: real() + float(steps.read_text() or 0)
    vars(lease).update(LEASE=_LEASE)
    vars(recorder).update(BEAT=_BEAT)
    model = Model("openai", "fake-1", api_key=KEYS["openai"], base_url=url)
    settings = Settings.of(ledger=path, batch_size=5, concurrency=4, progress=False)
    warnings.simplefilter("ignore")
    try:
        execute(prepare(job(rows), PROMPT, Company, model, settings), awaited="arun", wiring=partial(wired, gap=begun))
    except StoreError as problem:
        said.write_text(str(problem))


def _run(path: Path, scenario: Scenario, rows: int, gap: str, passes: int) -> tuple[int, int | None, int]:
    """One process: its exit code, the rows it knew from the start (None where it came not so far), and at the end."""
    told = path.with_name("told.jsonl")
    told.unlink(missing_ok=True)
    process = begin(_work, path, scenario.base_url("openai"), rows, gap, passes, told)
    process.join()
    told_rows = [json.loads(line) for line in told.read_text().splitlines()] if told.exists() else []
    assert process.exitcode is not None
    return process.exitcode, told_rows[0][1] if told_rows else None, max((one[0] for one in told_rows), default=0)


def _bill(path: Path, scenario: Scenario, rows: int, killed: int, lost: int) -> Bill:
    stats = scenario.stats()
    with smelt.ledger.open(path) as ledger:
        spent, listed = ledger.spend(), ledger.possible_duplicates()
        assert ledger.check() == []
    with open_store(path) as store, store.reading() as connection:
        names = {row_key(_text(row), store.secret): row["name"] for row in job(rows)}
        answers = connection.execute("SELECT attempt, key FROM answers ORDER BY attempt").fetchall()
        done = [rows for (rows,) in connection.execute("SELECT rows FROM attempts WHERE state = 'done'")]
    paid = Counter(
        tuple(sorted(names[key] for _, key in group)) for _, group in groupby(answers, key=lambda answer: answer[0])
    )
    requests = [_request(entry["body"]) for entry in stats.log]
    wanted = Counter(tuple(sorted(names[bytes.fromhex(key)] for key in one["keys"])) for one in listed)
    unknown = _arrived(wanted, requests, paid)
    # A row is in one request more for each time that it was in flight at a kill, and in no other.
    allowed = Counter(name for one in unknown for name in one[0])
    late = sum(done) - len(answers)
    again = sum(max(0, count - 1 - allowed[name]) for name, count in stats.rows_sent_by.items())
    return Bill(
        kills=killed,
        lost=lost,
        late=late,
        twice=max(0, again - late),
        listed=len(listed),
        paid=(
            len(done) + len(unknown),
            sum(one["input_tokens"] for one in spent) + sum(tokens for _, tokens in unknown),
            sum(one["output_tokens"] for one in spent) + sum(_reply_tokens(names) for names, _ in unknown),
        ),
        billed=(stats.statuses[200], stats.input_tokens, stats.output_tokens),
    )


def _request(body: Any) -> tuple[Names, int]:
    """The names in a request, and its input tokens."""
    rows = json.JSONDecoder().raw_decode(body["input"])[0]
    names = tuple(sorted(row["row"]["name"] for row in rows))
    return names, tokens_of(body["instructions"]) + tokens_of(body["input"])


def _arrived(
    listed: Counter[Names], requests: Sequence[tuple[Names, int]], paid: Counter[Names]
) -> list[tuple[Names, int]]:
    """Of the requests that may have been billed, those that came to the provider, with their input tokens."""
    seen = Counter(names for names, _ in requests)
    tokens = dict(requests)
    came = {names: min(times, seen[names] - paid[names]) for names, times in listed.items()}
    return [(names, tokens[names]) for names, times in came.items() for _ in range(times)]


def _reply_tokens(names: Names) -> int:
    """What the provider bills for its reply to these rows."""
    rows = {row["name"]: row for row in job(int(max(names).split()[1]) + 1)}
    reply = {"rows": [{"id": "k7f2x", **expected(RULES, rows[name])} for name in names]}
    return tokens_of(json.dumps(reply, separators=(",", ":")))


def _text(row: dict[str, Any]) -> str:
    return json.dumps(row, separators=(",", ":"))


def _work(path: Path, url: str, rows: int, gap: str, passes: int, told: Path) -> None:
    """The process that is killed when it has come by *gap* more than *passes* times; what it knows goes to *told*."""
    met = Counter[str]()

    def meet(name: str) -> None:
        met[name] += 1
        if name == gap and met[name] > passes:
            os.kill(os.getpid(), signal.SIGKILL)

    def follow(event: object) -> None:
        if isinstance(event, RowsSettled):
            with told.open("a") as file:
                print(json.dumps([event.answered, event.reused]), file=file)

    model = Model("openai", "fake-1", api_key=KEYS["openai"], base_url=url)
    settings = Settings.of(ledger=path, batch_size=5, concurrency=4, progress=follow)
    execute(prepare(job(rows), PROMPT, Company, model, settings), awaited="arun", wiring=partial(wired, gap=meet))
