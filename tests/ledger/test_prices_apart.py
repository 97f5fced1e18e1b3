"""What changes only the price of an answer is no part of its key: answers are bought once, at whatever tier."""

from __future__ import annotations

import shutil
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from smelt.ledger.keys import Spec
from tests.conftest import MakeScenario
from tests.ledger.data.make_tiers import ask
from tests.ledger.test_keys import spec

OLD = Path(__file__).parent / "data" / "tiers.sqlite"


@pytest.mark.parametrize(
    "priced",
    [{"service_tier": "flex"}, {"service_tier": "priority"}, {"prompt_cache_key": "k"}, {"cache_ttl": "1h"}],
    ids=str,
)
def test_a_parameter_of_the_price_changes_no_fingerprint(priced: dict[str, Any]) -> None:
    one: Spec = spec(params={"temperature": 0, **priced})

    assert one.fingerprint(bytes(32)) == spec().fingerprint(bytes(32))
    assert one.params == spec().params


@pytest.mark.parametrize(
    ("params", "bought"),
    [
        ({"temperature": 0}, "ab"),
        ({"temperature": 0, "service_tier": "flex"}, "ab"),
        ({"temperature": 0, "service_tier": "priority", "prompt_cache_key": "x"}, "ab"),
        ({"temperature": 1}, "c"),
        ({"temperature": 1, "service_tier": "flex"}, "c"),
    ],
    ids=str,
)
def test_answers_of_an_old_ledger_are_found(
    params: dict[str, Any], bought: str, scenario: MakeScenario, tmp_path: Path
) -> None:
    path = Path(shutil.copyfile(OLD, tmp_path / "old.sqlite"))
    path.chmod(0o600)  # Git keeps no such mode.
    fake = scenario(count_by="name", answers={"sector": {"const": "other"}})

    result = ask(fake.base_url("openai"), "abcd", path, params=params)
    again = ask(fake.base_url("openai"), "abcd", path, params={"temperature": params["temperature"]})

    assert [row and row.sector for row in result.data] == ["tech" if name in bought else "other" for name in "abcd"]
    assert set(fake.stats().rows_sent_by) == set("abcd") - set(bought)
    assert result.metrics.ledger_rows == len(bought)
    assert again.metrics.ledger_rows == 4


def test_the_old_file_is_of_an_old_version() -> None:
    with closing(sqlite3.connect(f"file:{OLD}?mode=ro", uri=True)) as connection:
        params = [text for (text,) in connection.execute("SELECT params FROM specs ORDER BY id")]

    assert ["service_tier" in one or "prompt_cache_key" in one for one in params] == [True, True]


@pytest.mark.parametrize(("first", "second"), [("flex", None), (None, "flex"), ("flex", "priority")], ids=str)
def test_answers_of_one_tier_are_reused_at_another(
    first: str | None, second: str | None, scenario: MakeScenario, tmp_path: Path
) -> None:
    fake, path = scenario(count_by="name"), tmp_path / "new.sqlite"
    one, other = ({} if tier is None else {"service_tier": tier} for tier in (first, second))

    ask(fake.base_url("openai"), "ab", path, params=one)
    result = ask(fake.base_url("openai"), "abc", path, params=other)

    assert fake.stats().rows_sent_by == {"a": 1, "b": 1, "c": 1}
    assert result.metrics.ledger_rows == 2
