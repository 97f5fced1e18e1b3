"""What an import costs and loads, and which module may import which."""

from __future__ import annotations

import ast
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

SOURCE = Path(__file__).resolve().parent.parent / "src" / "smelt"
SDKS = {"openai", "anthropic", "google", "httpx2", "aiohttp"}
FRAMES = {"pandas", "polars", "pyarrow", "numpy", "narwhals"}
HEAVY = SDKS | FRAMES | {"genai_prices", "xllamacpp", "IPython", "ipywidgets"}
ROOMS_INSIDE = ("plan", "engine", "lanes")
SHOWS_FRAMES = {"demo.py"}
TIMES = 3  # What an import may cost, in imports of pydantic; half of that today.

# CPU seconds: an import of files that are in memory waits for nothing, and other tests run beside this one.
TIMED = "import time; t = time.process_time(); import {}; print(time.process_time() - t)"
LISTED = "import sys, json, smelt; print(json.dumps(sorted({name.partition('.')[0] for name in sys.modules})))"


def printed_by(code: str) -> str:
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout


@pytest.mark.slow
def test_the_import_is_quick() -> None:
    """Compared with pydantic, without which nothing works: a number of seconds would say more of the machine."""
    ours, pydantics = TIMED.format("smelt"), TIMED.format("pydantic.main")
    printed_by(ours)  # Writes the byte code.

    taken = [(float(printed_by(ours)), float(printed_by(pydantics))) for _ in range(5)]

    assert min(own for own, _ in taken) <= TIMES * min(other for _, other in taken)


@pytest.mark.slow
def test_the_import_loads_no_frame_library_and_no_sdk() -> None:
    loaded = set(json.loads(printed_by(LISTED)))

    assert loaded & HEAVY == set()


@pytest.mark.slow
@pytest.mark.parametrize(("used", "other"), [("pandas", "polars"), ("polars", "pandas")])
def test_a_call_on_one_frame_library_does_not_load_the_other(used: str, other: str) -> None:
    call = (
        f"import sys, json, {used}, smelt; from smelt.testing import ScriptedProvider;"
        f"{used}.DataFrame({{'a': ['x']}}).smelt.transform('Say.', str, model=ScriptedProvider({{'text': 'y'}}));"
        f"print(json.dumps({other!r} in sys.modules))"
    )

    assert json.loads(printed_by(call)) is False


def modules(*rooms: str) -> list[Path]:
    """The source files in some rooms, or all of them."""
    return sorted(path for room in rooms or ("",) for path in (SOURCE / room).rglob("*.py"))


def imported(path: Path) -> Iterator[str]:
    """Dotted names that a module imports anywhere but for type checkers."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    for_types = {
        inner
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"
        for inner in ast.walk(node)
    }
    for node in ast.walk(tree):
        if node in for_types:
            continue
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: imports are absolute here"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def named(path: Path) -> str:
    return path.relative_to(SOURCE).as_posix()


@pytest.mark.parametrize("path", modules(*ROOMS_INSIDE), ids=named)
def test_the_inside_knows_no_library_of_the_outside(path: Path) -> None:
    assert {name.partition(".")[0] for name in imported(path)} & HEAVY == set()


@pytest.mark.parametrize("path", modules("plan"), ids=named)
def test_the_plan_imports_nothing_of_smelt_but_plan_and_errors(path: Path) -> None:
    assert [name for name in ours(path) if not name.startswith(("smelt.plan.", "smelt.errors."))] == []


@pytest.mark.parametrize("path", modules("engine"), ids=named)
def test_the_engine_imports_only_what_lies_inward_and_the_protocols(path: Path) -> None:
    inward = ("smelt.engine.", "smelt.plan.", "smelt.errors.", "smelt.providers.base.", "smelt.ledger.base.")

    assert [name for name in ours(path) if not name.startswith(inward)] == []


@pytest.mark.parametrize("path", modules("lanes"), ids=named)
def test_a_lane_knows_of_the_engine_only_what_it_is_asked_for_and_tells(path: Path) -> None:
    inward = (
        "smelt.lanes.",
        "smelt.engine.lane.",
        "smelt.engine.events.",
        "smelt.providers.base.",
        "smelt.providers.access.",
    )

    assert [name for name in ours(path) if not name.startswith(inward)] == []


@pytest.mark.parametrize("path", modules("providers"), ids=named)
def test_a_provider_knows_neither_engine_nor_frames(path: Path) -> None:
    inward = ("smelt.providers.", "smelt.plan.", "smelt.errors.", "smelt.local.")

    assert [name for name in ours(path) if not name.startswith(inward)] == []


@pytest.mark.parametrize("path", [one for one in modules() if one.parent.name != "providers"], ids=named)
def test_only_provider_modules_import_an_sdk(path: Path) -> None:
    assert {name.partition(".")[0] for name in imported(path)} & SDKS == set()


@pytest.mark.parametrize("path", [one for one in modules() if one.parent.name != "frames"], ids=named)
def test_only_the_frames_import_a_frame_library(path: Path) -> None:
    allowed = FRAMES if named(path) in SHOWS_FRAMES else set()

    assert {name.partition(".")[0] for name in imported(path)} & FRAMES <= allowed


def ours(path: Path) -> list[str]:
    return [name for name in imported(path) if name.partition(".")[0] == "smelt"]
