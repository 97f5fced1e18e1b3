"""A PydanticAI agent as a model."""

from __future__ import annotations

import asyncio
import json
import threading
from collections import Counter
from pathlib import Path
from typing import Any

import pandas as pd
import polars as pl
import pytest
from pydantic import BaseModel, field_validator

import smelt
from smelt.errors import AuthenticationError, SmeltAPIError, SmeltConfigError
from smelt.testing import run_jumping

pydantic_ai = pytest.importorskip("pydantic_ai")

from pydantic_ai import Agent, ModelHTTPError  # noqa: E402
from pydantic_ai.messages import ModelMessage, ModelResponse, TextPart, ToolCallPart  # noqa: E402
from pydantic_ai.models.function import AgentInfo, FunctionModel  # noqa: E402
from pydantic_ai.models.test import TestModel  # noqa: E402
from pydantic_ai.usage import RequestUsage  # noqa: E402

NAMES = [f"name {number}" for number in range(12)]
FRAME = pd.DataFrame({"name": NAMES})


class Length(BaseModel):
    letters: int
    echo: str


def row_in(messages: list[ModelMessage]) -> dict[str, Any]:
    """The row that the agent was told, out of its messages."""
    told = next(str(part.content) for part in messages[0].parts if part.part_kind == "user-prompt")
    row: dict[str, Any] = json.loads(told.split("\n\n")[2])
    return row


def measuring(
    answer: Any = lambda row: {"letters": len(row["name"]), "echo": row["name"]}, *, usage: RequestUsage | None = None
) -> Any:
    """An agent whose model calls the output tool with the answer of a function."""

    async def respond(messages: list[ModelMessage], info: AgentInfo) -> ModelResponse:
        part: Any
        if info.output_tools:
            part = ToolCallPart(info.output_tools[0].name, answer(row_in(messages)))
        else:
            part = TextPart(answer(row_in(messages)))
        return ModelResponse(parts=[part], usage=usage or RequestUsage(input_tokens=50, output_tokens=7))

    return Agent(FunctionModel(respond))


def ask(model: Any, frame: Any = FRAME, output: Any = Length, **options: Any) -> smelt.SmeltResult[Any]:
    return smelt.run(frame, "Measure {name}.", output, model=model, progress=False, **options)


def test_an_agent_answers_each_row_and_its_tokens_are_counted() -> None:
    result = ask(measuring())

    assert result.frame["echo"].tolist() == NAMES
    assert result.metrics.requests == len(NAMES)
    assert (result.metrics.input_tokens, result.metrics.output_tokens) == (50 * 12, 7 * 12)
    assert result.model.startswith("agent:function:")


def test_the_test_model_of_pydantic_ai_works() -> None:
    result = ask(Agent(TestModel(), name="tester"))

    assert result.success
    assert result.model == "agent:tester"


def test_free_text_is_the_text_of_the_agent() -> None:
    result = ask(measuring(lambda row: row["name"].upper()), FRAME[:2], str)

    assert result.data == ["NAME 0", "NAME 1"]


def test_a_lazy_plan_may_use_only_some_of_the_fields() -> None:
    lazy: Any = pl.LazyFrame({"name": NAMES})
    lazy = lazy.smelt.transform("Measure {name}.", Length, model=measuring(), progress=False)

    assert lazy.select("letters").collect()["letters"].to_list() == [len(name) for name in NAMES]


def test_the_agent_works_on_a_loop_of_the_callers() -> None:
    result = asyncio.run(smelt.arun(FRAME, "Measure {name}.", Length, model=measuring(), progress=False))

    assert result.frame["echo"].tolist() == NAMES


def test_without_tools_no_thread_is_started() -> None:
    before = threading.active_count()
    seen = []

    def answer(row: dict[str, Any]) -> dict[str, Any]:
        seen.append(threading.active_count())
        return {"letters": 1, "echo": row["name"]}

    ask(measuring(answer))

    assert set(seen) == {before}


def test_a_tool_that_is_not_async_runs_in_a_thread_of_pydantic_ai() -> None:
    names = set()
    agent = Agent(TestModel())

    @agent.tool_plain
    def look_up(name: str) -> str:
        names.add(threading.current_thread().name)
        return name

    assert ask(agent, FRAME[:3]).success
    assert names == {"AnyIO worker thread"}


def test_the_validators_of_the_output_model_are_the_agents_business() -> None:
    tries = Counter[str]()

    class Even(Length):
        @field_validator("letters")
        @classmethod
        def even(cls, value: int) -> int:
            if value % 2:
                raise ValueError("odd")
            return value

    def answer(row: dict[str, Any]) -> dict[str, Any]:
        tries[row["name"]] += 1
        return {"letters": tries[row["name"]], "echo": ""}

    result = ask(measuring(answer), FRAME[:3], Even)

    assert [one.letters for one in result.data if one] == [2, 2, 2]
    assert result.metrics.requests == 3  # The agent asked its model again by itself.
    assert result.metrics.input_tokens == 50 * 6


def test_an_agent_that_gives_up_fails_only_its_row_and_its_tokens_count() -> None:
    def answer(row: dict[str, Any]) -> dict[str, Any]:
        return {"letters": "many" if row["name"] == "name 3" else 1, "echo": row["name"]}

    result = ask(measuring(answer))

    assert [(error.position, error.kind) for error in result.errors] == [(3, "own_code")]
    assert result.errors[0].message.startswith("UnexpectedModelBehavior: ")
    assert result.metrics.input_tokens > 50 * len(NAMES)


def failing(status: int, body: Any = None, *, once: bool = True, headers: dict[str, str] | None = None) -> Any:
    failed: list[int] = []

    async def respond(messages: list[ModelMessage], info: AgentInfo) -> ModelResponse:
        if not (once and failed):
            failed.append(status)
            raise ModelHTTPError(status, "some-model", body, headers=headers)
        row = row_in(messages)
        part = ToolCallPart(info.output_tools[0].name, {"letters": 1, "echo": row["name"]})
        return ModelResponse(parts=[part])

    return Agent(FunctionModel(respond))


def test_a_429_slows_the_lane_and_is_asked_again() -> None:
    agent = failing(429, {"message": "slowly"}, headers={"retry-after": "20"})

    result, seconds = run_jumping(smelt.arun(FRAME, "Measure {name}.", Length, model=agent, progress=False))

    assert result.success
    assert result.metrics.rate_limited == 1
    assert seconds >= 20


def test_a_server_error_is_asked_again() -> None:
    result, _ = run_jumping(smelt.arun(FRAME, "Measure {name}.", Length, model=failing(503), progress=False))

    assert result.success


def test_a_refused_key_ends_the_run() -> None:
    body = {"error": {"message": "Incorrect API key provided", "code": "invalid_api_key"}}

    with pytest.raises(AuthenticationError, match="Incorrect API key provided"):
        ask(failing(401, body, once=False))


def test_an_agent_that_cannot_be_run_ends_the_run_with_its_reason() -> None:
    agent = measuring()

    @agent.output_validator  # type: ignore[untyped-decorator]  # The agent is Any here.
    def check(output: Any) -> Any:
        return output

    with pytest.raises(SmeltAPIError, match="The agent cannot be run: UserError: "):
        ask(agent)


def test_a_name_lets_the_ledger_keep_the_answers(tmp_path: Path) -> None:
    ledger = str(tmp_path / "ledger.sqlite")

    first = ask(smelt.worker(measuring(), name="v1"), ledger=ledger)
    again = ask(smelt.worker(measuring(), name="v1"), ledger=ledger)

    assert (first.metrics.requests, again.metrics.requests) == (len(NAMES), 0)
    assert first.model == "agent:v1"
    with pytest.raises(SmeltConfigError, match=r"cannot keep the answers of .*smelt\.worker\(\.\.\., name="):
        ask(measuring(), ledger=ledger)


def test_params_are_refused() -> None:
    with pytest.raises(SmeltConfigError, match="An agent takes no params.*model_settings"):
        ask(measuring(), params={"temperature": 0})


def test_hooks_go_around_an_agent() -> None:
    sent: list[Any] = []

    ask(smelt.wrap(measuring(), before=sent.append, tag="v1"))

    assert len(sent) == len(NAMES)
