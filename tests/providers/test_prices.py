"""What a request cost."""

from __future__ import annotations

import sys
import threading
from dataclasses import replace
from importlib.metadata import version

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import smelt
from smelt.call.resolve import resolve_model
from smelt.errors import SmeltConfigError
from smelt.model import Model
from smelt.providers import prices
from smelt.providers.base import Usage
from smelt.providers.prices import check_priced, cost_of, cost_usd, price_of, source_of
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


@pytest.mark.parametrize(
    ("provider", "model", "tier", "factor"),
    [
        ("openai", "gpt-6-luna", "batch", 0.5),
        ("openai", "gpt-6-luna", "flex", 0.5),
        ("openai", "gpt-6-luna", "priority", 2.0),
        ("openai", "gpt-6-luna", "standard", 1.0),
        ("anthropic", "claude-haiku-4-5", "batch", 0.5),
        ("anthropic", "claude-haiku-4-5", "priority", 1.0),
        ("anthropic", "claude-opus-5-5", "fast", 2.0),
        ("google", "gemini-2.5-flash", "batch", 0.5),
        ("groq", "openai/gpt-oss-20b", "flex", 1.0),
    ],
)
def test_the_tier_that_served_sets_the_price(provider: str, model: str, tier: str, factor: float) -> None:
    found = cost_usd(provider, model, replace(USAGE, tier=tier))

    assert found == pytest.approx(factor * (cost_usd(provider, model, USAGE) or 0))


def test_a_request_can_be_priced_at_another_tier() -> None:
    class Luna(ScriptedProvider):
        priced_as = "openai:gpt-6-luna"

    usual = cost_of(Luna({}), replace(USAGE, tier="priority"), tier="standard")

    assert usual == cost_usd("openai", "gpt-6-luna", USAGE)
    assert cost_of(Luna({}), USAGE, tier="batch") == pytest.approx((usual or 0) / 2)


@pytest.mark.parametrize(
    ("provider", "model", "tier"),
    [
        ("openai", "gpt-4.1-mini", "flex"),
        ("google", "gemini-3.5-flash", "batch"),
        ("azure", "gpt-6-luna", "priority"),  # The list has OpenAI's price for it, which Azure's tiers need not follow.
        ("anthropic", "claude-opus-5-5", "us"),  # 1.1 times the price, which the list does not say.
        ("bedrock", "anthropic.claude-haiku-4-5-20251001-v1:0", "flex"),
    ],
)
def test_a_tier_that_is_not_listed_has_no_price(provider: str, model: str, tier: str) -> None:
    assert cost_usd(provider, model, USAGE) is not None
    assert cost_usd(provider, model, replace(USAGE, tier=tier)) is None


def test_a_write_for_an_hour_costs_twice_the_input() -> None:
    # platform.claude.com/docs/en/build-with-claude/prompt-caching: 2 times the price of input.
    hours = Usage(input_tokens=1_000, output_tokens=0, written_input_tokens=1_000, written_hour_tokens=400)

    assert cost_usd("anthropic", "claude-haiku-4-5", hours) == pytest.approx((600 * 1.25 + 400 * 2) * 1e-6)
    assert cost_usd("openai", "gpt-6-luna", hours) is None  # Its writes for twelve hours are not listed.


def test_sound_has_its_own_price() -> None:
    sound = Usage(input_tokens=1_000, output_tokens=0, audio_input_tokens=800)
    again = replace(sound, cached_input_tokens=500, cached_audio_tokens=400)

    # Dollars per million in genai-prices 0.2.3: 0.30 for text, 1.00 for sound, a tenth of either from the cache.
    assert cost_usd("google", "gemini-2.5-flash", sound) == pytest.approx((200 * 0.30 + 800 * 1.00) * 1e-6)
    expected = (100 * 0.30 + 100 * 0.03 + 400 * 1.00 + 400 * 0.10) * 1e-6
    assert cost_usd("google", "gemini-2.5-flash", again) == pytest.approx(expected)


@given(counts=st.lists(st.none() | st.integers(0, 10**6), min_size=5, max_size=5), whole=st.integers(0, 10**6))
@settings(max_examples=50)
@pytest.mark.parametrize("model", ["openai:gpt-6-luna", "anthropic:claude-haiku-5-5", "google:gemini-2.5-flash"])
def test_counts_that_contradict_each_other_still_have_a_price(model: str, counts: list[int | None], whole: int) -> None:
    cached, written, hours, sound, cached_sound = counts
    usage = Usage(
        input_tokens=whole,
        output_tokens=5,
        cached_input_tokens=cached,
        written_input_tokens=written,
        written_hour_tokens=hours if model.startswith("anthropic") else None,
        audio_input_tokens=sound,
        cached_audio_tokens=cached_sound,
    )

    provider, _, name = model.partition(":")
    assert (cost_usd(provider, name, usage) or 0) > 0


def test_a_name_without_a_price_is_refused_before_anything_is_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    own = Model("compatible", "ours", base_url="https://gateway.example/v1", priced_as="openai:gpt-4.1-mni")

    with pytest.raises(
        SmeltConfigError, match=r"'openai:gpt-4.1-mni', whose price is not known. Did you mean 'gpt-4.1-"
    ):
        resolve_model(own)

    monkeypatch.setitem(sys.modules, "genai_prices", None)
    monkeypatch.setattr(prices, "find_spec", lambda name: None)
    price_of.cache_clear()
    assert resolve_model(own).model == "ours"  # Without the list nobody knows.
    price_of.cache_clear()


def test_a_price_says_where_it_comes_from() -> None:
    listed = Model("openai", "gpt-4.1-mini", api_key="k-of-a-test")
    alike = Model("compatible", "ours", base_url="https://gateway.example/v1", priced_as="openai:gpt-4.1-mini")
    own = Model("compatible", "ours", base_url="https://gateway.example/v1", price={"input": 1.0, "output": 2.0})
    unknown = Model("compatible", "ours", base_url="https://gateway.example/v1")

    said = [source_of(resolve_model(one)) for one in (listed, alike, own, unknown)]

    found = f"genai-prices {version('genai-prices')}"
    assert said == [found, f"{found}, as openai:gpt-4.1-mini", "the price that you named", ""]
    assert source_of(resolve_model("mock:")) == "nothing is charged"


def test_an_estimate_says_what_it_assumes() -> None:
    class Luna(ScriptedProvider):
        priced_as = "openai:gpt-6-luna"

    job = smelt.Job("Sort {name}.", str, output="sector")
    usual = job.estimate(Luna({}), data=[{"name": "Arm"}])
    cheap = smelt.Job("Sort {name}.", str, output="sector", params={"service_tier": "flex"})
    flex = cheap.estimate(Luna({}), data=[{"name": "Arm"}])

    assert usual.assumes.startswith("standard tier, no cache, genai-prices ")
    assert f"({usual.assumes})" in repr(usual)
    assert flex.assumes.startswith("flex tier")
    assert flex.cost_usd == pytest.approx((usual.cost_usd or 0) / 2)
    assert job.estimate(ScriptedProvider({}), data=[{"name": "Arm"}]).assumes == ""


@pytest.mark.parametrize("model", ["openai/gpt-4.1-mini", "some/model-that-is-not-listed"])
def test_what_openrouter_charged_is_the_cost(model: str) -> None:
    assert cost_usd("openrouter", model, replace(USAGE, charged_usd=0.25)) == 0.25
    assert cost_usd("openai", "gpt-4.1-mini", replace(USAGE, charged_usd=0.25)) == cost_usd(
        "openai", "gpt-4.1-mini", USAGE
    )
