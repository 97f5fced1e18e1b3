"""Defaults of the process."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from smelt.call.defaults import OPTIONS, configure, setting
from smelt.errors import SmeltConfigError

VARIABLES = {
    "model": "SMELT_MODEL",
    "batch_size": "SMELT_BATCH_SIZE",
    "concurrency": "SMELT_CONCURRENCY",
    "timeout": "SMELT_TIMEOUT",
    "ledger": "SMELT_LEDGER",
}


@pytest.fixture(autouse=True)
def bare_settings(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    for variable in VARIABLES.values():
        monkeypatch.delenv(variable, raising=False)
    yield
    configure(**dict.fromkeys(OPTIONS))


def test_nothing_is_set_at_first() -> None:
    assert {name: setting(name) for name in OPTIONS} == dict.fromkeys(OPTIONS)


def test_what_is_configured_stays_until_it_is_taken_back() -> None:
    configure(batch_size=5, shuffle=False)

    assert (setting("batch_size"), setting("shuffle")) == (5, False)

    configure(batch_size=None)
    assert (setting("batch_size"), setting("shuffle")) == (None, False)


def test_an_unknown_option_sets_nothing() -> None:
    with pytest.raises(SmeltConfigError, match=r"There is no option 'batchsize'. Did you mean 'batch_size'"):
        configure(seed=3, batchsize=5)

    assert setting("seed") is None


@pytest.mark.parametrize(
    ("name", "text", "value"),
    [
        ("model", " ollama:m ", "ollama:m"),
        ("batch_size", "12", 12),
        ("concurrency", "auto", "auto"),
        ("timeout", "2.5", 2.5),
        ("timeout", "", None),
    ],
)
def test_the_environment_is_read(name: str, text: str, value: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLES[name], text)

    assert setting(name) == value


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("batch_size", "0"),
        ("batch_size", "-1"),
        ("concurrency", "many"),
        ("concurrency", "9" * 5_000),
        ("timeout", "nan"),
        ("timeout", "inf"),
        ("timeout", "0"),
        ("timeout", "1 min"),
        ("model", "a\x1bb"),
    ],
    ids=["zero", "negative", "word", "digits", "nan", "infinite", "no-time", "unit", "control"],
)
def test_a_malformed_variable_is_named(name: str, text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLES[name], text)

    with pytest.raises(SmeltConfigError, match=VARIABLES[name]):
        setting(name)


@pytest.mark.parametrize(("text", "value"), [("off", False), ("0", False), ("/x/y.sqlite", None)])
def test_the_environment_can_turn_the_ledger_off(
    text: str, value: bool | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SMELT_LEDGER", text)

    assert setting("ledger") is value


def test_what_is_configured_comes_over_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SMELT_TIMEOUT", "9")
    configure(timeout=3.0)

    assert setting("timeout") == 3.0
