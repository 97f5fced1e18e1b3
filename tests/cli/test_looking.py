"""Commands that look before a run."""

from __future__ import annotations

import json

from tests.cli.command import Shell

ASK = ("in.csv", "Classify {name}.", "--field", "sector:tech|finance", "-m", "mock:")


def test_an_estimate_sends_nothing_and_says_what_it_costs(shell: Shell) -> None:
    asked = ("in.csv", "Classify {name}.", "-m", "openai:gpt-4.1-nano")

    assert shell("estimate", *asked).out.startswith("3 rows (3 distinct) in about 1 request to openai:gpt-4.1-nano")
    assert shell("estimate", *asked, "--json").found["rows"] == 3


def test_the_first_request_is_shown(shell: Shell) -> None:
    done = shell("explain", *ASK)

    assert "--- system" in done.out
    assert '"Sanofi"' in done.out
    assert shell("explain", *ASK, "--json").found["rows"] == 3


def test_a_preview_shows_rows_with_their_answers(shell: Shell) -> None:
    done = shell("preview", *ASK, "-n", "2")

    assert done.code == 0
    assert done.out.count("null") >= 2
    assert [{*row} for row in shell("preview", *ASK, "-n", "1", "--json").found] == [
        {"name", "zip", "sector", "smelt_error"}
    ]


def test_an_evaluation_counts_right_answers(shell: Shell) -> None:
    shell.write("known.csv", "name,right\nArm,tech\nSanofi,finance\nStripe,tech\n")
    asked = ("known.csv", *ASK[1:], "--truth", "sector=right", "--quiet")

    assert "sector" in shell("evaluate", *asked).out
    assert shell("evaluate", *asked, "--json").found["rows"] == 3
    assert json.loads(shell("evaluate", *asked, "--json", "--dry-run").out)["requests"] == 1
