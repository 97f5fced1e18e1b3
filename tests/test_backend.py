"""What builds smelt tells a Python that is too old so, before anything else."""

from __future__ import annotations

import ast
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest

from tests.test_readme import ROOT

BUILD: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
BACKEND = ROOT / BUILD["build-system"]["backend-path"][0] / f"{BUILD['build-system']['build-backend']}.py"


def asked(prelude: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """What importing the backend does after *prelude*, where uv_build stands in *folder*."""
    (folder / "uv_build.py").write_text("def build_wheel(): ...\n")
    path = [str(folder), str(BACKEND.parent)]
    script = f"import sys; sys.path[:0] = {path}\n{prelude}\nimport {BACKEND.stem}\nprint(dir({BACKEND.stem}))"
    return subprocess.run([sys.executable, "-I", "-c", script], capture_output=True, text=True, check=False)


@pytest.mark.parametrize("version", [(3, 6, 15, "final", 0), (3, 10, 13, "final", 0)])
def test_an_old_python_hears_which_one_is_needed(version: tuple[object, ...], tmp_path: Path) -> None:
    done = asked(f"sys.version_info = {version}", tmp_path)

    number = ".".join(map(str, version[:3]))
    assert done.returncode == 1
    assert done.stderr == f"smelt needs Python 3.11 or newer; this is Python {number}.\n"


def test_others_get_uv_build(tmp_path: Path) -> None:
    assert "'build_wheel'" in asked("", tmp_path).stdout


def test_old_pythons_can_read_the_backend() -> None:
    ast.parse(BACKEND.read_text(encoding="utf-8"), feature_version=(3, 3))


def test_the_backend_names_the_version_that_the_project_requires() -> None:
    required = BUILD["project"]["requires-python"].removeprefix(">=")

    assert f"smelt needs Python {required} or newer" in BACKEND.read_text(encoding="utf-8")
    assert f"python_version >= '{required}'" in BUILD["build-system"]["requires"][0]
