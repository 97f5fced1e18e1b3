"""Makes `tiers.sqlite`, a ledger whose specs hold `service_tier` and `prompt_cache_key`; `python -m … PATH`.

Smelt wrote such specs until `priced_only` parameters were taken out of them (588e663 is the last commit that did), so
it is made once and not again. It holds two runs of the real adapter: "a" and "b" bought at the flex tier, "c" with a
key for the cache and another temperature.
"""

from __future__ import annotations

import sqlite3
import sys
from contextlib import closing
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel

import smelt
from tests.fakeserver.client import FakeServer

KEY = "k-of-an-old-ledger"
PROMPT = "Sort {name}."
FLEX: dict[str, Any] = {"temperature": 0, "service_tier": "flex"}
CACHED: dict[str, Any] = {"temperature": 1, "prompt_cache_key": "companies"}


class Label(BaseModel):
    sector: Literal["tech", "other"]


def ask(url: str, names: str, path: Path, **options: Any) -> smelt.SmeltResult[Any]:
    """Ask about the companies *names*, one letter each."""
    model = smelt.Model("openai", "gpt-4.1-mini", api_key=KEY, base_url=url)
    rows = [{"name": name} for name in names]
    return smelt.run(rows, PROMPT, Label, model=model, ledger=path, progress=False, **options)


def make_tiers(path: Path) -> None:
    """Make the ledger at *path*."""
    with FakeServer() as server:
        fake = server.scenario(answers={"sector": {"const": "tech"}})
        ask(fake.base_url("openai"), "ab", path, params=FLEX)
        ask(fake.base_url("openai"), "c", path, params=CACHED)
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("PRAGMA journal_mode = DELETE")
        connection.execute("VACUUM")


if __name__ == "__main__":
    make_tiers(Path(sys.argv[1]))
