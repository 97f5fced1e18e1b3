"""One seed, one world: what is asked, of what kind of provider, in which weather, and how it is broken off."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass, field, fields, replace
from typing import Any, Literal

from smelt.plan.wire import Codec
from smelt.providers.base import Billing, FailureKind
from tests.simulator.limits import Limits, Style
from tests.simulator.replies import REPLY_FAULTS

End = Literal["whole", "cancelled", "cancelled twice", "deadline", "budget", "killed", "killed at a gap"]
Weather = Literal["503", "refused", "reset", "hang", "page"]

CALL_KINDS: Sequence[FailureKind] = (
    "connection",
    "timeout",
    "rate_limit",
    "server",
    "protocol",
    "bad_request",
    "too_long",
    "too_large",
    "filtered",
    "schema",
)
FATAL: Sequence[FailureKind] = ("auth", "quota", "not_found", "redirect", "certificate")
POISONS = ("missing", "invalid", "endless", "refused", "filtered", "bad_request", "too_long", "breaker", "hanging")


@dataclass(frozen=True, kw_only=True)
class Latency:
    """How long an answer takes.

    Attributes:
        median: Seconds.
        spread: Standard deviation of its logarithm.
        tail: Share of answers that take *stretch* times as long.
        stretch: See there.
        per_token: Seconds per token of the answer.
    """

    median: float = 1.0
    spread: float = 0.5
    tail: float = 0.0
    stretch: float = 20.0
    per_token: float = 0.0

    def draw(self, tokens: int, rng: random.Random) -> float:
        """Seconds for an answer of *tokens*."""
        stretch = self.stretch if rng.random() < self.tail else 1.0
        return stretch * self.median * rng.lognormvariate(0.0, self.spread) + self.per_token * tokens


@dataclass(frozen=True, kw_only=True)
class Outage:
    """A time in which nobody is answered."""

    start: float
    seconds: float
    weather: Weather
    retry_after: float | None = None


@dataclass(frozen=True, kw_only=True)
class Fault:
    """Something that happens to a share of the requests.

    Attributes:
        rate: The share.
        kind: The kind of a failed call, or one of `REPLY_FAULTS`.
        billing: The billing class of a failed call; None for a fault of a reply.
        retry_after: Seconds that come with it.
    """

    rate: float
    kind: str
    billing: Billing | None = None
    retry_after: float | None = None

    def __str__(self) -> str:
        return self.kind if self.billing is None else f"{self.kind}/{self.billing.value}"


@dataclass(frozen=True, kw_only=True)
class Launch:
    """One run over some of the rows.

    Attributes:
        end: How it ends.
        after: Seconds, gaps of the ledger, or tokens of a budget until it does.
        first: The first of its rows.
        pause: Seconds before it begins, from the beginning of the world, or from the end of the run before.
        is_apart: Whether it has a lane of its own, as a run in another process has.
    """

    end: End = "whole"
    after: float = 0.0
    first: int = 0
    pause: float = 0.0
    is_apart: bool = False


@dataclass(frozen=True, kw_only=True)
class World:
    """All that a seed decides.

    Attributes:
        seed: The seed, of which every draw inside the world is made, too.
        rows: Rows of the caller.
        twins: Share of them that repeat another.
        empty: Share of them without a value.
        poison: By position, rows that break something, each in one of the ways of `POISONS`.
        batch_size: Rows per request.
        concurrency: Requests in flight at the most.
        max_attempts: Paid answers that a row may use up.
        timeout: Seconds per request.
        stops_on_failure: Whether the first row that fails ends the run.
        skips_nulls: Whether empty rows are left out.
        codec: The shape of replies.
        is_enforced: Whether the provider says that it keeps to the schema.
        latency: How long answers take.
        limits: What is allowed.
        outages: When nothing works.
        faults: What goes wrong, and how often.
        fatal: When the account is closed, and with which failure.
        mute: Share of answers that do not say what they took.
        has_ledger: Whether there is a ledger; all launches share it.
        disk: Seconds that a write to it may take, on its way there and on its way back.
        launches: The runs.
        is_together: Whether they run side by side rather than one after the other.
    """

    seed: int
    rows: int = 10
    twins: float = 0.0
    empty: float = 0.0
    poison: Sequence[tuple[int, str]] = ()
    batch_size: int | Literal["auto"] = 5
    concurrency: int = 4
    max_attempts: int = 4
    timeout: float = 60.0
    stops_on_failure: bool = False
    skips_nulls: bool = False
    codec: Codec = "array"
    is_enforced: bool = True
    latency: Latency = Latency()
    limits: Limits = field(default_factory=Limits)
    outages: Sequence[Outage] = ()
    faults: Sequence[Fault] = ()
    fatal: tuple[float, FailureKind] | None = None
    mute: float = 0.0
    has_ledger: bool = False
    disk: float = 0.0
    launches: Sequence[Launch] = (Launch(),)
    is_together: bool = False

    def rng(self, purpose: object) -> random.Random:
        """A stream of draws of its own, so that a change in one place of the world moves nothing in another."""
        return random.Random(f"{self.seed} {purpose}")

    def __str__(self) -> str:
        plain = World(seed=self.seed)
        changes = [
            f"{one.name}={getattr(self, one.name)!r}"
            for one in fields(self)
            if getattr(self, one.name) != getattr(plain, one.name)
        ]
        return f"World(seed={self.seed}{''.join(f', {one}' for one in changes)})"


def draw_world(seed: int) -> World:
    """The world of *seed*."""
    rng = random.Random(f"{seed} world")
    rows = rng.choice([rng.randint(0, 2), rng.randint(3, 15), *[rng.randint(10, 60)] * 4, rng.randint(60, 200)])
    has_ledger = rng.random() < 0.6
    launches, is_together = _launches(rows, has_ledger, rng)
    return World(
        seed=seed,
        rows=rows,
        twins=rng.choice([0.0, 0.0, 0.2]),
        empty=rng.choice([0.0, 0.0, 0.1]),
        poison=_poison(rows, rng),
        batch_size=rng.choice([1, 2, 5, 10, 20, "auto"]),
        concurrency=rng.choice([1, 2, 4, 8, 16]),
        max_attempts=rng.choice([1, 2, 3, 4, 4, 4, 6]),
        timeout=rng.choice([10.0, 30.0, 120.0]),
        stops_on_failure=rng.random() < 0.1,
        skips_nulls=rng.random() < 0.3,
        codec=rng.choice(["array", "array", "keyed"]),
        is_enforced=rng.random() < 0.7,
        latency=_latency(rng),
        limits=_limits(rng),
        outages=_outages(rng),
        faults=_faults(rng),
        fatal=(rng.uniform(0, 60), rng.choice(FATAL)) if rng.random() < 0.05 else None,
        mute=rng.choice([0.0, 0.0, 0.1]),
        has_ledger=has_ledger,
        disk=rng.choice([0.0, 0.0, 0.01, 0.5]) if has_ledger else 0.0,
        launches=launches,
        is_together=is_together,
    )


def _poison(rows: int, rng: random.Random) -> Sequence[tuple[int, str]]:
    if not rows or rng.random() < 0.7:
        return ()
    return [(rng.randrange(rows), rng.choice(POISONS)) for _ in range(rng.randint(1, 3))]


def _latency(rng: random.Random) -> Latency:
    return Latency(
        median=rng.choice([0.3, 1.0, 4.0]),
        spread=rng.choice([0.1, 0.5, 1.0]),
        tail=rng.choice([0.0, 0.01, 0.05]),
        per_token=rng.choice([0.0, 0.005]),
    )


def _limits(rng: random.Random) -> Limits:
    if rng.random() < 0.4:
        return Limits()
    styles: list[Style | None] = ["openai", "anthropic", None]
    start = rng.uniform(0, 60)
    return Limits(
        requests=rng.choice([None, 20.0, 100.0, 600.0]),
        tokens=rng.choice([None, None, 5_000.0, 30_000.0]),
        in_flight=rng.choice([None, None, 1, 3]),
        burst=rng.choice([1.0, 10.0, 60.0]),
        style=rng.choice(styles),
        is_patient=rng.random() < 0.6,
        steps=rng.choice([(), (), ((start, 0.1), (start + rng.uniform(5, 120), 1.0))]),
    )


def _outages(rng: random.Random) -> Sequence[Outage]:
    if rng.random() < 0.7:
        return ()
    kinds: list[Weather] = ["503", "503", "refused", "reset", "hang", "page"]
    return [
        Outage(
            start=rng.uniform(0, 60),
            seconds=rng.choice([2.0, 20.0, 200.0, 600.0]),
            weather=rng.choice(kinds),
            retry_after=rng.choice([None, None, 1.0, 30.0]),
        )
        for _ in range(rng.choice([1, 1, 2]))
    ]


def _faults(rng: random.Random) -> Sequence[Fault]:
    found = [Fault(rate=rng.choice([0.02, 0.1, 0.3]), kind=rng.choice(REPLY_FAULTS)) for _ in range(rng.randint(0, 4))]
    if rng.random() < 0.4:
        return tuple(found)
    for _ in range(rng.randint(1, 3)):
        kind, billing = rng.choice(CALL_KINDS), rng.choice(list(Billing))
        patience = rng.choice([None, None, 0.5, 7.0, 40.0, 5_000.0 if rng.random() < 0.05 else 2.0])
        is_told = kind in ("rate_limit", "server")
        rate = rng.choice([0.01, 0.05, 0.2])
        found.append(Fault(rate=rate, kind=kind, billing=billing, retry_after=patience if is_told else None))
    return tuple(found)


def _launches(rows: int, has_ledger: bool, rng: random.Random) -> tuple[Sequence[Launch], bool]:
    ends: list[End] = ["cancelled", "cancelled twice", "deadline", "budget", "killed", "killed at a gap"]
    plan = rng.choice(["one", "one", "again", "again", "together"])
    if plan == "one":
        return (Launch(),), False
    count = rng.choice([2, 2, 3])
    broken = [_broken(rng.choice(ends), rows, rng) for _ in range(count - 1)]
    if plan == "again":
        return (*broken, replace(Launch(), pause=rng.choice([0.0, 3.0, 100.0]))), False
    is_odd = rng.random() < 0.5
    first = [one if is_odd else replace(one, end="whole", after=0.0) for one in broken]
    return (*first, Launch(pause=rng.uniform(0, 10), is_apart=has_ledger and rng.random() < 0.3)), True


def _broken(end: End, rows: int, rng: random.Random) -> Launch:
    after: Any = rng.uniform(0, 30)
    if end == "killed at a gap":
        after = rng.randint(1, 60)
    elif end == "budget":
        after = rng.randint(200, 4_000)
    return Launch(end=end, after=after, first=rng.choice([0, 0, rows // 2]), pause=rng.choice([0.0, 0.0, 5.0]))
