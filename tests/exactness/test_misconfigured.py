"""Hosts that are set up wrongly: a mistake ends before or at the first request, in a sentence that says what to do."""

from __future__ import annotations

import os
from typing import Any

import pandas as pd
import pytest

import smelt
from smelt.errors import (
    AuthConfigError,
    AuthenticationError,
    BadRequestError,
    ModelNotFoundError,
    QuotaError,
    SmeltConfigError,
)
from smelt.providers.vendors import VENDORS
from tests.conftest import MakeScenario
from tests.models import RULES, Company

FRAME = pd.DataFrame({"name": [f"company {at}" for at in range(40)], "number": range(40)})


@pytest.fixture(autouse=True)
def bare_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    places = {one for vendor in VENDORS.values() for variables in vendor.places.values() for one in variables}
    for name in list(os.environ):
        if name.endswith(("_API_KEY", "_BASE_URL", "_TOKEN")) or name in places:
            monkeypatch.delenv(name)


def run(model: Any, **options: Any) -> Any:
    return FRAME.smelt.run("Describe {name} {number}.", Company, model=model, batch_size=4, **options)


BEFORE: list[tuple[str, Any, dict[str, str], str]] = [
    ("a missing key", "groq:m", {}, r"There is no key for groq. Set GROQ_API_KEY, or pass smelt.Model\('groq'"),
    (
        "a key of another vendor",
        "groq:m",
        {"GROQ_API_KEY": "sk-or-v1-x"},
        "GROQ_API_KEY looks like a key of openrouter, and was given for groq",
    ),
    (
        "a key of another vendor as the argument",
        smelt.Model("cerebras", "m", api_key="gsk_x"),
        {},
        "api_key looks like a key of groq, and was given for cerebras",
    ),
    (
        "a missing account",
        "cloudflare:@cf/m",
        {"CLOUDFLARE_API_TOKEN": "t"},
        "cloudflare needs its account: set CLOUDFLARE_ACCOUNT_ID, or pass the whole address",
    ),
    (
        "a missing host",
        "databricks:m",
        {"DATABRICKS_TOKEN": "t"},
        "databricks needs its host: set DATABRICKS_HOST, or pass the whole address",
    ),
    (
        "an account that is a path",
        "snowflake:m",
        {"SNOWFLAKE_TOKEN": "t", "SNOWFLAKE_ACCOUNT": "evil.example/x"},
        "SNOWFLAKE_ACCOUNT must be a plain name",
    ),
    (
        "a host of somebody else",
        "databricks:m",
        {"DATABRICKS_TOKEN": "t", "DATABRICKS_HOST": "dbc.cloud.databricks.com.evil.example"},
        "The key in DATABRICKS_TOKEN is not sent to https://dbc.cloud.databricks.com.evil.example",
    ),
    (
        "a key of the environment for an address of the argument",
        smelt.Model("mistral", "m", base_url="https://gateway.example/v1"),
        {"MISTRAL_API_KEY": "k"},
        "The key in MISTRAL_API_KEY is not sent to https://gateway.example.*pass it as api_key= too",
    ),
    (
        "a server without an address",
        "compatible:m",
        {},
        r"compatible needs the address of a server: pass the whole address, as smelt.Model\('compatible', …, base_url=",
    ),
    (
        "a format with a schema in it",
        smelt.Model(
            "together", "m", api_key="k", params={"response_format": {"type": "json_schema", "json_schema": {}}}
        ),
        {},
        "to which smelt adds the schema",
    ),
    (
        "a parameter of another host",
        smelt.Model("groq", "m", api_key="gsk_x", params={"search_mode": "web"}),
        {},
        "groq takes no parameter 'search_mode'",
    ),
    ("a vendor that is misspelt", "cerebas:m", {}, "There is no provider 'cerebas'. Did you mean 'cerebras'"),
]


@pytest.mark.parametrize(
    ("model", "environ", "said"), [case[1:] for case in BEFORE], ids=[case[0].replace(" ", "-") for case in BEFORE]
)
def test_a_mistake_is_told_before_anything_is_sent(
    model: Any, environ: dict[str, str], said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in environ.items():
        monkeypatch.setenv(name, value)

    with pytest.raises(SmeltConfigError, match=said) as caught:
        run(model)

    assert not any(key in str(caught.value) for key in ("gsk_x", "sk-or-v1-x"))


def test_a_key_is_missed_before_an_account_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CLOUDFLARE_ACCOUNT_ID", "ac0")

    with pytest.raises(AuthConfigError, match="Set CLOUDFLARE_API_TOKEN or CLOUDFLARE_API_KEY"):
        run("cloudflare:@cf/m")


AT_ONCE: list[tuple[str, str, Any, type[Exception], str]] = [
    (
        "a wrong key",
        "mistral",
        {"fault": "raw", "code": 401, "body": {"detail": "Unauthorized"}},
        AuthenticationError,
        r"HTTP 401: Unauthorized.*Check the key \(MISTRAL_API_KEY or api_key=\)",
    ),
    (
        "a model that does not exist",
        "mistral",
        {
            "fault": "raw",
            "code": 400,
            "body": {"object": "error", "message": "Invalid model: fake-1", "type": "invalid_model", "code": "1500"},
        },
        ModelNotFoundError,
        "HTTP 400: Invalid model: fake-1.*Check the model's name, 'fake-1'",
    ),
    (
        "an account that does not exist",
        "cloudflare",
        {
            "fault": "raw",
            "code": 404,
            "body": {
                "success": False,
                "errors": [{"code": 7003, "message": "Could not route to /client/v4/accounts/x"}],
            },
        },
        ModelNotFoundError,
        "Could not route to .*CLOUDFLARE_ACCOUNT_ID",
    ),
    (
        "an address that is no API",
        "xai",
        {"fault": "html", "code": 404},
        ModelNotFoundError,
        "HTTP 404.*Check the model's name, 'fake-1', and the address, http://127.0.0.1",
    ),
    (
        "a plan without requests",
        "mistral",
        {"fault": "status", "code": 429, "headers": {"x-ratelimit-limit-req-minute": "0"}},
        QuotaError,
        "The account may make no requests to this model",
    ),
    (
        "credits that are used up",
        "huggingface",
        {"fault": "raw", "code": 402, "body": {"error": "You have exceeded your monthly included credits"}},
        QuotaError,
        "exceeded your monthly included credits.*Check the credit",
    ),
    (
        "a model that takes no parameter like that",
        "xai",
        {"fault": "raw", "code": 400, "body": {"error": "Model m does not support parameter presencePenalty."}},
        BadRequestError,
        "does not support parameter presencePenalty.*params= is sent unchanged",
    ),
    (
        "a schema that the host does not know",
        "cerebras",
        {
            "fault": "raw",
            "code": 400,
            "body": {"message": "Unsupported JSON schema fields: {'anyOf'}", "param": "response_format"},
        },
        BadRequestError,
        "Unsupported JSON schema fields.*pass params={'response_format': {'type': 'json_object'}}",
    ),
]


@pytest.mark.parametrize(
    ("provider", "fault", "error", "said"),
    [case[1:] for case in AT_ONCE],
    ids=[case[0].replace(" ", "-") for case in AT_ONCE],
)
def test_a_mistake_that_only_the_host_knows_ends_the_first_requests(
    provider: str, fault: Any, error: type[Exception], said: str, scenario: MakeScenario
) -> None:
    fake = scenario(answers=RULES, always=fault)
    model = smelt.Model(provider, "fake-1", api_key="key-of-the-host", base_url=fake.base_url("compatible"))

    with pytest.raises(error, match=said):
        run(model, concurrency=2)

    # A 404 that names no model may be a firewall's, so it is doubted a few times.
    assert fake.stats().requests <= (4 if fault["code"] == 404 else 2)


def test_a_model_that_cannot_do_structure_is_asked_in_words(scenario: MakeScenario) -> None:
    fake = scenario(answers=RULES, host="cloudflare", log=True)
    model = smelt.Model("cloudflare", "fake-1", api_key="k", base_url=fake.base_url("compatible"))

    result = run(model, concurrency=1)

    assert result.frame.smelt_error.isna().all()
    assert [one["body"].get("response_format", {}).get("type") for one in fake.stats().log[:4]] == [
        "json_schema",
        "json_object",
        None,
        None,
    ]
