"""How often an audit finds requests that a row changed, and what it costs: `python -m tests.bench.audits [seeds]`."""

from __future__ import annotations

import sys
from typing import Any

from tests.trust.audits import played, voted

SETTINGS: dict[str, dict[str, Any]] = {
    "2 of 500 requests, answers wrong 1 %": {"wrong": 0.01},
    "the same, wrong 2 %": {"wrong": 0.02},
    "the same, no search": {"wrong": 0.01, "finds_rows": False},
    "wrong 2 %, no search": {"wrong": 0.02, "finds_rows": False},
    "no request, wrong 1 %": {"wrong": 0.01, "poisoned": 0},
    "no request, wrong 2 %": {"wrong": 0.02, "poisoned": 0},
}


VOTES: dict[str, dict[str, Any]] = {
    "3 votes, 2 rows, answers wrong 2 %": {"wrong": 0.02},
    "the same, half of neighbours turned": {"wrong": 0.02, "turned": 0.5},
    "3 votes, no row, wrong 2 %": {"wrong": 0.02, "poisoned": 0},
}


def main(seeds: int) -> None:
    """Print a line for each setting."""
    of_runs(seeds)
    of_votes(seeds)


def of_votes(seeds: int) -> None:
    """Audits of votes, which ask nothing: found requests with all 20 rows, and named rows by request that was found."""
    print(f"{'setting':38} {'found':>7} {'false':>7} {'named':>7} {'wrongly':>7}")
    for name, options in VOTES.items():
        met = there = false = named = wrongly = alarms = 0
        for seed in range(seeds):
            found, hostile, carried = voted(seed=seed, **options)
            changed = {number for number, rows in carried.items() if rows & hostile}
            whole = {number for number in changed if len(carried[number]) == 20}
            told = {one.request for one in found.alarms}
            met, there, alarms = met + len(told & whole), there + len(whole), alarms + len(told)
            false += bool(told - changed)
            named += sum(one.by in hostile for one in found.alarms)
            wrongly += sum(one.by is not None and one.by not in hostile for one in found.alarms)
        shares = (met / max(1, there), false / seeds, named / max(1, alarms), wrongly / max(1, alarms))
        print(f"{name:38} {' '.join(f'{one:7.3f}' for one in shares)}", flush=True)


def of_runs(seeds: int) -> None:
    """Audits of runs that ask each row once."""
    print(f"{'setting':38} {'alarm':>7} {'false':>7} {'rows':>7} {'most':>7} {'named':>7} {'wrongly':>7}")
    for name, options in SETTINGS.items():
        alarms = false = named = wrongly = 0
        rows = []
        for seed in range(seeds):
            found, hostile = played(seed=seed, **options)
            requests = {row // 20 for row in hostile}
            alarms += any(one.request in requests for one in found.alarms)
            false += any(one.request not in requests for one in found.alarms)
            named += sum(one.by in hostile for one in found.alarms)
            wrongly += sum(one.by is not None and one.by not in hostile for one in found.alarms)
            rows.append(found.asked / 10_000)
        mean = sum(rows) / seeds
        print(
            f"{name:38} {alarms / seeds:7.3f} {false / seeds:7.3f} {mean:7.3f} {max(rows):7.3f} "
            f"{named / seeds:7.2f} {wrongly / seeds:7.3f}",
            flush=True,
        )


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 1_000)
