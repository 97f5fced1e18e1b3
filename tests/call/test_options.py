"""The options are the same at every door, and come from the call, from `configure` or from the environment."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from dataclasses import fields
from typing import Any

import pandas as pd
import pytest
from pydantic import BaseModel

import smelt
from smelt.call.defaults import OPTIONS
from smelt.call.options import NAMES, Options, Settings
from smelt.errors import SmeltConfigError
from smelt.testing import ScriptedProvider


class Answer(BaseModel):
    label: str


def test_options_are_listed_alike_wherever_they_are() -> None:
    names = tuple(one.name for one in fields(Settings))

    assert tuple(Options.__annotations__) == names == NAMES
    assert OPTIONS == ("model", *names)
    assert all(f"\n    {name}: " in (inspect.getdoc(Settings) or "") for name in names)


DOORS = [
    smelt.transform, smelt.atransform, smelt.run, smelt.arun, smelt.preview, smelt.explain, smelt.estimate, smelt.Job,
    *(getattr(pd.DataFrame({"a": [1]}).smelt, verb) for verb in ("transform", "atransform", "run", "arun", "preview")),
]  # fmt: skip


@pytest.mark.parametrize("door", DOORS, ids=lambda door: door.__qualname__)
def test_every_door_shows_each_option_with_its_default(door: Any) -> None:
    shown = inspect.signature(door).parameters

    assert "options" not in shown
    for one in fields(Settings):
        usual = None if one.name in ("params", "output") else getattr(Settings(), one.name)
        assert shown[one.name].default == usual
        assert "ForwardRef" not in str(shown[one.name])


def test_help_on_the_accessor_explains_the_options_and_asks_for_no_frame() -> None:
    doc = inspect.getdoc(pd.DataFrame({"a": [1]}).smelt.transform) or ""

    assert "\n    batch_size: Maximum rows per request" in doc
    assert "\n    timeout: Seconds for one request" in doc
    assert "frame: " not in doc
    assert "frame: A pandas or Polars DataFrame" in (inspect.getdoc(smelt.transform) or "")


@pytest.fixture
def settings(monkeypatch: pytest.MonkeyPatch) -> Iterator[pytest.MonkeyPatch]:
    """The process's defaults, put back afterwards."""
    monkeypatch.delenv("SMELT_LEDGER", raising=False)
    yield monkeypatch
    smelt.configure(**dict.fromkeys(OPTIONS))


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"batch_size": 0}, "batch_size must be"),
        ({"timeout": "5"}, "timeout must be"),
        ({"columns": "name"}, "columns must be"),
        ({"model": "gpt"}, 'model must be "provider:name"'),
        ({"model": ScriptedProvider}, "model must be.*not the class"),
        ({"modle": "openai:x"}, "no option 'modle'. Did you mean 'model'"),
        ({"seed": 3, "shuffle": "no"}, "shuffle must be"),
    ],
    ids=str,
)
def test_configure_checks_at_once_and_then_sets_nothing(
    options: dict[str, Any], says: str, settings: pytest.MonkeyPatch
) -> None:
    with pytest.raises(SmeltConfigError, match=says):
        smelt.configure(**options)

    assert smelt.Job("x", Answer).settings == Settings()


def test_an_argument_comes_over_configure_and_configure_over_the_environment(settings: pytest.MonkeyPatch) -> None:
    settings.setenv("SMELT_BATCH_SIZE", "7")
    settings.setenv("SMELT_TIMEOUT", "2.5")
    job = smelt.Job("x", Answer)
    smelt.configure(batch_size=8)
    configured = smelt.Job("x", Answer)
    given = smelt.Job("x", Answer, batch_size=9, timeout=3)

    assert (job.settings.batch_size, job.settings.timeout) == (7, 2.5)
    assert (configured.settings.batch_size, configured.settings.timeout) == (8, 2.5)
    assert (given.settings.batch_size, given.settings.timeout) == (9, 3.0)


@pytest.mark.parametrize(
    ("variable", "text", "says"),
    [
        ("SMELT_BATCH_SIZE", "1001", '"auto" or an integer from 1 to 1,000, not 1001'),
        ("SMELT_CONCURRENCY", "2.5", "integer from 1 to 10,000, not 2.5"),
        ("SMELT_TIMEOUT", "1 min", r"number of seconds.*\('1 min'\)"),
        ("SMELT_TIMEOUT", "nan", "number of seconds.*not nan"),
    ],
)
def test_a_malformed_variable_is_named_with_what_it_may_be(
    variable: str, text: str, says: str, settings: pytest.MonkeyPatch
) -> None:
    settings.setenv(variable, text)

    with pytest.raises(SmeltConfigError, match=f"environment variable {variable} must be .*{says}"):
        smelt.Job("x", Answer)
