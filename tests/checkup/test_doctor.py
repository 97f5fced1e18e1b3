"""`smelt.doctor()` and `python -m smelt doctor`: what is found, said without keys."""

from __future__ import annotations

import doctest
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

import smelt
from smelt.call.defaults import OPTIONS
from smelt.checkup import examination
from smelt.checkup.findings import Finding
from smelt.cli import main
from smelt.errors import SmeltConfigError
from smelt.providers.vendors import VENDORS
from smelt.testing import ScriptedProvider
from tests.conftest import MakeScenario

KEY = "sk-proj-0123456789abcdefABCDEF"
GOLDEN = """\
smelt doctor: nothing is broken

versions
  smelt               ...
  Python              3...
  SQLite              3...
  pydantic            ...
  tqdm                ...

extras
  agents              pydantic-ai-slim ...
  anthropic           ...
  arrow               pyarrow ...
  bedrock             httpx2 ..., botocore ...
  google              google-genai ...
  local               xllamacpp ..., openai ...
  openai              ...
  pandas              ...
  polars              ..., cloudpickle ...
  prices              genai-prices ...
  vertex              google-genai ..., google-auth ..., anthropic ...
  yaml                pyyaml ...

providers
  openai              OPENAI_API_KEY is set, for https://api.openai.com
  anthropic           no key: set ANTHROPIC_API_KEY
  google              no key: set GOOGLE_API_KEY or GEMINI_API_KEY
  openrouter          no key: set OPENROUTER_API_KEY
  groq                no key: set GROQ_API_KEY
  mistral             no key: set MISTRAL_API_KEY
  deepseek            no key: set DEEPSEEK_API_KEY
  xai                 no key: set XAI_API_KEY
  together            no key: set TOGETHER_API_KEY
  fireworks           no key: set FIREWORKS_API_KEY
  cerebras            no key: set CEREBRAS_API_KEY
  perplexity          no key: set PERPLEXITY_API_KEY
  nvidia              no key: set NVIDIA_API_KEY
  sambanova           no key: set SAMBANOVA_API_KEY
  huggingface         no key: set HF_TOKEN
  cloudflare          no key: set CLOUDFLARE_API_TOKEN or CLOUDFLARE_API_KEY
  databricks          no key: set DATABRICKS_TOKEN
  snowflake           no key: set SNOWFLAKE_TOKEN
  vllm                VLLM_BASE_URL is set, for http://localhost:9000
  azure               no key: set AZURE_OPENAI_API_KEY
  foundry             no key: set ANTHROPIC_FOUNDRY_API_KEY
  vertex              no project: set GOOGLE_CLOUD_PROJECT or GCLOUD_PROJECT or ANTHROPIC_VERTEX_PROJECT_ID
  bedrock             no key: set AWS_BEARER_TOKEN_BEDROCK
  mantle              no key: set AWS_BEARER_TOKEN_BEDROCK

settings
  model               openai:gpt-4.1-mini
  price               genai-prices ...
  batch_size          20

ledger
  file                ~/cache/smelt/ledger.sqlite, which the first run makes

embedded model
  runtime             xllamacpp ...
  smollm2-135m        not here: python -m smelt local pull smollm2-135m
  qwen2.5-coder-1.5b  not here: python -m smelt local pull qwen2.5-coder-1.5b
"""


@pytest.fixture(autouse=True)
def bare_machine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No keys, no settings, an empty home directory."""
    for vendor in VENDORS.values():
        for name in (*vendor.key_variables, *vendor.url_variables):
            monkeypatch.delenv(name, raising=False)
    for name in ("MODEL", "BATCH_SIZE", "CONCURRENCY", "TIMEOUT", "LEDGER", "MODELS"):
        monkeypatch.delenv(f"SMELT_{name}", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))


SetEnv = Callable[..., None]


@pytest.fixture
def given(monkeypatch: pytest.MonkeyPatch) -> SetEnv:
    """Sets environment variables."""

    def set_all(**variables: str) -> None:
        for name, value in variables.items():
            monkeypatch.setenv(name, value)

    return set_all


def found(name: str, part: str | None = None, **options: Any) -> Finding:
    """The one finding called *name*."""
    (one,) = [one for one in smelt.doctor(**options).findings if one.name == name and part in (None, one.part)]
    return one


@pytest.mark.slow  # Loads an SDK.
def test_a_healthy_machine_reads_like_this(given: SetEnv, capsys: pytest.CaptureFixture[str]) -> None:
    given(
        OPENAI_API_KEY=KEY, VLLM_BASE_URL="http://localhost:9000/v1", SMELT_MODEL="openai:gpt-4.1-mini",
        SMELT_BATCH_SIZE="20", UNRELATED="unrelated-value",
    )  # fmt: skip

    code = main(["doctor"])

    shown = capsys.readouterr().out
    assert doctest.OutputChecker().check_output(GOLDEN, shown, doctest.ELLIPSIS), shown
    assert code == 0
    assert "unrelated" not in shown.lower()


@pytest.mark.slow  # Loads an SDK.
@pytest.mark.parametrize(
    "variables",
    [
        {"OPENAI_API_KEY": KEY},
        {"OPENAI_API_KEY": f" {KEY}"},
        {"ANTHROPIC_API_KEY": KEY},
        {"OPENAI_API_KEY": KEY, "OPENAI_BASE_URL": f"ftp://host/{KEY}?token={KEY}"},
        {"OPENAI_API_KEY": KEY, "OPENAI_BASE_URL": f"https://user:{KEY}@host/v1"},
        {"OPENAI_API_KEY": KEY, "OPENAI_BASE_URL": "http://example.com/v1"},
        {"SMELT_MODEL": KEY},
        {"SMELT_MODEL": f"openai:{KEY}"},
        {"SMELT_BATCH_SIZE": KEY},
        {"SMELT_LEDGER": f"/nowhere/{KEY}"},
        {"VLLM_API_KEY": "my own secret word"},
    ],
    ids=lambda variables: " ".join(variables) + f" {len(str(variables))}",
)
def test_no_key_is_shown_wherever_it_was_put(given: SetEnv, variables: dict[str, str]) -> None:
    given(**variables)

    checkup = smelt.doctor()

    for text in (repr(checkup), checkup._repr_html_(), repr(checkup.findings)):
        assert KEY not in text
        assert KEY[8:] not in text
        assert "my own secret word" not in text


@pytest.mark.slow  # Loads an SDK.
@pytest.mark.parametrize(
    ("variables", "name", "says"),
    [
        ({"OPENAI_API_KEY": "two words"}, "openai", "OPENAI_API_KEY has characters that no key has"),
        (
            {"OPENAI_API_KEY": KEY, "OPENAI_BASE_URL": "ftp://host"},
            "openai",
            "must begin with https:// .*not its value",
        ),
        ({"OPENAI_API_KEY": KEY, "OPENAI_BASE_URL": "http://example.com"}, "openai", "in clear text"),
        ({"VLLM_BASE_URL": "http://169.254.169.254/v1"}, "vllm", "nothing is sent to it"),
        ({"SMELT_MODEL": "gpt-4.1"}, "model", 'model must be "provider:name"'),
        ({"SMELT_MODEL": "openai:gpt-4.1-mini"}, "model", "There is no key for openai. Set OPENAI_API_KEY"),
        ({"SMELT_TIMEOUT": "soon"}, "timeout", "SMELT_TIMEOUT must be a number of seconds"),
    ],
    ids=["key", "scheme", "clear text", "metadata", "model", "model without a key", "option"],
)
def test_what_is_broken_is_said_and_ends_the_command_with_1(
    given: SetEnv, capsys: pytest.CaptureFixture[str], variables: dict[str, str], name: str, says: str
) -> None:
    given(**variables)

    code = main(["doctor"])

    (finding,) = smelt.doctor().broken
    assert code == 1
    assert finding.name == name
    assert f"smelt doctor: broken: {name}\n" in (shown := capsys.readouterr().out)
    assert "BROKEN: " in shown
    assert re.search(says, finding.text)


def test_a_missing_extra_names_the_command_that_installs_it(monkeypatch: pytest.MonkeyPatch, given: SetEnv) -> None:
    real = examination.installed
    monkeypatch.setattr(examination, "installed", lambda name: None if name == "google-genai" else real(name))

    finding = found("google", "extras")

    assert finding.state == "absent"
    assert finding.text == "not installed: pip install 'dfsmelt[google]'"
    assert smelt.doctor().is_healthy


def test_a_package_that_is_too_old_is_broken(monkeypatch: pytest.MonkeyPatch) -> None:
    real = examination.installed
    monkeypatch.setattr(examination, "installed", lambda name: "1.2.0" if name == "google-genai" else real(name))

    finding = found("google", "extras")

    assert finding.state == "broken"
    assert finding.text == "google-genai 1.2.0, not >=3.3,<4: pip install -U 'dfsmelt[google]'"


@pytest.mark.parametrize(
    ("version", "wanted", "fits"),
    [
        ("3.52.0", ">=3.50,<4", True),
        ("3.5", ">=3.50,<4", False),
        ("4.0.0", ">=3.50,<4", False),
        ("3.50", ">=3.50", True),
        ("10.1", ">=9", True),
        ("2026.10.11549", ">=2026.10.11549,<2027", True),
        ("5.0.0rc1", ">=5", True),
        ("1.0", "", True),
    ],
)
def test_versions_are_compared_by_their_numbers(version: str, wanted: str, fits: bool) -> None:
    assert examination.fits(version, wanted) is fits


def test_the_ledger_is_opened_and_measured(given: SetEnv, tmp_path: Path) -> None:
    given(SMELT_LEDGER=str(tmp_path / "mine.sqlite"))
    frame: Any = pd.DataFrame({"a": ["x", "y"]})
    frame.smelt.transform("Say.", str, model=ScriptedProvider({"text": "z"}), ledger=True, progress=False)

    finding = found("file", "ledger")

    assert finding.state == "fine"
    assert finding.text.startswith("~/mine.sqlite, 0.")
    assert finding.text.endswith(" MB, 2 rows from 1 run")


def test_a_ledger_that_is_none_is_broken(given: SetEnv, tmp_path: Path) -> None:
    (tmp_path / "mine.sqlite").write_text("Not a database, but long enough to have a header of a hundred bytes. " * 2)
    (tmp_path / "mine.sqlite").chmod(0o600)  # Else smelt warns of that, too, under most umasks.
    given(SMELT_LEDGER=str(tmp_path / "mine.sqlite"))

    assert found("file", "ledger").state == "broken"


def test_a_ledger_that_is_switched_off_is_fine(given: SetEnv) -> None:
    given(SMELT_LEDGER="off")

    assert found("file", "ledger").text == "switched off"


def test_what_was_configured_is_shown_but_for_what_may_hold_a_secret() -> None:
    try:
        smelt.configure(concurrency=3, params={"extra_headers": "hidden"}, model=ScriptedProvider({}))

        shown = repr(smelt.doctor())
    finally:
        smelt.configure(**dict.fromkeys(OPTIONS))

    assert "concurrency         3\n" in shown
    assert "params              is set\n" in shown
    assert "model               scripted:script\n" in shown


@pytest.mark.slow  # Loads an SDK.
def test_live_asks_each_configured_provider_one_tiny_question(given: SetEnv, scenario: MakeScenario) -> None:
    server = scenario(answers={"is_fruit": {"lookup": {"apple": True}, "of": "word"}})
    given(OPENAI_API_KEY=KEY, OPENAI_BASE_URL=server.base_url("openai"), VLLM_BASE_URL="http://localhost:9000/v1")

    checkup = smelt.doctor(live=True)

    live = {one.name: one for one in checkup.findings if one.part == "live"}
    assert list(live) == ["openai:gpt-4.1-nano", "vllm"]
    assert live["openai:gpt-4.1-nano"].state == "fine"
    assert doctest.OutputChecker().check_output(
        "answered in ... s, ... tokens in, ... out, <$0.0001\n",
        live["openai:gpt-4.1-nano"].text + "\n",
        doctest.ELLIPSIS,
    )
    assert live["vllm"].text.endswith("python -m smelt doctor --live --model vllm:NAME")
    assert server.stats().requests == 1
    assert checkup.is_healthy


@pytest.mark.slow  # Loads an SDK.
@pytest.mark.slow  # Loads an SDK.
@pytest.mark.parametrize(
    ("media", "expected"),
    [
        ({}, ", keeps the order of pictures"),
        ({"permutes": True}, ", rows with pictures are sent one by one"),
        ({"is_text_only": True}, ""),
    ],
    ids=["in order", "permuted", "text only"],
)
def test_live_shows_three_pictures_to_a_server_of_unknown_habits(
    given: SetEnv, scenario: MakeScenario, media: Any, expected: str
) -> None:
    answers = {"is_fruit": {"lookup": {"apple": True}, "of": "word"}, "colour": {"colour": "picture"}}
    server = scenario(answers=answers, media=media)
    given(VLLM_BASE_URL=server.base_url("compatible"))

    checkup = smelt.doctor(live=True, models=["vllm:fake-1"])

    (live,) = [one for one in checkup.findings if one.part == "live"]
    assert live.state == "fine"
    assert live.text.rpartition("price unknown")[2] == expected
    assert server.stats().requests == 2


def test_live_says_our_error_where_the_provider_refuses(
    given: SetEnv, scenario: MakeScenario, capsys: pytest.CaptureFixture[str]
) -> None:
    server = scenario(always={"fault": "status", "kind": "auth"})
    given(VLLM_API_KEY=KEY, VLLM_BASE_URL=server.base_url("compatible"))

    code = main(["doctor", "--model", "vllm:mine"])

    shown = capsys.readouterr().out
    assert code == 1
    assert "smelt doctor: broken: vllm:mine\n" in shown
    assert "vllm:mine           BROKEN: AuthenticationError: " in shown
    assert KEY not in shown


def test_live_without_a_provider_asks_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    assert found("nobody", live=True).text == "no provider is configured, so none was asked"


def test_a_provider_of_one_s_own_can_be_asked() -> None:
    good, bad = ScriptedProvider({"is_fruit": True}), ScriptedProvider(lambda row: None, name="mute")

    checkup = smelt.doctor(models=[good, bad, "gpt"])

    live = [(one.name, one.state, one.text.partition(",")[0]) for one in checkup.findings if one.part == "live"]
    assert live[0][:2] == ("scripted:script", "fine")
    assert live[1] == ("mute:script", "broken", "missing: No valid answer after 2 attempts: it was left out.")
    assert live[2][:2] == ("gpt", "broken")
    assert good.rows_sent == 1


def test_what_is_configured_for_other_calls_does_not_stand_in_the_way() -> None:
    try:
        smelt.configure(max_cost=0.01, params={"top_p": 1}, columns=["name"])

        assert found("scripted:script", models=[ScriptedProvider({"is_fruit": True})]).state == "fine"
    finally:
        smelt.configure(**dict.fromkeys(OPTIONS))


@pytest.mark.parametrize(
    ("options", "says"),
    [({"live": 1}, "live must be True or False"), ({"models": "openai:x"}, "models must be a list of models")],
    ids=["live", "models"],
)
def test_an_argument_of_the_wrong_type_is_refused(options: Any, says: str) -> None:
    with pytest.raises(SmeltConfigError, match=says):
        smelt.doctor(**options)


def test_the_html_repr_escapes_what_came_from_outside(given: SetEnv) -> None:
    given(SMELT_MODEL="<script>")

    html = smelt.doctor()._repr_html_()

    assert "&lt;script&gt;" in html
    assert "<script" not in html
