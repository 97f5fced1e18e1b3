"""A world played: its runs with the real engine, lane and ledger, in virtual time."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import smelt.ledger
from smelt.call.options import Settings
from smelt.call.preparation import Preparation, prepare
from smelt.call.workorder import work_of
from smelt.engine.budget import Budget
from smelt.engine.run import Run
from smelt.lanes.caps import Caps
from smelt.lanes.lane import Lane, RunLane
from smelt.lanes.pacer import Pacer
from smelt.ledger.base import RunLedger
from smelt.ledger.opening import open_store
from smelt.ledger.reports import answered_rows
from smelt.ledger.session import RunSubject, remembering
from smelt.loop.bridge import drive
from smelt.providers.base import Usage
from tests.simulator.axe import Axe
from tests.simulator.clock import LONGEST, ImpatientLoop
from tests.simulator.disk import SlowDisk
from tests.simulator.history import Attempt, History, Once, Outing
from tests.simulator.provider import Door, Service
from tests.simulator.table import PROMPT, Mark, draw_rows
from tests.simulator.world import Launch, World
from tests.supplies import supply_of

_SHARED = -1  # The lane of all runs that are not apart.
_MEMORY = Path("/dev/shm")  # Where it is there, no commit waits for a disk.


def play(world: World) -> History:
    """Play *world* from its beginning to its end."""
    service = Service(world=world)
    history = History(world=world, bill=service.bill)
    rows = draw_rows(world.rows, world.twins, world.empty, world.rng("rows"))
    for position, name in world.poison:
        if position < len(rows):
            rows[position] = {"n": position, "text": f"poison: {name}"}
    with _ledger_path(world) as path:
        stage = _Stage(history=history, service=service, rows=rows, path=path)
        try:
            drive(stage.play(), loop_factory=ImpatientLoop)
        except Exception as problem:  # noqa: BLE001  # A deadlock, say: the invariants judge it.
            history.problem = problem
        if path is not None and path.exists():
            _read_ledger(history, path)
    return history


@dataclass(kw_only=True)
class _Stage:
    """Where a world is played."""

    history: History
    service: Service
    rows: Sequence[dict[str, Any]]
    path: Path | None
    lanes: dict[int, Lane] = field(default_factory=dict)

    async def play(self) -> None:
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(
            lambda _, context: self.history.faults.append(str(context.get("exception") or context["message"]))
        )
        async with asyncio.timeout(LONGEST):
            await self._launch_all()
        self.history.seconds = loop.time()
        self.history.left = [
            f"lane {name}: {lane.pacer.in_flight}" for name, lane in self.lanes.items() if lane.pacer.in_flight
        ]
        self.history.left += [str(one) for one in asyncio.all_tasks() if one is not asyncio.current_task()]

    async def _launch_all(self) -> None:
        world = self.history.world
        if world.is_together:
            async with asyncio.TaskGroup() as group:
                for run, launch in enumerate(world.launches):
                    group.create_task(self._go(run, launch))
        else:
            for run, launch in enumerate(world.launches):
                await self._go(run, launch)

    async def _go(self, run: int, launch: Launch) -> None:
        await asyncio.sleep(launch.pause)
        lane = run if launch.is_apart or launch.end.startswith("killed") else _SHARED
        door = Door(self.service, run=run, lane=lane)
        rows = self.rows[launch.first :]
        call = prepare(rows, PROMPT, Mark, door, _settings(self.history.world, launch))
        outing = Outing(run=run, launch=launch, lane=lane, rows=rows, distinct=call.folded.distinct, answers=Once(call))
        self.history.outings.append(outing)
        if call.folded.skipped is not None:
            outing.answers.skip(call.folded.skipped)
        axe = Axe()
        try:
            with self._lane(lane, door) as joined:
                await self._carry_out(outing, call, door, joined, axe)
        except Exception as problem:  # noqa: BLE001  # Whatever it is, the invariants judge it.
            outing.raised = None if axe.has_fallen else problem
        outing.was_killed = axe.has_fallen

    async def _carry_out(self, outing: Outing, call: Preparation, door: Door, lane: RunLane, axe: Axe) -> None:
        """Run as `smelt.call.execution` does, but for what has to be drawn from the seed."""
        path = str(self.path) if self.path and len(call.folded.distinct) else None
        with remembering(path, _matter(call), is_default=False, gap=axe.pass_gap) as session:
            outing.stored = getattr(session.ledger, "run", None)
            engine = self._engine(outing, call, door, lane, session.ledger)
            task = asyncio.ensure_future(engine.execute())
            axe.aim(outing.launch, task, session.ledger)
            outing.began = asyncio.get_running_loop().time()
            try:
                outing.ending = await task
                session.state = "done"
            except asyncio.CancelledError:
                outing.cancelled = True
                session.state = "interrupted"
            finally:
                outing.answers.spread()
                outing.ended = asyncio.get_running_loop().time()
                axe.lay_down()

    def _engine(self, outing: Outing, call: Preparation, door: Door, lane: RunLane, ledger: RunLedger) -> Run:
        world, run = self.history.world, outing.run
        return Run(
            work=work_of(call),
            supply=supply_of(call, outing.answers),
            provider=door,
            lane=lane,
            ledger=SlowDisk(ledger, world.disk, world.rng(f"disk {run}")) if world.disk else ledger,
            budget=_budget(outing.launch),
            tell=door.tell,
            price=_price,
            rng=world.rng(f"tokens {run}"),
            counts=outing.counts,
        )

    def _lane(self, name: int, door: Door) -> RunLane:
        caps, rng = Caps(concurrency=self.history.world.concurrency), self.history.world.rng(f"jitter {name}")
        made = Lane(Pacer(provider=door.name, caps=caps, rng=rng))
        return self.lanes.setdefault(name, made).join(caps, door.tell)


@contextmanager
def _ledger_path(world: World) -> Iterator[Path | None]:
    if not world.has_ledger:
        yield None
        return
    with tempfile.TemporaryDirectory(dir=_MEMORY if _MEMORY.is_dir() else None) as directory:
        yield Path(directory) / "ledger.sqlite"


def _read_ledger(history: History, path: Path) -> None:
    with open_store(path) as store, store.reading() as connection:
        found = connection.execute(
            "SELECT id, state, billing, rows, input_tokens, output_tokens, cached_input_tokens, reasoning_tokens, "
            "cost_usd FROM attempts ORDER BY id"
        ).fetchall()
        history.kept = {tuple(row.answer.values()) for row in answered_rows(connection, None)}
    history.attempts = [
        Attempt(one >> 32, one & 0xFFFFFFFF, state, billing or "", rows, _usage_of(*tokens), cost)
        for one, state, billing, rows, *tokens, cost in found
    ]
    with smelt.ledger.open(path) as ledger:
        history.spending = {one["run"]: one for one in ledger.spend()}
        history.complaints = ledger.check()


def _usage_of(given: int | None, made: int | None, cached: int | None, reasoning: int | None) -> Usage:
    return Usage(input_tokens=given, output_tokens=made, cached_input_tokens=cached, reasoning_tokens=reasoning)


def _settings(world: World, launch: Launch) -> Settings:
    return Settings.of(
        batch_size=world.batch_size,
        concurrency=world.concurrency,
        seed=world.seed % 2**32,
        max_attempts=world.max_attempts,
        timeout=world.timeout,
        deadline=max(0.01, launch.after) if launch.end == "deadline" else None,
        null_rows="skip" if world.skips_nulls else "send",
        on_error="raise" if world.stops_on_failure else "mark",
    )


def _matter(call: Preparation) -> RunSubject:
    return RunSubject(
        provider=call.provider.name,
        model=call.provider.model,
        prompt=call.prompt,
        params={},
        output=call.output,
        codec=call.provider.capabilities.codec,
        source=call.source,
        distinct=call.folded.distinct,
        requests=call.concurrency,
        version="simulated",
    )


def _budget(launch: Launch) -> Budget:
    return Budget(max_tokens=int(launch.after)) if launch.end == "budget" else Budget()


def _price(usage: Usage) -> float | None:
    if usage.input_tokens is None or usage.output_tokens is None:
        return None
    return (usage.input_tokens + 4 * usage.output_tokens) * 1e-6
