"""Commands that look before a run."""

from __future__ import annotations

import json

from tests.cli.command import Shell

ASK = ("in.csv", "Classify {name}.", "--field", "sector:tech|finance", "-m", "mock:")


def test_an_estimate_sends_nothing_and_says_what_it_costs(shell: Shell) -> None:
    asked = ("in.csv", "Classify {name}.", "-m", "openai:gpt-4.1-nano")

    first, second, third = shell("estimate", *asked).out.splitlines()
    found = shell("estimate", *asked, "--json").found

    assert first == "3 rows (3 distinct) in about 1 request to openai:gpt-4.1-nano"
    assert second.startswith("about 172 tokens in, 144 out, <$0.0001 (")
    assert third == "sends 1 column: name"
    assert (found["rows"], found["requests"], found["columns"]) == (3, 1, ["name"])
    assert (found["input_tokens"], found["output_tokens"]) == (172, 144)
    assert 0 < found["cost_usd"] < 0.0001


def test_the_first_request_is_shown(shell: Shell) -> None:
    done = shell("explain", *ASK)
    found = shell("explain", *ASK, "--json").found

    assert done.out.startswith(f"to mock:\n\n--- system\n{found['system']}\n\n--- user\n{found['user']}\n\n")
    assert json.loads(done.out.partition("--- reply schema\n")[2]) == found["schema"]
    assert "\nTask:\nClassify `name`.\n" in found["system"]
    sent = json.loads(found["user"].splitlines()[0])
    assert sorted(one["row"]["name"] for one in sent) == ["Arm", "Sanofi", "Stripe"]
    assert (found["rows"], found["model"]) == (3, "mock:")


def test_a_preview_shows_rows_with_their_answers(shell: Shell) -> None:
    done = shell("preview", *ASK, "-n", "2")
    (row,) = shell("preview", *ASK, "-n", "1", "--json").found

    assert (done.code, done.err) == (0, "")
    _, names, _, types, _, *rows, _ = (line.strip("│┌└╞").split("┆") for line in done.out.splitlines())
    assert [name.strip() for name in names] == ["name", "zip", "sector", "smelt_error"]
    assert [one.strip() for one in types] == ["str", "str", "enum", "str"]
    assert [(len(one), one[2].strip() in ("tech", "finance"), one[3].strip()) for one in rows] == [
        (4, True, "null")
    ] * 2
    assert list(row) == ["name", "zip", "sector", "smelt_error"]
    assert row["sector"] in ("tech", "finance")
    assert row["smelt_error"] is None


def test_an_evaluation_counts_right_answers(shell: Shell) -> None:
    names = {"Arm": "tech", "Sanofi": "finance", "Stripe": "tech"}
    shell.write("known.csv", "name,right\n" + "".join(f"{name},{right}\n" for name, right in names.items()))
    asked = ("known.csv", *ASK[1:], "--truth", "sector=right", "--quiet")

    shown = shell("evaluate", *asked).out.splitlines()
    (field,) = shell("evaluate", *asked, "--json").found["fields"]
    answers = {row["name"]: row["sector"] for row in shell("preview", *asked[:-3], "-n", "3", "--json").found}

    right = sum(answers[name] == names[name] for name in names)
    assert (field["field"], field["rows"], field["right"], field["failed"]) == ("sector", 3, right, 0)
    assert shown[0] == "Evaluation(3 rows answered by mock:)"
    assert shown[1].startswith(f"  sector: {right / 3:.1%} right ({right} of 3; 95% interval ")
    assert shell("evaluate", *asked, "--json", "--dry-run").found["requests"] == 1


def test_rows_and_a_question_are_inspected_without_a_request(shell: Shell) -> None:
    rows, question = (shell("inspect", *asked).out.splitlines() for asked in (["in.csv"], ASK))

    assert [line.split() for line in rows] == [["3", "rows"], ["name", "String"], ["zip", "String"]]
    assert [(line.split()[0], line.split()[-1]) for line in question[1:]] == [
        ("name", "sent"),
        ("zip", "String"),
        ("sector", "answered"),
        ("smelt_error", "answered"),
    ]
