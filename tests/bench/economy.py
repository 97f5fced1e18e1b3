"""What the same job costs with smelt and with its peers, against one server that bills; rewrites docs/benchmarks.md.

    python -m tests.bench.economy [ROWS] [WAY ...]

Three jobs (`tests.economy_jobs`), each by every way of `contenders/shoppers.py`, in a process and an environment of its
own; the server (`contenders/shop.py`) in another. With a number of rows or names of ways only these run, and the page
stays as it is. Takes about half an hour with 10,000 rows, most of it for curator, which asks for one row at a time.
"""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

from tests.bench.contenders.environments import ROOT, NotInstalled, interpreter
from tests.bench.contenders.shop import MODELS
from tests.bench.contenders.shoppers import SHOPPERS
from tests.bench.peers import PEERS, put
from tests.economy_jobs import JOBS, Job

MARKS = "<!-- economy: written by python -m tests.bench.economy -->\n", "<!-- end of economy -->\n"
PACKAGES: dict[str, Sequence[str]] = {
    "smelt": (),  # In the environment that runs the benchmark.
    "openaivec": PEERS["openaivec"],
    "curator": ("bespokelabs-curator==0.1.31",),
}
ROWS = 10_000
ASKED = "gpt-6-luna"
LATENCY = 0.5
CAP = 900.0  # Seconds after which a run is ended.
TOKENS = ("requests", "lines", "in", "cached", "written", "out")
KEPT = ROOT / ".tools" / "economy"  # Runs of peers, which change with their versions only; delete it to run them anew.
BEFORE = "smelt, as before"
AT_BEST = {"openaivec": "openaivec, best", "curator": "curator, best"}


@dataclass(frozen=True, kw_only=True)
class Purchase:
    """What a way of asking bought: one answer per row, None where the caller has none, and the shop's books."""

    answers: Sequence[dict[str, Any] | None]
    wall: float
    end: str
    books: dict[str, Any]

    def dollars(self, model: str) -> float:
        """The bill at the price of *model*."""
        found: float = self.books["bills"][model]["dollars"]
        return found


def main(rows: int = ROWS, *only: str) -> None:
    """Run, print, and write the page if all have run."""
    lines = []
    for line in tables(rows, only or tuple(SHOPPERS)):
        print(line, flush=True)
        lines.append(line)
    if rows == ROWS and not only:
        put(lines, *MARKS)


def tables(rows: int, ways: Sequence[str]) -> Iterator[str]:
    """The lines of all tables, as soon as each is known."""
    packages = ", ".join(f"`{one}`" for name in dict.fromkeys(map(library, ways)) for one in PACKAGES[name])
    machine = f"{os.cpu_count()} CPUs, {platform.system()}, Python {platform.python_version()}"
    yield f"{rows:,} rows, {date.today()}, {machine}; {packages}."
    bought: dict[tuple[str, str], Purchase] = {}
    yield ""
    yield from head(("job", "way", *TOKENS, "rows lost", "rows wrong", "paid twice", "wall s", "end"))
    for job in JOBS:
        for way in ways:
            try:
                one = bought[job.name, way] = purchased(job, way, rows)
            except NotInstalled as problem:
                yield row([job.name, way, *[""] * 10, f"could not be installed: {problem}"])
                continue
            yield row([job.name, way, *figures(job, one, rows)])
    yield ""
    yield from head(("dollars", "way", *MODELS, "of before"))
    for (job_name, way), one in bought.items():
        before = bought.get((job_name, BEFORE))
        times = f"{one.dollars(ASKED) / before.dollars(ASKED):.2f}" if before else ""
        yield row([job_name, way, *(shown(one.dollars(model)) for model in MODELS), times])
    yield ""
    yield from head(("dollars of", "as a part of those of", *MODELS))
    for job in JOBS:
        for ours, theirs in compared(ways):
            mine, other = bought.get((job.name, ours)), bought.get((job.name, theirs))
            if mine and other and all(map(other.dollars, MODELS)):
                ratios = (f"{mine.dollars(model) / other.dollars(model):.2f}" for model in MODELS)
                yield row([f"{job.name}, {ours}", theirs, *ratios])


def compared(ways: Sequence[str]) -> Iterator[tuple[str, str]]:
    """Whose dollars are divided by whose: defaults by defaults, the best by the best."""
    for peer, best in AT_BEST.items():
        yield "smelt", peer
        yield "smelt, best", best
        yield "smelt, best, 100 rows", best
    if "openaivec, flex" in ways:
        yield "smelt, best", "openaivec, flex"


def library(way: str) -> str:
    """The library of a way."""
    return way.partition(",")[0]


def purchased(job: Job, way: str, rows: int) -> Purchase:
    """Do one job in one way."""
    name = library(way)
    kept = KEPT / f"{job.name}, {way}, {rows}.json"
    if PACKAGES[name] and kept.exists():
        return Purchase(**json.loads(kept.read_text()))
    python = interpreter(name, PACKAGES[name]) if PACKAGES[name] else sys.executable
    config = json.dumps({"job": job.name, "rows": rows, "latency": LATENCY})
    command = [sys.executable, "-m", "tests.bench.contenders.shop", config]
    with (
        tempfile.TemporaryDirectory() as home,
        subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as server,
    ):
        assert server.stdout is not None
        port = int(server.stdout.readline())
        outcome = told([python, "-P", str(SCRIPT), way, job.name, str(rows), ASKED], name, home, port, rows)
        books, _ = server.communicate()
    told_all = {**outcome, "books": json.loads(books)}
    KEPT.mkdir(parents=True, exist_ok=True)
    kept.write_text(json.dumps(told_all))
    return Purchase(**told_all)


SCRIPT = Path(__file__).parent / "contenders" / "shoppers.py"


def told(command: Sequence[str], name: str, home: str, port: int, rows: int) -> dict[str, Any]:
    """The outcome as the process tells it, or as it looks from outside where it tells nothing."""
    loud = "ECONOMY_LOUD" in os.environ
    process = subprocess.Popen(
        command,
        cwd=home,
        env=surroundings(name, home, port),
        stdout=subprocess.PIPE,
        stderr=None if loud else subprocess.DEVNULL,
        text=True,
    )
    try:
        printed, _ = process.communicate(timeout=CAP)
        end = f"exit code {process.returncode}"
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
        printed, end = "", "not done at the cap"
    nothing = {"answers": [None] * rows, "end": end, "wall": CAP}
    return json.loads(printed.splitlines()[-1]) if printed.strip() else nothing


def surroundings(peer: str, home: str, port: int) -> dict[str, str]:
    """A user's environment with the fake's address: no telemetry, no look for prices or vocabularies on the web."""
    kept = {name: os.environ[name] for name in ("PATH", "LANG") if name in os.environ}
    paths = [str(ROOT), str(ROOT / "src")] if peer == "smelt" else [str(ROOT)]
    ours = {"SMELT_LEDGER": f"{home}/ledger.sqlite"} if peer == "smelt" else {}
    address = {"OPENAI_API_KEY": "sk-test", "OPENAI_BASE_URL": f"http://127.0.0.1:{port}/v1"}
    quiet = {"TELEMETRY_ENABLED": "false", "DO_NOT_TRACK": "1", "LITELLM_LOCAL_MODEL_COST_MAP": "True"}
    return kept | ours | address | quiet | {"HOME": home, "PYTHONPATH": os.pathsep.join(paths)}


def figures(job: Job, bought: Purchase, rows: int) -> list[str]:
    """The cells of one purchase; tokens per row."""
    right = [json.loads(json.dumps(job.answer(one))) for one in job.rows(rows)]
    wrong = sum(answer is not None and answer != wanted for answer, wanted in zip(bought.answers, right, strict=True))
    bill, books = bought.books["bills"][ASKED], bought.books
    return [
        f"{books['requests']:,}",
        f"{books['lines']:,}",
        *(f"{bill[kind] / rows:.1f}" for kind in ("given", "read", "written", "made")),
        f"{bought.answers.count(None):,}",
        f"{wrong:,}",
        f"{books['twice']:,}",
        f"{bought.wall:.0f}",
        bought.end,
    ]


def shown(dollars: float) -> str:
    """Dollars of a table."""
    return f"{dollars:.3g}" if dollars < 1 else f"{dollars:.2f}"


def head(names: Sequence[str]) -> Iterator[str]:
    """The head of a table: all but the first two columns hold numbers."""
    yield row(names)
    yield row(["---"] * 2 + ["---:"] * (len(names) - 2))


def row(cells: Sequence[str]) -> str:
    """A line of a table."""
    return f"| {' | '.join(cells)} |"


if __name__ == "__main__":
    main(*(int(one) if one.isdecimal() else one for one in sys.argv[1:]))  # type: ignore[arg-type]
