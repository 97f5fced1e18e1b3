"""`python -m smelt local …`."""

from __future__ import annotations

from pathlib import Path

import pytest

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


def test_pull_of_an_unknown_model_fails_in_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["local", "pull", "gpt-9"]) == 1

    shown = capsys.readouterr()
    assert shown.err == "There is no embedded model 'gpt-9'. There are 'smollm2-135m', 'qwen2.5-coder-1.5b'.\n"
    assert shown.out == ""


@pytest.mark.parametrize("arguments", [[], ["local"], ["nonsense"]], ids=["nothing", "half", "unknown"])
def test_words_that_are_no_command_show_the_usage(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        main(arguments)

    assert "usage: python -m smelt" in capsys.readouterr().err
