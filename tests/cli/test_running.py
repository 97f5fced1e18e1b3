"""`smelt run`: rows in, rows with answers out."""

from __future__ import annotations

import contextlib
import io
import json
import os
import pty
import subprocess
import sys
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from tests.cli.command import Shell
from tests.conftest import MakeScenario
from tests.fakeserver import Scenario

ASK = ("run", "in.csv", "Classify {name}.", "--field", "sector:tech|finance", "tags:list[str]", "-m", "mock:")
ANSWERS: dict[str, Any] = {"sector": {"choice": ["tech", "finance"], "of": "name"}}
FAKE = ("-m", "openai:gpt-4.1-nano")


@pytest.fixture
def server(scenario: MakeScenario, monkeypatch: pytest.MonkeyPatch) -> Scenario:
    made = scenario(answers=ANSWERS, count_by="name")
    monkeypatch.setenv("OPENAI_API_KEY", "sk-proj-test")
    monkeypatch.setenv("OPENAI_BASE_URL", made.base_url("openai"))
    return made


@pytest.mark.parametrize("name", ["out.csv", "out.tsv", "out.parquet", "out.jsonl", "out.arrow"])
def test_rows_go_out_by_the_ending_of_the_file(name: str, shell: Shell) -> None:
    done = shell(*ASK, "-o", name)

    assert (done.code, done.out) == (0, "")
    assert done.err.endswith(f"3 rows in {name}, free.\n")
    read: Any = {
        ".csv": lambda path: pl.read_csv(path, infer_schema=False),
        ".tsv": lambda path: pl.read_csv(path, infer_schema=False, separator="\t"),
        ".parquet": pl.read_parquet,
        ".jsonl": pl.read_ndjson,
        ".arrow": pl.read_ipc,
    }
    found = read[Path(name).suffix](name)
    assert found.columns == ["name", "zip", "sector", "tags", "smelt_error"]
    assert found["zip"].to_list() == ["01234", "75000", None]
    tags = found["tags"].to_list()
    assert all(isinstance(json.loads(one) if isinstance(one, str) else one, list) for one in tags)
    assert sorted(path.name for path in shell.folder.iterdir()) == ["in.csv", name]


def test_rows_go_to_the_standard_output_alone(shell: Shell) -> None:
    done = shell(*ASK, "-o", "-", "--quiet")

    assert done.code == 0
    assert done.err == ""
    assert pl.read_csv(done.out.encode())["name"].to_list() == ["Arm", "Sanofi", "Stripe"]


def test_rows_come_from_the_standard_input(shell: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    lines = io.TextIOWrapper(io.BytesIO(b'{"name": "Arm"}\n{"name": "Sanofi"}\n'))
    monkeypatch.setattr(sys, "stdin", lines)

    done = shell("run", "-", "Sum up {name}.", "-m", "mock:", "--from", "jsonl", "--to", "jsonl", "-o", "-")

    assert [json.loads(line)["name"] for line in done.out.splitlines()] == ["Arm", "Sanofi"]


def test_one_object_says_what_was_done(shell: Shell, server: Scenario) -> None:
    done = shell("run", "in.csv", "{name}?", "--field", "sector:tech|finance", *FAKE, "-o", "o.parquet", "--json")

    found = done.found
    assert (found["rows"], found["failed"], found["requests"], found["ended"], found["exit"]) == (3, 0, 1, "done", 0)
    assert found["cost_usd"] > 0
    assert found["out"] == "o.parquet"


def test_events_are_lines_of_json_without_text_of_rows(shell: Shell) -> None:
    done = shell(*ASK, "-o", "out.csv", "--log-json")

    *events, last = done.err.splitlines()
    assert [json.loads(line)["event"] for line in events][:2] == ["RunStarted", "RequestSent"]
    assert last == "3 rows in out.csv, free."
    assert "Sanofi" not in done.err


def test_rows_that_fail_are_counted_by_their_kind_and_change_the_exit_code(shell: Shell, scenario: Any) -> None:
    class_ = shell.write(
        "strict.py",
        "import pydantic\n\nclass Never(pydantic.BaseModel):\n    sector: str\n\n"
        "    @pydantic.field_validator('sector')\n    def no(cls, value):\n        raise ValueError('no')\n",
    )
    command = ("run", "in.csv", "{name}?", "--output", f"{class_}:Never", "-m", "mock:", "--max-attempts", "1")

    done = shell(*command, "-o", "out.csv")

    assert done.code == 3
    assert "3 failed (3 invalid)" in done.err
    assert shell(*command, "-o", "out.csv", "--allow-failed").code == 0


def test_the_same_command_again_pays_for_nothing(shell: Shell, server: Scenario) -> None:
    command = ("run", "in.csv", "{name}?", "--field", "sector:tech|finance", *FAKE, "-o", "o.csv", "--ledger", "l.db")

    first = shell(*command, "--json").found
    second = shell(*command, "--json").found

    assert (first["requests"], second["requests"], second["from_ledger"]) == (1, 0, 3)
    assert server.stats().requests == 1


def test_a_budget_that_is_spent_is_an_early_end(shell: Shell, server: Scenario) -> None:
    rows = shell.write("many.csv", "name\n" + "\n".join(f"company {at}" for at in range(200)))

    done = shell("run", rows, "{name}?", "--field", "sector:tech|finance", *FAKE, "-o", "o.csv", "--max-cost", "0.0001")

    assert done.code == 4
    assert "It ended early (budget). The same command goes on from here." in done.err


def test_a_wrong_key_is_refused_in_a_sentence(shell: Shell, scenario: MakeScenario, server: Scenario) -> None:
    server.reset(always={"fault": "status", "code": 401})

    done = shell("run", "in.csv", "{name}?", "--field", "a:int", *FAKE, "-o", "o.csv", "--quiet")

    assert done.code == 1
    assert "Traceback" not in done.err
    assert not Path("o.csv").exists()


@pytest.mark.slow
@pytest.mark.whole
def test_on_a_terminal_it_asks_before_more_than_a_dollar(server: Scenario, shell: Shell) -> None:
    shell.write(
        "long.csv", "name\n" + f"{'long ' * 2_000}\n" * 3 + "".join(f"{'word ' * 1_600}{at}\n" for at in range(700))
    )
    ours, theirs = pty.openpty()
    line = ["run", "long.csv", "Classify {name}.", "--field", "sector:str", "-m", "openai:gpt-4.1", "-o", "out.csv"]

    with subprocess.Popen(
        [sys.executable, "-m", "smelt", *line], stdin=theirs, stdout=subprocess.PIPE, stderr=theirs
    ) as child:
        os.close(theirs)
        told = b""
        while b"[y/N]" not in told:
            told += os.read(ours, 4_096)  # Ends with an error if the child ends without asking.
        os.write(ours, b"n\n")
        out, _ = child.communicate(timeout=120)
    os.close(ours)

    assert child.returncode == 4
    assert b"About $" in told
    assert b"for 703 rows. --max-cost limits it, --yes does not ask." in told
    assert out == b""
    assert server.stats().requests == 0
    assert not Path("out.csv").exists()


@pytest.mark.parametrize(
    ("stream", "command", "answer"),
    [
        ("stdin", ("run", "-", "{name}?", "-m", "mock:", "-o", "o.csv"), (2, "", "The standard input is closed.\n")),
        ("stdout", (*ASK, "-o", "-", "--quiet"), (2, "", "The standard output is closed.\n")),
        ("stderr", (*ASK, "-o", "out.csv"), (0, "", "")),
    ],
)
def test_a_closed_stream_is_told_or_done_without(
    stream: str, command: tuple[str, ...], answer: tuple[Any, ...], shell: Shell, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, stream, None)

    done = shell(*command)

    assert (done.code, done.out, done.err) == answer


def test_a_full_disk_is_told_in_a_line(shell: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    with Path("/dev/full").open("w") as full:
        monkeypatch.setattr(sys, "stdout", full)
        done = shell(*ASK, "-o", "-", "--quiet")
        with contextlib.suppress(OSError):
            full.close()

    assert (done.code, done.err) == (1, "The disk or the terminal: No space left on device.\n")
