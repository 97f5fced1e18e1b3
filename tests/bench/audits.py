"""How often an audit finds requests that a row changed, and what it costs: `python -m tests.bench.audits [seeds]`."""

from __future__ import annotations

import sys
from typing import Any

from tests.trust.audits import played

SETTINGS: dict[str, dict[str, Any]] = {
    "2 of 500 requests, answers wrong 1 %": {"wrong": 0.01},
    "the same, wrong 2 %": {"wrong": 0.02},
    "the same, no search": {"wrong": 0.01, "finds_rows": False},
    "wrong 2 %, no search": {"wrong": 0.02, "finds_rows": False},
    "no request, wrong 1 %": {"wrong": 0.01, "poisoned": 0},
    "no request, wrong 2 %": {"wrong": 0.02, "poisoned": 0},
}


def main(seeds: int) -> None:
    """Print a line for each setting."""
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
