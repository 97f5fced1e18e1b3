"""A pipeline of two steps, and the same job by its peers on the same server; rewrites its table in docs/benchmarks.md.

    python -m tests.bench.twosteps [PEER ...]

1,000 rows, 64 requests in flight, every reply takes half a second. Each peer has a process and an environment of its
own (`contenders/twosteps.py`). With names of peers only these run, and the page stays as it is.
"""

from __future__ import annotations

import os
import platform
import sys
from collections.abc import Iterator
from datetime import date

from tests.bench.contenders.environments import NotInstalled, interpreter
from tests.bench.peers import COLUMNS, PEERS, Situation, _row, figures, put, ran

NAMES = ("smelt", "openaivec", "accrue")
TWO_STEPS = Situation(name="two steps")
BEGIN, END = "<!-- two steps: written by python -m tests.bench.twosteps -->\n", "<!-- end of two steps -->\n"


def main(*only: str) -> None:
    """Run, print, and write the page if all have run."""
    lines = []
    for line in table(only or NAMES):
        print(line, flush=True)
        lines.append(line)
    if not only:
        put(lines, BEGIN, END)


def table(peers: tuple[str, ...]) -> Iterator[str]:
    """The lines of the table, as soon as each is known."""
    yield f"{date.today()}, {os.cpu_count()} CPUs, {platform.system()}, Python {platform.python_version()};"
    yield f"{', '.join(f'`{one}`' for peer in peers for one in PEERS[peer])}."
    yield ""
    yield _row(COLUMNS[1:])
    yield _row(["---"] + ["---:"] * 8 + ["---"])
    for peer in peers:
        try:
            python = interpreter(peer, PEERS[peer]) if PEERS[peer] else sys.executable
        except NotInstalled as problem:
            yield _row([peer, *[""] * 8, f"could not be installed: {problem}"])
        else:
            yield _row([peer, *figures(TWO_STEPS, ran(TWO_STEPS, peer, python, script="twosteps.py"))])


if __name__ == "__main__":
    main(*sys.argv[1:])
