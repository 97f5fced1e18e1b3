"""Environments for libraries that must not meet: one per library, made once, in `.tools/contenders`."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import venv
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]
HOME = ROOT / ".tools" / "contenders"
BIN = "Scripts" if os.name == "nt" else "bin"


class NotInstalled(Exception):
    """The packages cannot be had here; says why."""


def interpreter(name: str, packages: Sequence[str]) -> str:
    """The Python of the environment that has *packages*, which is made if it is not there.

    Raises:
        NotInstalled: They cannot be installed.
    """
    place = HOME / name
    python, mark = place / BIN / "python", place / "packages.txt"
    wanted = "\n".join(packages)
    if not (mark.exists() and mark.read_text() == wanted):
        _make(place, str(python), packages)
        mark.write_text(wanted)
    return str(python)


def _make(place: Path, python: str, packages: Sequence[str]) -> None:
    uv = shutil.which("uv", path=os.pathsep.join([str(ROOT / ".tools" / BIN), os.environ.get("PATH", "")]))
    if uv is None:
        venv.create(place, clear=True, with_pip=True)
        _run(python, "-m", "pip", "install", "-q", *packages)
    else:
        _run(uv, "venv", "-q", "--clear", "--python", sys.executable, str(place))
        _run(uv, "pip", "install", "-q", "--system-certs", "--python", python, *packages)


def _run(*command: str) -> None:
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    if done.returncode != 0:
        reasons = [line for line in done.stderr.splitlines() if line.strip()]
        raise NotInstalled(reasons[-1] if reasons else f"exit code {done.returncode}")
