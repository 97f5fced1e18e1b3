"""`smelt.Server` as a value and as a provider; `tests/local/test_managed.py` has what becomes of its processes."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import pytest

import smelt
from smelt.call.resolve import resolve_model
from smelt.errors import ConfigTypeError, SmeltConfigError
from smelt.model import read_model
from smelt.providers.base import CompleteProvider
from smelt.providers.server import Server
from smelt.providers.vendors import STARTED


def test_it_is_a_provider_with_the_name_of_its_kind() -> None:
    server = Server("vllm", "org/model")

    assert isinstance(server, CompleteProvider)
    assert (server.name, server.model, server.key) == ("vllm", "org/model", None)
    assert resolve_model(server) is server


def test_servers_that_start_differently_have_lanes_of_their_own() -> None:
    assert Server("vllm", "m").deployment != Server("vllm", "m", args={"seed": 1}).deployment
    assert Server("vllm", "m").deployment == Server("vllm", "m", idle=5, params={"seed": 1}).deployment


def test_it_can_be_pickled_compared_and_used_as_a_key() -> None:
    server = Server("vllm", "m", devices=[0], args={"seed": 1})

    assert pickle.loads(pickle.dumps(server)) == server
    assert {server: 1}[Server("vllm", "m", devices=(0,), args={"seed": 1})] == 1


def test_the_kinds_are_those_that_engine_files_may_start() -> None:
    assert {Server(kind, "m").kind for kind in STARTED} == set(STARTED)


@pytest.mark.parametrize(
    ("arguments", "options", "said"),
    [
        (("vlm", "m"), {}, "smelt starts no server 'vlm'. Did you mean 'vllm'?"),
        ((5, "m"), {}, "kind must be a string"),
        (("vllm", ""), {}, "model must be the name or the path of a model"),
        (("vllm", "--help"), {}, "model must be the name or the path of a model"),
        (("vllm", 5), {}, "model must be a string"),
        (("vllm", "m"), {"devices": 0}, "devices must be a list of device numbers"),
        (("vllm", "m"), {"devices": [-1]}, "devices must be a list of device numbers"),
        (("vllm", "m"), {"idle": 0}, "idle must be above 0"),
        (("vllm", "m"), {"idle": "5"}, "idle must be a number of seconds"),
        (("vllm", "m"), {"lazy": 1}, "lazy must be True or False"),
        (("vllm", "m"), {"args": ["--seed"]}, "args must be a dict"),
        (("vllm", "m"), {"dtype": 16}, "dtype must be a string"),
        (("vllm", "m"), {"args": {"port": 80}}, "The flag 'port' of vllm is set by smelt"),
        (("vllm", "m"), {"args": {"max model len": 1}}, "args has 'max model len', which is no flag"),
        (("vllm", "m"), {"args": {"seed": {1}}}, r"args\['seed'\] must be a string, a number, True, or a list or dict"),
        (("vllm", "m"), {"args": {"seed": float("nan")}}, r"args\['seed'\] must be"),
        (("vllm", "m"), {"args": {"max-num-seqs": 1, "max_num_seqs": 2}}, "has the flag 'max-num-seqs' twice"),
        (("vllm", "m"), {"devices": [0, 0]}, "device numbers, each only once"),
        (("vllm", "m"), {"env": {"VLLM_PORT": 8000}}, r"env\['VLLM_PORT'\] must be a string"),
        (("vllm", "m"), {"env": {"A=B": "1"}}, "env has 'A=B', which is no name of an environment variable"),
        (("vllm", "m"), {"env": {"HF_TOKEN": "hf_x"}}, "env has 'HF_TOKEN', which looks like a key"),
    ],
)
def test_a_wrong_argument_is_refused_when_the_server_is_described(
    arguments: tuple[Any, ...], options: dict[str, Any], said: str
) -> None:
    with pytest.raises(SmeltConfigError, match=said):
        Server(*arguments, **options)


def test_parameters_are_those_of_the_vendor() -> None:
    with pytest.raises(SmeltConfigError, match="Did you mean 'temperature'"):
        resolve_model(Server("vllm", "m", params={"temprature": 0}))
    with pytest.raises(ConfigTypeError, match="params must be a dict"):
        Server("vllm", "m", params=[])  # type: ignore[arg-type]


def test_an_entry_of_a_file_without_an_address_is_a_server(tmp_path: Path) -> None:
    (tmp_path / "e.json").write_text(
        '[{"name": "llama", "backend": "vllm_local", "model": "org/m", "devices": [0], "lazy": false, "idle": 60,'
        ' "gpu_memory_utilization": 0.9, "params": {"temperature": 0}}]'
    )

    smelt.load_models(tmp_path / "e.json")

    assert read_model("llama") == Server(
        "vllm",
        "org/m",
        devices=[0],
        lazy=False,
        idle=60,
        args={"gpu_memory_utilization": 0.9},
        params={"temperature": 0},
    )


def test_a_request_leaves_half_of_a_small_context_for_its_input() -> None:
    small, usual = Server("vllm", "m", args={"max-model-len": 2048}).capabilities, Server("vllm", "m").capabilities

    assert (small.context_tokens, small.max_output_tokens) == (2048, 1024)
    assert usual.context_tokens is None


def test_a_flag_may_be_spelt_in_several_ways() -> None:
    servers = [
        Server("vllm", "m", args=args)
        for args in ({"max-num-seqs": 8}, {"max_num_seqs": 8}, {"--max-num-seqs": "8"}, {"max-num-seqs": 8, "x": False})
    ]

    assert len({server.deployment for server in servers}) == 1
    assert Server("vllm", "m", args={"served-model-name": "n"}).spec.served == "n"
    assert Server("vllm", "m", args={"--served_model_name": "n"}).spec.served == "n"


def test_a_variable_that_only_sounds_like_a_key_is_none() -> None:
    Server("vllm", "m", env={"TOKENIZERS_PARALLELISM": "false", "VLLM_KEYED": "1"})
