"""What a run is handed, and what its observers learn of it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import pytest
from pydantic import BaseModel

import smelt
from smelt.call.options import Settings
from smelt.call.preparation import Preparation, prepare
from smelt.call.running import execute
from smelt.call.wiring import Wired
from smelt.engine.events import Event, Observer, RequestEnded, RequestSent, RowsSettled, RunEnded, RunStarted
from smelt.ledger.base import NoLedger
from smelt.ledger.session import Session
from smelt.observe.reporter import Reporter
from smelt.providers.base import Billing, CallFailed, Reply, Request, Usage
from smelt.testing import ScriptedProvider, answered
from tests.lanes.server import make_lane

USAGE = Usage(input_tokens=100, output_tokens=9, cached_input_tokens=40, written_input_tokens=50)
BUSY = CallFailed("server", Billing.REJECTED, "HTTP 503", status=503, request_id="req_2")


class Echo(BaseModel):
    twice: int


def answer(row: Mapping[str, Any]) -> dict[str, int]:
    return {"twice": 2 * row["n"]}


def told(request: Request) -> Reply:
    return Reply(text=answered(request, answer).text, usage=USAGE, request_id="req_1")


def model() -> ScriptedProvider:
    return ScriptedProvider(answer, script=[BUSY, told])


def run(seen: list[Event]) -> None:
    smelt.run([{"n": 1}], "Double {n}.", Echo, model=model(), progress=seen.append)


def test_the_events_of_a_run_have_its_id_and_those_of_a_request_what_the_provider_said() -> None:
    one, other = list[Event](), list[Event]()

    run(one)
    run(other)

    assert {RunStarted, RequestSent, RowsSettled, RunEnded} <= {type(event) for event in one}
    (ours,), (theirs,) = ({event.run_id for event in events} for events in (one, other))
    assert ours
    assert ours != theirs
    failed, ended = [event for event in one if isinstance(event, RequestEnded)]
    assert (failed.request_id, failed.ok, failed.written_input_tokens) == ("req_2", False, 0)
    assert (ended.request_id, ended.input_tokens) == ("req_1", 100)
    assert (ended.cached_input_tokens, ended.written_input_tokens) == (40, 50)


@pytest.mark.parametrize("rows", [0, 3])
def test_a_run_uses_the_ledger_lane_and_observers_that_it_is_handed(rows: int) -> None:
    seen, session = list[Event](), Session(ledger=NoLedger())
    lane = make_lane(most=1)

    @contextmanager
    def wiring(call: Preparation, observers: Sequence[Observer], *, is_stream: bool) -> Iterator[Wired]:
        assert not is_stream
        with Reporter(*observers, seen.append) as report:
            yield Wired(session, lane, report)

    provider = ScriptedProvider(answer)
    settings = Settings.of(batch_size=1, progress=False)
    call = prepare([{"n": at} for at in range(rows)], "Double {n}.", Echo, provider, settings)
    result = execute(call, awaited="arun", wiring=wiring)

    assert [row.twice for row in result.data if row] == [2 * at for at in range(rows)]
    assert (session.state, session.size) == ("done", (rows, rows))
    assert isinstance(seen[0], RunStarted)
    assert isinstance(seen[-1], RunEnded)
    assert lane.lane.pacer.in_flight == 0
    assert sum(isinstance(event, RequestEnded) for event in seen) == rows
