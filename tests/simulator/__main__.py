"""Play worlds: `python -m tests.simulator 10000` plays the seeds 0 to 9,999, `--seed 17 -v` one with its log."""

from __future__ import annotations

import argparse
import sys
import time

from tests.simulator.invariants import broken
from tests.simulator.shrink import shrunk
from tests.simulator.stage import play
from tests.simulator.world import draw_world


def main() -> int:
    """Play what the command line asks for; 1 if an invariant is broken."""
    parser = argparse.ArgumentParser(prog="python -m tests.simulator", description=__doc__)
    parser.add_argument("seeds", nargs="?", type=int, default=300, help="how many worlds to play")
    parser.add_argument("first", nargs="?", type=int, default=0, help="the seed of the first one")
    parser.add_argument("--seed", type=int, help="play this one only")
    parser.add_argument("--shrink", action="store_true", help="make failing worlds as small as they can be")
    parser.add_argument("-v", "--verbose", action="store_true", help="print the provider's log")
    given = parser.parse_args()
    seeds = range(given.first, given.first + given.seeds) if given.seed is None else [given.seed]
    started, failed = time.perf_counter(), 0
    for seed in seeds:
        history = play(draw_world(seed))
        found = broken(history)
        if found and given.shrink:
            history = play(shrunk(history.world))
            found = broken(history)
        failed += bool(found)
        if given.verbose or found:
            print(f"seed {seed}: {history.world}")
        if given.verbose:
            print("\n".join(history.log))
        for sentence in found:
            print(f"  {sentence}")
    seconds = time.perf_counter() - started
    print(f"{len(seeds)} worlds in {seconds:.1f} s ({len(seeds) / seconds:.0f}/s), {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
