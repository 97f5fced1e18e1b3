"""What a call says before its first request: which columns it sends, and whether it needs a key."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from pydantic import BaseModel

from smelt.errors import AuthConfigError, SmeltConfigError
from smelt.providers.vendors import VENDORS

FRAME = pd.DataFrame({"name": ["Arm", "Lego"], "about": ["chips", "bricks"]})
HOSTED = [name for name, vendor in VENDORS.items() if vendor.hosted]


class Firm(BaseModel):
    sector: str


@pytest.fixture(autouse=True)
def no_keys(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for vendor in VENDORS.values():
        for variable in (*vendor.key_variables, *vendor.url_variables):
            monkeypatch.delenv(variable, raising=False)
        for variables in vendor.places.values():
            monkeypatch.setenv(variables[0], "somewhere")
    # The clouds' libraries look for credentials elsewhere, too: in files, and at an address in their cloud.
    monkeypatch.setenv("CLOUDSDK_CONFIG", str(tmp_path))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("NO_GCE_CHECK", "true")
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")


@pytest.mark.parametrize("provider", HOSTED)
def test_what_sends_nothing_needs_no_key(provider: str) -> None:
    model = f"{provider}:some.model"

    assert FRAME.smelt.estimate("Classify {name}.", Firm, model=model).rows == 2
    assert "Arm" in FRAME.smelt.explain("Classify {name}.", Firm, model=model).user
    dry = FRAME.assign(known="x").smelt.evaluate("{name}?", Firm, {"sector": "known"}, model=model, dry_run=True)
    assert dry.rows == 2
    both = FRAME.smelt.compare("{name}?", Firm, [model, f"{provider}:some.other"], dry_run=True)
    assert list(both) == [model, f"{provider}:some.other"]


def test_what_sends_nothing_needs_no_account_either(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SNOWFLAKE_ACCOUNT")

    assert FRAME.smelt.estimate("Classify {name}.", Firm, model="snowflake:claude-haiku-4-5").rows == 2


@pytest.mark.parametrize("provider", HOSTED)
def test_what_sends_something_needs_one(provider: str, monkeypatch: pytest.MonkeyPatch) -> None:
    missing = {"adc": "no credentials for Google", "sigv4": "no credentials for AWS"}
    says = missing.get(VENDORS[provider].auth, f"There is no key for {provider}")
    if VENDORS[provider].base_url is None:
        monkeypatch.setenv(VENDORS[provider].url_variables[0], "https://me.openai.azure.com")

    with pytest.raises(AuthConfigError, match=says):
        FRAME.smelt.run("Classify {name}.", Firm, model=f"{provider}:some.model")


@pytest.mark.parametrize(
    ("prompt", "output", "options", "match"),
    [
        ("Classify {name}.", Firm, {"columns": ["naem"]}, "columns has 'naem'"),
        ("Classify {naem}.", Firm, {}, "The prompt uses {naem}"),
        ("Classify {name}.", Firm, {"columns": ["about"]}, "columns leaves it out"),
        ("Classify {name}.", dict, {}, "output_model"),
        ("Classify {name}.", Firm, {"batch_size": 0}, "batch_size"),
        ("Classify {name}.", Firm, {"error_column": ""}, "error_column"),
        ("Classify {name}.", Firm, {"temperature": 0}, "temperature"),
    ],
)
def test_what_is_wrong_with_the_arguments_is_told_before_a_missing_key(
    prompt: str, output: Any, options: dict[str, Any], match: str
) -> None:
    with pytest.raises(SmeltConfigError, match=match) as caught:
        FRAME.smelt.run(prompt, output, model="openai:gpt-4.1-mini", **options)

    assert not isinstance(caught.value, AuthConfigError)


@pytest.mark.parametrize("verb", ["evaluate", "compare"])
def test_a_wrong_name_in_truth_is_told_before_a_missing_key(verb: str) -> None:
    truth = {"sector": "knwon"}
    rest: Any = (truth,) if verb == "evaluate" else (["openai:a", "openai:b"],)
    named: Any = {"model": "openai:gpt-4.1-mini"} if verb == "evaluate" else {"truth": truth}

    with pytest.raises(SmeltConfigError, match="knwon") as caught:
        getattr(FRAME.assign(known="x").smelt, verb)("{name}?", Firm, *rest, **named)

    assert not isinstance(caught.value, AuthConfigError)


def test_binary_cells_are_told_before_a_missing_key() -> None:
    with pytest.raises(SmeltConfigError, match="'name' holds a value of type bytes") as caught:
        pd.DataFrame({"name": pd.array([b"x"], dtype=object)}).smelt.run("{name}?", Firm, model="openai:gpt-4.1-mini")

    assert not isinstance(caught.value, AuthConfigError)


def test_a_malformed_key_is_refused_also_by_an_estimate(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", " sk-with-space")

    with pytest.raises(AuthConfigError, match="OPENAI_API_KEY has spaces"):
        FRAME.smelt.estimate("Classify {name}.", Firm, model="openai:gpt-4.1-mini")
