"""Hundreds of worlds, each with its own provider, weather and end: what must hold, holds in all of them."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import whole
from tests.simulator.invariants import broken
from tests.simulator.known import unknown
from tests.simulator.stage import play
from tests.simulator.world import draw_world

WORLDS = 20  # `python -m tests.simulator 10000` plays more.
BLOCK = 10
ROOT = Path(__file__).parents[2]


@pytest.mark.slow
@pytest.mark.parametrize("first", whole(*range(0, WORLDS, BLOCK)), ids=lambda first: f"{first} to {first + BLOCK - 1}")
def test_every_invariant_holds_in_every_world(first: int) -> None:
    found = {seed: unknown(broken(play(draw_world(seed)))) for seed in range(first, first + BLOCK)}

    assert {seed: sentences for seed, sentences in found.items() if sentences} == {}


@pytest.mark.slow
def test_a_seed_replays_to_the_last_character() -> None:
    worlds = [draw_world(seed) for seed in (0, 3)]

    once, again = ([play(world).log for world in worlds] for _ in range(2))

    assert once == again
    assert sum(len(log) for log in once) > 20


@pytest.mark.slow
@pytest.mark.whole
def test_a_seed_replays_in_another_process() -> None:
    logs = [_log_of("46", hash_seed) for hash_seed in ("1", "2")]

    assert logs[0] == logs[1]
    assert len(logs[0]) > 5


def test_different_seeds_are_different_worlds() -> None:
    assert len({str(draw_world(seed)) for seed in range(100)}) == 100


def _log_of(seed: str, hash_seed: str) -> list[str]:
    environment = {**os.environ, "PYTHONHASHSEED": hash_seed, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    command = [sys.executable, "-m", "tests.simulator", "--seed", seed, "-v"]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    return done.stdout.splitlines()[:-1]  # The last line says how long it took.
