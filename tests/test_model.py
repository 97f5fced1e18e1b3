"""What a string or a `Model` names, and that it shows no key."""

from __future__ import annotations

import pickle
import re
import subprocess
import sys
from typing import Any

import pytest

from smelt.errors import SmeltConfigError
from smelt.model import Model
from smelt.providers.secrets import Secret

KEY = "sk-proj-c4n4ry"


@pytest.mark.parametrize(
    ("text", "provider", "name"),
    [
        ("openai:gpt-4.1-mini", "openai", "gpt-4.1-mini"),
        ("ollama:llama3.2:3b", "ollama", "llama3.2:3b"),
        ("openrouter:meta/llama-4:free", "openrouter", "meta/llama-4:free"),
        ("google:models/gemini-2.5-flash", "google", "models/gemini-2.5-flash"),
        ("local:", "local", ""),
    ],
)
def test_a_string_names_provider_and_model(text: str, provider: str, name: str) -> None:
    assert (Model.parse(text).provider, Model.parse(text).name) == (provider, name)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("gpt-4.1-mini", 'must be "provider:name"'),
        ("", 'must be "provider:name"'),
        ("opnai:gpt", "There is no provider 'opnai'. Did you mean 'openai'?"),
        (":gpt", "There is no provider ''"),
        ("openai:", "The model of openai has no name"),
        ("openai: gpt", "has spaces or control characters"),
        ("openai:gpt\n", "has spaces or control characters"),
    ],
)
def test_a_string_that_names_no_model_is_refused(text: str, said: str) -> None:
    with pytest.raises(SmeltConfigError, match=re.escape(said)):
        Model.parse(text)


def test_a_model_shows_no_key() -> None:
    model = Model("openai", "gpt", api_key=KEY)

    assert "c4n4ry" not in f"{model}{model!r}{vars(model)}"
    assert b"c4n4ry" not in pickle.dumps(model)
    assert pickle.loads(pickle.dumps(model)) == Model("openai", "gpt")
    assert model == Model("openai", "gpt", api_key=KEY)
    assert hash(model) == hash(Model("openai", "gpt", api_key=KEY))


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"provider": None}, "provider must be a string"),
        ({"name": None}, "name must be a string"),
        ({"api_key": ""}, "api_key is blank"),
        ({"api_key": 7}, "api_key must be a string"),
        ({"base_url": "ftp://x"}, "base_url must begin with"),
        ({"params": [1]}, "params must be a dict"),
        ({"allow_http": 1}, "allow_http must be True or False"),
    ],
    ids=["provider", "name", "blank-key", "key", "base-url", "params", "allow-http"],
)
def test_a_wrong_argument_is_refused_by_name(arguments: dict[str, Any], said: str) -> None:
    with pytest.raises(SmeltConfigError, match=said):
        Model(**{"provider": "openai", "name": "gpt", **arguments})


def test_naming_a_model_loads_no_sdk() -> None:
    script = (
        "import sys; from smelt.model import Model; Model.parse('openai:gpt');"
        "print([name for name in ('openai', 'anthropic', 'google.genai', 'httpx2', 'genai_prices') if name in "
        "sys.modules])"
    )

    shown = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout

    assert shown == "[]\n"


def test_a_key_can_be_given_wrapped() -> None:
    assert Model("openai", "gpt", api_key=Secret(KEY)) == Model("openai", "gpt", api_key=KEY)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"key_env": 7}, "key_env must be the name of an environment variable, not 7"),
        ({"key_env": "sk-proj-c4n4ry"}, "key_env must be the name of an environment variable, like OPENAI_API_KEY"),
        ({"key_env": "KEY", "api_key": "sk-c4n4ry"}, "api_key= and key_env= both say what the key is"),
    ],
    ids=["number", "key", "both"],
)
def test_the_variable_of_a_key_is_checked_and_never_shown(given: dict[str, Any], said: str) -> None:
    with pytest.raises(SmeltConfigError, match=said) as caught:
        Model("openai", "m", **given)

    assert "c4n4ry" not in str(caught.value)
