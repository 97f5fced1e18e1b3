"""Fixtures of the engines' tests."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pytest
from pyarrow import parquet

from tests.conftest import MakeScenario
from tests.fakeserver import Scenario
from tests.models import RULES
from tests.scale import jobs
from tests.scale.jobs import KEY


@pytest.fixture
def serving(scenario: MakeScenario, monkeypatch: pytest.MonkeyPatch) -> Scenario:
    """A server whose key the environment of the workers has."""
    monkeypatch.setenv("TEAM_KEY", KEY)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(sys.path))
    return scenario(answers=RULES, count_by="name", latency=0.1, jitter=0.05)


@pytest.fixture
def pacer(place: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """The place of a pacer in a process of its own, which this process and its children use."""
    monkeypatch.setenv("SMELT_PACER", place)
    return place


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with jobs.pacing(tmp_path_factory.mktemp("pacer") / "pacer") as found:
        yield found


@pytest.fixture
def page(scenario: MakeScenario, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A folder with the table of the docs page about engines, and a server for the model that it names."""
    server = scenario(answers={"sector": RULES["sector"], "is_public": {"const": True}})
    monkeypatch.setenv("OPENAI_BASE_URL", server.base_url("openai"))
    monkeypatch.setenv("OPENAI_API_KEY", "sk-proj-test")
    monkeypatch.setenv("TEAM_KEY", "sk-proj-test")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "companies").mkdir()
    parquet.write_table(pa.table({"name": ["Sanofi", "Stripe", "Arm"]}), tmp_path / "companies" / "0.parquet")
    return tmp_path
