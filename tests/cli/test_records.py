"""Commands about what was asked before."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import pytest

import smelt
from smelt.testing import ScriptedProvider
from tests.cli.command import Shell

ANSWERS = ScriptedProvider({"sector": "tech"})


@pytest.fixture
def asked(shell: Shell) -> Shell:
    """A shell in whose folder something was asked."""
    rows = [{"name": "Arm"}, {"name": "Sanofi"}]
    smelt.run(rows, "{name}?", {"sector": Literal["tech"]}, model=ANSWERS, ledger="l.db", progress=False)
    return shell


def test_the_runs_of_a_ledger_are_listed(asked: Shell) -> None:
    table = asked("ledger", "runs", "--ledger", "l.db").out.splitlines()

    assert table[0].split() == ["run", "started", "state", "model", "rows", "reused_rows", "cost_usd"]
    assert table[1].split()[3:] == ["done", "scripted:script", "2", "0", "unknown"]
    assert asked("ledger", "runs", "--ledger", "l.db", "--json").found[0]["rows"] == 2


def test_what_was_spent_is_summed(asked: Shell) -> None:
    found = asked("ledger", "spend", "--by", "model", "--ledger", "l.db", "--json").found

    assert [(line["model"], line["requests"]) for line in found] == [("scripted:script", 1)]
    assert asked("ledger", "spend", "--ledger", "l.db").out.splitlines()[1].startswith("1 ")


def test_answers_are_exported_and_forgotten(asked: Shell) -> None:
    assert asked("ledger", "export", "all.jsonl", "--ledger", "l.db").out == "2 rows in all.jsonl.\n"
    assert len(Path("all.jsonl").read_text().splitlines()) == 2
    assert asked("ledger", "check", "--ledger", "l.db").out == "Nothing is wrong.\n"
    assert asked("ledger", "forget", "--older-than", "30d", "--ledger", "l.db").out.startswith("0 rows deleted.")
    assert asked("ledger", "forget", "--run", "1", "--ledger", "l.db").out.startswith("2 rows deleted.")


def test_a_run_is_reported(asked: Shell) -> None:
    shown = asked("report", "1", "--ledger", "l.db").out

    assert "fields                 sector\n" in shown
    assert asked("report", "1", "--ledger", "l.db", "--json").found["requests"] == 1


def test_what_goes_on_is_shown_also_without_a_ledger(asked: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("smelt.api.engines.runs", list)

    assert asked("status", "--ledger", "l.db").out == "No run goes on.\nNo server runs.\n"
    assert asked("status", "--ledger", "none.db", "--json").found == {"runs": [], "jobs": [], "engines": []}


def test_jobs_are_listed(asked: Shell) -> None:
    assert asked("jobs", "list", "--ledger", "l.db").out == "no jobs\n"
    assert asked("jobs", "list", "--ledger", "l.db", "--json").found == []


@pytest.mark.parametrize(
    ("arguments", "answer", "code"),
    [
        (["ledger", "runs", "--ledger", "none.db"], "none.db", 1),
        (["ledger", "forget", "--ledger", "l.db"], "--run RUN or --older-than 30d", 2),
        (["ledger", "forget", "--older-than", "soon", "--ledger", "l.db"], "such as 30d", 2),
        (["report", "7", "--ledger", "l.db"], "There is no run 7", 2),
        (["jobs", "cancel", "j1", "--ledger", "l.db"], "There is no job 'j1'", 2),
        (["ledger", "export", "all.csv", "--ledger", "l.db"], ".jsonl", 2),
    ],
)
def test_what_is_not_there_is_said(arguments: list[str], answer: str, code: int, asked: Shell) -> None:
    done = asked(*arguments)

    assert (done.code, done.out) == (code, "")
    assert answer in done.err
    assert len(done.err.splitlines()) <= 2


def test_an_answer_store_is_no_file_and_its_password_is_not_shown(shell: Shell) -> None:
    said = shell("ledger", "runs", "--ledger", "postgresql://ada:s3cret@db/answers")

    assert "postgresql://db/answers is an answer store" in said.err
    assert "s3cret" not in said.err
