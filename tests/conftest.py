"""Fixtures that every test may use."""

from __future__ import annotations

import gc
import os
import random
import socket
import sys
from collections.abc import Generator, Iterator
from ipaddress import ip_address
from itertools import groupby
from typing import Any, Protocol

import pytest
from hypothesis import settings

from smelt.call import thinking as rooms
from smelt.lanes import registry
from smelt.named import registry as names
from tests.fakeserver import FakeServer, Scenario

# A slow machine is no fault, and CI looks at the same examples every time; elsewhere each run looks at new ones, of
# which there are few.
settings.register_profile("smelt", max_examples=50, deadline=None, derandomize="CI" in os.environ)
settings.load_profile("smelt")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--shuffle",
        metavar="SEED",
        help="run modules, and the tests of each, in the order drawn by SEED; by default in any; `off`: as written",
    )


def pytest_configure(config: pytest.Config) -> None:
    """Draw the order, unless it is given, or this is a worker of xdist: the process that started it tells the order."""
    drawn = getattr(config, "workerinput", {}).get("shuffle") or str(random.randrange(1_000_000))
    config.option.shuffle = config.getoption("--shuffle") or drawn
    os.environ["MARKS_OF_TESTS"] = config.getoption("-m")  # For `tests.providers.asking`, before there are any.


@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node: Any) -> None:
    """Tell a worker of xdist the order."""
    node.workerinput["shuffle"] = node.config.getoption("--shuffle")


def pytest_report_header(config: pytest.Config) -> str:
    return f"order: --shuffle={config.getoption('--shuffle')}"


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Say after a failure how to repeat the order, also with `-q`, which shows no header."""
    if terminalreporter.stats.get("failed") or terminalreporter.stats.get("error"):
        terminalreporter.write_line(pytest_report_header(config))


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, object, object]:
    """Let the garbage collector alone with what collecting makes: modules, classes and items stay to the end.

    It would go through all of them again and again, now and in every test.
    """
    gc.disable()
    try:
        return (yield)
    finally:
        gc.enable()
        gc.freeze()


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Shuffle, alike in every worker of xdist. Modules stay together, so that their fixtures are set up once."""
    if (seed := config.getoption("--shuffle")) == "off":
        return
    draw = random.Random(seed)
    modules = [list(tests) for _, tests in groupby(items, key=lambda item: item.path)]
    draw.shuffle(modules)
    for tests in modules:
        draw.shuffle(tests)
    items[:] = [test for tests in modules for test in tests]


_left: list[str] = []


def _stay_here(event: str, args: tuple[Any, ...]) -> None:
    """Refuse what would leave this machine, look-ups of names included."""
    if event in {"socket.connect", "socket.sendto"} and isinstance(args[1], tuple):
        host = args[1][0]
    elif event in {"socket.getaddrinfo", "socket.gethostbyname"}:
        host = args[0]
    else:
        return
    host = host.decode() if isinstance(host, bytes) else host
    # Names that RFC 2606 reserves: answered as by a resolver, without one.
    if str(host).lower().endswith((".invalid", ".example", ".test")):
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
    if host not in (None, "") and not _is_loopback(str(host).lower()):
        _left.append(f"{event} {host}")
        raise OSError(f"{os.environ.get('PYTEST_CURRENT_TEST')} may not leave this machine: {event} {host}")


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        address = ip_address(int(host) if host.isdecimal() else host.partition("%")[0])
    except ValueError:
        return False
    return address.is_loopback or address.is_unspecified


sys.addaudithook(_stay_here)  # Below every library, and for good; the children of a test are not watched.


@pytest.fixture(autouse=True)
def left_here() -> Iterator[list[str]]:
    """Fail a test that tried to leave this machine, also if the code under test took the refusal for an outage."""
    _left.clear()
    yield _left
    assert _left == [], "a test may not depend on the network"


# A test that wants a ledger names one; else a test would find the answers of the one before, and in the user's own
# file.
os.environ["SMELT_LEDGER"] = "off"


@pytest.fixture(autouse=True)
def _forget_lanes() -> Iterator[None]:
    """What a lane learnt of the fake server in one test says nothing about the next; nor do names of models."""
    yield
    registry._lanes.clear()
    names._known.clear()
    names._read.clear()
    rooms._rooms.clear()


def whole(part: Any, *rest: Any) -> list[Any]:
    """Values to parametrise with: *part* in the suite, the *rest* only where all is asked for (`-m whole`)."""
    values = (one if isinstance(one, tuple) else (one,) for one in rest)
    return [part, *(pytest.param(*several, marks=pytest.mark.whole) for several in values)]


class MakeScenario(Protocol):
    """Makes a scenario of the fake server; the options are those of `tests.fakeserver.config.Config`."""

    def __call__(self, **config: Any) -> Scenario: ...


@pytest.fixture(scope="session")
def fake() -> Iterator[FakeServer]:
    """The fake providers: one process per session, and per worker of xdist."""
    with FakeServer() as server:
        yield server


@pytest.fixture
def scenario(fake: FakeServer) -> Iterator[MakeScenario]:
    """A factory of scenarios that end with the test."""
    made: list[Scenario] = []

    def make(**config: Any) -> Scenario:
        made.append(fake.scenario(**config))
        return made[-1]

    yield make
    for one in made:
        one.close()
