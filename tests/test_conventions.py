"""What CONTRIBUTING.md asks of the tests themselves."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.mirror import ABOUT_SEVERAL, TESTED_THROUGH

TESTS = Path(__file__).resolve().parent
SOURCE = TESTS.parent / "src" / "smelt"
FILES = sorted(TESTS.rglob("*.py"))
MODULES = {
    path.relative_to(SOURCE).with_suffix("").as_posix()
    for path in SOURCE.rglob("*.py")
    if path.name not in ("__init__.py", "__main__.py")
}
TESTED = {path.relative_to(TESTS).with_suffix("").as_posix() for path in FILES if path.name.startswith("test_")}
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


def mirrored(module: str) -> str:
    """The test file of a module: `test_decide` for `decide`, in the folder of the same name."""
    room, _, name = module.rpartition("/")
    return f"{room}/test_{name}" if room else f"test_{name}"


def test_a_module_has_tests_of_its_own_or_is_on_the_list() -> None:
    assert {module for module in MODULES if mirrored(module) not in TESTED} == TESTED_THROUGH.keys()


def test_the_list_names_tests_that_there_are() -> None:
    assert set(TESTED_THROUGH.values()) <= TESTED


def test_a_test_file_of_a_room_bears_the_name_of_a_module_or_is_about_several() -> None:
    rooms = {module.rpartition("/")[0] for module in MODULES} - {""}
    others = TESTED - {mirrored(module) for module in MODULES}

    assert {name for name in others if name.rpartition("/")[0] in rooms} == ABOUT_SEVERAL
