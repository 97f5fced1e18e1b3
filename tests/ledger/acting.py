"""A run without an engine: steps told to a store one by one."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel

from smelt.ledger.base import NO_SCORES, Claim
from smelt.ledger.keys import Spec
from smelt.ledger.lease import Moment
from smelt.ledger.opening import open_store
from smelt.ledger.reading import Reading
from smelt.ledger.recall import ALWAYS, Recall
from smelt.ledger.recorder import Recorder
from smelt.ledger.reserve import Reserve
from smelt.ledger.start import Started, read_leftovers, start
from smelt.ledger.store import Store
from smelt.plan.chunks import Pending
from smelt.plan.schema import read_output
from smelt.plan.validate import Accepted
from smelt.providers.base import Reply, Usage


class Label(BaseModel):
    sector: Literal["tech", "other"]
    size: int


_NOW = 1_000_000.0

OUTPUT = read_output(Label)
TECH = {"sector": "tech", "size": 3}
USAGE = Usage(input_tokens=100, output_tokens=20, cached_input_tokens=0, reasoning_tokens=0)


def text_of(name: str) -> str:
    return json.dumps({"name": name}, separators=(",", ":"))


def spec_in(store: Store, **changes: Any) -> Spec:
    options: dict[str, Any] = {"provider": "openai", "model": "fake-1", "prompt": "Classify {name}.", "params": {}}
    return Spec.of(**{**options, "fields": OUTPUT.fields, **changes}, secret=store.secret)


class Actor:
    """One run in the store at *path*. Use it inside a running loop."""

    def __init__(
        self,
        path: Path,
        *,
        now: float = _NOW,
        step: float = 0.0,  # By which its time of day is off.
        changes: Mapping[str, Any] | None = None,
        is_refresh: bool = False,
        keeps_inputs: bool = False,
    ) -> None:
        self.now = now
        self.step = step
        self.store = open_store(path)
        self.started: Started = start(
            self.store,
            spec_in(self.store, **(changes or {})),
            rows=10,
            distinct_rows=10,
            version="test",
            clock=lambda: self.moment,
            prompt="Classify {name}." if keeps_inputs else None,
        )
        self.reading = Reading(OUTPUT, "array")
        self.recovered = read_leftovers(self.store, self.started.spec, self.reading, lambda: self.moment)
        recall = Recall(
            self.store,
            [self.started.spec],
            self.reading,
            before=self.started.before,
            version=self.started.data_version,
            is_contended=self.started.is_contended,
            is_refresh=is_refresh,
            since=ALWAYS if is_refresh else 0,
        )
        self.recorder = Recorder(
            self.store,
            run=self.started.run,
            epoch=self.started.epoch,
            recall=recall,
            reading=self.reading,
            reserve=Reserve(path, 1),
            keeps_inputs=keeps_inputs,
            clock=lambda: self.moment,
        )
        self.number = 0

    @property
    def moment(self) -> Moment:
        """Its time of day; the steady clock goes with it, and is the real one where that is not told."""
        return Moment(self.now + self.step, time.monotonic() + self.now - _NOW)

    @property
    def run(self) -> int:
        return self.started.run

    def knows(self, *names: str) -> list[tuple[Any, ...] | None]:
        return list(self.recorder.recall([text_of(name) for name in names]))

    async def send(self, *names: str) -> Claim:
        """A request leaves."""
        self.number += 1
        self.pending = [Pending(at, text_of(name)) for at, name in enumerate(names)]
        return await self.recorder.intend(self.number, self.pending, [f"tok{at}" for at in range(len(names))], 50)

    async def land(self, answer: Mapping[str, Any] = TECH, *, cost_usd: float | None = 0.25) -> None:
        """Its reply comes."""
        await self.recorder.receive(self.number, reply_to(len(self.pending), answer), cost_usd)

    def commit(self, answer: Mapping[str, Any] = TECH, scores: Mapping[int, Mapping[str, float]] = NO_SCORES) -> None:
        """Its rows are read."""
        accepted = [Accepted(row, (), json.dumps(answer)) for row in self.pending]
        self.recorder.commit(self.number, accepted, None, scores)

    async def ask(self, *names: str, answer: Mapping[str, Any] = TECH, cost_usd: float | None = 0.25) -> Claim:
        """All of it."""
        claim = await self.send(*names)
        self.pending = [self.pending[at] for at in claim.rows]
        if self.pending:
            await self.land(answer, cost_usd=cost_usd)
            self.commit(answer)
        return claim

    def end(self, state: str = "done") -> None:
        self.recorder.finish(state)
        self.store.close()

    def die(self) -> None:
        """What a kill leaves: nothing more is written, the lease stands."""
        self.recorder._pulse.cancel()
        if self.recorder._writer._timer:
            self.recorder._writer._timer.cancel()
        self.recorder._reserve.spend()
        self.store.close()


def reply_to(rows: int, answer: Mapping[str, Any] = TECH) -> Reply:
    body = {"rows": [{"id": f"tok{at}", **answer} for at in range(rows)]}
    return Reply(text=json.dumps(body), usage=USAGE, model="fake-1-2026", request_id="req_1")


def count(path: Path, table: str, where: str = "1") -> int:
    with open_store(path) as store, store.reading() as connection:
        return int(connection.execute(f"SELECT count(*) FROM {table} WHERE {where}").fetchone()[0])
