"""A place for a store, and servers of answers that machines share."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from smelt.ledger import exchange, outage
from tests import postgres, redis

SERVERS: dict[str, Callable[[], Any]] = {"postgres": postgres.running, "redis": redis.running}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Where a ledger may be made: `tmp_path` is closed to others."""
    return tmp_path / "ledger.sqlite"


@pytest.fixture(scope="session")
def server_of() -> Iterator[Callable[[str], Any]]:
    """Starts a server by the name of its kind; the next test has the same one."""
    with ExitStack() as stack:
        yield cache(lambda kind: stack.enter_context(SERVERS[kind]()))


@pytest.fixture
def server(server_of: Callable[[str], Any], monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> Any:
    """The server of the kind that the test names, which this process does not know yet."""
    pytest.importorskip("psycopg")
    for place, name in ((exchange, "_secrets"), (exchange, "_left"), (outage, "_outages")):
        monkeypatch.setattr(place, name, {})
    return server_of(request.param)


@pytest.fixture
def url(server: Any) -> str:
    """The URL of a store on it, which is not made yet."""
    found: str = server.empty()
    return found


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run what takes a server on every kind, unless it or its module names one (`SERVER`)."""
    if "server" in metafunc.fixturenames:
        only = getattr(metafunc.module, "SERVER", None)
        metafunc.parametrize("server", [only] if only else [*SERVERS], indirect=True)
