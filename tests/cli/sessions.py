"""Terminal sessions of the documentation: the commands of every `console` block, and what they print.

`python -m tests.cli.sessions` writes into the pages what their commands print now. `...` stands for anything.
"""

from __future__ import annotations

import doctest
import io
import os
import re
import shlex
from collections.abc import Iterator
from contextlib import chdir, redirect_stderr, redirect_stdout
from pathlib import Path
from tempfile import TemporaryDirectory

from smelt.cli import main as smelt
from smelt.cli.parser import every, parser
from tests.fakeserver import FakeServer
from tests.test_readme import PAGES, ROOT, surroundings

REFERENCE = ROOT / "docs" / "reference" / "cli.md"
FILES = {
    "companies.csv": "name,about\nSanofi,makes vaccines and medicines\nStripe,takes payments for web shops\n"
    "Arm,designs chips\n",
    "pipe.py": "import smelt\n\npipe = smelt.pipeline('companies', model='openai:gpt-4.1-mini').transform(\n"
    "    'Which sector is {name} in?', {'sector': str}, step='sector'\n).transform('Is {name} in {sector} public?', "
    "{'is_public': bool}, step='public')\n",
}
_BLOCK = re.compile(r"^```console\n(.*?)^```", re.MULTILINE | re.DOTALL)
_COMMAND = re.compile(r"^\$ ((?:.*\\\n)*.*)\n", re.MULTILINE)
_HEAD = """# The command line

What each command takes. [A page of its own](../howto/command-line.md) says how to use them.

| exit code | |
| --- | --- |
| 0 | Done, and no row failed. |
| 1 | Refused: by the provider, by the ledger, by the disk, or because a key or a package is missing. |
| 2 | The command line is wrong, or what it names cannot be used. Nothing was sent. |
| 3 | Done, but some rows failed; with `--allow-failed` 0. |
| 4 | It ended early: a budget, a deadline, a stop of the provider, or rows in jobs. The same command goes on. |
| 128 + n | Signal n ended it: 130 after Ctrl-C, 143 after SIGTERM. |
"""


def reference() -> str:
    """The page with the help of every command, written from the commands."""
    shown = []
    for command in every(parser()):
        help_text = command.format_help().rstrip()
        shown.append(f"## {command.prog}\n\n```console\n$ {command.prog} --help\n{help_text}\n```\n")
    return "\n".join([_HEAD, *shown])


def sessions(page: Path) -> Iterator[tuple[str, str, tuple[int, int]]]:
    """Each command of the `console` blocks of *page*, what the page says that it prints, and where it says so."""
    text = page.read_text(encoding="utf-8")
    for block in _BLOCK.finditer(text):
        commands = list(_COMMAND.finditer(text, block.start(1), block.end(1)))
        for command, following in zip(commands, [*commands[1:], None], strict=True):
            place = command.end(), following.start() if following else block.end(1)
            yield command[1].replace("\\\n", ""), text[slice(*place)], place


def printed_by(command: str) -> str:
    """What *command* prints: `smelt …`, or `cat` of a file."""
    program, *arguments = shlex.split(command)
    if program == "cat":
        return "".join(Path(name).read_text(encoding="utf-8") for name in arguments)
    assert program == "smelt", program
    out = io.StringIO()
    with redirect_stdout(out), redirect_stderr(out):
        smelt(arguments)
    return out.getvalue()


def runs(page: Path) -> Iterator[tuple[str, str, str, tuple[int, int]]]:
    """Each command of *page*, what the page says, what it prints now, and where the page says it."""
    with TemporaryDirectory() as folder, chdir(folder):
        Path(folder, "cache").mkdir(mode=0o700)
        os.environ["SMELT_LEDGER"] = str(Path(folder, "cache", "ledger.sqlite"))
        for name, text in FILES.items():
            Path(folder, name).write_text(text, encoding="utf-8")
        for command, said, place in sessions(page):
            yield command, said, printed_by(command), place


def says(said: str, printed: str) -> bool:
    """Whether a page is right about what was printed."""
    return doctest.OutputChecker().check_output(said, printed, doctest.ELLIPSIS)


def write() -> None:
    """Write the reference, and into every page what its commands print now."""
    REFERENCE.write_text(reference(), encoding="utf-8")
    with FakeServer() as fake, TemporaryDirectory() as folder:
        os.environ |= surroundings(fake, Path(folder))
        for page in set(PAGES) - {REFERENCE}:
            text = page.read_text(encoding="utf-8")
            for _, said, printed, (start, end) in reversed(list(runs(page))):
                if not says(said, printed):
                    text = text[:start] + printed + text[end:]
            page.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    write()
