"""Wrong command lines: each is answered in one or two lines, before anything is sent."""

from __future__ import annotations

from pathlib import Path

import pytest

from smelt.cli.parser import every, parser
from tests.cli.command import Shell

RUN = ["run", "in.csv", "PROMPT", "-m", "mock:", "-o", "out.csv"]
WRONG = {
    "no such command": (["runn"], "There is no 'runn'. Did you mean 'run'?"),
    "no input": (["run"], "IN is missing"),
    "no prompt": (["run", "in.csv", "-o", "o.csv"], "The prompt is missing"),
    "two prompts": ([*RUN, "-f", "in.csv"], "Both PROMPT and -f are given"),
    "a prompt without quotes": (["run", "in.csv", "Classify", "it", "-o", "o.csv"], "'it' is one word too many"),
    "no output": (["run", "in.csv", "Classify"], "Say where the rows go: -o FILE"),
    "an unknown option": ([*RUN, "--fields", "a:int"], "There is no option --fields. Did you mean '--field'?"),
    "no value": (["run", "in.csv", "Classify", "-o"], "expected one argument"),
    "no number": ([*RUN, "--limit", "many"], "invalid int value: 'many'"),
    "too low": ([*RUN, "--limit", "0"], "--limit must be 1 or more, not 0."),
    "no cost": ([*RUN, "--max-cost", "0"], "must be"),
    "a mode of nobody": ([*RUN, "--mode", "slow"], "There is no 'slow'"),
    "no such file": (["run", "no.csv", "Classify", "-o", "o.csv"], "There is no file 'no.csv'."),
    "a folder": (["run", ".", "Classify", "-o", "o.csv"], "It is a folder: write './*.parquet'."),
    "no match": (["run", "x*.csv", "Classify", "-o", "o.csv"], "No file matches 'x*.csv'."),
    "an unknown ending": (["run", "a.xls", "Classify", "-o", "o.csv"], "There is no file 'a.xls'"),
    "an unknown ending of the output": (["run", "in.csv", "Classify", "-o", "o.xls"], "the ending '.xls' is not known"),
    "an empty file": (["run", "empty.csv", "Classify", "-o", "o.csv"], "empty.csv cannot be read"),
    "no Parquet": (["run", "in.csv", "Classify", "-o", "o.csv", "--from", "parquet"], "in.csv cannot be read"),
    "itself": (["run", "in.csv", "Classify", "-m", "mock:", "-o", "in.csv"], "is the file that is read"),
    "a folder as output": (["run", "in.csv", "Classify", "-m", "mock:", "-o", "."], "is a folder"),
    "Parquet to the terminal": ([*RUN[:-1], "-", "--to", "parquet"], "--to parquet needs a file"),
    "two objects": ([*RUN[:-1], "-", "--json"], "both go to the standard output"),
    "no field": ([*RUN, "--field", "score"], "'score' is no field. Write a name and a type"),
    "no type": ([*RUN, "--field", "score:itn"], "'itn' is no type for the field 'score'"),
    "two models": ([*RUN, "--field", "a:int", "--schema", "s.json"], "--field and --schema both say what an answer is"),
    "no schema": ([*RUN, "--schema", "s.json"], "--schema s.json: No such file"),
    "no JSON": ([*RUN, "--schema", "in.csv"], "--schema in.csv cannot be read"),
    "no class": ([*RUN, "--output", "models.py:Company"], "there is no file 'models.py'"),
    "no module": ([*RUN, "--output", "nowhere:Company"], "there is no module 'nowhere'"),
    "no name in a module": ([*RUN, "--output", "json:Company"], "there is no 'Company'"),
    "a class without module": ([*RUN, "--output", "Company"], "write module:name or file.py:name"),
    "no such column": (["run", "in.csv", "Classify {nam}", "-m", "mock:", "-o", "o.csv"], "Did you mean 'name'?"),
    "no such column to send": ([*RUN, "--columns", "nam"], "which is not a column of the data. Did you mean 'name'?"),
    "no such column to read": ([*RUN, "--text", "zap"], "There is no column 'zap'. Did you mean 'zip'?"),
    "no such provider": ([*RUN, "-m", "opnai:gpt"], "Did you mean 'openai'?"),
    "no such name": ([*RUN, "-m", "fast"], "'fast'"),
    "no such setting": ([*RUN, "--set", "speed=9"], "There is no option 'speed'"),
    "no setting": ([*RUN, "--set", "seed"], "write --set name=value"),
    "two ledgers": ([*RUN, "--ledger", "x.db", "--no-ledger"], "--ledger and --no-ledger exclude each other"),
    "no prompt file": (["run", "in.csv", "-f", "no.txt", "-o", "o.csv"], "-f no.txt: No such file"),
    "a pattern of two kinds": (["run", "*.*", "Classify", "-o", "o.csv"], "matches files of several kinds"),
    "a word too many": (["doctor", "now"], "'now' is one word too many"),
    "no truth": (["evaluate", "in.csv", "Classify", "-m", "mock:"], "--truth field=column"),
    "no embedded model": (["local", "pull", "gpt-9"], "There is no embedded model 'gpt-9'"),
    "kill without all": (["kill"], "the following arguments are required: --all"),
}


@pytest.mark.parametrize(("arguments", "answer"), WRONG.values(), ids=WRONG)
def test_a_wrong_command_line_is_answered_in_two_lines(arguments: list[str], answer: str, shell: Shell) -> None:
    shell.write("empty.csv", "")
    shell.write("other.jsonl", '{"name": "Arm"}')

    done = shell(*arguments)

    assert (done.code, done.out) == (2, "")
    assert answer in done.err
    assert len(done.err.splitlines()) <= 2
    assert not Path("out.csv").exists()
    assert not Path("o.csv").exists()


def test_every_command_explains_itself() -> None:
    for command in every(parser()):
        assert command.format_help().startswith(f"usage: {command.prog}")
        assert "positional arguments" not in command.format_help()
