"""The map for coding assistants says what the pages say now."""

from __future__ import annotations

from tests import llms


def test_the_map_is_made_of_the_pages() -> None:
    assert llms.FILE.read_text(encoding="utf-8") == llms.text(), "python -m tests.llms writes it"


def test_every_page_is_told_in_a_sentence() -> None:
    lines = [line for line in llms.text().splitlines() if line.startswith("- [")]

    assert len(lines) > 50
    assert [line for line in lines if len(line.partition("): ")[2]) < 15] == []
