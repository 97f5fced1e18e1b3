"""The same frames through smelt and its peers, against the same server; rewrites the table in docs/benchmarks.md.

    python -m tests.bench.peers [PEER ...]

Each peer runs in a process and an environment of its own (`contenders/`), the server in another. With names of peers
only these run, and the page stays as it is. Takes three quarters of an hour, most of it waiting for servers that
allow ten requests a second.
"""

from __future__ import annotations

import json
import os
import platform
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from typing import Any

from tests.bench.contenders.environments import ROOT, NotInstalled, interpreter
from tests.bench.contenders.server import RULES
from tests.fakeserver.answers import expected

PAGE = ROOT / "docs" / "benchmarks.md"
BEGIN, END = "<!-- peers: written by python -m tests.bench.peers -->\n", "<!-- end of peers -->\n"
PEERS: dict[str, Sequence[str]] = {
    "smelt": (),  # In the environment that runs the benchmark.
    "openaivec": ("openaivec==2.9.3",),
    "smelt-ai": ("smelt-ai[openai]==0.5.0", "langchain-openai==1.7.3"),
    "daft": ("daft[openai]==0.7.26",),
    "ondine enrich": ("ondine==2.1.1",),
    "ondine packed": ("ondine==2.1.1",),
    "accrue": ("accrue==1.5.2",),
    "dataframeit": ("dataframeit[openai]==0.10",),
    "sdk": ("openai==3.54.0",),
}
CAP = 180.0  # Seconds after which a run is ended.
LATENCY = 0.5
PER_MINUTE = {"requests_per_minute": 600, "announce": False}
COLUMNS = (
    "situation", "peer", "wall s", "rows/s", "CPU ms/row", "requests", "429s", "rows lost", "rows wrong", "tokens/row",
    "end",
)  # fmt: skip


def company(at: int) -> str:
    """The cell of row *at*: every row has another text."""
    return f"company {at:04} of {('Oslo', 'Lima', 'Pune', 'Graz')[at % 4]}, which makes {'x' * (at % 17)} parts"


@dataclass(frozen=True, kw_only=True)
class Situation:
    """What the server is like, and what it is asked.

    Attributes:
        name: What the table calls it.
        server: The server's configuration, but for its latency.
        rows: Rows of the frame.
        one_by_one: Whether every peer is told to send one row per request, 32 at a time.
    """

    name: str
    server: Mapping[str, Any] = field(default_factory=dict)
    rows: int = 1_000
    one_by_one: bool = False


SITUATIONS = (
    Situation(name="no limit"),
    Situation(name="600 requests/min", server={"limit": PER_MINUTE}),
    Situation(name="600 requests/min, a row each", server={"limit": PER_MINUTE}, one_by_one=True),
    Situation(name="10 % of replies 500/503", server={"failing": 0.1}),
    Situation(name="10 % 500/503, a row each", server={"failing": 0.1}, one_by_one=True),
    Situation(name="1 row of 200 refused", server={"refused": company(117)}, rows=200),
    Situation(name="1 row of 200 never valid", server={"invalid": company(117)}, rows=200),
)


@dataclass(frozen=True, kw_only=True)
class Run:
    """What became of one frame.

    Attributes:
        wall: Seconds; those of the cap if it was ended there.
        cpu: Seconds of the peer's process, or None if nobody could ask it.
        answers: One per row, None where the caller has none.
        end: How it ended, where not with a result.
        counters: What the server counted.
    """

    wall: float
    cpu: float | None
    answers: Sequence[Mapping[str, Any] | None]
    end: str
    counters: Mapping[str, Any]


def main(*only: str) -> None:
    """Run, print, and write the page if all have run."""
    lines = []
    for line in table(only or tuple(PEERS)):
        print(line, flush=True)
        lines.append(line)
    if not only:
        put(lines, BEGIN, END)


def table(peers: Sequence[str]) -> Iterator[str]:
    """The lines of the table, as soon as each is known."""
    yield f"{date.today()}, {os.cpu_count()} CPUs, {platform.system()}, Python {platform.python_version()};"
    yield f"{', '.join(f'`{one}`' for one in dict.fromkeys(one for peer in peers for one in PEERS[peer]))}."
    yield ""
    yield _row(COLUMNS)
    yield _row(["---"] * 2 + ["---:"] * 8 + ["---"])
    pythons = {}
    for peer in peers:
        try:
            pythons[peer] = interpreter(peer.partition(" ")[0], PEERS[peer]) if PEERS[peer] else sys.executable
        except NotInstalled as problem:
            yield _row(["all", peer, *[""] * 8, f"could not be installed: {problem}"])
    for situation in SITUATIONS:
        for peer, python in pythons.items():
            yield _row([situation.name, peer, *figures(situation, ran(situation, peer, python))])


def ran(situation: Situation, peer: str, python: str, *, script: str = "runners.py") -> Run:
    """Run one frame through one peer, by a *script* of `contenders/`."""
    config = json.dumps({"latency": LATENCY, **situation.server})
    command = [sys.executable, "-m", "tests.bench.contenders.server", config]
    with subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None
        outcome = answered(situation, peer, python, script=script, port=int(server.stdout.readline()))
        counters, _ = server.communicate()
    return Run(**outcome, counters=json.loads(counters))


def answered(situation: Situation, peer: str, python: str, *, script: str, port: int) -> dict[str, Any]:
    """The outcome as the peer's process tells it, or as it looks from outside where it tells nothing."""
    names = [company(at) for at in range(situation.rows)]
    job = json.dumps({"names": names, "one_by_one": situation.one_by_one})
    with tempfile.TemporaryDirectory() as home:
        process = subprocess.Popen(
            [python, "-P", str(Path(__file__).parent / "contenders" / script), peer],
            cwd=home,
            env=surroundings(peer, home, port),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            start_new_session=True,
        )
        try:
            printed, _ = process.communicate(job, timeout=CAP)
        except subprocess.TimeoutExpired:
            printed = ""
            end = "not done at the cap"
        else:
            end = f"exit code {process.returncode}"
        finally:
            _end_group(process)
    nothing = {"wall": CAP, "cpu": None, "answers": [None] * len(names), "end": end}
    return json.loads(printed.splitlines()[-1]) if printed else nothing


def surroundings(peer: str, home: str, port: int) -> dict[str, str]:
    """The environment of a peer's process: a user's, with the fake's address, and a ledger that knows nothing."""
    kept = {name: os.environ[name] for name in ("PATH", "LANG") if name in os.environ}
    paths = [str(ROOT), str(ROOT / "src")] if peer == "smelt" else [str(ROOT)]
    ours = {"SMELT_LEDGER": f"{home}/ledger.sqlite"} if peer == "smelt" else {}
    ours["PYTHONPATH"] = os.pathsep.join(paths)
    address = {"OPENAI_API_KEY": "sk-test", "OPENAI_BASE_URL": f"http://127.0.0.1:{port}/v1"}
    return kept | ours | address | {"HOME": home, "DO_NOT_TRACK": "1", "DAFT_PROGRESS_BAR": "0"}


def figures(situation: Situation, run: Run) -> list[str]:
    """The cells of a run."""
    lost = run.answers.count(None)
    right = [expected(RULES, {"name": company(at)}) for at in range(situation.rows)]
    wrong = sum(answer is not None and answer != wanted for answer, wanted in zip(run.answers, right, strict=True))
    return [
        f"{run.wall:.1f}",
        f"{(situation.rows - lost) / run.wall:.0f}",
        "" if run.cpu is None else f"{run.cpu / situation.rows * 1e3:.1f}",
        f"{run.counters['requests']:,}",
        f"{run.counters['statuses'].get('429', 0):,}",
        f"{lost:,}",
        f"{wrong:,}",
        f"{run.counters['tokens'] / situation.rows:.0f}",
        run.end,
    ]


def put(lines: Sequence[str], begin: str, end: str, *, page: Path = PAGE) -> None:
    """Put a table in its place on the *page*, between two marks."""
    before, _, rest = page.read_text(encoding="utf-8").partition(begin)
    _, _, after = rest.partition(end)
    page.write_text(before + begin + "\n" + "\n".join(lines) + "\n\n" + end + after, encoding="utf-8")


def _row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _end_group(process: subprocess.Popen[str]) -> None:
    """End what is left of a peer, its own children included."""
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except ProcessLookupError:
        return  # All have ended.
    process.wait()


if __name__ == "__main__":
    main(*sys.argv[1:])
