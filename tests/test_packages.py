"""The table of packages that comes with smelt: real, labelled, balanced, readable without a network."""

from __future__ import annotations

from collections import Counter
from importlib.resources import files

from smelt.demo import packages


def test_the_table_is_balanced_over_its_sections() -> None:
    counts = Counter(row["section"] for row in packages())

    assert len(counts) == 8
    assert set(counts.values()) == {40}


def test_every_row_is_whole_and_its_own() -> None:
    rows = packages()

    assert len({row["name"] for row in rows}) == len({row["summary"] for row in rows}) == len(rows) == 320
    assert all(set(row) == {"name", "summary", "section"} and all(map(str.strip, row.values())) for row in rows)


def test_where_the_table_is_from_stands_beside_it() -> None:
    text = (files("smelt") / "data" / "README.md").read_text(encoding="utf-8")

    assert "# packages.csv" in text
    assert "Source: Debian package metadata" in text
