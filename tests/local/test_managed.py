"""Managed servers: a stand-in for vLLM, real processes, the real SDK."""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
import subprocess
import sys
import threading
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import pytest
from pydantic import BaseModel

import smelt
from smelt.errors import MissingDependencyError, SmeltConfigError
from smelt.local import keeper
from smelt.local.kinds import KINDS
from smelt.local.managed import Managed, managed
from smelt.local.process import end_all
from smelt.local.runs import runs
from smelt.loop.bridge import run_blocking
from smelt.providers.base import Reply, Request
from smelt.providers.server import Server
from tests.local.servers import Place, ended, place
from tests.local.standin import CUDA

__all__ = ["place"]

pytestmark = pytest.mark.slow


class Company(BaseModel):
    sector: Literal["tech", "other"]


ROWS = [{"name": f"n{number}"} for number in range(12)]


def ask(server: Server, rows: list[dict[str, Any]] = ROWS, **options: Any) -> list[dict[str, Any]]:
    return smelt.transform(rows, "Classify {name}.", Company, model=server, progress=False, **options)


def behind(server: Server) -> Managed:
    return managed(server.spec, server.idle)


def start(server: Server, **options: Any) -> list[str]:
    """Wait until it is healthy; what was told meanwhile."""
    told: list[str] = []
    run_blocking(behind(server).ready(told.append, **options))
    return told


def test_a_server_is_started_on_first_use_and_shared_by_later_runs(place: Place) -> None:
    server = place.server()
    assert place.started == []

    first, second = ask(server), ask(place.server())

    assert first == second
    assert {row["smelt_error"] for row in first} == {None}
    assert len(place.started) == 1


def test_a_start_is_shown_while_it_lasts(place: Place) -> None:
    seen: list[Any] = []

    smelt.transform(ROWS, "Classify {name}.", Company, model=place.server(), progress=seen.append)

    waits = [event.reason for event in seen if type(event).__name__ == "Waiting"]
    assert waits[0] == "vllm to load org/model, 0 s so far"
    assert "Resumed" in {type(event).__name__ for event in seen}


def test_nothing_is_started_for_an_estimate(place: Place) -> None:
    smelt.estimate(ROWS, "Classify {name}.", Company, model=place.server(lazy=False))

    assert place.started == []


def test_a_server_that_is_not_lazy_starts_with_the_preparation_of_a_run(place: Place) -> None:
    server = place.server(lazy=False)
    server.begin()

    pids = place.wait_for_start()
    ask(server)

    assert [behind(server).server] == pids
    assert len(place.started) == 1


def test_no_thread_is_started(place: Place) -> None:
    before = threading.enumerate()

    ask(place.server())

    assert threading.enumerate() == before


def test_the_key_is_in_no_argument_and_opens_the_server_to_nobody_else(place: Place) -> None:
    server = place.server(devices=[0, 2], dtype="bfloat16", args={"max_model_len": 4096})
    ask(server)
    started, one = place.started[0], behind(server)

    assert one.key not in " ".join(started["argv"])
    assert one.room.stat().st_mode & 0o777 == 0o700
    assert started["devices"] == "0,2"
    assert started["argv"][:2] == ["serve", "org/model"]
    assert "--dtype bfloat16 --max-model-len 4096 --tensor-parallel-size 2" in " ".join(started["argv"])


@pytest.mark.parametrize(
    ("mood", "options", "said"),
    [
        ("cuda", {}, r"vllm:org/model did not start: the device has too little free memory. End what uses it"),
        ("", {"args": {"max-modl-len": 8}}, "did not start: it does not know the flag --max-modl-len 8. Look at args"),
    ],
)
def test_a_server_that_cannot_start_is_told_from_its_log(
    place: Place, mood: str, options: dict[str, Any], said: str
) -> None:
    server = place.server(mood, **options)

    for _ in range(2):  # The second call tries again, since somebody may have mended it.
        with pytest.raises(SmeltConfigError, match=said) as caught:
            ask(server)

    assert CUDA not in str(caught.value)
    assert runs() == []


@pytest.mark.whole
def test_a_server_that_is_never_healthy_is_ended(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(KINDS, "vllm", replace(KINDS["vllm"], patience=1.0))

    with pytest.raises(SmeltConfigError, match=r"vllm:org/model was not ready within 1 seconds"):
        ask(place.server("never"))

    assert [ended(pid) for pid in place.wait_for_start()] == [True]


def test_a_program_that_is_not_installed_is_told_before_anything_starts(
    place: Place, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))

    server = place.server()
    with pytest.raises(MissingDependencyError, match="pip install vllm"):
        ask(server)
    room = behind(server).room
    end_all()

    assert not room.exists()


def test_an_idle_server_ends_and_comes_back_at_the_same_address(place: Place) -> None:
    server = place.server(idle=0.4)
    ask(server)
    address = behind(server).address

    assert [ended(pid) for pid in place.wait_for_start()] == [True]
    ask(server)

    assert len(place.started) == 2
    assert behind(server).address == address


def test_a_worker_that_dies_in_mid_run_costs_no_row(place: Place) -> None:
    answered = ask(place.server("dies"), batch_size=1, concurrency=2)

    assert {row["smelt_error"] for row in answered} == {None}
    assert len(place.started) == 2


def test_a_killed_keeper_takes_its_server_along_and_the_next_run_clears_up(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = place.server("stubborn")
    ask(server)
    pids, (run,) = place.wait_for_start(), runs()

    os.kill(run.keeper[0], signal.SIGKILL)
    is_server_gone = ended(pids[0])
    ask(server)

    assert is_server_gone
    assert ended(pids[1])
    assert len(place.started) == 2
    assert len(runs()) == 1


OWNER = """
import gc, os, sys
from tests.local.servers import Place
from tests.local.test_managed import ask, behind
from pathlib import Path
server = Place(Path({folder!r})).server({mood!r})
try:
    rows = [{{"name": "x" + str(n)}} for n in range(10**5)]
    ask(server)
    gc.collect()  # A Ctrl-C that comes while a finaliser runs is lost.
    print("asked", flush=True)
    sys.stdin.read() if {waits} else ask(server, rows, batch_size=1)
except KeyboardInterrupt:
    print(behind(server).is_running, flush=True)
    sys.stdin.read()
"""


def owner(place: Place, mood: str, *, waits: bool) -> subprocess.Popen[str]:
    """A process that has asked a server, and waits or goes on to ask."""
    process = subprocess.Popen(
        [sys.executable, "-c", OWNER.format(folder=str(place.folder), mood=mood, waits=waits)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        process_group=0,
    )
    assert process.stdout
    assert process.stdout.readline() == "asked\n"
    return process


@pytest.mark.whole
def test_nothing_is_left_of_a_stubborn_server_when_its_owner_is_killed(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    with owner(place, "stubborn", waits=True) as process:
        pids, (run,) = place.wait_for_start(), runs()
        process.kill()

    assert [ended(pid) for pid in [*pids, run.keeper[0]]] == [True, True, True]
    assert not run.room.exists()
    assert not run.path.exists()


@pytest.mark.whole
def test_ctrl_c_ends_the_run_and_not_the_server(place: Place) -> None:
    with owner(place, "", waits=False) as process:
        assert process.stdout
        os.killpg(process.pid, signal.SIGINT)  # As a terminal does.
        is_running = process.stdout.readline()
        (server,) = place.wait_for_start()
        about = keeper.process(server)
        process.stdin.close()  # type: ignore[union-attr]

    assert is_running == "True\n"
    assert about is not None
    assert about.is_alive
    assert ended(server)


def test_a_forked_process_neither_keeps_the_server_alive_nor_ends_it(place: Place) -> None:
    server = place.server()
    ask(server)
    (pid,) = place.wait_for_start()
    one = behind(server)
    stop, go_on = os.pipe()
    if (fork := os.fork()) == 0:
        os.close(go_on)
        os.read(stop, 1)
        os._exit(0 if not one.is_running and behind(server) is not one else 1)

    ask(server)
    end_all()
    is_gone = ended(pid)
    os.close(go_on)

    assert is_gone
    assert os.waitpid(fork, 0)[1] == 0


def test_an_idle_server_makes_room_for_one_with_the_same_device(place: Place) -> None:
    ask(place.server(model="first", devices=[0, 1]))
    (first,) = place.wait_for_start()

    ask(place.server(model="second", devices=[1]))
    ask(place.server(model="third", devices=[2]))

    assert ended(first)
    assert sorted(run.model for run in runs()) == ["second", "third"]


def test_a_busy_server_keeps_its_device(place: Place) -> None:
    first, second = place.server(model="first", devices=[0]), place.server(model="second", devices=[0])

    async def both() -> None:
        async with first.connect(connections=1), second.connect(connections=1):
            pass

    said = "vllm:second needs device 0, which vllm:first is using. Run one after the other, or give them different dev"
    with pytest.raises(SmeltConfigError, match=said):
        run_blocking(both())


@pytest.mark.whole
def test_a_device_of_another_process_is_told_with_the_way_to_free_it(place: Place) -> None:
    with owner(place, "", waits=True) as process:
        (run,) = runs()
        run.path.write_text(run.path.read_text().replace('"devices": []', '"devices": [0]'))

        said = rf"needs device 0, which vllm:org/model of process {process.pid} has. .* engines stop {run.server[0]}"
        with pytest.raises(SmeltConfigError, match=said):
            ask(place.server(model="second", devices=[0]))
        process.kill()


def test_a_server_without_an_owner_makes_room_if_nobody_uses_it(place: Place) -> None:
    alone = Managed(place.server(model="first", devices=[0]).spec, 60.0, has_owner=False)
    run_blocking(alone.ready())
    alone.end()

    ask(place.server(model="first", devices=[0]))  # This process is attached to it now, and idle.
    ask(place.server(model="second", devices=[0]))

    assert [run.model for run in runs()] == ["second"]


def test_a_server_without_an_owner_that_another_process_uses_is_told(place: Place) -> None:
    alone = Managed(place.server(model="first", devices=[0]).spec, 60.0, has_owner=False)
    run_blocking(alone.ready())
    (run,) = runs()
    second = place.server(model="second", devices=[0])

    said = f"device 0, which vllm:first without an owner, which a process uses, has. End that .* stop {run.server[0]}"
    with pytest.raises(SmeltConfigError, match=said):
        ask(second)  # The process that started it has not left yet.
    alone.end()
    attached = run.attach()
    assert attached is not None
    with attached[0], pytest.raises(SmeltConfigError, match=said):
        ask(second)
    ask(second)

    assert [run.model for run in runs()] == ["second"]


def test_a_server_without_an_owner_is_used_by_other_processes(place: Place) -> None:
    server = place.server(idle=5.0)  # Until the first request, the SDK is imported, which takes seconds at worst.
    alone = Managed(server.spec, server.idle, has_owner=False)
    run_blocking(alone.ready())
    alone.end()

    answered = ask(server)

    assert {row["smelt_error"] for row in answered} == {None}
    assert len(place.started) == 1
    assert behind(server).pid is None
    assert [ended(pid) for pid in place.wait_for_start()] == [True]
    ask(server)
    assert len(place.started) == 2


def test_an_ollama_is_started_on_a_port_of_its_own_if_none_answers(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OLLAMA_HOST", "127.0.0.1:1")  # Nobody listens there.
    server = place.server(kind="ollama", model="qwen3:8b")

    answered = ask(server)

    assert {row["smelt_error"] for row in answered} == {None}
    assert behind(server).address.startswith("http://127.0.0.1:")
    assert behind(server).server == place.wait_for_start()[0]


def test_an_ollama_that_answers_is_used_and_left_alone(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    first = place.server(kind="ollama", model="qwen3:8b")
    monkeypatch.setenv("OLLAMA_HOST", "127.0.0.1:1")
    ask(first)
    monkeypatch.setenv("OLLAMA_HOST", behind(first).address)
    second = place.server(kind="ollama", model="another")

    answered = ask(second)
    behind(second).end(wait=True)

    assert {row["smelt_error"] for row in answered} == {None}
    assert len(place.started) == 1
    assert not ended(place.wait_for_start()[0], seconds=0)


@pytest.mark.model
def test_llama_cpp_of_the_embedded_model_serves_a_file(place: Place) -> None:
    server = Server("llamacpp", "smollm2-135m", args={"parallel": 2})
    schema = {"type": "object", "properties": {"n": {"enum": [1, 2]}}, "required": ["n"], "additionalProperties": False}
    request = Request(system="Answer with JSON.", user="One.", schema=schema, max_output_tokens=32)

    async def send() -> Reply:
        async with server.connect(connections=1) as connection:
            return await connection.send(request)

    reply = run_blocking(send())
    room = behind(server).room
    behind(server).end(wait=True)

    assert json.loads(reply.text)["n"] in (1, 2)
    assert reply.model == "smollm2-135m"
    assert not room.exists()


def test_several_tasks_wait_for_one_start(place: Place) -> None:
    server = place.server()

    async def three() -> list[bool]:
        return await asyncio.gather(*(behind(server).ready() for _ in range(3)))

    assert run_blocking(three()) == [True, True, True]
    assert len(place.started) == 1


def test_several_tasks_hear_of_one_failure(place: Place) -> None:
    server = place.server("cuda")

    async def three() -> list[bool | BaseException]:
        return await asyncio.gather(*(behind(server).ready() for _ in range(3)), return_exceptions=True)

    told = run_blocking(three())
    assert [type(one) for one in told] == [SmeltConfigError] * 3
    assert len({str(one) for one in told}) == 1


def test_a_wait_may_be_short(place: Place) -> None:
    assert run_blocking(behind(place.server("never")).ready(within=0.3)) is False


def test_the_title_names_kind_and_served_model(place: Place) -> None:
    server = place.server(args={"served-model-name": "tiny"})
    ask(server)

    assert re.search(r"--served-model-name tiny$", " ".join(place.started[0]["argv"]))
    assert behind(server).spec.title == "vllm:tiny"
