"""What an import costs and loads, and which module may import which."""

from __future__ import annotations

import ast
import json
import re
import subprocess
import sys
from collections.abc import Iterable
from functools import cache
from pathlib import Path

import pytest

SOURCE = Path(__file__).resolve().parent.parent / "src" / "smelt"
SDKS = {"openai", "anthropic", "google", "httpx2", "aiohttp"}
FRAMES = {"pandas", "polars", "pyarrow", "numpy", "narwhals"}
HEAVY = SDKS | FRAMES | {"genai_prices", "xllamacpp", "IPython", "ipywidgets"}
PAGE = SOURCE.parents[1] / "docs" / "architecture.md"
WORDS = ("smelt.errors.", "smelt.messages.")
ROOMS_INSIDE = ("plan", "engine", "lanes")
SHOWS_FRAMES = {"demo.py", "api/lazy.py", *(f"cli/{name}.py" for name in ("inputs", "looking", "outputs", "pipes"))}
SHOWS_FRAMES |= {f"cli/{name}.py" for name in ("running", "summary", "spool", "tables", "hub")}
# Imports that run up the table; the page says why.
UPWARD = {
    ("smelt.batch", "smelt.api.artefacts"),
    ("smelt.errors", "smelt.result"),
    ("smelt.result", "smelt.report.summary"),
    ("smelt.cascade", "smelt.report.summary"),
    ("smelt.result", "smelt.evaluation.difference"),
    ("smelt.ledger.joblist", "smelt.call.remote"),
    ("smelt.ledger.joblist", "smelt.report.markup"),
}
_BULLET = re.compile(r"^- ((?:`\w+`(?:, | and )?)+)", re.MULTILINE)  # The files that a bullet of the page is about.
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

    taken = [(float(printed_by(ours)), float(printed_by(pydantics))) for _ in range(3)]

    assert min(own for own, _ in taken) <= TIMES * min(other for _, other in taken)


@pytest.mark.slow
def test_the_import_loads_no_frame_library_and_no_sdk() -> None:
    loaded = set(json.loads(printed_by(LISTED)))

    # pydantic alone takes three times as long as smelt, asyncio and ssl half as long.
    assert loaded & {*HEAVY, "pydantic", "asyncio", "ssl"} == set()


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


@cache
def parsed(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


@cache
def imported(path: Path) -> list[str]:
    """Dotted names that a module imports anywhere but for type checkers."""
    tree = parsed(path)
    for_types = {
        inner
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING"
        for inner in ast.walk(node)
    }
    found: list[str] = []
    for node in ast.walk(tree):
        if node not in for_types:
            if isinstance(node, ast.ImportFrom):
                assert node.level == 0, f"{path}: imports are absolute here"
            found += names_in(node)
    return found


def names_in(node: ast.AST) -> list[str]:
    """Dotted names that an import statement names; none of any other node."""
    if isinstance(node, ast.ImportFrom):
        return [f"{node.module}.{alias.name}" for alias in node.names]
    return [alias.name for alias in node.names] if isinstance(node, ast.Import) else []


def named(path: Path) -> str:
    return path.relative_to(SOURCE).as_posix()


# One test for all modules, which names those that break the rule: a test for each would cost more than it does.
def roots(path: Path) -> set[str]:
    return {name.partition(".")[0] for name in imported(path)}


def importing(paths: Iterable[Path], packages: set[str]) -> list[str]:
    """The modules that import one of some packages."""
    return [named(path) for path in paths if roots(path) & packages]


def outside(paths: Iterable[Path], *inward: str) -> list[tuple[str, str]]:
    """The imports of ours that do not begin with one of *inward*, each with its module."""
    return [(named(path), name) for path in paths for name in ours(path) if not name.startswith(inward)]


def test_the_inside_knows_no_library_of_the_outside() -> None:
    assert importing(modules(*ROOMS_INSIDE), HEAVY) == []


def test_the_plan_imports_nothing_of_smelt_but_plan_and_errors() -> None:
    assert outside(modules("plan"), "smelt.plan.", *WORDS) == []


def test_the_engine_imports_only_what_lies_inward_and_the_protocols() -> None:
    inward = ("smelt.engine.", "smelt.plan.", "smelt.loop.", "smelt.providers.base.", "smelt.ledger.base.")

    assert outside(modules("engine"), *inward, *WORDS) == []


def test_a_lane_knows_of_the_engine_only_what_it_is_asked_for_and_tells() -> None:
    inward = (
        "smelt.lanes.",
        "smelt.engine.limiter.",
        "smelt.engine.events.",
        "smelt.providers.base.",
        # Where the pacer of several machines is, and what it runs on.
        "smelt.environment.",
        "smelt.loop.one_thread.",
        "smelt.loop.driver.",
    )

    assert outside(modules("lanes"), *inward, *WORDS) == []


def test_a_provider_knows_neither_engine_nor_frames() -> None:
    assert outside(modules("providers"), "smelt.providers.", "smelt.plan.", "smelt.local.", *WORDS) == []


def test_the_rules_are_held_against_what_the_modules_import() -> None:
    """The lists above are empty as they should be, not since nothing was read."""
    assert all(modules(room) for room in (*ROOMS_INSIDE, "providers"))
    assert importing(modules("providers"), SDKS) != []
    assert outside(modules("engine")) != []


def ours(path: Path) -> list[str]:
    return [name for name in imported(path) if name.partition(".")[0] == "smelt"]


def rooms() -> list[str]:
    """The rooms in the order of the table on the architecture page, the outermost first."""
    table = PAGE.read_text(encoding="utf-8").partition("| room |")[2].partition("\n\n")[0]
    cells = [line.split("|")[1] for line in table.splitlines()[2:]]
    return [name for cell in cells for name in re.findall(r"`(\w+)/?`", cell)]


def room_of(module: str) -> str:
    return module.split(".")[1]


@cache
def arrows() -> dict[str, set[str]]:
    """What each module of ours imports of the others, also for type checkers and inside of functions."""
    found = {dotted(path): set[str]() for path in modules()}
    for path in modules():
        for node in ast.walk(parsed(path)):
            for name in names_in(node):
                known = next((one for one in (name, name.rpartition(".")[0]) if one in found), None)
                if known is not None and known != dotted(path):
                    found[dotted(path)].add(known)
    return found


def dotted(path: Path) -> str:
    parts = path.relative_to(SOURCE.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def test_the_page_lists_every_room() -> None:
    inside = {path.stem for path in SOURCE.iterdir() if path.suffix == ".py" or (path / "__init__.py").is_file()}

    assert sorted(rooms()) == sorted(inside - {"__init__", "__main__"})


def test_the_page_says_what_every_file_does() -> None:
    text = PAGE.read_text(encoding="utf-8")
    told = {
        room: [
            name
            for bullet in _BULLET.findall(text.partition(f"### {room}/\n")[2].partition("\n#")[0])
            for name in re.findall(r"`(\w+)`", bullet)
        ]
        for room in rooms()
    }
    files = [one for one in modules() if one.parent != SOURCE and one.stem != "__init__"]

    assert len(files) > 100
    assert [named(one) for one in files if told[room_of(dotted(one))].count(one.stem) != 1] == []


def test_every_file_that_the_page_names_is_there() -> None:
    root = SOURCE.parents[1]
    named_files = re.findall(r"`([\w/]+\.py)`", PAGE.read_text(encoding="utf-8"))
    beside = {"openai.py", "polars.py", "pandas.py"}  # Named once with their room, then without.

    assert len(named_files) > 100
    assert [
        one for one in named_files if not ((SOURCE / one).is_file() or (root / one).is_file() or one in beside)
    ] == []


def test_imports_run_down_the_table_of_the_page() -> None:
    places = {room: at for at, room in enumerate(rooms())}
    up = {
        (module, other)
        for module, others in arrows().items()
        for other in others
        if module.count(".") and other.count(".") and room_of(module) in places
        if places[room_of(module)] > places[room_of(other)]
    }

    assert up == UPWARD


def test_no_modules_import_each_other_in_a_circle() -> None:
    left = {module: others - {up for low, up in UPWARD if low == module} for module, others in arrows().items()}
    while leaves := [module for module, others in left.items() if not others & left.keys()]:
        for module in leaves:
            del left[module]

    assert left == {}


def test_only_provider_modules_import_an_sdk() -> None:
    assert importing((one for one in modules() if one.parent.name != "providers"), SDKS) == []


def test_only_the_frames_import_a_frame_library() -> None:
    others = [one for one in modules() if one.parent.name not in ("frames", "lazy")]

    assert set(importing(others, FRAMES)) <= SHOWS_FRAMES
