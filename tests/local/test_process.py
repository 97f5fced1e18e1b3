"""The embedded model itself: real weights, a real child process, the real SDK."""

from __future__ import annotations

import asyncio
import json
import os
import select
import signal
import stat
import subprocess
import sys
import threading
from collections.abc import Iterator
from datetime import date
from pathlib import Path
from typing import Any, Literal

import pytest
from pydantic import BaseModel, Field

import smelt
from smelt.errors import MissingDependencyError, SmeltConfigError
from smelt.local.process import end_all, server_of
from smelt.local.weights import fetched, named, place
from smelt.loop.bridge import run_blocking
from smelt.providers.access import Access
from smelt.providers.base import CallFailed, Provider, Reply, Request
from smelt.providers.compatible import Compatible
from smelt.providers.local import LocalProvider
from smelt.providers.secrets import Secret
from smelt.providers.vendors import LOCAL
from tests.patience import BUSY

pytestmark = [pytest.mark.model, pytest.mark.slow, pytest.mark.filterwarnings("ignore:The answers of smollm2-135m")]

YEAR = {
    "type": "object",
    "properties": {"year": {"type": "integer"}},
    "required": ["year"],
    "additionalProperties": False,
}
REQUEST = Request(
    system="When was it launched? Answer with JSON.",
    user='{"note": "NASA launched it in 1969."}',
    schema=YEAR,
    max_output_tokens=48,
)


@pytest.fixture(scope="module", autouse=True)
def weights() -> Iterator[None]:
    """Fails with the command that fetches the weights where they are missing."""
    fetched(named(""))
    yield
    end_all()


async def ask(provider: Provider, *requests: Request) -> list[Reply]:
    async with provider.connect(connections=4) as connection:
        return await asyncio.gather(*(connection.send(request) for request in requests or (REQUEST,)))


def the_pid() -> int:
    pid = server_of(named("")).pid
    assert pid is not None
    return pid


def wait_for_end(pid: int, *, seconds: float) -> bool:
    """Whether the process *pid*, which need not be our child, ends in time."""
    try:
        handle = os.pidfd_open(pid)
    except ProcessLookupError:
        return True
    try:
        return bool(select.select([handle], [], [], seconds)[0])
    finally:
        os.close(handle)


def test_it_is_a_provider() -> None:
    provider = LocalProvider()

    assert isinstance(provider, Provider)
    assert (provider.name, provider.model, provider.origin) == ("local", "smollm2-135m", "local")


def test_it_answers_in_the_shape_that_was_asked_for() -> None:
    (reply,) = run_blocking(ask(LocalProvider()))

    assert json.loads(reply.text) == {"year": 1969}
    assert (reply.finish, reply.model) == ("stop", "smollm2-135m")
    assert reply.usage.input_tokens
    assert reply.usage.output_tokens


def test_two_runs_on_loops_of_their_own_share_one_child() -> None:
    run_blocking(ask(LocalProvider()))
    before = the_pid()

    run_blocking(ask(LocalProvider(), REQUEST, REQUEST, REQUEST))

    assert the_pid() == before


def test_no_thread_is_started() -> None:
    end_all()
    before = threading.enumerate()

    run_blocking(ask(LocalProvider(), REQUEST, REQUEST))

    assert threading.enumerate() == before


def test_a_child_that_died_comes_back_within_the_run() -> None:
    async def ask_kill_ask() -> list[str]:
        async with LocalProvider().connect(connections=1) as connection:
            first = await connection.send(REQUEST)
            pid = the_pid()
            os.kill(pid, signal.SIGKILL)
            wait_for_end(pid, seconds=2)
            second = await connection.send(REQUEST)
            return [first.text, second.text]

    first, second = run_blocking(ask_kill_ask())

    assert first == second


def test_its_directory_is_private_and_goes_with_it() -> None:
    run_blocking(ask(LocalProvider()))
    room = server_of(named("")).socket.parent
    mode = stat.S_IMODE(room.stat().st_mode)

    end_all()

    assert mode == 0o700
    assert not room.exists()


def test_without_the_key_there_is_no_answer() -> None:
    run_blocking(ask(LocalProvider()))
    access = Access(base_url="http://localhost/v1", key=Secret("guessed"), socket=str(server_of(named("")).socket))

    with pytest.raises(CallFailed, match="HTTP 401") as caught:
        run_blocking(ask(Compatible(vendor=LOCAL, model="smollm2-135m", access=access)))

    assert caught.value.kind == "auth"


def test_no_orphan_after_kill_9_of_the_parent() -> None:
    parent = subprocess.Popen(
        [sys.executable, Path(__file__).with_name("orphan.py")],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    with parent:
        assert parent.stdout
        pid, _, room = parent.stdout.readline().strip().partition(" ")
        parent.kill()

        assert wait_for_end(int(pid), seconds=BUSY)
        assert not Path(room).exists()


def test_a_forked_process_neither_keeps_the_child_alive_nor_ends_it() -> None:
    run_blocking(ask(LocalProvider()))
    pid, server = the_pid(), server_of(named(""))
    stop, go_on = os.pipe()
    if (fork := os.fork()) == 0:
        os.close(go_on)
        os.read(stop, 1)
        os._exit(0 if server.pid is None else 1)

    still_answers = run_blocking(ask(LocalProvider()))[0].text
    end_all()
    ended = wait_for_end(pid, seconds=1)
    os.close(go_on)

    assert json.loads(still_answers) == {"year": 1969}
    assert ended
    assert os.waitpid(fork, 0)[1] == 0


def test_damaged_weights_are_told_before_any_request(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    end_all()
    monkeypatch.setenv("SMELT_MODELS", str(tmp_path))
    place(named("")).parent.mkdir()
    with place(named("")).open("wb") as file:
        file.truncate(named("").size)

    with pytest.raises(SmeltConfigError, match=r"cannot load .*pull smollm2-135m"):
        run_blocking(ask(LocalProvider()))


def test_missing_weights_are_told_when_the_model_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SMELT_MODELS", str(tmp_path))

    with pytest.raises(MissingDependencyError, match="python -m smelt local pull smollm2-135m"):
        LocalProvider()


@pytest.mark.parametrize(
    ("params", "match"),
    [
        pytest.param({"temprature": 1}, "Did you mean 'temperature'", id="unknown"),
        pytest.param({"grammar": "root ::= x"}, "takes no parameter 'grammar'", id="would undo the schema"),
        pytest.param({"max_tokens": 5}, "set by smelt", id="ours"),
    ],
)
def test_parameters_are_checked(params: dict[str, Any], match: str) -> None:
    with pytest.raises(SmeltConfigError, match=match):
        LocalProvider().check_params(params)


def test_it_says_what_it_is_once() -> None:
    code = "from smelt.providers.local import LocalProvider as L; L(); L()"

    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)

    assert done.stderr.count("smollm2-135m") == done.stderr.count("for trying smelt out") == 1


def test_no_model_named_is_one_warning() -> None:
    code = (
        "import os; os.environ.pop('SMELT_MODEL', None); from smelt.call.resolve import resolve_model as r;"
        "r(None); r(None); r('local:')"
    )

    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)

    assert done.stderr.count("Warning") == 1
    assert "No model is named, so smollm2-135m, a small model on this machine's CPU, answers." in done.stderr
    assert "Do not rely on its answers; pass model= for a better one." in done.stderr


class Part(BaseModel):
    count: int
    colour: Literal["red", "grün", "blau"] | None


class Everything(BaseModel):
    flag: bool
    rating: int = Field(ge=1, le=5)
    ratio: float
    word: str = Field(min_length=2, max_length=12)
    day: date
    tags: list[Literal["a", "b"]] = Field(max_length=3)
    part: Part


def test_every_answer_of_the_real_model_fits_the_output_model() -> None:
    rows = [{"note": text} for text in ("NASA launched it in 1969.", 'Say "no".\n{')]

    result = smelt.run(rows, "Describe {note}.", Everything, model="local:", progress=False)

    assert result.errors == []
    assert all(isinstance(answer, Everything) for answer in result.data)
