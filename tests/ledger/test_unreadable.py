"""Replies that cannot be read: their beginning is in the ledger, as it is in the row's message, and without keys."""

from __future__ import annotations

import json
import sqlite3
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from pydantic import BaseModel

import smelt
from smelt.errors import SmeltWarning
from smelt.ledger import migrations
from smelt.ledger.opening import open_store
from smelt.providers.base import Reply
from smelt.testing import ScriptedProvider
from tests.conftest import MakeScenario
from tests.ledger.acting import USAGE, Actor
from tests.ledger.test_opening import copy_old
from tests.models import KEYS, RULES, Company, served

NAMES = pd.DataFrame({"name": ["a"], "number": [1]})
SAID = "I would say tech. " * 40


class Label(BaseModel):
    sector: str


def ask(path: Path, model: Any, output: Any = Label) -> Any:
    with pytest.warns(SmeltWarning, match="Every row failed"):
        return smelt.run(NAMES, "Classify {name} {number}.", output, model=model, ledger=path, progress=False)


def test_the_beginning_of_a_reply_that_cannot_be_read_is_in_the_ledger_as_in_the_message(path: Path) -> None:
    model = ScriptedProvider({"sector": "tech"}, script=[Reply(text=SAID, usage=USAGE, request_id="req_7")] * 4)

    result = ask(path, model)

    with smelt.ledger.open(path) as ledger:
        found = ledger.unreadable()
    assert [(one["run"], one["request"], one["rows"], one["request_id"]) for one in found] == [
        (1, at, 1, "req_7") for at in (1, 2, 3, 4)
    ]
    assert {one["text"] for one in found} == {SAID[:199].rstrip() + "…"}
    assert result.errors[0].message.endswith(found[0]["text"])


@pytest.mark.filterwarnings("ignore:vllm does not enforce")
@pytest.mark.parametrize("provider", ["openai", "anthropic", "google", "vllm"])
@pytest.mark.parametrize(
    "fault",
    [
        {"fault": "says", "text": f"Your key is {{key}}. {SAID}"},
        {"fault": "raw", "body": '{"cut": "{key}, ', "latin": True},
    ],
    ids=["words", "a cut body"],
)
def test_no_key_that_such_a_text_repeats_is_kept(
    path: Path, scenario: MakeScenario, provider: str, fault: dict[str, Any]
) -> None:
    key = KEYS[provider]
    echoing = {name: value.replace("{key}", key) if isinstance(value, str) else value for name, value in fault.items()}
    scene = scenario(answers=RULES, always=echoing)

    ask(path, served(provider, scene), Company)

    with smelt.ledger.open(path) as ledger:
        texts = [one["text"] for one in ledger.unreadable()]
    assert texts
    assert all("[key]" in text for text in texts)
    assert not [one for one in path.parent.iterdir() if key.encode() in one.read_bytes()]


def test_a_page_in_place_of_a_reply_is_in_the_ledger(path: Path, scenario: MakeScenario) -> None:
    scene = scenario(answers=RULES, script={0: "html"})

    smelt.run(NAMES, "{name} {number}", Company, model=served("openai", scene), ledger=path, progress=False)

    with smelt.ledger.open(path) as ledger:
        [one] = ledger.unreadable()
    assert (one["status"], one["cost_usd"]) == (200, None)
    assert "<!DOCTYPE html>" in one["text"]


@pytest.mark.parametrize(
    "reply",
    [
        Reply(text=" ", usage=USAGE),
        Reply(text="I cannot help with that.", usage=USAGE, finish="refused"),
        Reply(text=json.dumps({"rows": []}), usage=USAGE),
    ],
    ids=["empty", "a refusal", "rows left out"],
)
def test_nothing_is_kept_of_other_replies_without_an_answer(path: Path, reply: Reply) -> None:
    ask(path, ScriptedProvider({"sector": "tech"}, script=[reply] * 4))

    with smelt.ledger.open(path) as ledger:
        assert ledger.unreadable() == []


async def test_the_run_after_a_kill_keeps_the_beginning_of_what_it_cannot_read(path: Path) -> None:
    killed = Actor(path)
    await killed.send("a")
    await killed.recorder.receive(killed.number, Reply(text=SAID, usage=USAGE), 0.25)
    killed.die()

    Actor(path, now=2_000_000.0).end()

    with smelt.ledger.open(path) as ledger:
        [one] = ledger.unreadable()
    assert (one["run"], one["rows"], one["cost_usd"]) == (1, 1, 0.25)
    assert one["text"].startswith("I would say tech.")


@pytest.mark.parametrize("steps", range(1, migrations.VERSION))
def test_a_store_of_any_older_smelt_takes_them(path: Path, steps: int) -> None:
    copy_old(path)
    bring_to(path, steps)
    model = ScriptedProvider({"sector": "tech"}, script=[Reply(text=SAID, usage=USAGE)] * 4)

    ask(path, model)

    with smelt.ledger.open(path) as ledger:
        assert len(ledger.unreadable()) == 4
    assert path.with_name(f"{path.name}.v{steps}.backup").exists()


def test_they_outlive_a_recovery_and_go_with_their_run(path: Path) -> None:
    ask(path, ScriptedProvider({"sector": "tech"}, script=[Reply(text=SAID, usage=USAGE)] * 4))
    with open_store(path) as store, store.writing() as connection:
        connection.execute("INSERT INTO answers VALUES (1, x'00', '[', 1)")

    with pytest.warns(SmeltWarning, match="was damaged"), smelt.ledger.open(path, recover=True) as ledger:
        kept = len(ledger.unreadable())
        with pytest.warns(SmeltWarning, match="Copies"):
            ledger.forget(run=1)
        left = ledger.unreadable()

    assert (kept, left) == (4, [])
    assert b"I would say tech." not in path.read_bytes()


def bring_to(path: Path, steps: int) -> None:
    """Make the store of the first step one of so many."""
    connection = sqlite3.connect(path, isolation_level=None)
    try:
        for script in migrations.STEPS[1:steps]:
            connection.executescript(script)
        connection.execute(f"PRAGMA user_version = {steps}")
    finally:
        connection.close()
