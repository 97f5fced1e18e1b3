"""The notebooks as pages of the docs site, which has no kernel: their text, code and saved outputs."""

from __future__ import annotations

import re
from base64 import b64decode
from collections.abc import Iterator
from pathlib import Path

import nbformat

_STYLE = re.compile(r"<style.*?</style>", re.DOTALL)
_TABLE = re.compile(r"<table\b[^>]*>")


def files(notebook: nbformat.NotebookNode, name: str) -> dict[str, bytes]:
    """The page of the notebook *name*, and the pictures beside it, by their names."""
    found: dict[str, bytes] = {}
    parts = [part for cell in notebook.cells for part in _parts(cell, name, found)]
    title, *rest = parts[0].split("\n\n", 1)
    told = f"*This page is `notebooks/{name}.ipynb` as it ran; in a clone you can run it yourself.*"
    return {f"{name}.md": ("\n\n".join([title, told, *rest, *parts[1:]]) + "\n").encode(), **found}


def write(notebook: nbformat.NotebookNode, name: str, folder: Path) -> None:
    """Put the page of the notebook *name* and its pictures into *folder*, in the place of older ones."""
    for old in folder.glob(f"{name}-*.png"):
        old.unlink()
    for file, content in files(notebook, name).items():
        (folder / file).write_bytes(content)


def _parts(cell: nbformat.NotebookNode, name: str, pictures: dict[str, bytes]) -> Iterator[str]:
    if cell.cell_type == "markdown":
        yield cell.source.replace("](../docs/", "](../").replace(".ipynb)", ".md)")
        return
    yield _fenced("python", cell.source)
    for output in cell.outputs:
        yield _shown(output, name, pictures)


def _shown(output: nbformat.NotebookNode, name: str, pictures: dict[str, bytes]) -> str:
    if output.output_type == "stream":
        return _fenced("text", output.text)
    if "image/png" in output.data:
        file = f"{name}-{len(pictures) + 1}.png"
        pictures[file] = b64decode(output.data["image/png"])
        return f"![The plot that this cell draws]({file})"
    table = output.data.get("text/html", "")
    return _table(table) if 'class="dataframe"' in table else _fenced("text", output.data["text/plain"])


def _table(html: str) -> str:
    """A frame as the site shows tables: in its own style, and on lines without a gap, which would end the table."""
    bare = _TABLE.sub("<table>", _STYLE.sub("", html))
    return "\n".join(line.strip() for line in bare.splitlines() if line.strip())


def _fenced(language: str, text: str) -> str:
    lines = "\n".join(line.rstrip() for line in text.rstrip().splitlines())
    return f"```{language}\n{lines}\n```"
