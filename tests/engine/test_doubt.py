"""One row never stops a run: a firewall that dislikes its text costs that row, whatever it answers with."""

from __future__ import annotations

import asyncio
import warnings
from collections.abc import AsyncIterator, Callable, Collection
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from pydantic import BaseModel

import smelt
from smelt.errors import AuthenticationError, SmeltWarning
from smelt.loop.jumping import Jumped
from smelt.plan.chunks import Line
from smelt.providers.base import Billing, CallFailed, Reply, Request
from smelt.testing import ScriptedProvider, answered, asked, run_jumping
from tests.conftest import MakeScenario
from tests.exactness.companies import ask, assert_each_answer_is_on_its_own_row, companies, failures
from tests.models import PROVIDERS, RULES, served

PAGES: list[Any] = [
    pytest.param({"fault": "html", "code": 403}, "bad_request", id="403"),
    pytest.param({"fault": "html", "code": 404}, "bad_request", id="404"),
    pytest.param({"fault": "html", "code": 405}, "bad_request", id="405"),
    pytest.param({"fault": "html", "code": 451}, "bad_request", id="451"),
    pytest.param({"fault": "redirect", "to": "https://blocked.example/", "code": 307}, "bad_request", id="307"),
    pytest.param({"fault": "redirect", "to": "https://blocked.example/", "code": 302}, "bad_request", id="302"),
    pytest.param({"fault": "status", "kind": "permission"}, "bad_request", id="permission"),
    pytest.param({"fault": "status", "kind": "not_found"}, "bad_request", id="model"),
]


@pytest.mark.parametrize(("fault", "kind"), PAGES)
@pytest.mark.parametrize("provider", PROVIDERS)
def test_a_firewall_that_dislikes_one_row_costs_that_row(
    provider: str, fault: dict[str, Any], kind: str, scenario: MakeScenario
) -> None:
    frame = companies(60)
    wall = scenario(answers=RULES, poison={"column": "name", "values": [frame["name"][37]], "fault": fault})

    result = ask(frame, served(provider, wall), batch_size=8)

    assert failures(result) == {37: kind}
    assert_each_answer_is_on_its_own_row(frame, result.data, but=[37])
    assert wall.stats().requests <= 8 + 1 + 2 * 3 + 2


@pytest.mark.parametrize("rows", [[0], [0, 1, 2, 3], list(range(20, 40)), list(range(0, 60, 9))], ids=len)
@pytest.mark.parametrize("concurrency", [1, 8])
def test_rows_that_a_firewall_dislikes_cost_no_other_row_wherever_they_stand(
    rows: list[int], concurrency: int, scenario: MakeScenario
) -> None:
    frame = companies(60)
    names = [frame["name"][at] for at in rows]
    wall = scenario(
        answers=RULES, poison={"column": "name", "values": names, "fault": {"fault": "html", "code": 403}}, latency=0.01
    )

    result = _asked_quietly(frame, served("vllm", wall), concurrency)

    assert set(failures(result)) == set(rows)
    assert_each_answer_is_on_its_own_row(frame, result.data, but=rows)


def _asked_quietly(frame: Any, model: Any, concurrency: int) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter(
            "ignore", SmeltWarning
        )  # If nothing but such rows is left, it may take them for the account.
        return ask(frame, model, concurrency=concurrency)


def test_runs_on_one_ledger_get_on_although_the_first_request_meets_the_row(
    scenario: MakeScenario, tmp_path: Path
) -> None:
    frame, fault = companies(12), {"fault": "redirect", "to": "https://blocked.example/"}
    wall = scenario(answers=RULES, poison={"column": "name", "values": [frame["name"][4]], "fault": fault})
    ask(frame[:4], served("openai", wall), ledger=str(tmp_path / "ledger.sqlite"))

    result = ask(frame, served("openai", wall), ledger=str(tmp_path / "ledger.sqlite"))

    assert failures(result) == {4: "bad_request"}


def test_a_firewall_that_lets_nothing_through_is_believed_soon(scenario: MakeScenario) -> None:
    wall = scenario(answers=RULES, always={"fault": "html", "code": 403})

    with pytest.raises(AuthenticationError, match="HTTP 403"):
        ask(companies(40), served("vllm", wall))

    assert wall.stats().requests == 4


def test_a_firewall_that_closes_mid_run_is_believed_soon(scenario: MakeScenario) -> None:
    wall = scenario(answers=RULES, script={key: {"fault": "html", "code": 403} for key in range(2, 200)})
    frame = companies(100)

    with pytest.warns(SmeltWarning, match="stopped early"):
        result = ask(frame, served("vllm", wall))

    assert failures(result) == dict.fromkeys(range(8, 100), "stopped")
    assert wall.stats().requests == 2 + 8


@pytest.mark.slow
@pytest.mark.parametrize("at", [0, 37])
@pytest.mark.parametrize("concurrency", [1, 8])
def test_a_page_with_status_200_for_one_row_costs_that_row(at: int, concurrency: int, scenario: MakeScenario) -> None:
    frame = companies(60)
    wall = scenario(
        answers=RULES, poison={"column": "name", "values": [frame["name"][at]], "fault": "html"}, latency=0.01
    )

    result = ask(frame, served("openai", wall), batch_size=8, concurrency=concurrency)

    assert failures(result) == {at: "server"}
    assert_each_answer_is_on_its_own_row(frame, result.data, but=[at])


class Wall(ScriptedProvider):
    """Refuses every request with a row whose number is *bad*, half a second later."""

    def __init__(self, bad: Collection[int], failure: Callable[[], CallFailed]) -> None:
        super().__init__({}, keep=False)
        self.bad = bad
        self.failure = failure

    @asynccontextmanager
    async def connect(self, *, connections: int) -> AsyncIterator[Wall]:
        yield self

    async def send(self, request: Request) -> Reply:
        await asyncio.sleep(0.5)
        if any(row["n"] in self.bad for _, row in asked(request)):
            raise self.failure()
        return answered(request, lambda row: {"twice": row["n"] * 2})


class Echo(BaseModel):
    twice: int


def behind(wall: Wall, rows: int, concurrency: int) -> Jumped[Any]:
    frame = pd.DataFrame({"n": range(rows)})
    options = {"batch_size": 1, "concurrency": concurrency, "progress": False}
    with warnings.catch_warnings(action="ignore"):
        return run_jumping(smelt.arun(frame, "Double {n}.", Echo, model=wall, **options))


@pytest.mark.parametrize(("rows", "bad"), [(12, range(4, 12)), (60, range(0, 60, 2))])
def test_bad_rows_that_are_all_that_is_left_do_not_stop_the_run(rows: int, bad: range) -> None:
    wall = Wall(bad, lambda: CallFailed("auth", Billing.REJECTED, "HTTP 403: a page", status=403))

    jumped = behind(wall, rows, concurrency=8)

    assert failures(jumped.result) == dict.fromkeys(bad, "bad_request")


@pytest.mark.parametrize("kind", ["auth", "not_found"])
def test_a_row_that_is_refused_once_alone_gets_its_answer(kind: Any) -> None:
    refused: list[CallFailed] = []

    def refuse_once() -> CallFailed:
        wall.bad = ()
        status = 401 if kind == "auth" else 404
        refused.append(CallFailed(kind, Billing.REJECTED, "It passes.", status=status, is_named=True))
        return refused[0]

    wall = Wall({3}, refuse_once)

    assert failures(behind(wall, 12, concurrency=1).result) == {}
    assert len(refused) == 1


@pytest.mark.parametrize("bad", [[0], [1]])
@pytest.mark.parametrize("concurrency", [1, 8])
def test_a_page_with_status_200_for_the_last_row_is_waited_for_less_than_a_minute(
    bad: list[int], concurrency: int
) -> None:
    wall = Wall(bad, lambda: CallFailed("protocol", Billing.UNKNOWN, "a web page", status=200))

    jumped = behind(wall, 2, concurrency)

    assert failures(jumped.result) == dict.fromkeys(bad, "server")
    assert jumped.seconds < 60


def test_samples_of_a_line_come_from_all_over_it_and_each_row_comes_once() -> None:
    line = Line(order=range(100), texts=lambda positions: [f'{{"n":{at}}}' for at in positions], reject=print)

    taken = [line.sample() for _ in range(8)]

    positions = [chunk.rows[0].position for chunk in taken if chunk is not None]
    assert len({position // 10 for position in positions}) >= 6
    assert line.rows_left == 92
