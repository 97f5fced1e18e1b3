"""Warnings of keys that an engine would write down."""

from __future__ import annotations

import warnings

import pytest

import smelt
from smelt.errors import SmeltWarning
from smelt.scale.keys import secret_variables, warn_of_shown
from smelt.testing import ScriptedProvider

TEAM = smelt.Model("openai", "gpt-4.1-mini", key_env="TEAM_KEY")


def test_the_variables_of_a_model_are_those_that_its_workers_read() -> None:
    assert "TEAM_KEY" in secret_variables(TEAM)
    assert "OPENAI_API_KEY" not in secret_variables(TEAM)
    assert "OPENAI_API_KEY" in secret_variables(smelt.Model("openai", "gpt-4.1-mini"))
    assert secret_variables(ScriptedProvider({})) == ("SMELT_PACER_TOKEN", "PGPASSWORD", "REDISCLI_AUTH")


def test_a_secret_in_what_an_engine_shows_is_named_and_not_said() -> None:
    given = {"TEAM_KEY": "sk-1234", "SMELT_PACER_TOKEN": "5678", "LANG": "C"}

    with pytest.warns(
        SmeltWarning, match="^It is in a log, and a secret is there: SMELT_PACER_TOKEN, TEAM_KEY. Set"
    ) as caught:
        warn_of_shown(TEAM, given, "It is in a log", "Set it elsewhere.")

    assert not any(secret in str(caught[0].message) for secret in ("1234", "5678"))
    with warnings.catch_warnings(action="error"):
        warn_of_shown(TEAM, {"LANG": "C", "OPENAI_API_KEY": "sk-1"}, "It is in a log", "Set it elsewhere.")
