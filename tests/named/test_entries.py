"""What the fields of an entry mean, and which are refused."""

from __future__ import annotations

import re
from typing import Any

import pytest

from smelt.errors import AuthConfigError, SmeltConfigError, SmeltWarning
from smelt.named.entries import Entry, ServerEntry, entry_of

WHERE = "engines.yml, entry 'x'"


def entry(**fields: Any) -> Entry:
    return entry_of(fields, source=WHERE)


@pytest.mark.parametrize(
    ("fields", "wanted"),
    [
        pytest.param(
            {"backend": "openai", "model": "gpt-4.1-mini", "api_key_env": "OPENAI_API_KEY"},
            Entry(vendor="openai", model="gpt-4.1-mini", key_variable="OPENAI_API_KEY"),
            id="a hosted model",
        ),
        pytest.param(
            {"backend": "vllm_api", "model": "Qwen/Qwen3-8B", "endpoint": "https://gpu.example.org/v1"},
            Entry(vendor="vllm", model="Qwen/Qwen3-8B", base_url="https://gpu.example.org/v1"),
            id="a server that runs elsewhere",
        ),
        pytest.param(
            {"backend": "ollama_api", "model": "gemma3:4b", "endpoint": "http://localhost:11434"},
            Entry(vendor="ollama", model="gemma3:4b", base_url="http://localhost:11434/v1"),
            id="an address without the path of the API",
        ),
        pytest.param(
            {"model": "openai:gpt-4.1-nano", "params": {"temperature": 0}},
            Entry(vendor="openai", model="gpt-4.1-nano", params={"temperature": 0}),
            id="a string of smelt's own",
        ),
        pytest.param(
            {"model": "vllm:Qwen/Qwen3-8B"},
            Entry(vendor="vllm", model="Qwen/Qwen3-8B"),
            id="a string is a server that runs already",
        ),
        pytest.param(
            {"backend": "vllm", "model": "m", "devices": [0, 1], "lazy": False, "args": {"max-model-len": 8192}},
            Entry(
                vendor="vllm",
                model="m",
                server=ServerEntry(devices=(0, 1), lazy=False, args={"max-model-len": 8192}),
            ),
            id="a server to start",
        ),
        pytest.param(
            {
                "model": "/models/Qwen3",
                "dtype": "bfloat16",
                "gpu_memory_utilization": 0.9,
                "enable_reasoning": True,
                "reasoning_parser": "deepseek_r1",
                "max_model_len": 8192,
                "extra_serve_flags": ["--max-num-seqs", "8", "--enforce-eager", "--seed=1"],
                "extra_env": {"VLLM_LOGGING_LEVEL": "INFO"},
                "port": 8001,
            },
            Entry(
                vendor="vllm",
                model="/models/Qwen3",
                server=ServerEntry(
                    dtype="bfloat16",
                    args={
                        "gpu_memory_utilization": 0.9,
                        "max_model_len": 8192,
                        "reasoning_parser": "deepseek_r1",
                        "max-num-seqs": "8",
                        "enforce-eager": True,
                        "seed": "1",
                    },
                    env={"VLLM_LOGGING_LEVEL": "INFO"},
                ),
            ),
            id="chainette's own fields, without a backend",
        ),
        pytest.param(
            {"backend": "vllm_local", "model": "m", "enable_reasoning": False, "reasoning_parser": "deepseek_r1"},
            Entry(vendor="vllm", model="m", server=ServerEntry()),
            id="in-process vLLM is a server, and reasoning is off",
        ),
        pytest.param(
            {"backend": "ollama", "model": "qwen3:8b", "idle": 600},
            Entry(vendor="ollama", model="qwen3:8b", server=ServerEntry(idle=600)),
            id="an Ollama to start",
        ),
        pytest.param(
            {"backend": "anthropic", "model": "claude-haiku-4-5", "endpoint": None},
            Entry(vendor="anthropic", model="claude-haiku-4-5"),
            id="any other vendor",
        ),
    ],
)
def test_an_entry_says_which_model_is_asked_and_how(fields: dict[str, Any], wanted: Entry) -> None:
    assert entry(**fields) == wanted


def test_openai_at_another_address_is_asked_by_chat_completions() -> None:
    found = entry(backend="openai", model="m", endpoint="https://gateway.example.org/v1")

    assert found.vendor == "compatible"
    assert found.base_url == "https://gateway.example.org/v1"


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"modle": "m"}, "there is no field 'modle'. Did you mean 'model'? Flags of the server go into 'args'."),
        ({"backend": "vllm"}, "the field 'model' is missing"),
        ({"backend": "vlm", "model": "m"}, "there is no backend 'vlm'. Did you mean 'vllm'?"),
        ({"backend": "vllm", "model": "m", "devices": 0}, "the field 'devices' must be a list, not int"),
        ({"backend": "vllm", "model": "m", "devices": ["a"]}, "must be a list of device numbers"),
        ({"backend": "vllm", "model": "m", "lazy": "no"}, "the field 'lazy' must be true or false, not str"),
        ({"backend": "vllm", "model": "m", "idle": True}, "the field 'idle' must be a number, not bool"),
        ({"backend": "vllm", "model": "m", "args": []}, "the field 'args' must be a table, not list"),
        ({"backend": "vllm", "model": 8}, "the field 'model' must be a string, not int"),
        ({"backend": "vllm", "model": "m", "endpoint": "gpu:8000"}, "field 'endpoint' must begin with https://"),
        ({"backend": "vllm", "model": "m", "extra_serve_flags": ["8"]}, "has '8' without a flag before it"),
    ],
)
def test_a_wrong_entry_is_refused_with_file_entry_and_field(fields: dict[str, Any], said: str) -> None:
    with pytest.raises(SmeltConfigError, match=re.escape(said)) as caught:
        entry(**fields)

    assert str(caught.value).startswith(WHERE)


@pytest.mark.parametrize(
    "fields",
    [
        {"backend": "openai", "model": "m", "api_key": "sk-c4n4ry"},
        {"backend": "vllm", "model": "m", "extra_env": {"HF_TOKEN": "hf_c4n4ry"}},
    ],
)
def test_a_key_in_a_file_is_refused_and_not_shown(fields: dict[str, Any]) -> None:
    with pytest.raises(AuthConfigError, match="key in a file") as caught:
        entry(**fields)

    assert "c4n4ry" not in str(caught.value)


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        (
            {"backend": "vllm_api", "endpoint": "http://gpu:8000", "devices": [0], "dtype": "half", "lazy": True},
            "'devices', 'dtype' have no effect beside 'endpoint'.",
        ),
        (
            {"backend": "vllm", "endpoint": "http://gpu:8000", "max_model_len": 8192},
            "'max_model_len' has no effect beside 'endpoint'.",
        ),
        (
            {"backend": "openai", "args": {"seed": 1}},
            "'args' has no effect for openai, which smelt does not start.",
        ),
    ],
)
def test_a_field_without_effect_is_told(fields: dict[str, Any], said: str) -> None:
    with pytest.warns(SmeltWarning, match=re.escape(f"{WHERE}: {said}")):
        entry(model="m", **fields)


def test_a_variable_that_only_sounds_like_a_key_is_taken() -> None:
    found = entry(backend="vllm", model="m", extra_env={"TOKENIZERS_PARALLELISM": False})

    assert found.server is not None
    assert found.server.env == {"TOKENIZERS_PARALLELISM": "False"}
