"""What a request cost."""

from __future__ import annotations

import threading

import pytest

import smelt
from smelt.call.resolve import resolve_model
from smelt.errors import SmeltConfigError
from smelt.model import Model
from smelt.providers.base import Usage
from smelt.providers.prices import check_priced, cost_of, cost_usd, price_of
from smelt.testing import ScriptedProvider

USAGE = Usage(input_tokens=1_000, output_tokens=100)


def test_a_listed_model_has_its_price() -> None:
    # 0.40 and 1.60 dollars per million tokens, openai.com/api/pricing, November 2026.
    assert cost_usd("openai", "gpt-4.1-mini", USAGE) == pytest.approx(1_000 * 0.40e-6 + 100 * 1.60e-6)


def test_cached_tokens_cost_less() -> None:
    cached = Usage(input_tokens=1_000, output_tokens=100, cached_input_tokens=1_000)

    assert 0 < (cost_usd("openai", "gpt-4.1-mini", cached) or 0) < (cost_usd("openai", "gpt-4.1-mini", USAGE) or 0)


def test_tokens_that_are_written_to_a_cache_cost_a_quarter_more() -> None:
    # platform.claude.com/docs/en/build-with-claude/prompt-caching: 1.25 times the price of input, for five minutes.
    plain, written = (
        Usage(input_tokens=1_000, output_tokens=0),
        Usage(input_tokens=1_000, output_tokens=0, written_input_tokens=1_000),
    )

    assert cost_usd("anthropic", "claude-sonnet-4-5", written) == pytest.approx(
        1.25 * (cost_usd("anthropic", "claude-sonnet-4-5", plain) or 0)
    )


def test_the_price_is_taken_per_request_where_long_ones_cost_more() -> None:
    long, short = (
        cost_usd("anthropic", "claude-sonnet-4-5", Usage(input_tokens=n, output_tokens=0)) for n in (10**6, 10**5)
    )

    assert long == pytest.approx(6.0)
    assert short == pytest.approx(0.3)


def test_a_prefix_of_google_is_no_part_of_the_name() -> None:
    plain = cost_usd("google", "gemini-2.5-flash", USAGE)

    assert plain is not None
    assert cost_usd("google", "models/gemini-2.5-flash", USAGE) == plain


@pytest.mark.parametrize("provider", ["openai", "anthropic", "google", "openrouter"])
def test_an_unknown_model_has_no_price_rather_than_none_to_pay(provider: str) -> None:
    assert cost_usd(provider, "no-such-model-9", USAGE) is None


@pytest.mark.parametrize(
    ("provider", "model"),
    [
        ("groq", "openai/gpt-oss-20b"),
        ("mistral", "mistral-small-latest"),
        ("deepseek", "deepseek-flash"),
        ("xai", "grok-4-1-fast-non-reasoning"),
        ("fireworks", "accounts/fireworks/models/gpt-oss-20b"),
        ("cerebras", "gpt-oss-120b"),
        ("perplexity", "sonar"),
        ("huggingface", "openai/gpt-oss-120b:cerebras"),
        ("cloudflare", "@cf/meta/llama-3.1-8b-instruct"),
        ("databricks", "databricks-gpt-oss-20b"),
    ],
)
def test_a_host_has_its_prices(provider: str, model: str) -> None:
    assert (cost_usd(provider, model, USAGE) or 0) > 0


def test_a_model_of_hugging_face_has_the_price_of_who_serves_it() -> None:
    fireworks = cost_usd("huggingface", "openai/gpt-oss-120b:fireworks-ai", USAGE)

    assert fireworks is not None
    assert cost_usd("huggingface", "openai/gpt-oss-120b:cerebras", USAGE) != fireworks
    assert cost_usd("huggingface", "openai/gpt-oss-120b", USAGE) is None


def test_the_address_of_a_listed_host_finds_its_price() -> None:
    groq = Model("compatible", "openai/gpt-oss-20b", base_url="https://api.groq.com/openai/v1", api_key="k")

    assert cost_of(resolve_model(groq), USAGE) == cost_usd("groq", "openai/gpt-oss-20b", USAGE)
    assert price_of("compatible", "openai/gpt-oss-20b", "https://gateway.example/v1")(USAGE) is None
    assert price_of("compatible", "openai/gpt-oss-20b", "http://api.groq.com/openai/v1")(USAGE) is None


def test_a_deployment_with_a_name_of_its_own_is_priced_as_another_model() -> None:
    mini = cost_usd("openai", "gpt-4.1-mini", USAGE)
    own = Model("compatible", "ours", base_url="https://gateway.example/v1", priced_as="openai:gpt-4.1-mini")
    dear = Model("openai", "gpt-4.1-mini", api_key="sk-x", priced_as="openai:gpt-4.1")

    assert cost_of(resolve_model(own), USAGE) == mini
    assert (cost_of(resolve_model(dear), USAGE) or 0) > (mini or 0)
    assert cost_usd("openai", "gpt-4.1-mini", USAGE) == mini


def test_a_provider_of_the_callers_own_and_one_with_hooks_have_a_price_too() -> None:
    class Priced(ScriptedProvider):
        priced_as = "openai:gpt-4.1-mini"

    own = Model("compatible", "ours", base_url="https://gateway.example/v1", priced_as="openai:gpt-4.1-mini")
    hooked = smelt.wrap(own, before=lambda request: request, tag="v1")

    mini = cost_usd("openai", "gpt-4.1-mini", USAGE)
    assert cost_of(resolve_model(Priced({})), USAGE) == mini
    assert cost_of(resolve_model(hooked), USAGE) == mini
    assert cost_of(resolve_model(ScriptedProvider({})), USAGE) is None


def test_a_model_without_a_price_can_be_given_one() -> None:
    own = Model("compatible", "ours", base_url="https://gateway.example/v1")

    with pytest.raises(SmeltConfigError, match=r"the price of compatible:ours is not known.*priced_as=…\)"):
        check_priced(resolve_model(own))


@pytest.mark.parametrize("named", ["gpt-4.1-mini", "openai:", "vllm:m", "opnai:gpt-4.1-mini", 7])
def test_what_names_no_price_is_refused(named: object) -> None:
    with pytest.raises(SmeltConfigError, match="priced_as"):
        Model("openai", "m", priced_as=named)  # type: ignore[arg-type]


@pytest.mark.parametrize("provider", ["vllm", "ollama", "llamacpp", "lmstudio", "scripted"])
def test_a_server_of_ones_own_has_no_price(provider: str) -> None:
    assert cost_usd(provider, "gpt-4.1-mini", USAGE) is None


def test_the_embedded_model_costs_nothing() -> None:
    assert cost_usd("local", "any", Usage()) == 0.0


@pytest.mark.parametrize(
    "usage", [Usage(), Usage(input_tokens=5), Usage(output_tokens=5)], ids=["none", "no-output", "no-input"]
)
def test_unknown_usage_has_no_price(usage: Usage) -> None:
    assert cost_usd("openai", "gpt-4.1-mini", usage) is None


def test_more_cached_than_sent_is_no_error() -> None:
    assert cost_usd("openai", "gpt-4.1-mini", Usage(input_tokens=10, output_tokens=1, cached_input_tokens=99))


def test_no_thread_looks_for_newer_prices() -> None:
    before = threading.enumerate()

    cost_usd("openai", "gpt-4.1-nano", USAGE)

    assert threading.enumerate() == before
