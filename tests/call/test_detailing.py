"""Details of every row: they add up to the run's own sums, on every frame, whatever happens to the requests."""

from __future__ import annotations

import json
import math
import pickle
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import polars as pl
import pytest
from pydantic import BaseModel

import smelt
from smelt.errors import AuthenticationError, SmeltConfigError
from smelt.providers import anthropic, bedrock, compatible, google, openai
from smelt.providers.base import Answer, Billing, CallFailed, Reply
from smelt.testing import ScriptedProvider
from tests.conftest import MakeScenario
from tests.models import served

FRAME = pd.DataFrame({"n": [*range(60), 3, 3]}, index=[f"row {at}" for at in range(62)])
PROMPT = "Double {n}."
TOKENS = ("input_tokens", "output_tokens", "cached_input_tokens", "reasoning_tokens")


class Twice(BaseModel):
    twice: int


def doubling(script: Any = ()) -> ScriptedProvider:
    return ScriptedProvider(lambda row: {"twice": 2 * row["n"]} if row["n"] != 7 else None, script=script)


@pytest.mark.parametrize("provider", ["openai", "anthropic", "google"])
def test_the_shares_of_the_rows_add_up_to_the_sums_of_the_run(provider: str, scenario: MakeScenario) -> None:
    faults: dict[int, Any] = {
        2: {"fault": "status", "kind": "server"},
        4: {"fault": "status", "kind": "rate_limit"},
        6: {"fault": "cut_json"},
        9: {"fault": "drop", "rows": [0]},
    }
    fake = scenario(count_by="n", answers={"twice": {"const": 4}}, script=faults, usage={"cached": 3, "reasoning": 7})

    model = replace(served(provider, fake), price={"input": 0.7, "output": 3.3})
    result = smelt.run(FRAME, PROMPT, Twice, model=model, ledger=False, batch_size=5, details=True, progress=False)

    details, metrics = result.details, result.metrics
    assert details.index.equals(FRAME.index)
    for name in TOKENS:
        assert details[name].sum() == getattr(metrics, name), name
    assert math.fsum(details["cost_usd"]) == metrics.cost_usd
    assert metrics.cost_usd
    assert details["requests"].iloc[:60].sum() >= 60
    assert set(details["finish"]) == {"stop"}
    assert details["request_id"].notna().all()
    assert not details["from_ledger"].any()
    assert details.loc[["row 60", "row 61"], [*TOKENS, "cost_usd"]].to_numpy().sum() == 0
    assert details.loc["row 60", "request"] == details.loc["row 3", "request"]


@pytest.mark.parametrize(
    "frame",
    [
        pd.DataFrame,
        pl.DataFrame,
        lambda data: pl.DataFrame(data).to_arrow(),
        lambda data: pl.DataFrame(data).to_dicts(),
    ],
    ids=["pandas", "polars", "arrow", "records"],
)
def test_details_say_the_same_on_every_frame(frame: Callable[[Any], Any]) -> None:
    data = frame({"n": [1, 7, 1]})

    found = smelt.run(data, PROMPT, Twice, model=doubling(), ledger=False, details=True, max_attempts=2).details

    rows = found if isinstance(found, list) else found.to_pylist() if hasattr(found, "to_pylist") else None
    rows = rows or (found.to_dicts() if hasattr(found, "to_dicts") else found.to_dict("records"))
    assert [row["request"] for row in rows] == [1, 2, 1]
    assert [(row["requests"], row["attempts"]) for row in rows] == [(1, 1), (2, 2), (1, 1)]
    assert [row["model"] for row in rows] == ["script"] * 3
    assert list(rows[0])[:4] == ["request", "request_id", "model", "finish"]
    assert "n" not in rows[0]


def test_rows_of_the_ledger_and_failed_rows_are_told_apart(tmp_path: Path) -> None:
    options: dict[str, Any] = {"ledger": tmp_path / "l.sqlite", "details": True}
    smelt.run(FRAME[:5], PROMPT, Twice, model=doubling(), **options)

    found = smelt.run(FRAME[:9], PROMPT, Twice, model=doubling(), **options).details

    assert found["from_ledger"].tolist() == [True] * 5 + [False] * 4
    assert found["request"].isna().tolist() == [True] * 5 + [False] * 4
    assert found["input_tokens"].iloc[:5].sum() == 0
    assert found["attempts"].tolist() == [0] * 5 + [1, 1, 4, 1]


def test_a_refusal_is_the_finish_of_its_rows_and_a_partial_result_has_details() -> None:
    revoked = CallFailed("auth", Billing.REJECTED, "HTTP 401: revoked", status=401, request_id="req_9")

    with pytest.raises(AuthenticationError, match="revoked") as caught:
        smelt.run(FRAME, PROMPT, Twice, model=doubling([revoked]), ledger=False, details=True)

    assert caught.value.partial_result is not None
    found = caught.value.partial_result.details
    asked = found[found["requests"] > 0]
    assert 0 < len(asked) < len(found)
    assert set(asked["finish"]) == {"auth"}
    assert set(asked["request_id"]) == {"req_9"}
    assert asked["attempts"].sum() == 0


def test_details_survive_a_pickle_and_are_missed_with_words() -> None:
    with_them = smelt.run(FRAME, PROMPT, Twice, model=doubling(), ledger=False, details=True)
    without = smelt.run(FRAME, PROMPT, Twice, model=doubling(), ledger=False)

    assert pickle.loads(pickle.dumps(with_them)).details.equals(with_them.details)
    for result in (without, pickle.loads(pickle.dumps(without))):
        with pytest.raises(SmeltConfigError, match="Pass details=True"):
            _ = result.details


def test_what_details_cannot_do_is_refused() -> None:
    with pytest.raises(SmeltConfigError, match="details must be True or False"):
        smelt.run(FRAME, PROMPT, Twice, model=doubling(), details=1)
    with pytest.raises(SmeltConfigError, match='mode="batch" do not go together'):
        smelt.run(FRAME, PROMPT, Twice, model=doubling(), details=True, mode="batch")


def read(module: Any, body: Any) -> Reply:
    reply: Reply = module.read(Answer(status=200, headers={}, text=json.dumps(body)))
    return reply


def test_thoughts_and_notes_are_found_where_each_api_puts_them() -> None:
    text = {"type": "text", "text": "{}"}
    rating = {"category": "HARM_CATEGORY_HATE_SPEECH", "probability": "NEGLIGIBLE"}
    odd = {"category": "HARM_CATEGORY_X", "probability": "the row said: hello"}
    thought = {"type": "reasoning", "summary": [{"type": "summary_text", "text": "Hm."}]}
    message = {"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": "{}"}]}
    filters = {"hate": {"filtered": False, "severity": "safe"}, "jailbreak": {"detected": False}}

    said = {
        "anthropic": read(anthropic, {"content": [{"type": "thinking", "thinking": "Hm."}, text]}),
        "openai": read(openai, {"output": [thought, message]}),
        "compatible": read(compatible, {"choices": [{"message": {"content": "{}", "reasoning_content": "Hm."}}]}),
        "mistral": read(compatible, {"choices": [{"message": {"content": [
            {"type": "thinking", "thinking": [{"type": "text", "text": "Hm."}]}, text]}}]}),
        "google": read(google, {"candidates": [{"safetyRatings": [rating, odd], "content": {"parts": [
            {"text": "Hm.", "thought": True}, {"text": "{}"}]}}]}),
        "bedrock": read(bedrock, {"output": {"message": {"content": [
            {"reasoningContent": {"reasoningText": {"text": "Hm."}}}, {"text": "{}"}]}}}),
    }  # fmt: skip
    azure = read(compatible, {"choices": [{"message": {"content": "{}"}, "content_filter_results": filters}]})

    assert {name: one.reasoning for name, one in said.items()} == dict.fromkeys(said, "Hm.")
    assert said["google"].notes == "HATE_SPEECH: NEGLIGIBLE"
    assert (azure.notes, azure.reasoning) == ("hate: safe", "")
