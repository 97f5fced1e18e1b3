"""What CONTRIBUTING.md asks of the tests themselves."""

from __future__ import annotations

import ast
import json
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx2
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
        if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)):
            continue  # Writing every call as text would take most of the time.
        if node.func.attr in ("raises", "warns") and ast.unparse(node.func) in ("pytest.raises", "pytest.warns"):
            expected = ast.unparse(node.args[0]) if node.args else ""
            says = any(keyword.arg == "match" for keyword in node.keywords)
            if not says and expected not in WITHOUT_WORDS and "  # " not in lines[node.lineno - 1]:
                yield node.lineno


def test_an_expected_exception_is_expected_with_its_words() -> None:
    texts = {named(path): path.read_text(encoding="utf-8") for path in FILES}
    expecting = {name: text for name, text in texts.items() if "raises(" in text or "warns(" in text}

    assert len(expecting) > 100
    assert [(name, line) for name, text in expecting.items() for line in bare_expectations(text)] == []


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


@pytest.mark.parametrize(
    "leave",
    [
        lambda: socket.create_connection(("192.0.2.1", 80), timeout=1),
        lambda: socket.create_connection(("2001:db8::1", 80), timeout=1),
        lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(b"", ("192.0.2.1", 53)),
        lambda: socket.getaddrinfo("pypi.org", 443),
        lambda: socket.gethostbyname("pypi.org"),
        lambda: httpx2.get("http://192.0.2.1/"),
    ],
    ids=["connect", "connect by IPv6", "datagram", "look up", "look up the old way", "an SDK's client"],
)
@pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning")
def test_what_leaves_this_machine_is_refused_in_the_name_of_its_test(
    leave: Callable[[], object], left_here: list[str]
) -> None:
    with pytest.raises((OSError, httpx2.ConnectError), match=r"test_what_leaves_this_machine.* may not leave"):
        leave()

    assert len(left_here) == 1  # Which would fail this test, also if nobody saw the exception.
    left_here.clear()


@pytest.mark.parametrize("name", ["api.vendor.example", "no-such-host.invalid", "HOST.TEST"])
def test_a_reserved_name_is_unknown_without_being_asked_for(name: str, left_here: list[str]) -> None:
    with pytest.raises(socket.gaierror, match="Name or service not known"):
        socket.getaddrinfo(name, 443)

    assert left_here == []


def test_loopback_is_this_machine() -> None:
    with (
        socket.create_server(("127.0.0.1", 0)) as server,
        socket.create_connection(("localhost", server.getsockname()[1])),
    ):
        pass


THIRTY_TESTS = """
import pytest

@pytest.mark.parametrize("at", range(30))
def test_one(at): ...
"""


# All in one process, which begins once.
COLLECTING = """
import json, sys, pytest
for options in json.loads(sys.argv[2]):
    pytest.main(["--collect-only", "-q", "-p", "no:cacheprovider", *json.loads(sys.argv[1]), *options])
    print("---")
"""


def orders(folder: Path, *runs: list[str]) -> list[list[str]]:
    """The names of the tests in the order in which pytest would run them, for the options of each of some runs."""
    ini = [f"--override-ini={name}=" for name in ("addopts", "filterwarnings", "asyncio_mode")]
    always = ["-p", "tests.conftest", "--rootdir", str(folder), *ini, str(folder / "test_thirty.py")]
    run = subprocess.run(
        [sys.executable, "-c", COLLECTING, json.dumps(always), json.dumps(runs)],
        cwd=TESTS.parent, capture_output=True, text=True, check=False,
    )  # fmt: skip
    parts = run.stdout.split("---\n")[: len(runs)]
    return [[line for line in part.splitlines() if "::" in line] for part in parts]


@pytest.mark.slow
def test_tests_run_in_any_order_which_a_seed_repeats(tmp_path: Path) -> None:
    (tmp_path / "test_thirty.py").write_text(THIRTY_TESTS)

    written, first, again, any_order = orders(tmp_path, ["--shuffle=off"], ["--shuffle=5"], ["--shuffle=5"], [])

    assert len(written) == 30
    assert first == again
    assert len({tuple(one) for one in (written, first, any_order)}) == 3
    assert sorted(written) == sorted(first) == sorted(any_order)
