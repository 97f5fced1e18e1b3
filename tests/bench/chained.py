"""What a second step costs in time: a stream that reads its frames from another stream.

    python -m tests.bench.chained

160 rows in frames of 8, one row per request, replies after 50 ms, 8 in flight. The requests of both steps overlap, so
two steps that take longer than 1.25 times one end it with an error.
"""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import Iterable, Iterator

import pandas as pd
from pydantic import BaseModel

import smelt
from smelt.providers.base import Reply, Request
from smelt.testing import ScriptedProvider

_ROWS, _FRAME, _LATENCY, _MOST = 160, 8, 0.05, 1.25


class Doubled(BaseModel):
    twice: int


class Tripled(BaseModel):
    thrice: int


class Slow(ScriptedProvider):
    """Answers after the latency."""

    async def send(self, request: Request) -> Reply:
        reply = await super().send(request)
        await asyncio.sleep(_LATENCY)
        return reply


def main() -> None:
    """Run and print."""
    _seconds(_first(_frames()))  # Loads what a first run loads.
    one = _seconds(_first(_frames()))
    two = _seconds(_second(_first(_frames())))
    print(f"one step {one:.2f} s, two chained steps {two:.2f} s, ratio {two / one:.2f}")
    if two > _MOST * one:
        sys.exit("over the limit")


def _seconds(frames: Iterable[pd.DataFrame]) -> float:
    started = time.perf_counter()
    if sum(len(frame) for frame in frames) != _ROWS:
        sys.exit("rows are missing")
    return time.perf_counter() - started


def _frames() -> Iterator[pd.DataFrame]:
    for start in range(0, _ROWS, _FRAME):
        yield pd.DataFrame({"n": range(start, start + _FRAME)})


def _first(frames: Iterable[pd.DataFrame]) -> Iterable[pd.DataFrame]:
    model = Slow(lambda row: {"twice": 2 * row["n"]})
    return smelt.stream(
        frames, "Double {n}.", Doubled, model=model, batch_size=1, concurrency=8, progress=False, error_column="first"
    )


def _second(frames: Iterable[pd.DataFrame]) -> Iterable[pd.DataFrame]:
    model = Slow(lambda row: {"thrice": 3 * row["n"]})
    return smelt.stream(
        frames, "Triple {n}.", Tripled, model=model, batch_size=1, concurrency=8, progress=False, error_column="second"
    )


if __name__ == "__main__":
    main()
