"""Variables of a file that the caller names: used like those of the process, which win, and never looked for."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel

import smelt
from smelt.errors import AuthConfigError, SmeltConfigError
from tests.conftest import MakeScenario
from tests.models import PROTOCOLS
from tests.providers.asking import KEYS


class Twice(BaseModel):
    twice: int


@pytest.fixture(autouse=True)
def nothing_set(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    for name in ("OPENAI_API_KEY", "OPENAI_BASE_URL", "SMELT_MODEL", "SMELT_LEDGER"):
        monkeypatch.delenv(name, raising=False)
    yield
    smelt.configure(env_file=None)


def ask(**options: Any) -> Any:
    return smelt.transform([{"n": 1}], "Double {n}.", Twice, progress=False, **options)


def test_key_address_model_and_ledger_come_from_the_file(scenario: MakeScenario, tmp_path: Path) -> None:
    fake, file, before = scenario(answers={"twice": {"const": 4}}), tmp_path / "any.env", dict(os.environ)
    file.write_text(
        f"# a comment\nexport OPENAI_API_KEY='{KEYS['openai']}'\nOPENAI_BASE_URL={fake.base_url(PROTOCOLS['openai'])}\n"
        f"SMELT_MODEL=openai:fake-1\nSMELT_LEDGER={tmp_path / 'l.sqlite'}\nNOTHING\n",
        encoding="utf-8",
    )

    smelt.configure(env_file=file)

    assert ask()[0]["twice"] == 4
    assert (tmp_path / "l.sqlite").exists()
    assert dict(os.environ) == before
    smelt.configure(env_file=None)
    with pytest.raises(AuthConfigError, match="no key"):
        ask(model="openai:fake-1")


def test_a_variable_of_the_process_wins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / ".env").write_text("SMELT_MODEL=mock:\n", encoding="utf-8")
    monkeypatch.setenv("SMELT_MODEL", "openai:of-the-process")
    monkeypatch.chdir(tmp_path)

    smelt.configure(env_file=".env")

    with pytest.raises(AuthConfigError, match="no key for openai"):
        ask()


def test_a_file_that_nobody_named_is_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / ".env").write_text("OPENAI_API_KEY=sk-found\n", encoding="utf-8")
    monkeypatch.chdir(tmp_path)

    with pytest.raises(AuthConfigError, match="no key for openai"):
        ask(model="openai:fake-1")


@pytest.mark.parametrize("content", [None, b"OPENAI_API_KEY=\xff\xfe-secret"], ids=["missing", "no text"])
def test_a_file_that_cannot_be_read_is_refused_and_changes_nothing(
    content: bytes | None, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    file = tmp_path / "keys.env"
    if content is not None:
        file.write_bytes(content)

    with pytest.raises(SmeltConfigError, match=r"keys\.env") as caught:
        smelt.configure(env_file=file, concurrency=3)

    assert "secret" not in str(caught.value) + caplog.text
    assert smelt.Job("Double {n}.", Twice).settings.concurrency == "auto"
    no_path: Any = True
    with pytest.raises(SmeltConfigError, match="env_file must be the path"):
        smelt.configure(env_file=no_path)


def test_without_python_dotenv_the_extra_is_named(tmp_path: Path) -> None:
    code = (
        "import sys; sys.modules['dotenv'] = None\n"
        "import smelt\n"
        "try: smelt.configure(env_file='.env')\n"
        "except smelt.SmeltConfigError as problem: print(problem)"
    )

    child = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)

    assert "pip install 'dfsmelt[env]'" in child.stdout, child.stderr
