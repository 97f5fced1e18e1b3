"""What is paid twice, stale or wrong after a `kill -9` at half: smelt and peers that claim to resume.

    python -m tests.bench.resumes [PEER ...]

A script of each library (`contenders/resumers.py`) is killed when the server has answered half of the rows, and started
again with the same frame, with the rows in reverse, with every tenth row edited, or with another question. Rewrites
the third table in docs/benchmarks.md unless peers are named. Takes a few minutes.
"""

from __future__ import annotations

import json
import os
import platform
import signal
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

from tests.bench.contenders.environments import ROOT, NotInstalled, interpreter
from tests.bench.contenders.resumers import RESUMERS
from tests.bench.contenders.server import RULES
from tests.bench.peers import PEERS, company, put, surroundings
from tests.fakeserver.answers import expected

MARKS = "<!-- resumes: written by python -m tests.bench.resumes -->\n", "<!-- end of resumes -->\n"
PACKAGES = {**PEERS, "curator": ("bespokelabs-curator==0.1.31",)}
ROWS = 200
CAP = 240.0
LATENCY = 0.5
GRACE = 0.25  # Seconds in which a script may store what it has received.
PROMPT = "Describe the company: repeat its name, count the characters, name the sector, and say whether it is odd."
LOUD = "in capitals"
COLUMNS = (
    "started again with",
    "peer",
    "answered",
    "in flight",
    "answered rows paid twice",
    "stale",
    "wrong",
    "lost",
    "end",
)
NAMES = [company(at) for at in range(ROWS)]


@dataclass(frozen=True, kw_only=True)
class Second:
    """What the script is started again with, and whose answers may not be kept."""

    name: str
    names: Sequence[str]
    prompt: str = PROMPT

    def right(self, name: str) -> dict[str, Any]:
        """The answer to *name*."""
        return expected(RULES, {"name": name}) | ({"echo": name.upper()} if LOUD in self.prompt else {})


SECONDS = (
    Second(name="the same", names=NAMES),
    Second(name="rows in reverse", names=NAMES[::-1]),
    Second(name="every tenth row edited", names=[f"{one} now" if not at % 10 else one for at, one in enumerate(NAMES)]),
    Second(name="another question", names=NAMES, prompt=PROMPT.replace("its name", f"its name {LOUD}")),
)


def main(*only: str) -> None:
    """Run, print, and write the page if all have run."""
    lines = []
    for line in table(only or tuple(RESUMERS)):
        print(line, flush=True)
        lines.append(line)
    if not only:
        put(lines, *MARKS)


def table(peers: Sequence[str]) -> Iterator[str]:
    """The lines of the table."""
    packages = dict.fromkeys(one for peer in peers for one in PACKAGES[peer])
    yield f"{date.today()}, {os.cpu_count()} CPUs, {platform.system()}, Python {platform.python_version()};"
    yield f"{', '.join(f'`{one}`' for one in packages)}."
    yield ""
    yield _row(COLUMNS)
    yield _row(["---", "---", *["---:"] * 6, "---"])
    for second in SECONDS:
        for peer in peers:
            try:
                python = interpreter(peer.partition(" ")[0], PACKAGES[peer]) if PACKAGES[peer] else sys.executable
            except NotInstalled as problem:
                yield _row([second.name, peer, *[""] * 6, f"could not be installed: {problem}"])
                continue
            yield _row([second.name, peer, *resumed(second, peer, python)])


def resumed(second: Second, peer: str, python: str) -> list[str]:
    """Run one script, kill it at half, and start it again."""
    config = json.dumps({"latency": LATENCY, "loud": LOUD})
    command = [sys.executable, "-m", "tests.bench.contenders.server", config]
    with (
        tempfile.TemporaryDirectory() as home,
        subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as server,
    ):
        assert server.stdout is not None
        port = int(server.stdout.readline())
        first = begun(peer, python, home, port, NAMES, PROMPT)
        killed_at_half(first, port)
        before = paid(port)
        outcome = told(begun(peer, python, home, port, second.names, second.prompt))
        after, _ = paid(port)
        server.communicate()
    return figures(second, before, after, outcome)


def begun(peer: str, python: str, home: str, port: int, names: Sequence[str], prompt: str) -> subprocess.Popen[str]:
    """The process of a script, with its job on stdin."""
    process = subprocess.Popen(
        [python, "-P", str(Path(__file__).parent / "contenders" / "resumers.py"), peer],
        cwd=home,
        env=surroundings(peer, home, port) | QUIET,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=None if "RESUMES_LOUD" in os.environ else subprocess.DEVNULL,
        text=True,
        start_new_session=True,
    )
    assert process.stdin is not None
    process.stdin.write(json.dumps({"names": list(names), "prompt": prompt}))
    process.stdin.close()
    process.stdin = None
    return process


QUIET = {"TELEMETRY_ENABLED": "false", "LITELLM_LOCAL_MODEL_COST_MAP": "True"}


def killed_at_half(process: subprocess.Popen[str], port: int) -> None:
    """Kill a script and its children when half of the rows are paid for, or when it ends or takes too long."""
    until = time.monotonic() + CAP
    while process.poll() is None and time.monotonic() < until and sum(paid(port)[1].values()) < ROWS // 2:
        time.sleep(0.02)
    time.sleep(GRACE)
    with suppress(ProcessLookupError):  # It may have ended.
        os.killpg(process.pid, signal.SIGKILL)
    process.communicate()


def paid(port: int) -> tuple[dict[str, int], dict[str, int]]:
    """How often each row was paid for so far, and how often its answer has left the server."""
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/_paid") as reply:
        counts, delivered = json.loads(reply.read())
    return counts, delivered


def told(process: subprocess.Popen[str]) -> dict[str, Any]:
    """The outcome as the script tells it."""
    try:
        printed, _ = process.communicate(timeout=CAP)
        end = f"exit code {process.returncode}"
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
        printed, end = "", "not done at the cap"
    lines = [line for line in printed.splitlines() if line.startswith('{"answers"')]
    return json.loads(lines[-1]) if lines else {"answers": [None] * ROWS, "end": end}


def figures(
    second: Second,
    before: tuple[Mapping[str, int], Mapping[str, int]],
    after: Mapping[str, int],
    outcome: Mapping[str, Any],
) -> list[str]:
    """The cells of one run. With another question no row is paid twice: each has to be asked anew."""
    bought, answered = before
    twice = sum(after[name] > bought[name] for name in answered if name in second.names)
    stale = wrong = 0
    for at, (name, answer) in enumerate(zip(second.names, outcome["answers"], strict=True)):
        if answer is None or answer == second.right(name):
            continue
        is_old = answer == expected(RULES, {"name": NAMES[at] if second.name != "rows in reverse" else name})
        stale, wrong = stale + is_old, wrong + (not is_old)
    return [
        str(len(answered)),
        str(len(bought.keys() - answered.keys())),
        "" if second.prompt != PROMPT else str(twice),
        str(stale),
        str(wrong),
        str(outcome["answers"].count(None)),
        outcome["end"],
    ]


def _row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


if __name__ == "__main__":
    main(*sys.argv[1:])
