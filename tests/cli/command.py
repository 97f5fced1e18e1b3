"""Runs command lines in this process, on files in a folder."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from smelt.cli import main

CSV = "name,zip\nArm,01234\nSanofi,75000\nStripe,\n"


@dataclass(frozen=True)
class Done:
    """A command that ended: its exit code, and what it printed."""

    code: int
    out: str
    err: str

    @property
    def found(self) -> Any:
        """What it printed as JSON."""
        return json.loads(self.out)


class Shell:
    """Runs commands in a folder that has `in.csv`, and notes what they print."""

    def __init__(self, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self.folder = folder
        self._capsys = capsys

    def __call__(self, *arguments: str) -> Done:
        self._capsys.readouterr()
        code = main(arguments)
        shown = self._capsys.readouterr()
        return Done(code, shown.out, shown.err)

    def write(self, name: str, text: str) -> str:
        """A file in the folder, and its name."""
        (self.folder / name).write_text(text)
        return name
