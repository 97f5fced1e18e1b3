"""What CONTRIBUTING.md asks of the tests themselves."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

TESTS = Path(__file__).resolve().parent
FILES = sorted(TESTS.rglob("*.py"))
# Python and asyncio raise these without a text.
WITHOUT_WORDS = {"KeyboardInterrupt", "asyncio.CancelledError", "TimeoutError"}


def named(path: Path) -> str:
    return path.relative_to(TESTS).as_posix()


def bare_expectations(source: str) -> Iterator[int]:
    """Lines that expect an exception or a warning without its words; a comment on the line may say why."""
    lines = source.splitlines()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Call) and ast.unparse(node.func) in ("pytest.raises", "pytest.warns"):
            expected = ast.unparse(node.args[0]) if node.args else ""
            says = any(keyword.arg == "match" for keyword in node.keywords)
            if not says and expected not in WITHOUT_WORDS and "  # " not in lines[node.lineno - 1]:
                yield node.lineno


@pytest.mark.parametrize("path", FILES, ids=named)
def test_an_expected_exception_is_expected_with_its_words(path: Path) -> None:
    assert list(bare_expectations(path.read_text(encoding="utf-8"))) == []


def test_an_expectation_without_words_is_found() -> None:
    source = (
        "with pytest.raises(ValueError):\n    x\n"
        "with pytest.raises(ValueError, match='x'):\n    x\n"
        "with pytest.warns():\n    x\n"
        "with pytest.raises(TimeoutError):\n    x\n"
        "with pytest.raises(OSError):  # Each system has its own words.\n    x\n"
    )

    assert list(bare_expectations(source)) == [1, 5]
