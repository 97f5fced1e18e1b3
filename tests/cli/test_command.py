"""The command line as a whole, and the commands about this machine."""

from __future__ import annotations

from pathlib import Path

import pytest

import smelt
from smelt.cli import main


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
