"""Wrong command lines: each is answered in one or two lines, before anything is sent."""

from __future__ import annotations

import os
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
    "a setting without name": ([*RUN, "--set", "=9"], "There is no option '' for --set"),
    "a word as a setting": ([*RUN, "--set", "model=mock:"], "There is no option 'model' for --set"),
    "no setting": ([*RUN, "--set", "seed"], "write --set name=value"),
    "two ledgers": ([*RUN, "--ledger", "x.db", "--no-ledger"], "--ledger and --no-ledger exclude each other"),
    "an empty input": (["run", "", "Classify", "-o", "o.csv"], "IN is missing"),
    "an empty output": (["run", "in.csv", "Classify", "-o", ""], "Say where the rows go: -o FILE"),
    "an output that is a pipe": ([*RUN[:-1], "fifo.csv"], "fifo.csv is a device, a pipe or a socket."),
    "an output that cannot be": ([*RUN[:-1], f"{'x' * 300}.csv"], "cannot be written: File name too long."),
    "an output below a file": ([*RUN[:-1], "in.csv/out.csv"], "cannot be written: Not a directory."),
    "an output of a pipeline below a file": (["run", "p.py:pipe", "in.csv", "-o", "in.csv/o.csv"], "Not a directory."),
    "an output of a pipeline that is a pipe": (["run", "p.py:pipe", "in.csv", "-o", "fifo.csv"], "is a device"),
    "UTF-16": (["run", "utf16.csv", "Classify", "-o", "o.csv"], "utf16.csv cannot be read: it is no UTF-8 text."),
    "Latin-1": (["run", "latin.csv", "Classify", "-o", "o.csv"], "latin.csv cannot be read: invalid utf-8 sequence."),
    "a quote that stays open": (["run", "open.csv", "Classify", "-o", "o.csv"], "open.csv cannot be read"),
    "rows of different lengths": (["run", "ragged.csv", "Classify", "-o", "o.csv"], "found more fields than defined"),
    "no rows of JSON": (["run", "list.jsonl", "Classify", "-o", "o.csv"], "expected to contain JSON object"),
    "a file that is cut off": (["run", "cut.parquet", "Classify", "-o", "o.csv"], "cut.parquet cannot be read"),
    "a link to nothing": (["run", "dangling.csv", "Classify", "-o", "o.csv"], "There is no file 'dangling.csv'."),
    "a page of the web": (
        ["run", "https://a.org/a.csv", "x", "-o", "o.csv"],
        "https is no database that is known",
    ),
    "an empty prompt": (["run", "in.csv", " ", "-m", "mock:", "-o", "o.csv"], "The prompt is empty"),
    "an open brace": (["run", "in.csv", "{", "-m", "mock:", "-o", "o.csv"], "braces do not balance"),
    "a prompt that is no text": (["run", "in.csv", "-f", "latin.csv", "-o", "o.csv"], "the file is no UTF-8 text."),
    "no batch": ([*RUN, "--batch-size", "0"], "--batch-size must be"),
    "no number at all": ([*RUN, "--max-cost", "nan"], "--max-cost must be a number of dollars"),
    "no columns": ([*RUN, "--columns", ","], "--columns"),
    "a field twice": ([*RUN, "--field", "a:int", "a:str"], "The field 'a' is there twice."),
    "a field of the frame": ([*RUN, "--field", "name:str"], "The frame already has 'name'."),
    "a schema that is a list": ([*RUN, "--schema", "list.jsonl"], "A schema is an object with properties"),
    "code that raises": ([*RUN, "--output", "boom.py:A"], "--output boom.py: RuntimeError: boom (line 2)"),
    "code that is none": (
        [*RUN, "--output", "open.py:A"],
        "SyntaxError: '(' was never closed (line 1)",
    ),
    "a relative module": ([*RUN, "--output", "..a:A"], "there is no module '..a'"),
    "a pipeline that is none": (["run", "p.py:three", "in.csv", "-o", "o.csv"], "is a int, and no pipeline"),
    "no such step": (["run", "p.py:pipe", "in.csv", "-o", "o.csv", "--steps", "zz"], "there is no step 'zz'"),
    "no ledger": ([*RUN, "--ledger", ""], "--ledger must be the path of a file"),
    "no variables": ([*RUN, "--env-file", "latin.csv"], "--env-file: 'latin.csv' cannot be read"),
    "no models": ([*RUN, "--models", "in.csv"], "in.csv must be a file of models"),
    "no such shell": (["completion", "tcsh"], "There is no 'tcsh'"),
    "no prompt file": (["run", "in.csv", "-f", "no.txt", "-o", "o.csv"], "-f no.txt: No such file"),
    "a pattern of two kinds": (["run", "*[nr].*s*", "Classify", "-o", "o.csv"], "matches files of several kinds"),
    "a word too many": (["doctor", "now"], "'now' is one word too many"),
    "no truth": (["evaluate", "in.csv", "Classify", "-m", "mock:"], "--truth field=column"),
    "no embedded model": (["local", "pull", "gpt-9"], "There is no embedded model 'gpt-9'"),
    "kill without all": (["kill"], "the following arguments are required: --all"),
}


FILES: dict[str, str | bytes] = {
    "other.jsonl": '{"name": "Arm"}',
    "utf16.csv": "name\nArm\n".encode("utf-16"),
    "latin.csv": "name\nM\u00fcller\n".encode("latin-1"),
    "open.csv": 'name\n"open\n',
    "ragged.csv": "a,b\n1,2,3\n",
    "list.jsonl": "[1, 2]\n",
    "cut.parquet": b"PAR1abc",
    "boom.py": "# A file of the user.\nraise RuntimeError('boom')\n",
    "open.py": "f(\n",
    "p.py": "import smelt\nthree = 3\npipe = smelt.pipeline(model='mock:').transform('{name}?', {'a': str})\n",
}


@pytest.mark.parametrize(("arguments", "answer"), WRONG.values(), ids=WRONG)
def test_a_wrong_command_line_is_answered_in_two_lines(arguments: list[str], answer: str, shell: Shell) -> None:
    shell.write("empty.csv", "")
    for name, text in FILES.items():
        (shell.folder / name).write_bytes(text if isinstance(text, bytes) else text.encode())
    os.mkfifo(shell.folder / "fifo.csv")
    (shell.folder / "dangling.csv").symlink_to("nowhere.csv")

    done = shell(*arguments)

    assert (done.code, done.out) == (2, "")
    assert answer in done.err
    assert len(done.err.splitlines()) <= 2
    assert not Path("out.csv").exists()
    assert not Path("o.csv").exists()
    assert Path("fifo.csv").is_fifo()


def test_every_command_explains_itself() -> None:
    for command in every(parser()):
        assert command.format_help().startswith(f"usage: {command.prog}")
        assert "positional arguments" not in command.format_help()
