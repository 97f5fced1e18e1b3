#!/usr/bin/env python3
"""Everything a working day needs, on a machine with only Python 3.11+ and pip.

    python3 dev.py COMMAND

    setup       the tools, the environment in .venv, the weights of the embedded model
    demo        the main job, on the embedded model
    test        the tests, but for those that ask the embedded model; further arguments go to pytest
    model       the tests that ask the embedded model
    lint        ruff: rules and format; `lint --fix` repairs what it can
    types       mypy --strict, and pyright on the public API
    notebook    run notebooks/ anew, check what they show and save it
    docs        write what the snippets of README.md and docs/ print into those pages
    site        build the docs site into site/, strictly
    bench       what smelt costs per request and per row
    lock        write uv.lock anew

Every command sets up what it needs first. The interpreter that runs this file is the one that is used; UV_PROJECT_ENVIRONMENT
names another folder than .venv for it, so that two Pythons can stand side by side.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import venv
from pathlib import Path

ROOT = Path(__file__).resolve().parent
TOOLS = ROOT / ".tools"
ENV = ROOT / os.environ.get("UV_PROJECT_ENVIRONMENT", ".venv")
BIN = "Scripts" if os.name == "nt" else "bin"
PYTHON = str(ENV / BIN / "python")
UV = str(TOOLS / BIN / "uv")


def main(command: str = "help", *extra: str) -> None:
    """Carry out one command."""
    if command not in COMMANDS:
        sys.exit(__doc__)
    if sys.version_info < (3, 11):
        sys.exit(
            f"smelt needs Python 3.11 or newer; this is {sys.version.split()[0]}. Try: python3.11 dev.py {command}"
        )
    # A shell starts background jobs with Ctrl-C ignored, which children inherit; the tests of Ctrl-C need it.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    # Hundreds of processes of the tests import the same packages; compiling them every time would take minutes.
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    try:
        COMMANDS[command](*extra)
    except subprocess.CalledProcessError as failure:
        sys.exit(failure.returncode)  # What failed has said why.


def setup() -> None:
    """Put the locked packages and the embedded model's weights in their places."""
    sync()
    if not can_import("xllamacpp"):
        sys.exit(
            "The embedded model's runtime does not load. On Debian and Ubuntu it needs: apt-get install -y libgomp1\n"
            f"The whole message: {PYTHON} -c 'import xllamacpp'"
        )
    run(PYTHON, "-m", "smelt", "local", "pull")


def demo() -> None:
    setup()
    run(PYTHON, "-m", "smelt.demo")


def test(*extra: str) -> None:
    setup()
    run(PYTHON, "-m", "pytest", "-n", "3", *extra)  # Many tests wait, so that two cores bear three.


def model() -> None:
    setup()
    run(PYTHON, "-m", "pytest", "-m", "model and not notebook")


def lint(*extra: str) -> None:
    sync()
    run(PYTHON, "-m", "ruff", "check", *extra)
    run(PYTHON, "-m", "ruff", "format", *([] if "--fix" in extra else ["--check"]))


def types() -> None:
    sync()
    run(PYTHON, "-m", "mypy")
    run(PYTHON, "-m", "pyright", "--pythonpath", PYTHON)


def notebook() -> None:
    setup()
    run(PYTHON, "-m", "tests.test_notebook")


def docs() -> None:
    sync()
    run(PYTHON, "-m", "tests.test_readme")


def site() -> None:
    sync()
    run(PYTHON, "-m", "zensical", "build", "--clean", "--strict")
    print("To read it: site/index.html, or with its search: python3 -m http.server -d site")


def bench() -> None:
    sync()
    for one in sorted((ROOT / "tests" / "bench").glob("[!_]*.py")):
        run(PYTHON, "-m", f"tests.bench.{one.stem}")


def lock() -> None:
    """Lock against PyPI alone, whatever index this machine is set up for."""
    tools()
    run(
        UV, "lock", "--system-certs", "--no-config", "--default-index", "https://pypi.org/simple", env=without_indexes()
    )


def sync() -> None:
    tools()
    run(UV, "sync", "-q", "--system-certs", "--locked", "--all-extras", "--python", sys.executable)


def tools() -> None:
    """Put uv into .tools, also where Python comes without ensurepip, as Debian's does."""
    if Path(UV + (".exe" if os.name == "nt" else "")).exists():
        return
    python = str(TOOLS / BIN / "python")
    try:
        venv.create(TOOLS, with_pip=True)
    except (subprocess.CalledProcessError, ModuleNotFoundError):
        venv.create(TOOLS, with_pip=False, clear=True)
        run(sys.executable, "-m", "pip", "--python", python, "install", "-q", "--disable-pip-version-check", "uv")
    else:
        run(python, "-m", "pip", "install", "-q", "--disable-pip-version-check", "uv")


def can_import(module: str) -> bool:
    return subprocess.run([PYTHON, "-c", f"import {module}"], check=False, stderr=subprocess.DEVNULL).returncode == 0


def without_indexes() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if not name.startswith("UV_")}


def run(*command: str, env: dict[str, str] | None = None) -> None:
    subprocess.run(command, cwd=ROOT, env=env, check=True)


COMMANDS = {one.__name__: one for one in (setup, demo, test, model, lint, types, notebook, docs, site, bench, lock)}

if __name__ == "__main__":
    main(*sys.argv[1:])
