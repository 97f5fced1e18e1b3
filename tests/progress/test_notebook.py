"""The display in a notebook."""

from __future__ import annotations

from smelt.engine.events import (
    RunStarted,
    Waiting,
)
from smelt.progress.notebook import html, text
from tests.progress.events import START, folded, settled


class TestNotebookFace:
    def test_foreign_text_is_escaped(self) -> None:
        start = RunStarted(rows=10, distinct_rows=10, provider="openai", model="<script>alert(1)</script>")
        tally = folded([(0, start), (0, Waiting(seconds=1.0, reason='<img src=x onerror="1">'))])

        assert "<script>" not in html(tally, 0)
        assert "<img" not in html(tally, 0)

    def test_the_html_and_the_text_say_the_same(self) -> None:
        tally = folded([(0, START), (0, settled(400, 3))])

        assert '<progress value="403" max="1000"' in html(tally, 0)
        assert text(tally, 0) == "smelt: 40 %, 403 of 1,000 rows, 3 rows failed, openai:gpt"
