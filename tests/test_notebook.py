"""The notebooks run from top to bottom in a real kernel, and are saved as they ran, also as pages of the docs site.

To run them takes a minute or two of CPU, so the suite only looks at what is saved. `python3 dev.py notebook`
(`python -m tests.test_notebook`) runs them anew, checks what they show and saves it, as CI does once; `pytest -m
notebook` saves nothing. `python -m tests.test_notebook ray` takes one of them. The one on Ray is run by
`tests/scale/test_ray_notebook.py`, where Ray is.
"""

from __future__ import annotations

import os
import re
import sys
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory

import nbformat
import pytest
from nbclient import NotebookClient

from tests.notebook import pages

ROOT = Path(__file__).resolve().parent.parent
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
PAGES = ROOT / "docs" / "notebooks"
NEEDS = {"ray": "the dependency group `scale` is not installed"}  # Packages that not every environment has.
_RAY = {  # It writes no file into the home directory, reports to nobody, and may start slowly.
    "RAY_AUTH_MODE": "disabled",
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_raylet_start_wait_time_s": "300",
    "RAY_worker_niceness": "0",
}
_WIDGET = "application/vnd.jupyter.widget-view+json"
_CELL_FILE = re.compile(r"\S*/ipykernel_\d+/\d+\.py")  # What a warning calls the cell that caused it.
_RAY_SAYS = re.compile(r"^(?:\S*\(raylet\)|\[\d{4}-\d\d-\d\d [^\]]*\]).*\n?", re.MULTILINE)
_PERSONAL = re.compile(r"/(?:home|root|tmp|work|Users)/")


def executed(notebook: nbformat.NotebookNode, folder: Path) -> nbformat.NotebookNode:
    """*notebook* after a run in a fresh kernel, which keeps its files, and its ledger, in *folder*.

    Raises:
        nbclient.exceptions.CellExecutionError: A cell failed.
    """
    import_module("matplotlib.font_manager")  # A kernel that has to make the list of fonts says so on stderr after 5 s.
    client = NotebookClient(notebook, timeout=600, kernel_name="python3", record_timing=False)
    manager = client.create_kernel_manager()
    manager.transport, manager.ip = "ipc", str(folder / "socket")  # Sockets in a folder, not ports of this machine.
    manager.connection_file = str(folder / "kernel.json")
    client.extra_arguments = ["--HistoryManager.enabled=False", f"--ipython-dir={folder}"]
    return client.execute(env={**os.environ, **_RAY, "SMELT_LEDGER": str(folder / "ledger.sqlite")})


def lasting(notebook: nbformat.NotebookNode) -> nbformat.NotebookNode:
    """*notebook* without what differs from one machine or run to the next for no reason."""
    notebook.metadata = nbformat.from_dict(  # type: ignore[no-untyped-call]
        {"kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"}}
    )
    for number, cell in enumerate(notebook.cells, start=1):
        cell.id, cell.metadata = f"cell-{number}", {}
    for output in outputs(notebook):
        if "text" in output:
            output.text = _RAY_SAYS.sub("", _CELL_FILE.sub("notebook", output.text))
    for cell in notebook.cells:
        if cell.cell_type == "code":
            cell.outputs = [output for output in cell.outputs if output.get("text") != ""]
    return notebook


def saved(path: Path) -> nbformat.NotebookNode:
    notebook: nbformat.NotebookNode = nbformat.read(path, as_version=4)  # type: ignore[no-untyped-call]
    return notebook


def outputs(notebook: nbformat.NotebookNode) -> list[nbformat.NotebookNode]:
    return [output for cell in notebook.cells if cell.cell_type == "code" for output in cell.outputs]


def _stderr(notebook: nbformat.NotebookNode) -> str:
    return "".join(output.text for output in outputs(notebook) if output.get("name") == "stderr")


def lacks(path: Path) -> str:
    """Why the notebook at *path* cannot be run here, or nothing."""
    return NEEDS[path.stem] if path.stem in NEEDS and find_spec(path.stem) is None else ""


def faults(notebook: nbformat.NotebookNode) -> list[str]:
    """What a reader should not find in a notebook that ran."""
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    found = {
        "cells that did not run in order": [cell.execution_count for cell in code] != list(range(1, len(code) + 1)),
        "no output": not outputs(notebook),
        "an error": any(output.output_type == "error" for output in outputs(notebook)),
        f"text on stderr ({_stderr(notebook)!r})": bool(_stderr(notebook)),
        "a widget": _WIDGET in nbformat.writes(notebook),  # type: ignore[no-untyped-call]
        "a path of a machine": bool(_PERSONAL.search(nbformat.writes(notebook))),  # type: ignore[no-untyped-call]
    }
    return [fault for fault, is_there in found.items() if is_there]


def shown(notebook: nbformat.NotebookNode) -> list[str]:
    """What each output of *notebook* shows as text."""
    return [output.text if "text" in output else output.data["text/plain"] for output in outputs(notebook)]


@pytest.mark.notebook
@pytest.mark.slow
@pytest.mark.model
@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.name)
def test_a_notebook_runs_from_top_to_bottom(path: Path, tmp_path: Path) -> None:
    if reason := lacks(path):
        pytest.skip(reason)
    assert faults(lasting(executed(saved(path), tmp_path))) == []


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.name)
def test_a_notebook_is_saved_as_it_ran(path: Path) -> None:
    assert faults(saved(path)) == []


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.name)
def test_the_page_of_a_notebook_shows_what_it_is_saved_with(path: Path) -> None:
    made = pages.files(saved(path), path.stem)

    assert {name: (PAGES / name).read_bytes() for name in made} == made


def test_there_is_a_notebook() -> None:
    assert NOTEBOOKS


def main(*names: str) -> None:
    """Run every notebook anew, or those called *names*, and save it unless a reader should not see its outputs."""
    os.environ.pop("SMELT_MODEL", None)
    for path in [one for one in NOTEBOOKS if not names or one.stem in names]:
        if reason := lacks(path):
            print(f"{path.name} is left as it is: {reason}")
            continue
        with TemporaryDirectory() as folder:
            notebook = lasting(executed(saved(path), Path(folder)))
        if found := faults(notebook):
            sys.exit(f"{path.name} is not saved. It shows: {', '.join(found)}.")
        nbformat.write(notebook, path)  # type: ignore[no-untyped-call]
        pages.write(notebook, path.stem, PAGES)
        print(f"{path.name}: {len(notebook.cells)} cells, saved")


if __name__ == "__main__":
    main(*sys.argv[1:])
