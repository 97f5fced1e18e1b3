"""Batch mode of smelt and of its peers on the same fake jobs; rewrites the second table in docs/benchmarks.md.

    python -m tests.bench.nights [SCRIPT ...]

Each library runs in a process and an environment of its own (`contenders/`), the server in another. With names of
scripts only these run, and the page stays as it is. Takes about a quarter of an hour: the clock of the jobs runs fast,
but smelt waits 10 s before its first look at a job, and curator takes seconds of CPU to begin.
"""

from __future__ import annotations

import inspect
import json
import os
import platform
import re
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from typing import Any

from tests.bench.contenders.batchers import SCRIPTS
from tests.bench.contenders.environments import ROOT, NotInstalled, interpreter
from tests.bench.contenders.server import RULES
from tests.bench.peers import company, put
from tests.fakeserver.answers import expected

MARKS = "<!-- nights: written by python -m tests.bench.nights -->\n", "<!-- end of nights -->\n"
PACKAGES: dict[str, Sequence[str]] = {
    "smelt": (),  # In the environment that runs the benchmark.
    "lmsyz": ("lmsyz-genai-ie-rfs==0.1.4",),
    "curator": ("bespokelabs-curator==0.1.31",),
}
ROWS = 500
CAP = 240.0  # Seconds after which a script is ended.
CLOCK = {"per_look": 100.0}  # Two looks see the end of a job.
COLUMNS = (
    "situation", "script", "rows lost", "rows wrong", "rows paid twice", "in vain", "lines of the jobs", "live rows",
    "end",
)  # fmt: skip

HTTP_500 = {"fault": "status", "code": 500}
BAD_LINES = (10, 60, 110, 160, 210)  # 1 % of 500, all in the half of an expired job that is run.
MIXED = dict(zip(map(str, BAD_LINES), (HTTP_500, HTTP_500, "cut", "wrong", "lost"), strict=True))


def every(fault: Any) -> dict[str, Any]:
    """The plot of a job whose bad lines all have this fault."""
    return {"lines": {str(number): fault for number in BAD_LINES}}


@dataclass(frozen=True, kw_only=True)
class Situation:
    """What the table calls it, what happens to the first job, and whether the script is killed while it waits."""

    name: str
    first: Mapping[str, Any] = field(default_factory=dict)
    is_killed: bool = False


SITUATIONS = (
    Situation(name="a good night"),
    Situation(name="1 % of lines: status 500", first=every(HTTP_500)),
    Situation(name="1 %: answer cut off", first=every("cut")),
    Situation(name="1 %: answer breaks the model", first=every("wrong")),
    Situation(name="1 %: not in the results", first=every("lost")),
    Situation(name="1 %: no JSON in the results", first=every("garbled")),
    Situation(name="the job expires half-way", first={"end": "expired"}),
    Situation(name="1 % of all kinds, and expired", first={"end": "expired", "lines": MIXED}),
    Situation(name="killed while it waits, run again", is_killed=True),
)


@dataclass(frozen=True, kw_only=True)
class Night:
    """The answers that the user has in the morning, how the script ended, and the fake's bill."""

    answers: Sequence[Mapping[str, Any] | None]
    end: str
    bill: Mapping[str, Any]


def main(*only: str) -> None:
    """Run, print, and write the page if all have run."""
    lines = []
    for line in table(only or tuple(SCRIPTS)):
        print(line, flush=True)
        lines.append(line)
    if not only:
        put(lines, *MARKS)


def table(scripts: Sequence[str]) -> Iterator[str]:
    """The lines of both tables."""
    yield f"{date.today()}, {os.cpu_count()} CPUs, {platform.system()}, Python {platform.python_version()};"
    yield f"{', '.join(f'`{one}`' for packages in PACKAGES.values() for one in packages)}."
    yield ""
    yield from _head(("script", "lines about batches", "what they do"))
    for script in scripts:
        kinds = steps(script)
        yield _row([script, str(kinds.total()), ", ".join(kinds)])
    yield ""
    yield from _head(COLUMNS)
    pythons = {}
    for peer in dict.fromkeys(map(package, scripts)):
        try:
            pythons[peer] = interpreter(peer, PACKAGES[peer]) if PACKAGES[peer] else sys.executable
        except NotInstalled as problem:
            yield _row(["all", peer, *[""] * 6, f"could not be installed: {problem}"])
    runs = [(one, script) for one in SITUATIONS for script in scripts if package(script) in pythons]
    with ThreadPoolExecutor(3) as pool:  # They wait most of the time.
        nights = pool.map(lambda run: spent(run[0], run[1], pythons[package(run[1])]), runs)
        for (situation, script), night in zip(runs, nights, strict=True):
            yield _row([situation.name, script, *figures(night)])


def package(script: str) -> str:
    """The library of a script."""
    return script.partition(",")[0]


def steps(script: str) -> Counter[str]:
    """How many lines of a script are about batches, by what they do."""
    return Counter(re.findall(r"# batch: (\w+)", inspect.getsource(SCRIPTS[script])))


def spent(situation: Situation, script: str, python: str) -> Night:
    """Run one script for a night; a killed one is run again over what it has left on the disk."""
    terms = json.dumps({**CLOCK, "script": {"0": situation.first}})
    command = [sys.executable, "-m", "tests.bench.contenders.jobserver", terms]
    with (
        tempfile.TemporaryDirectory() as home,
        subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as server,
    ):
        assert server.stdout is not None
        port = int(server.stdout.readline())
        if situation.is_killed:
            _killed(begun(script, python, home, port), port)
        outcome = told(begun(script, python, home, port))
        bill, _ = server.communicate()
    return Night(**outcome, bill=json.loads(bill))


def begun(script: str, python: str, home: str, port: int) -> subprocess.Popen[str]:
    """The process of a script."""
    process = subprocess.Popen(
        [python, "-P", str(Path(__file__).parent / "contenders" / "batchers.py"), script],
        cwd=home,
        env=surroundings(package(script), home, port),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=None if "NIGHTS_LOUD" in os.environ else subprocess.DEVNULL,
        text=True,
    )
    assert process.stdin is not None
    process.stdin.write(json.dumps([company(at) for at in range(ROWS)]))
    process.stdin.close()
    process.stdin = None
    return process


def surroundings(peer: str, home: str, port: int) -> dict[str, str]:
    """The environment of a script: a user's, with the fake's address; no telemetry, no look for prices on the web."""
    kept = {name: os.environ[name] for name in ("PATH", "LANG") if name in os.environ}
    ours = {"SMELT_LEDGER": f"{home}/ledger.sqlite", "PYTHONPATH": str(ROOT / "src")} if peer == "smelt" else {}
    address = {"OPENAI_API_KEY": "sk-test", "OPENAI_BASE_URL": f"http://127.0.0.1:{port}/v1"}
    quiet = {"TELEMETRY_ENABLED": "false", "DO_NOT_TRACK": "1", "LITELLM_LOCAL_MODEL_COST_MAP": "True"}
    return kept | ours | address | quiet | {"HOME": home}


def told(process: subprocess.Popen[str]) -> dict[str, Any]:
    """The outcome as the script tells it, or as it looks from outside where it tells nothing."""
    try:
        printed, _ = process.communicate(timeout=CAP)
        end = f"exit code {process.returncode}"
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
        printed, end = "", "not done at the cap"
    nothing = {"answers": [None] * ROWS, "end": end}
    return json.loads(printed.splitlines()[-1]) if printed.strip() else nothing


def _killed(process: subprocess.Popen[str], port: int) -> None:
    """Kill a script as soon as it has looked at its job once."""
    until = time.monotonic() + CAP
    while process.poll() is None and time.monotonic() < until:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/_looks") as reply:
            if int(reply.read()):
                break
        time.sleep(0.05)
    process.kill()
    process.communicate()


def figures(night: Night) -> list[str]:
    """The cells of a night."""
    right = [expected(RULES, {"name": company(at)}) for at in range(ROWS)]
    wrong = sum(answer is not None and answer != wanted for answer, wanted in zip(night.answers, right, strict=True))
    twice = sum(times > 1 for times in night.bill["paid"].values())
    jobs = " + ".join(map(str, night.bill["jobs"]))
    counts = [night.answers.count(None), wrong, twice, night.bill["in_vain"]]
    return [*map(str, counts), jobs, str(night.bill["live"]), night.end]


def _head(names: Sequence[str]) -> Iterator[str]:
    yield _row(names)
    yield _row(["---"] * len(names))


def _row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


if __name__ == "__main__":
    main(*sys.argv[1:])
