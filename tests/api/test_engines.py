"""`smelt engines list | start | stop | kill`, `warmup`, `kill`: the command line of servers, with the stand-in."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from smelt.api.engines import start
from smelt.cli import main
from smelt.errors import SmeltConfigError
from smelt.local.runs import runs
from tests.local.servers import Place, ended, place

__all__ = ["place"]

pytestmark = pytest.mark.slow


@pytest.fixture(autouse=True)
def file(place: Place, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An engine file; what still runs at the end is killed."""
    path = place.folder / "engines.json"
    env = {"STANDIN_PIDS": str(place.folder / "pids")}
    entries = {
        "llama": {"backend": "vllm", "model": "org/llama", "devices": [0], "extra_env": env},
        "broken": {"backend": "vllm", "model": "org/broken", "extra_env": {**env, "STANDIN": "cuda"}},
        "hosted": {"model": "openai:gpt-4.1-mini"},
        "keyless": {"model": "openai:gpt-4.1", "api_key_env": "A_KEY_THAT_IS_NOT_SET"},
    }
    path.write_text(json.dumps({"engines": entries}))
    monkeypatch.setenv("SMELT_ENGINES", str(path))
    yield path
    main(["kill", "--all"])


def shown(capsys: pytest.CaptureFixture[str], *arguments: str, code: int = 0) -> str:
    assert main(arguments) == code
    told = capsys.readouterr()
    return told.err if code else told.out


@pytest.mark.parametrize("words", [["engines", "start"], ["warmup"]], ids=["start", "warmup"])
def test_a_server_is_started_listed_and_stopped(
    words: list[str], place: Place, capsys: pytest.CaptureFixture[str]
) -> None:
    started = shown(capsys, *words, "llama")
    again = shown(capsys, *words, "llama")
    (pid,) = place.wait_for_start()
    listed = shown(capsys, "engines", "list")
    is_running = not ended(pid, seconds=0)
    stopped = shown(capsys, "engines", "stop", "llama")

    assert "waiting for vllm to load org/llama, 0 s so far\nllama is ready after " in started
    assert started.endswith("It ends after 3:00 min without a request.\n")
    assert again == "llama runs already.\n"
    assert f"vllm:org/llama                           process {pid}, no owner, for " in listed
    assert "device 0" in listed
    assert "broken           vllm:org/broken                          not running\n" in listed
    assert "hosted           openai:gpt-4.1-mini\n" in listed
    assert is_running
    assert stopped == "Ended 1 server.\n"
    assert ended(pid)
    assert runs() == []


def test_a_server_is_stopped_by_its_process_id_and_killed_with_all(
    place: Place, capsys: pytest.CaptureFixture[str]
) -> None:
    shown(capsys, "warmup", "llama")
    shown(capsys, "engines", "stop", str(place.wait_for_start()[0]))
    shown(capsys, "warmup", "llama")

    killed = shown(capsys, "kill", "--all")

    assert killed == "Killed 1 server.\n"
    assert [ended(pid) for pid in (*place.wait_for_start(1), *place.wait_for_start(2))] == [True, True]
    assert shown(capsys, "engines", "kill", "--all") == "Killed 0 servers.\n"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["engines", "start", "broken"], "vllm:org/broken did not start: the device has too little free memory."),
        (["engines", "start", "hosted"], "hosted is openai:gpt-4.1-mini, which smelt does not start."),
        (["engines", "start", "lama"], "Did you mean 'llama'?"),
        (["engines", "stop", "llama"], "No server 'llama' runs. There are none."),
        (["engines", "list", "--file", "nowhere.json"], "nowhere.json cannot be read"),
    ],
)
def test_what_cannot_be_done_is_told_in_one_line(
    arguments: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    told = shown(capsys, *arguments, code=2)

    assert said in told
    assert told.count("\n") == 1
    assert runs() == []


def test_without_names_and_servers_that_is_said(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("SMELT_ENGINES")

    assert shown(capsys, "engines", "list") == "No model is registered, and no server runs.\n"


def test_a_file_may_be_named_on_the_command_line(
    file: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("SMELT_ENGINES")

    assert "llama " in shown(capsys, "engines", "list", "--file", str(file))


def test_a_start_that_lasts_is_told_every_ten_seconds(place: Place) -> None:
    told: list[str] = []
    hours = iter(range(10**6))  # A clock by which every look is an hour later.

    with pytest.raises(SmeltConfigError, match="too little free memory"):
        start("broken", told.append, clock=lambda: float(next(hours) * 3600))

    assert len(told) >= 1
    assert all(line.startswith("waiting for vllm to load org/broken") for line in told)
