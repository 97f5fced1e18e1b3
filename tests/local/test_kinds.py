"""The commands of managed servers."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest

from smelt.errors import MissingDependencyError, SmeltConfigError
from smelt.local import child
from smelt.local.kinds import KINDS, Spec, check, flags


def program(folder: Path, name: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """A program of that name, alone on PATH."""
    path = folder / name
    path.write_text("#!/bin/sh\n")
    path.chmod(0o755)
    monkeypatch.setenv("PATH", str(folder))
    return str(path)


def command(spec: Spec, address: str = "/room/model.sock") -> list[str]:
    return KINDS[spec.kind].command(spec, address)


@pytest.mark.parametrize(
    ("args", "words"),
    [
        ({"max_model_len": 8192, "--seed": 1}, ["--max-model-len", "8192", "--seed", "1"]),
        ({"enforce-eager": True, "no": False, "none": None}, ["--enforce-eager"]),
        ({"lora-modules": ["a=1", "b=2"]}, ["--lora-modules", "a=1", "b=2"]),
        ({"speculative-config": {"n": 2}}, ["--speculative-config", '{"n": 2}']),
    ],
)
def test_a_table_of_flags_becomes_words(args: dict[str, Any], words: list[str]) -> None:
    assert flags(args) == words


def test_vllm_serves_on_a_unix_socket_over_all_its_devices(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    vllm = program(tmp_path, "vllm", monkeypatch)
    spec = Spec(kind="vllm", model="m", dtype="half", devices=(0, 1), args={"seed": 1})

    assert command(spec) == [
        *(vllm, "serve", "m", "--uds", "/room/model.sock", "--disable-uvicorn-access-log"),
        *("--dtype", "half", "--seed", "1", "--tensor-parallel-size", "2"),
    ]
    assert "--tensor-parallel-size 1" in " ".join(command(Spec(**{**vars(spec), "args": {"tensor_parallel_size": 1}})))


@pytest.mark.parametrize("is_there", [True, False], ids=["file", "hub"])
def test_llama_server_is_used_if_it_is_on_path(is_there: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    server = program(tmp_path, "llama-server", monkeypatch)
    model = str(tmp_path / "m.gguf") if is_there else "org/model-GGUF"
    if is_there:
        Path(model).touch()

    assert command(Spec(kind="llamacpp", model=model, args={"ctx-size": 8192})) == [
        *(server, "-m" if is_there else "-hf", model),
        *("--host", "/room/model.sock", "--alias", model, "--ctx-size", "8192"),
    ]


def test_without_llama_server_the_embedded_models_runtime_serves_a_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    model = tmp_path / "m.gguf"
    model.touch()

    words = command(Spec(kind="llamacpp", model=str(model), args={"parallel": 2}))

    assert words == [
        sys.executable,
        "-P",
        child.__file__,
        str(model),
        "/room/model.sock",
        str(model),
        '{"parallel": 2}',
    ]
    with pytest.raises(SmeltConfigError, match="The flag 'seed' needs llama-server on PATH"):
        command(Spec(kind="llamacpp", model=str(model), args={"seed": 2}))
    with pytest.raises(SmeltConfigError, match=r"There is no file .*nowhere\.gguf"):
        command(Spec(kind="llamacpp", model=str(tmp_path / "nowhere.gguf")))


def test_ollama_is_served_on_loopback(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ollama = program(tmp_path, "ollama", monkeypatch)
    kind = KINDS["ollama"]

    assert command(Spec(kind="ollama", model="m"), "http://127.0.0.1:5") == [ollama, "serve"]
    assert kind.environ("http://127.0.0.1:5") == {"OLLAMA_HOST": "127.0.0.1:5"}


@pytest.mark.parametrize(
    ("variable", "address"),
    [
        ("", "http://127.0.0.1:11434"),
        ("0.0.0.0", "http://127.0.0.1:11434"),
        ("localhost:5", "http://127.0.0.1:5"),
        ("http://10.0.0.1:11435/", "http://10.0.0.1:11435"),
    ],
)
def test_an_ollama_that_runs_is_looked_for_where_ollama_looks(variable: str, address: str) -> None:
    assert KINDS["ollama"].usual({"OLLAMA_HOST": variable}) == address


@pytest.mark.parametrize("kind", ["vllm", "ollama"])
def test_a_program_that_is_not_here_is_told(kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))

    with pytest.raises(MissingDependencyError, match="not installed here"):
        command(Spec(kind=kind, model="m"))


@pytest.mark.parametrize(
    ("spec", "said"),
    [
        (Spec(kind="vllm", model="m", args={"api_key": "x"}), "The flag 'api_key' of vllm is set by smelt"),
        (Spec(kind="vllm", model="m", args={"--port": 1}), "The flag '--port' of vllm is set by smelt"),
        (Spec(kind="ollama", model="m", dtype="half"), "ollama takes no dtype="),
    ],
)
def test_what_smelt_sets_itself_is_refused(spec: Spec, said: str) -> None:
    with pytest.raises(SmeltConfigError, match=said):
        check(spec)


def test_equal_specs_have_one_digest_and_others_have_others() -> None:
    spec = Spec(kind="vllm", model="m", args={"a": 1, "b": 2})

    assert spec.digest == Spec(kind="vllm", model="m", args={"b": 2, "a": 1}).digest
    assert spec.digest != Spec(kind="vllm", model="m", args={"a": 1}).digest


@pytest.mark.parametrize(
    ("kind", "args", "tokens"),
    [
        ("vllm", {"max_model_len": 4096}, 4096),
        ("llamacpp", {"ctx-size": 8192, "parallel": "4"}, 2048),
        ("vllm", {"max-model-len": "8k"}, None),
        ("vllm", {}, None),
    ],
)
def test_a_flag_for_the_context_is_known_before_the_first_request(
    kind: str, args: dict[str, Any], tokens: int | None
) -> None:
    assert Spec(kind=kind, model="m", args=args).context_tokens == tokens
