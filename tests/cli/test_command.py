"""The command line as a whole, and the commands about this machine."""

from __future__ import annotations

from pathlib import Path

import pytest

import smelt
from smelt.cli import main
from tests.cli.command import Shell


@pytest.fixture(autouse=True)
def models(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("SMELT_MODELS", str(tmp_path))
    return tmp_path


def test_list_says_what_is_here_and_how_to_get_the_rest(models: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["local", "list"]) == 0

    shown = capsys.readouterr().out
    assert str(models) in shown
    assert "python -m smelt local pull qwen2.5-coder-1.5b" in shown


@pytest.mark.parametrize(
    ("arguments", "command"),
    [([], "doctor"), (["local"], "pull")],
    ids=["nothing", "a command without its second word"],
)
def test_half_a_command_lists_how_it_goes_on(
    arguments: list[str], command: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(arguments) == 0

    assert f"\n  {command} " in capsys.readouterr().out


def test_the_version_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"smelt {smelt.__version__}\n"


@pytest.mark.parametrize("wins", [False, True], ids=["file", "process"])
def test_variables_come_from_a_file_that_is_named(wins: bool, shell: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SMELT_MODEL", raising=False)
    shell.write("my.env", "SMELT_MODEL=mock:\n")
    if wins:
        monkeypatch.setenv("SMELT_MODEL", "openai:of-the-process")
    try:
        done = shell("estimate", "in.csv", "Classify {name}.", "--env-file", "my.env", "--json")
    finally:
        smelt.configure(env_file=None)

    assert done.found["model"] == ("openai:of-the-process" if wins else "mock:")


def test_a_file_of_variables_that_is_missing_is_said_as_a_flag(shell: Shell) -> None:
    done = shell("ledger", "runs", "--env-file", "none.env")

    assert done.code == 2
    assert done.err.startswith("--env-file: there is no file 'none.env' in ")
