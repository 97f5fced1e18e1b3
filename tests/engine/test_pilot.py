"""`wire="auto"`: a pilot decides once for a question, and its answers are used."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import pytest
from pydantic import BaseModel

import smelt
from smelt.providers.base import Billing, CallFailed, Reply, Request
from smelt.testing import ScriptedProvider
from tests.conftest import MakeScenario
from tests.models import served

RULES: dict[str, Any] = {
    "kind": {"choice": ["a", "b", "customer service"], "of": "at"},
    "is_odd": {"parity": "at"},
    "note": {"copy": "text"},
}


class Label(BaseModel):
    kind: Literal["a", "b", "customer service"]
    is_odd: bool
    note: str


def rows(count: int) -> list[dict[str, Any]]:
    return [{"at": at, "text": f"line {at}"} for at in range(count)]


def label(model: Any, count: int = 2_000, **options: Any) -> smelt.SmeltResult[Label]:
    given = {"wire": "auto", "progress": False, "batch_size": 25, "ledger": False} | options
    result: smelt.SmeltResult[Label] = smelt.run(rows(count), "Label {at}, {text}.", Label, model=model, **given)
    return result


def priced(fake: Any) -> smelt.Model:
    """A model whose price is known."""
    model = served("openai", fake)
    return smelt.Model("openai", "gpt-4.1-mini", api_key=model.api_key, base_url=model.base_url)


def test_a_pilot_that_agrees_takes_the_compact_wire_and_its_answers_count(
    scenario: MakeScenario, tmp_path: Path
) -> None:
    fake = scenario(answers=RULES)
    ledger = str(tmp_path / "ledger.sqlite")

    result = label(priced(fake), ledger=ledger)

    assert result.success
    assert [one and one.note for one in result.data] == [row["text"] for row in rows(2_000)]
    assert result.metrics.wire.startswith("compact: in a pilot of 50 rows")
    assert fake.stats().rows_sent == 2_000 + 2 * 50
    with smelt.ledger.open(ledger) as book:
        assert book.count() == 2_000

    before = fake.stats()
    more = label(priced(fake), 4_100, ledger=ledger)

    assert more.success
    assert more.metrics.wire == result.metrics.wire
    assert fake.stats().rows_sent - before.rows_sent == 2_100


@pytest.mark.parametrize("case", ["few", "free", "keyed"])
def test_without_many_rows_that_cost_money_there_is_no_pilot(case: str, scenario: MakeScenario) -> None:
    fake = scenario(answers=RULES)
    model = served("vllm", fake) if case == "free" else priced(fake)

    result = label(model, 100 if case == "few" else 2_000, wire="keyed" if case == "keyed" else "auto")

    assert result.metrics.wire == "keyed"
    assert fake.stats().rows_sent == result.metrics.total_rows


def answer(row: Any) -> dict[str, Any]:
    return {"kind": "a", "is_odd": row["at"] % 2 == 1, "note": row["text"]}


class Confused(ScriptedProvider):
    """Gives other answers without field names."""

    async def send(self, request: Request) -> Reply:
        reply = await super().send(request)
        return reply if request.layout is None else replace(reply, text=reply.text.replace(" true ", " false "))


def test_a_compact_form_that_answers_otherwise_is_not_taken() -> None:
    model = Confused(answer, name="openai", model="gpt-4.1-mini")

    result = label(model)

    assert result.metrics.wire.startswith(
        "keyed: in a pilot of 50 rows the compact form agreed with the keyed one in 8"
    )
    assert [one and one.is_odd for one in result.data] == [at % 2 == 1 for at in range(2_000)]
    assert [one.layout is not None for one in model.requests].count(True) == 2
    assert "wire: keyed: in a pilot" in repr(result.metrics)


@pytest.mark.parametrize("failing", [0, 1, 2, 4])
def test_a_pilot_whose_requests_fail_costs_no_answer(failing: int) -> None:
    busy = CallFailed("server", Billing.REJECTED, "HTTP 503", status=503)
    script = [busy if at == failing else None for at in range(6)]
    model = ScriptedProvider(answer, name="openai", model="gpt-4.1-mini", script=script)

    result = label(model)

    assert [one and one.note for one in result.data] == [row["text"] for row in rows(2_000)]
    assert result.metrics.wire == "keyed"


@pytest.mark.filterwarnings("ignore:The run stopped early")
def test_a_pilot_stays_within_the_budget() -> None:
    model = ScriptedProvider(answer, name="openai", model="gpt-4.1-mini")

    result = label(model, max_tokens_total=20_000)

    assert result.metrics.input_tokens + result.metrics.output_tokens <= 20_000
    assert {error.kind for error in result.errors} == {"budget"}
