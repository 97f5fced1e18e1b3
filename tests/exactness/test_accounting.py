"""Whatever a provider does, and whenever a run is broken off: each row ends once, and never with another's answer."""

from __future__ import annotations

import asyncio
import json
import random
from collections.abc import Sequence
from typing import Any, get_args

from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import BaseModel, Field, field_validator

from smelt.call.options import Settings
from smelt.call.preparation import prepare
from smelt.call.workorder import work_of
from smelt.engine.policy import ErrorKind
from smelt.engine.run import Run
from smelt.ledger.base import NoLedger
from smelt.plan.answers import Answers, RowFailure
from smelt.providers.base import Billing, CallFailed, Capabilities, Reply, Request, Usage
from smelt.testing import ScriptedProvider, answered, asked, run_jumping
from tests.lanes.server import make_lane
from tests.supplies import supply_of

TIMEOUT = 30.0
BREAKING = 777


class Echo(BaseModel):
    twice: int = Field(ge=0)

    @field_validator("twice")
    @classmethod
    def _breaks(cls, value: int) -> int:
        if value == BREAKING:
            raise RuntimeError("a mistake of the caller's")
        return value


def answer(row: Any) -> dict[str, Any]:
    return {"twice": 2 * row["n"]}


class Once(Answers):
    """Answers that take each outcome once."""

    def __init__(self, rows: int) -> None:
        super().__init__(rows, 1)
        self.ended: set[int] = set()

    def accept_all(self, positions: Sequence[int], values: Sequence[Sequence[Any]]) -> None:
        for position in positions:
            self._end(position)
        super().accept_all(positions, values)

    def fail(self, position: int, failure: RowFailure) -> None:
        self._end(position)
        super().fail(position, failure)

    def _end(self, position: int) -> None:
        assert position not in self.ended
        self.ended.add(position)


FAILURES = {
    "rate_limit": CallFailed("rate_limit", Billing.REJECTED, "429", retry_after=3.0),
    "server": CallFailed("server", Billing.REJECTED, "503"),
    "refused": CallFailed("connection", Billing.NOT_SENT, "refused"),
    "reset": CallFailed("connection", Billing.UNKNOWN, "reset"),
    "page": CallFailed("protocol", Billing.UNKNOWN, "a page"),
    "cut_body": CallFailed("protocol", Billing.PAID_BAD, "cut"),
    "bad_request": CallFailed("bad_request", Billing.REJECTED, "400"),
    "too_long": CallFailed("too_long", Billing.REJECTED, "400"),
    "filtered": CallFailed("filtered", Billing.REJECTED, "400"),
    "schema": CallFailed("schema", Billing.REJECTED, "400"),
    "auth": CallFailed("auth", Billing.REJECTED, "401"),
    "too_patient": CallFailed("rate_limit", Billing.REJECTED, "429", retry_after=1e6),
}
REPLIES = [
    "good",
    "drop",
    "wrong",
    "break",
    "double",
    "stranger",
    "cut",
    "refuse",
    "filter",
    "rubbish",
    "empty",
    "hang",
]
STEPS = st.sampled_from([*REPLIES, *FAILURES])


class Moody(ScriptedProvider):
    """Does what *steps* say, one per request, in about a second each; then answers well."""

    def __init__(self, steps: Sequence[str], rng: random.Random, codec: Any) -> None:
        super().__init__(answer, capabilities=Capabilities(codec=codec, enforces_schema=rng.random() < 0.5))
        self._steps, self._rng = list(steps), rng
        self.asked = 0

    async def send(self, request: Request) -> Reply:
        step = self._steps[self.asked] if self.asked < len(self._steps) else "good"
        self.asked += 1
        await asyncio.sleep(1e6 if step == "hang" else self._rng.uniform(0.1, 2.0))
        if step in FAILURES:
            raise FAILURES[step]
        reply = answered(request, answer, self.capabilities.codec)
        return self._spoilt(step, request, reply)

    def _spoilt(self, step: str, request: Request, reply: Reply) -> Reply:
        match step:
            case "cut":
                return Reply(text=reply.text[: self._rng.randint(0, len(reply.text))], finish="length")
            case "refuse" | "filter":
                return Reply(text="", finish="refused" if step == "refuse" else "filtered", detail="No.")
            case "rubbish" | "empty":
                return Reply(text="Well, " if step == "rubbish" else "")
            case "drop" | "wrong" | "break" | "double" | "stranger":
                return Reply(text=self._rewritten(step, request) + self._rng.choice(["", " So much for that."]))
            case _:
                return reply

    def _rewritten(self, step: str, request: Request) -> str:
        rows: list[tuple[str, dict[str, Any]]] = []
        for token, row in asked(request):
            if self._rng.random() < 0.5:
                rows.append((token, answer(row)))
            elif step == "wrong":
                rows.append((token, {"twice": -1}))
            elif step == "break":
                rows.append((token, {"twice": BREAKING}))
            elif step == "double":
                rows += [(token, answer(row)), (token, {"twice": 10**6})]
            elif step == "stranger":
                rows.append((token[::-1] + "z", {"twice": 10**6}))
        self._rng.shuffle(rows)
        if self.capabilities.codec == "array":
            return json.dumps({"rows": [{"id": token, **fields} for token, fields in rows]})
        return "{" + ",".join(f"{json.dumps(token)}:{json.dumps(fields)}" for token, fields in rows) + "}"


@settings(max_examples=100)
@given(
    count=st.integers(0, 60),
    steps=st.lists(STEPS, max_size=40),
    batch_size=st.sampled_from([1, 2, 7, 20, "auto"]),
    concurrency=st.sampled_from([1, 2, 8]),
    max_attempts=st.integers(1, 5),
    broken_off=st.sampled_from([None, None, "cancel", "deadline"]),
    after=st.floats(0.05, 60.0),
    stop_on_failure=st.sampled_from([False, False, True]),
    codec=st.sampled_from(["array", "keyed"]),
    seed=st.integers(0, 9),
)
def test_every_row_ends_exactly_once_and_on_its_own_answer(
    count: int,
    steps: list[str],
    batch_size: Any,
    concurrency: int,
    max_attempts: int,
    broken_off: str | None,
    after: float,
    stop_on_failure: bool,
    codec: str,
    seed: int,
) -> None:
    rng = random.Random(seed)
    provider = Moody(steps, rng, codec)
    call = prepare(
        [{"n": at} for at in range(count)],
        "Double {n}.",
        Echo,
        provider,
        Settings.of(
            batch_size=batch_size,
            max_attempts=max_attempts,
            timeout=TIMEOUT,
            deadline=after if broken_off == "deadline" else None,
            on_error="raise" if stop_on_failure else "mark",
        ),
    )
    answers = Once(count)
    lane = make_lane(seed, most=concurrency)
    run = Run(
        work=work_of(call),
        supply=supply_of(call, answers),
        provider=provider,
        lane=lane,
        ledger=NoLedger(),
        tell=lambda event: None,
        price=lambda usage: None,
        rng=rng,
    )

    was_cancelled, others = run_jumping(_carried_out(run, after if broken_off == "cancel" else None)).result

    assert answers.ended == set(range(count))
    for position, row in enumerate(answers.rows()):
        assert row in (None, (2 * position,))
        assert (row is None) == (position in answers.failures)
    assert {failure.kind for failure in answers.failures.values()} <= set(get_args(ErrorKind))
    assert all(failure.message for failure in answers.failures.values())
    assert all(failure.attempts <= max_attempts for failure in answers.failures.values())
    assert not was_cancelled or broken_off == "cancel"
    assert others == 0
    assert lane.lane.pacer.in_flight == 0
    # At the worst every fault breaks its chunk into single rows.
    most = 20 if batch_size == "auto" else batch_size
    assert provider.asked <= count + len(steps) * (most + 1)
    assert run.counts.requests == provider.asked


async def _carried_out(run: Run, cancelled_after: float | None) -> tuple[bool, int]:
    """Whether the run was cancelled, and how many of its tasks are left."""
    task = asyncio.ensure_future(run.execute())
    if cancelled_after is not None:
        asyncio.get_running_loop().call_later(cancelled_after, task.cancel)
    try:
        await task
    except asyncio.CancelledError:
        return True, len(asyncio.all_tasks()) - 1
    return False, len(asyncio.all_tasks()) - 1


def test_usage_is_summed_over_replies() -> None:
    usage = Usage(input_tokens=10, output_tokens=3, cached_input_tokens=4, reasoning_tokens=1)
    provider = ScriptedProvider(
        answer, script=[lambda request: Reply(text=answered(request, answer).text, usage=usage)] * 3
    )
    call = prepare([{"n": at} for at in range(3)], "Double {n}.", Echo, provider, Settings.of(batch_size=1))
    run = Run(
        work=work_of(call),
        supply=supply_of(call, Once(3)),
        provider=provider,
        lane=make_lane(most=1),
        ledger=NoLedger(),
        tell=lambda event: None,
        price=lambda usage: 0.5,
        rng=random.Random(0),
    )

    ending = run_jumping(run.execute()).result

    assert (ending.counts.input_tokens, ending.counts.output_tokens, ending.counts.cost_usd) == (30, 9, 1.5)
