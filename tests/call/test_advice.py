"""What a person is told to look at after a failure that stopped a run."""

from __future__ import annotations

import pytest

from smelt.call.advice import advice
from smelt.providers.base import Billing, CallFailed, FailureKind
from smelt.providers.own import complete
from smelt.testing import ScriptedProvider


def told(kind: FailureKind, *, name: str = "own", origin: str = "https://api.vendor.example") -> str:
    provider = ScriptedProvider({}, name=name, model="m-1")
    provider.origin = origin
    return advice(CallFailed(kind, Billing.REJECTED, "no"), complete(provider))


@pytest.mark.parametrize(
    ("kind", "says"),
    [
        ("auth", "Check the key, "),
        ("quota", "the credit and the limits"),
        ("not_found", "the model's name, 'm-1', and the address, https://api.vendor.example"),
        ("schema", "smelt.explain(...) shows the schema"),
        ("connection", "Is this machine online"),
        ("timeout", "HTTPS_PROXY"),
        ("no_files", "ulimit -n"),
        ("certificate", "SSL_CERT_FILE"),
    ],
)
def test_a_failure_has_its_own_advice(kind: FailureKind, says: str) -> None:
    assert says in told(kind)


@pytest.mark.parametrize("kind", ["connection", "timeout", "certificate"])
def test_a_server_on_this_machine_may_not_be_running(kind: FailureKind) -> None:
    assert told(kind, origin="http://localhost:8000") == "Is the server running, and is this its address?"


def test_the_variables_of_a_known_providers_key_are_named() -> None:
    assert "OPENAI_API_KEY or api_key=" in told("auth", name="openai")
    assert "GOOGLE_API_KEY or GEMINI_API_KEY or api_key=" in told("auth", name="google")
    assert "the key (api_key=)" in told("auth", name="compatible")


def test_the_variables_that_are_a_part_of_the_address_are_named() -> None:
    assert told("not_found", name="cloudflare").endswith(" (from CLOUDFLARE_ACCOUNT_ID).")


@pytest.mark.parametrize("kind", ["server", "filtered", "rate_limit"])
def test_where_nothing_can_be_done_nothing_is_said(kind: FailureKind) -> None:
    assert told(kind) == ""


def test_the_embedded_model_speaks_for_itself() -> None:
    assert told("connection", name="local") == ""
