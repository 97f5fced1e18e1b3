"""Figures of the lanes with each tuned constant at half and at double its value, in virtual time.

    python -m tests.bench.tuning [MODULE | MODULE.CONSTANT ...]     # breaker pace._RISE

For each constant, prints the figures that differ from those with the usual values by more than 1 % of the value or
0.005, whichever is more; "as usual" means that none does. A share or factor between a half and two is not halved and
doubled itself; its distance from one is. The seeds are fixed, so a figure is the same in every run of the same code.
But any change of the code draws other chances: with three sets of seeds, the shares of processes that are apart
differ by up to 0.14, and the 429s by 0.003. All modules together take about half an hour of CPU.
"""

from __future__ import annotations

import importlib
import inspect
import math
import random
import statistics
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import partial
from types import ModuleType
from typing import Any

from smelt.lanes import registry
from smelt.loop.jumping import run_jumping
from tests.lanes.server import Client, Server, in_flight_of, limited, make_lane
from tests.lanes.test_situations import ask, ask_for, count, group, refused, spells

Figures = dict[str, float]
SKIPPED = {"SIZE", "_EVENT", "_MINUTE", "_UNITS", "_SALT"}  # Layouts, units of time and a random number: not tuned.


# --- situations -------------------------------------------------------------------------------------------------------


def hidden(*, rpm: float = 600, requests: int = 1000, burst: float = 1, seeds: int = 4, **limit: Any) -> Figures:
    """One process under a limit that only 429s reveal: time over the ideal, and the share of 429s."""
    jobs = [
        ask(requests, seed, latency=0.2, limit=limited(rpm, burst=burst, announce=False, **limit))
        for seed in range(seeds)
    ]
    ideal = requests * 60 / rpm - burst + 0.2
    return {
        "time": statistics.mean(seconds for _, seconds in jobs) / ideal,
        "429s": statistics.mean(refused(server) for server, _ in jobs),
    }


def announced(*, requests: int = 1000, burst: float = 1, **server: Any) -> Figures:
    """One process under a limit that every reply announces."""
    asked, seconds = ask(requests, 0, limit=limited(1200, burst=burst), latency=0.2, **server)
    return {"time": seconds / (requests / 20 - burst + 0.2), "429s": refused(asked)}


def tokens(charges: int) -> Figures:
    """The same for tokens; 300 are estimated for each request."""
    limit = limited(100_000, tokens_per_minute=charges * 300.0, burst=10)
    server, _ = ask(600, 10, limit=limit, charges=charges)
    end = server.asked[-1][0]
    return {"used": count(server, "reply", 5.0) / (5.0 * (end - 5.0)), "429s": refused(server)}


def falls(*, announce: bool, burst: float = 1) -> Figures:
    """The limit falls to a tenth after 60 s and returns after 160 s."""
    usual, tenth = limited(burst=burst, announce=announce), limited(60.0, burst=burst, announce=announce)
    server = ask_for(280.0, 1, limit=usual, steps=[(60.0, tenth), (160.0, usual)])
    return {
        "used while low": count(server, "reply", 80, 160) / 80,
        "429s a second while low": count(server, "rate_limit", 80, 160) / 80,
        "used after": count(server, "reply", 180, 280) / 1000,
    }


def together(processes: int, *, rpm: float = 1200, seeds: int = 6, end: float = 34.0, **options: Any) -> Figures:
    """Several processes: quota used, the share of 429s, the smallest share over the largest."""
    limit = limited(
        rpm, **{name: options.pop(name) for name in ("announce", "burst", "retry_after") if name in options}
    )
    return _means(group(processes, seed, limit, end=end, **options) for seed in range(seeds))


def frozen() -> Figures:
    """Eight processes of one machine that lose the CPU for seconds during the first ten, and so does the server."""
    return _means(
        group(
            8,
            seed,
            limited(1200, announce=False),
            is_one_machine=True,
            freezes=spells(f"{seed}", 10.0, apart=1.0, least=0.3, most=1.5),
            process_freezes=partial(_spells_of, seed),
        )
        for seed in (0, 5, 6)
    )


def _spells_of(seed: int, process: int) -> list[tuple[float, float]]:
    return spells(f"{seed} {process}", 10.0, apart=0.8, least=0.5, most=3.0)


def reset_is_zero() -> Figures:
    """Four processes, and headers whose reset is 0 whatever is missing."""
    return _means(group(4, seed, limited(1200, resets=False), is_late=True) for seed in range(3))


def _means(groups: Iterable[tuple[float, float, list[int]]]) -> Figures:
    groups = list(groups)
    return {
        "used": statistics.mean(used for used, _, _ in groups),
        "429s": statistics.mean(refusals for _, refusals, _ in groups),
        "share": statistics.mean(min(shares) / max(shares) for _, _, shares in groups),
    }


def unlimited() -> Figures:
    """500 requests to a server without limits, whose replies take half a second; the first goes alone."""
    return {"seconds": statistics.mean(ask(500, seed)[1] for seed in range(4))}


def queueing(slots: int, each: int = 200) -> Figures:
    """A server that queues *each* requests per slot: time over the ideal, and requests in flight over its slots."""

    async def work() -> list[int]:
        server = Server(slots=slots, rng=random.Random(slots))
        client = Client(
            server=server, lane=make_lane(slots, most=512, at_once=registry._AT_ONCE), requests=each * slots
        )
        return await in_flight_of(client)

    jumped = run_jumping(work())
    return {"time": jumped.seconds / (0.5 * each), "queue": statistics.mean(jumped.result) / slots}


def few_in_flight() -> Figures:
    """A server that refuses beyond 32 requests in flight."""
    limit = limited(60_000, in_flight=32, announce=False)
    server, seconds = ask(1000, 0, limit=limit)
    return {"time": seconds / (1000 / 32 * 0.5), "429s": refused(server)}


def failing(one_in: int) -> Figures:
    """One reply in so many is an error."""
    server, seconds = ask(2000, 0, faults=("server", "connection", "server", *(3 * one_in - 3) * (None,)))
    return {"seconds": seconds, "requests": len(server.asked) / 2000}


def outage() -> Figures:
    """Nothing but errors from the 10th to the 310th second."""
    server = ask_for(335.0, 16, outage=(10.0, 310.0), lane={"most": 16})
    return {
        "errors in the first 30 s": count(server, "server", 0, 40),
        "errors later": count(server, "server", 40, 400),
        "replies in the 15 s after it": count(server, "reply", 310, 325),
    }


Situations = Mapping[str, Callable[[], Figures]]
ALONE: Situations = {
    "hidden": hidden,
    "hidden, short": partial(hidden, rpm=1200, requests=200, seeds=8),
    "hidden, bare 429s": partial(hidden, retry_after=False),
    "hidden, large bucket": partial(hidden, requests=2000, burst=60, seeds=2),
    "hidden, 60 a minute": partial(hidden, rpm=60, requests=120),
    "hidden, falls": partial(falls, announce=False),
    "hidden, large bucket, falls": partial(falls, announce=False, burst=60),
}
SHARED: Situations = {
    "8 processes apart": partial(together, 8, announce=False),
    "8 processes apart, 10 s": partial(together, 8, announce=False, burst=10),
    "8 processes apart, bare 429s": partial(together, 8, announce=False, retry_after=False, seeds=3),
    "2 processes apart": partial(together, 2, rpm=600, announce=False),
}
BOARD: Situations = {
    "8 processes": partial(together, 8, announce=False, is_one_machine=True),
    "8 processes, bare 429s": partial(together, 8, announce=False, retry_after=False, is_one_machine=True, seeds=3),
    "8 processes, 180 a minute": partial(together, 8, rpm=180, announce=False, end=100.0, is_one_machine=True, seeds=3),
    "8 processes, freezing": frozen,
    "2 processes": partial(together, 2, rpm=600, announce=False, is_one_machine=True),
}
ANNOUNCED: Situations = {
    "announced": partial(announced, is_late=True),
    "announced, on admission": partial(announced, is_late=False),
    "announced, short": partial(announced, requests=200),
    "announced, large bucket": partial(announced, requests=2000, burst=60),
    "announced, falls": partial(falls, announce=True),
    "tokens, half as estimated": partial(tokens, 150),
    "tokens, twice as estimated": partial(tokens, 600),
    "8 processes, announced": partial(together, 8, is_late=True, seeds=3),
    "4 processes, reset 0": reset_is_zero,
}
QUEUES: Situations = {
    "unlimited": unlimited,
    "4 slots": partial(queueing, 4),
    "16 slots": partial(queueing, 16),
    "64 slots": partial(queueing, 64),
}
FAILURES: Situations = {"1 in 10 fails": partial(failing, 10), "1 in 3 fails": partial(failing, 3), "outage": outage}
BY_MODULE: Mapping[str, Situations] = {
    "board": BOARD,
    "breaker": FAILURES,
    "bucket": ANNOUNCED,
    "climb": QUEUES,
    "pace": {**ALONE, **SHARED},
    "pacer": {
        **{name: ALONE[name] for name in ("hidden", "hidden, short", "hidden, falls")},
        "8 processes apart": SHARED["8 processes apart"],
        "4 processes, reset 0": reset_is_zero,
        "outage": outage,
        "32 in flight": few_in_flight,
    },
    "registry": {f"{slots} slots, short": partial(queueing, slots, 25) for slots in (4, 16, 64)},
    "sharing": BOARD,
    "trace": {**ALONE, **SHARED, **BOARD},
    "window": {**QUEUES, "hidden": hidden, "32 in flight": few_in_flight, "4 processes, reset 0": reset_is_zero},
}


# --- constants --------------------------------------------------------------------------------------------------------


def tuned(module: ModuleType) -> Iterator[tuple[str, Any]]:
    """The numeric constants that *module* itself defines, with their values."""
    for name, value in vars(module).items():
        numbers = value if isinstance(value, tuple) else (value,)
        is_number = all(isinstance(one, int | float) and not isinstance(one, bool) for one in numbers)
        if name.strip("_").isupper() and name not in SKIPPED and is_number and _is_own(module, name):
            yield name, value


def _is_own(module: ModuleType, name: str) -> bool:
    return any(line.startswith(f"{name} =") for line in inspect.getsource(module).splitlines())


def variants(value: Any) -> Iterator[tuple[str, Any]]:
    """*value* with each of its numbers at half and at double; what was changed, and the changed value."""
    if isinstance(value, tuple):
        for at, number in enumerate(value):
            for text, other in variants(number):
                yield f"[{at}] {text}", (*value[:at], other, *value[at + 1 :])
        return
    for factor in (0.5, 2.0):
        other = 1 + (value - 1) * factor if 0.5 < value < 2 and value != 1 else value * factor
        other = max(1, round(other)) if isinstance(value, int) else other
        yield f"{value:g} -> {other:g}", other


def with_value(module: ModuleType, name: str, value: Any, situations: Situations) -> dict[str, Figures]:
    """The figures of *situations* with another *value* of a constant, in every module of the lanes that imported it."""
    lanes = [one for path, one in sys.modules.items() if path.startswith("smelt.lanes.")]
    holders = [module] if name.startswith("_") else [one for one in lanes if hasattr(one, name)]
    usual = getattr(module, name)
    try:
        for one in holders:
            setattr(one, name, value)
        return {situation: figures() for situation, figures in situations.items()}
    finally:
        for one in holders:
            setattr(one, name, usual)


def differences(usual: Mapping[str, Figures], other: Mapping[str, Figures]) -> Iterator[str]:
    for situation, figures in usual.items():
        for name, value in figures.items():
            changed = other[situation][name]
            if not math.isclose(value, changed, rel_tol=0.01, abs_tol=0.005):
                yield f"{situation}: {name} {value:.3g} -> {changed:.3g}"


def main(*wanted: str) -> None:
    for short in dict.fromkeys(one.partition(".")[0] for one in wanted or BY_MODULE):
        module, situations = importlib.import_module(f"smelt.lanes.{short}"), BY_MODULE[short]
        usual = {situation: figures() for situation, figures in situations.items()}
        for situation, figures in usual.items():
            print(f"{short}: {situation}: {figures}", flush=True)
        for name, value in list(tuned(module)):
            if wanted and short not in wanted and f"{short}.{name}" not in wanted:
                continue
            for text, other in variants(value):
                try:
                    lines = list(differences(usual, with_value(module, name, other, situations)))
                except (ArithmeticError, ValueError, AssertionError) as problem:  # The value may make no sense.
                    lines = [f"fails: {problem!r}"]
                print(f"{short}.{name} {text}: {'; '.join(lines) or 'as usual'}", flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
