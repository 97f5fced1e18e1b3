"""`wire="auto"`: a pilot decides once for a question, and its answers are used."""

from __future__ import annotations

import json
import re
import signal
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import smelt
from smelt.engine import pilot
from smelt.providers.base import Billing, CallFailed, Reply, Request
from smelt.testing import ScriptedProvider, answered
from tests.conftest import MakeScenario
from tests.engine.piloting import FEW, ROWS, Label, Priced, answer, label, label_until, numbers, rows
from tests.ledger.forking import begin
from tests.models import served

RULES: dict[str, Any] = {
    "kind": {"choice": ["a", "b", "customer service"], "of": "at"},
    "is_odd": {"parity": "at"},
    "note": {"copy": "text"},
}
NOTES = [row["text"] for row in rows(ROWS)]


@pytest.fixture(autouse=True)
def a_pilot_for_few_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pilot, "FEWEST_ROWS", FEW)


def notes(result: smelt.SmeltResult[Label]) -> list[str | None]:
    return [None if one is None else one.note for one in result.data]


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
    assert notes(result) == NOTES
    assert result.metrics.wire.startswith("compact: in a pilot of 50 rows")
    assert fake.stats().rows_sent == ROWS + 2 * 50
    with smelt.ledger.open(ledger) as book:
        assert book.count() == ROWS

    before = fake.stats()
    more = label(priced(fake), 2 * ROWS, ledger=ledger)

    assert more.success
    assert more.metrics.wire == result.metrics.wire
    assert fake.stats().rows_sent - before.rows_sent == ROWS


@pytest.mark.parametrize("case", ["few", "free", "keyed"])
def test_without_many_rows_that_cost_money_there_is_no_pilot(case: str, scenario: MakeScenario) -> None:
    fake = scenario(answers=RULES)
    model = served("vllm", fake) if case == "free" else priced(fake)

    result = label(model, FEW - 1 if case == "few" else ROWS, wire="keyed" if case == "keyed" else "auto")

    assert result.metrics.wire == "keyed"
    assert fake.stats().rows_sent == result.metrics.total_rows


class Confused(Priced):
    """Gives other answers without field names."""

    async def send(self, request: Request) -> Reply:
        reply = await super().send(request)
        return reply if request.layout is None else replace(reply, text=reply.text.replace(" true ", " false "))


class Wordless(Priced):
    """Leaves out the text at the end of a string of words."""

    async def send(self, request: Request) -> Reply:
        reply = await super().send(request)
        return reply if request.layout is None else replace(reply, text=re.sub(r"\| [^\"]*", "| ", reply.text))


@pytest.mark.parametrize("model", [Confused(), Wordless()], ids=["values", "texts"])
def test_a_compact_form_that_answers_otherwise_is_not_taken(model: ScriptedProvider) -> None:
    result = label(model)

    assert result.metrics.wire.startswith("keyed: in a pilot of 50 rows the compact form agreed with the keyed one in")
    assert [one and one.is_odd for one in result.data] == [at % 2 == 1 for at in range(ROWS)]
    assert notes(result) == NOTES
    assert [one.layout is not None for one in model.requests].count(True) == 2
    assert "wire: keyed: in a pilot" in repr(result.metrics)


@pytest.mark.parametrize("failing", [0, 1, 2, 4])
def test_a_pilot_whose_requests_fail_costs_no_answer(failing: int) -> None:
    busy = CallFailed("server", Billing.REJECTED, "HTTP 503", status=503)
    model = Priced(script=[busy if at == failing else None for at in range(6)])

    result = label(model)

    assert notes(result) == NOTES
    assert result.metrics.wire == "keyed"


@pytest.mark.filterwarnings("ignore:The run stopped early")
def test_a_pilot_stays_within_the_budget() -> None:
    result = label(Priced(), max_tokens_total=4_000)

    assert result.metrics.input_tokens + result.metrics.output_tokens <= 4_000
    assert {error.kind for error in result.errors} == {"budget"}


def resumed(path: Path, *, compared: int = 2 * 50) -> tuple[int, set[int]]:
    """Go on with a run that was stopped in its pilot: the rows that are known, and those that its requests ask."""
    model = Priced()

    result = label(model, ledger=path)

    assert notes(result) == NOTES
    assert result.metrics.wire.startswith("compact: in a pilot of 50 rows")
    assert model.rows_sent == ROWS - result.metrics.ledger_rows + compared
    with smelt.ledger.open(path) as ledger:
        assert ledger.check() == []
    return result.metrics.ledger_rows, {at for request in model.requests for at in numbers(request)}


@pytest.mark.parametrize(("at", "known", "compared"), [(0, 25, 2 * 50), (1, 50, 0), (5, 50, 0)])
def test_ctrl_c_in_a_pilot_keeps_what_lands_and_pays_for_no_row_again(
    at: int, known: int, compared: int, tmp_path: Path
) -> None:
    def pressed(request: Request) -> Reply:
        signal.raise_signal(signal.SIGINT)
        return answered(request, answer)

    path = tmp_path / "ledger.sqlite"
    model = Priced(script=[*[None] * at, pressed])

    with pytest.raises(smelt.SmeltInterrupt, match="Interrupted") as stop:
        label(model, ledger=path)

    result = stop.value.partial_result
    assert result is not None
    assert result.metrics.successful_rows == known
    answers = {row for row, one in enumerate(result.data) if one is not None}
    with smelt.ledger.open(path) as ledger:
        assert ledger.possible_duplicates() == []
    assert resumed(path, compared=compared) == (known, {*range(ROWS)} - answers)


@pytest.mark.parametrize(("gap", "passes"), [("intended", 2), ("received", 0), ("receiving", 1), ("received", 4)])
def test_a_kill_in_a_pilot_loses_no_answer_and_only_what_was_in_flight_is_paid_again(
    gap: str, passes: int, tmp_path: Path
) -> None:
    path, noted = tmp_path / "ledger.sqlite", tmp_path / "sent.jsonl"
    killed = begin(label_until, path, noted, gap, passes)
    killed.join()
    assert killed.exitcode == -signal.SIGKILL
    sent = [json.loads(line) for line in noted.read_text().splitlines()] if noted.exists() else []
    with smelt.ledger.open(path) as ledger:
        stored, doubtful = ledger.count(), sum(one["rows"] for one in ledger.possible_duplicates())

    known, asked = resumed(path)

    first = {at for one in sent for at in one}
    assert known >= stored
    assert len(first - asked) == known
    assert len(first & asked) <= doubtful
