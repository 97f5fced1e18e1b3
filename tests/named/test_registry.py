"""Names for models: `smelt.register_model`, `smelt.load_models`, `SMELT_ENGINES`, and `model="name"`."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import smelt
from smelt.call.resolve import resolve_model
from smelt.errors import AuthConfigError, SmeltConfigError
from smelt.model import read_model
from smelt.named import registry
from smelt.providers.adapter import Adapter
from smelt.providers.secrets import Secret
from smelt.testing import ScriptedProvider

KEY = "sk-proj-c4n4ry"


@pytest.fixture(autouse=True)
def no_file(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SMELT_ENGINES", raising=False)


def test_a_name_asks_its_model_with_its_parameters() -> None:
    smelt.register_model("fast", smelt.Model("openai", "gpt", params={"seed": 1}), params={"temperature": 0})

    assert read_model("fast") == smelt.Model("openai", "gpt", params={"seed": 1, "temperature": 0})


def test_a_server_takes_the_parameters_of_its_name() -> None:
    smelt.register_model("llama", smelt.Server("vllm", "m", params={"seed": 1}), params={"temperature": 0})

    assert read_model("llama") == smelt.Server("vllm", "m", params={"seed": 1, "temperature": 0})


def test_a_name_works_wherever_a_model_does() -> None:
    smelt.register_model("mine", ScriptedProvider({"text": "yes"}))
    rows = [{"a": "x"}]

    answered = smelt.transform(rows, "Say {a}.", str, model="mine", progress=False)
    smelt.configure(model="mine")
    by_default = smelt.transform(rows, "Say {a}.", str, progress=False)
    smelt.configure(model=None)

    assert answered == by_default == [{"a": "x", "smelt_text": "yes", "smelt_error": None}]


@pytest.mark.parametrize(
    ("name", "said"),
    [("fats", "or a registered name, not 'fats'. Did you mean 'fast'?"), ("q", "There are 'fast'.")],
)
def test_an_unknown_name_is_refused_with_the_nearest_ones(name: str, said: str) -> None:
    smelt.register_model("fast", "openai:gpt")

    for read in (read_model, smelt.Model.parse):
        with pytest.raises(SmeltConfigError, match=re.escape(said)):
            read(name)


def test_a_key_passed_as_the_model_is_not_shown() -> None:
    smelt.register_model("fast", "openai:gpt")

    with pytest.raises(SmeltConfigError, match="registered name") as caught:
        read_model(KEY)

    assert "c4n4ry" not in str(caught.value)


def test_a_name_given_twice_must_mean_the_same_until_it_is_freed() -> None:
    smelt.register_model("fast", "openai:gpt")
    smelt.register_model("fast", "openai:gpt")

    with pytest.raises(SmeltConfigError, match="'fast' is registered for another model"):
        smelt.register_model("fast", "openai:other")
    smelt.register_model("fast", None)
    smelt.register_model("fast", "openai:other")

    assert read_model("fast") == smelt.Model("openai", "other")


@pytest.mark.parametrize("name", ["", "a:b", "a b", "a\n", "x" * 81, 5])
def test_a_name_that_could_not_be_looked_up_is_refused(name: Any) -> None:
    with pytest.raises(SmeltConfigError, match="name must be"):
        smelt.register_model(name, "openai:gpt")


def test_parameters_go_with_a_model_of_ours() -> None:
    with pytest.raises(SmeltConfigError, match="This object has parameters of its own"):
        smelt.register_model("mine", ScriptedProvider({}), params={"temperature": 0})
    with pytest.raises(SmeltConfigError, match="params must be a dict"):
        smelt.register_model("mine", "openai:gpt", params=5)  # type: ignore[arg-type]


def test_a_file_is_loaded_whole_or_not_at_all(tmp_path: Path) -> None:
    file = tmp_path / "engines.json"
    file.write_text('{"new": {"model": "openai:a"}, "fast": {"model": "openai:b"}}')
    smelt.register_model("fast", "openai:gpt")

    with pytest.raises(SmeltConfigError, match="'fast' is registered for another model"):
        smelt.load_models(file)
    assert registry.names() == ["fast"]

    smelt.register_model("fast", None)
    assert smelt.load_models(str(file)) == smelt.load_models(file) == ["new", "fast"]


def test_the_key_is_read_from_the_variable_at_use(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "e.json").write_text('{"a": {"backend": "openai", "model": "m", "api_key_env": "MY_KEY"}}')
    smelt.load_models(tmp_path / "e.json")

    found = read_model("a")
    with pytest.raises(AuthConfigError, match=r"The environment variable MY_KEY, which is to have the key, is not set"):
        resolve_model(found)
    monkeypatch.setenv("MY_KEY", KEY)

    assert found == smelt.Model("openai", "m", key_env="MY_KEY")
    provider = resolve_model(found)
    assert isinstance(provider, Adapter)
    assert provider.access.secrets == (Secret(KEY),)
    assert "c4n4ry" not in repr(found)


def test_the_environment_names_a_file_for_every_process(tmp_path: Path) -> None:
    (tmp_path / "e.json").write_text('{"fast": {"model": "openai:gpt"}}')
    code = "import pickle, smelt; from smelt.model import read_model; print(read_model('fast'))"
    environ = os.environ | {"SMELT_ENGINES": str(tmp_path / "e.json")}

    done = subprocess.run([sys.executable, "-c", code], env=environ, capture_output=True, text=True, check=True)

    assert "name='gpt'" in done.stdout


def test_the_environment_variable_is_named_if_its_file_is_wrong(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SMELT_ENGINES", "nowhere.json")

    with pytest.raises(SmeltConfigError, match="SMELT_ENGINES: nowhere.json cannot be read"):
        read_model("fast")


def test_a_file_in_the_working_directory_is_not_read_unasked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "engines.json").write_text('{"fast": {"model": "openai:gpt"}}')
    monkeypatch.chdir(tmp_path)

    with pytest.raises(SmeltConfigError, match='must be "provider:name"'):
        read_model("fast")
