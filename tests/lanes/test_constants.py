"""Every tuned number of the lanes has its reason next to it."""

from __future__ import annotations

import ast
import io
import tokenize
from collections.abc import Iterator
from pathlib import Path

import pytest

from smelt import lanes

FOLDER = Path(lanes.__file__).parent


def numbers(source: str) -> Iterator[tuple[str, int, int]]:
    """The assignments of numbers at the top of a module: name, first line, last line."""
    for node in ast.parse(source).body:
        if isinstance(node, ast.Assign):
            values = [one.value for one in ast.walk(node.value) if isinstance(one, ast.Constant)]
            if values and all(type(value) in (int, float) for value in values):
                yield ast.unparse(node.targets[0]), node.lineno, node.end_lineno or node.lineno


def without_reason(source: str) -> list[str]:
    """The numbers that have no comment: neither at the end of their line, nor directly above them or their block."""
    tokens = tokenize.generate_tokens(io.StringIO(source).readline)
    comments = {token.start[0]: token.start[1] for token in tokens if token.type == tokenize.COMMENT}
    missing, explained = [], {line for line, column in comments.items() if column == 0}
    for name, first, last in numbers(source):
        if first - 1 in explained:
            explained.update(range(first, last + 1))
        elif last not in comments:
            missing.append(name)
    return missing


@pytest.mark.parametrize("module", sorted(FOLDER.glob("*.py")), ids=lambda path: path.stem)
def test_every_number_of_the_lanes_has_a_reason_next_to_it(module: Path) -> None:
    assert without_reason(module.read_text(encoding="utf-8")) == []


def test_a_number_without_a_reason_is_found() -> None:
    source = "# Why.\nA = 1\nB = (2, 3)\n\nC = 4\nD = 5  # Why.\nE = 5\n\nF = 'text'\nG = 6.0\n"

    assert without_reason(source) == ["C", "E", "G"]
