"""What newcomers do wrong, and what they read in a terminal and a notebook: what happened, what to do, in few lines."""

from __future__ import annotations

import re
import subprocess
import sys
import traceback
from dataclasses import dataclass
from typing import Any

import pytest

from smelt.call.advice import advice
from smelt.loop.one_thread import OneThreadLoop
from smelt.providers.base import Billing, CallFailed, FailureKind
from smelt.testing import ScriptedProvider
from tests.conftest import MakeScenario
from tests.models import PROTOCOLS, RULES
from tests.notebook.kernel import Kernel

MOST_LINES = 15
SETUP = """
import asyncio, sys
from contextlib import contextmanager
from unittest.mock import patch
import pandas as pd, smelt
from pydantic import BaseModel
from smelt.testing import ScriptedProvider
from tests.models import KEYS, Company

class Loose(BaseModel):
    facts: dict[str, int]

async def blocking(*args, **options):
    return smelt.transform(*args, **options)

@contextmanager
def without(sdk):
    with patch.dict(sys.modules, {sdk: None}):
        sys.modules.pop(f"smelt.providers.{sdk}", None)
        yield

df = pd.DataFrame({"name": ["Arm", "Sanofi"], "number": [1, 2]})
PROMPT = "Describe {name} {number}."
MODEL = ScriptedProvider({"echo": "a", "length": 1, "sector": "tech", "is_odd": True})
"""


@dataclass(frozen=True, kw_only=True)
class Slip:
    """A call that goes wrong.

    Attributes:
        code: The call.
        error: What it raises.
        says: What happened, as the message has it.
        advises: What to do, as the message has it.
    """

    code: str
    error: str
    says: str
    advises: str = ""


SLIPS = {
    "no key": Slip(
        code="df.smelt.transform(PROMPT, Company, model='openai:gpt-4.1-mini')",
        error="AuthConfigError",
        says="There is no key for openai.",
        advises="Set OPENAI_API_KEY",
    ),
    "key of another": Slip(
        code="smelt.Model('anthropic', 'claude-haiku-4-5', api_key='sk ant')",
        error="AuthConfigError",
        says="api_key",
    ),
    "no provider": Slip(
        code="df.smelt.transform(PROMPT, Company, model='gpt-4.1-mini')",
        error="SmeltConfigError",
        says="not 'gpt-4.1-mini'",
        advises='like "openai:gpt-4.1-mini"',
    ),
    "unknown provider": Slip(
        code="smelt.Model('opnai', 'gpt-4.1-mini')",
        error="SmeltConfigError",
        says="There is no provider 'opnai'.",
        advises="Did you mean 'openai'?",
    ),
    "missing column": Slip(
        code="df.smelt.transform('Describe {nam}.', Company, model=MODEL)",
        error="PromptError",
        says="{nam}, which is not a column of the data.",
        advises="Did you mean 'name'?",
    ),
    "one brace": Slip(
        code="df.smelt.transform('Describe {name} as {json.', Company, model=MODEL)",
        error="PromptError",
        says="braces do not balance",
        advises="Write {{ and }}",
    ),
    "no model class": Slip(
        code="df.smelt.transform(PROMPT, dict, model=MODEL)",
        error="SchemaError",
        says="not the class dict.",
        advises="Declare one: class Answer(BaseModel)",
    ),
    "dict field": Slip(
        code="df.smelt.transform(PROMPT, Loose, model=MODEL)",
        error="SchemaError",
        says="Loose.facts is of type dict",
        advises="Use a nested model",
    ),
    "no extra": Slip(
        code="claude = smelt.Model('anthropic', 'x', api_key=KEYS['anthropic'])\n"
        "with without('anthropic'): df.smelt.transform(PROMPT, Company, model=claude)",
        error="MissingDependencyError",
        says="anthropic, which is not installed",
        advises="pip install 'dfsmelt[anthropic]'",
    ),
    "option of the wrong type": Slip(
        code="df.smelt.transform(PROMPT, Company, model=MODEL, batch_size='20')",
        error="ConfigValueError",
        says="not '20'.",
        advises='must be "auto" or an integer from 1 to 1,000',
    ),
    "slip in an option": Slip(
        code="df.smelt.transform(PROMPT, Company, model=MODEL, batchsize=20)",
        error="ConfigTypeError",
        says="There is no option 'batchsize'.",
        advises="Did you mean 'batch_size'?",
    ),
    "default of the wrong type": Slip(
        code="smelt.configure(timeout='soon')",
        error="ConfigTypeError",
        says="not a str ('soon')",
        advises="timeout must be",
    ),
    "a column for a frame": Slip(
        code="smelt.transform(df['name'], PROMPT, Company, model=MODEL)",
        error="ConfigTypeError",
        says="not a Series.",
        advises="call .to_frame() on the Series",
    ),
    "no rows to learn from": Slip(
        code="df.head(0).smelt.evaluate(PROMPT, Company, {'sector': 'name'}, model=MODEL)",
        error="SmeltConfigError",
        says="data is empty",
        advises="Give at least one row.",
    ),
    "no place for a ledger": Slip(
        code="df.smelt.transform(PROMPT, Company, model=MODEL, ledger='/proc/nowhere/ledger.sqlite')",
        error="StoreNotFoundError",
        says="There is no directory /proc/nowhere.",
        advises="Check the path.",
    ),
    "a file for a folder": Slip(
        code="df.smelt.transform(PROMPT, Company, model=MODEL, ledger='/dev/null/ledger.sqlite')",
        error="StoreError",
        says="/dev/null is not a directory.",
        advises="Pass another file as ledger=, or ledger=False to keep none.",
    ),
    "no ledger there": Slip(
        code="smelt.ledger.open('/proc/nowhere/ledger.sqlite')",
        error="StoreNotFoundError",
        says="There is no directory /proc/nowhere.",
        advises="Check the path.",
    ),
    "a job": Slip(
        code="smelt.Job(PROMPT, Company).run('openai:gpt-4.1-mini', data=df)",
        error="AuthConfigError",
        says="There is no key for openai.",
        advises="Set OPENAI_API_KEY",
    ),
    "a loop that runs": Slip(
        code="asyncio.run(blocking(df, '{nam}', Company, model=MODEL))",
        error="PromptError",
        says="{nam}, which is not a column",
        advises="Did you mean 'name'?",
    ),
}

IN_A_CELL = {name: slip for name, slip in SLIPS.items() if "asyncio.run" not in slip.code}  # A cell has a loop.

# Which refusal of a provider brings which advice; the words before it are the provider's own.
REFUSALS = {
    "auth": ("AuthenticationError", "Check the key ("),
    "permission": ("AuthenticationError", "whether it may use 'fake-1'."),
    "not_found": ("ModelNotFoundError", "Check the model's name, 'fake-1', and the address, http://127.0.0.1:"),
    "quota": ("QuotaError", "Check the credit and the limits of the account"),
    "schema": ("BadRequestError", "smelt.explain(...) shows the schema that is sent"),
}
CALL = (
    "df.smelt.transform(PROMPT, Company, progress=False,"
    " model=smelt.Model({provider!r}, 'fake-1', api_key=KEYS[{provider!r}], base_url={base!r}))"
)
HOSTED = ["openai", "anthropic", "google"]


@pytest.fixture(autouse=True)
def _no_keys(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("OPENAI_API_KEY", "SMELT_MODEL"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture(scope="module")
def _ready(kernel: Kernel) -> None:
    assert kernel.run(f"import os; os.environ.pop('OPENAI_API_KEY', None)\n{SETUP}").error is None


@pytest.mark.parametrize("slip", SLIPS.values(), ids=SLIPS)
def test_a_slip_is_told_in_few_lines_in_a_terminal(slip: Slip) -> None:
    text = shown_by(slip.code)

    assert_told(text, slip)


@pytest.mark.usefixtures("_ready")
@pytest.mark.parametrize("slip", IN_A_CELL.values(), ids=IN_A_CELL)
@pytest.mark.whole
def test_a_slip_is_told_in_few_lines_in_a_notebook(slip: Slip, kernel: Kernel) -> None:
    cell = kernel.run(slip.code)

    assert cell.error == slip.error
    assert_told(cell.traceback, slip)


@pytest.mark.parametrize("refusal", REFUSALS)
@pytest.mark.parametrize("provider", HOSTED)
def test_a_refusal_is_told_in_few_lines_in_a_terminal(provider: str, refusal: str, scenario: MakeScenario) -> None:
    slip = refused(provider, refusal, scenario)

    text = shown_by(slip.code)

    assert_told(text, slip)


@pytest.mark.usefixtures("_ready")
@pytest.mark.whole
def test_a_refusal_is_told_in_few_lines_in_a_notebook(scenario: MakeScenario, kernel: Kernel) -> None:
    slip = refused("openai", "auth", scenario)

    cell = kernel.run(slip.code)

    assert_told(cell.traceback, slip)


@pytest.mark.slow
def test_no_network_is_told_in_few_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(OneThreadLoop, "resolver", ("/bin/sh", "-c", "exit 2", "sh"))
    call = CALL.format(provider="openai", base="https://no-such-host.example/v1")

    text = shown_by(call)

    says = "Cannot connect to https://no-such-host.example: [Errno -2] Name or service not known."
    assert_told(text, Slip(code=call, error="UnavailableError", says=says, advises="Is this machine online"))


@pytest.mark.slow
@pytest.mark.whole
def test_python_itself_shows_the_same() -> None:
    slip = SLIPS["no key"]

    run = subprocess.run([sys.executable, "-c", SETUP + slip.code], capture_output=True, text=True, check=False)

    assert run.stdout == ""
    assert_told(run.stderr, slip)


def test_no_rows_are_no_mistake() -> None:
    namespace = ready()

    exec("out = df.head(0).smelt.transform(PROMPT, Company, model=MODEL)", namespace)

    assert list(namespace["out"].columns) == ["name", "number", "echo", "length", "sector", "is_odd", "smelt_error"]


def test_a_fault_of_a_provider_of_ones_own_keeps_its_traceback() -> None:
    code = "def fail(row): return {}['sector']\ndf.smelt.transform(PROMPT, Company, model=ScriptedProvider(fail))"

    text = shown_by(code)

    assert "in fail" in text
    assert "KeyError: 'sector'" in text
    assert text.rstrip().splitlines()[-1].startswith("smelt.errors.SmeltAPIError: The run stopped")


VERBS = [
    "aggregate",
    "arun",
    "as_completed",
    "atransform",
    "audit",
    "classify",
    "compare",
    "estimate",
    "evaluate",
    "explain",
    "preview",
    "run",
    "transform",
    "tune",
]


@pytest.mark.usefixtures("_ready")
@pytest.mark.parametrize("library", ["pandas", "polars"])
@pytest.mark.whole
def test_tab_after_the_accessor_offers_the_verbs(library: str, kernel: Kernel) -> None:
    kernel.run(f"import polars as pl; chosen = pl.DataFrame({{'name': ['Arm']}}) if {library!r} == 'polars' else df")

    offered = [one.rpartition(".")[2] for one in kernel.completions("chosen.smelt.")]

    assert [one for one in offered if not one.startswith("_")] == VERBS


@pytest.mark.usefixtures("_ready")
@pytest.mark.parametrize("verb", VERBS)
@pytest.mark.whole
def test_a_question_mark_shows_signature_and_docstring(verb: str, kernel: Kernel) -> None:
    text = kernel.help(f"df.smelt.{verb}")

    signature, _, rest = text.partition("Docstring:")
    assert "prompt: 'str'" in signature
    assert "batch_size: " in signature
    assert "**" not in signature
    assert "frame: " not in rest.partition("File:")[0]
    assert rest.strip()


@pytest.mark.usefixtures("_ready")
@pytest.mark.whole
def test_a_question_mark_after_the_accessor_says_what_it_is_for(kernel: Kernel) -> None:
    assert "LLM transforms of this frame" in kernel.help("df.smelt")


AWAY, HERE = "https://api.example", "http://localhost:11434"
ADVICE: list[tuple[FailureKind, str, str]] = [
    ("connection", AWAY, "Is this machine online"),
    ("timeout", AWAY, "Is this machine online"),
    ("connection", HERE, "Is the server running"),
    ("certificate", AWAY, "SSL_CERT_FILE"),
    ("auth", AWAY, "Check the key, and whether it may use 'script'."),
    ("server", AWAY, "^$"),
]


@pytest.mark.parametrize(("kind", "origin", "says"), ADVICE)
def test_advice_fits_what_went_wrong_and_where(kind: FailureKind, origin: str, says: str) -> None:
    provider = ScriptedProvider({})
    provider.origin = origin

    assert re.search(says, advice(CallFailed(kind, Billing.UNKNOWN, "no"), provider))


def test_the_embedded_model_gives_its_own_advice() -> None:
    provider = ScriptedProvider({}, name="local")

    assert advice(CallFailed("connection", Billing.UNKNOWN, "no"), provider) == ""


def ready() -> dict[str, Any]:
    namespace: dict[str, Any] = {"__name__": "__main__"}
    exec(SETUP, namespace)
    return namespace


def shown_by(code: str) -> str:
    """What Python shows of the exception that *code* ends with."""
    namespace = ready()
    with pytest.raises(Exception) as raised:  # noqa: PT011  # The caller looks at the text.
        exec(compile(code, "<cell>", "exec"), namespace)
    below = raised.value.with_traceback(raised.value.__traceback__.tb_next if raised.value.__traceback__ else None)
    return "".join(traceback.format_exception(below))


def refused(provider: str, refusal: str, scenario: MakeScenario) -> Slip:
    fake = scenario(answers=RULES, always={"fault": "status", "kind": refusal})
    error, advises = REFUSALS[refusal]
    call = CALL.format(provider=provider, base=fake.base_url(PROTOCOLS[provider]))
    return Slip(code=call, error=error, says="HTTP 4", advises=advises)


def assert_told(text: str, slip: Slip) -> None:
    lines = text.rstrip().splitlines()
    assert len(lines) <= MOST_LINES, text
    assert slip.error in text
    assert slip.says in lines[-1]
    assert slip.advises in lines[-1]
    assert lines[-1].endswith((".", "?", "]", "'"))
