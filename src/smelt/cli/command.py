"""Carries one command line out: parses it, calls what it names, and makes an exit code of what happens."""

from __future__ import annotations

import signal
import sys
import warnings
from argparse import Namespace
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from importlib import import_module
from typing import Any

from smelt.cli.parser import Parser, UsageError, parser
from smelt.cli.telling import complain, in_flags
from smelt.errors import AuthConfigError, MissingDependencyError, SmeltConfigError, SmeltError, SmeltWarning

REFUSED = 1
WRONG = 2  # `summary` has the codes of a run that went to its end, or ended early.
BY_SIGNAL = 128  # Exit code of a command that a signal ended: this plus the signal number.


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code.

    0: done, and no row failed. 1: refused by a provider, the store or this machine. 2: the command line is wrong.
    3: some rows failed. 4: it ended early, and the same command goes on. 128 + n: signal n ended it.
    """
    options = Namespace()
    try:
        options = _read(parser(), sys.argv[1:] if arguments is None else arguments)
        with _plain_warnings():
            _read_variables(options)
            return int(_called(options) or 0)
    except UsageError as problem:
        complain(f"{problem.command}: {problem}\n{problem.command} --help shows what it takes.")
        return WRONG
    except SystemExit as end:  # argparse ends --help and --version like this.
        if isinstance(end.code, str):  # Of the user's code.
            complain(end.code)
        return end.code if isinstance(end.code, int) else REFUSED if end.code else 0
    except (AuthConfigError, MissingDependencyError) as problem:
        complain(in_flags(str(problem)))
        return REFUSED
    except SmeltConfigError as problem:
        complain(in_flags(str(problem)))
        return WRONG
    except SmeltError as problem:
        complain(in_flags(str(problem)))
        return REFUSED
    except KeyboardInterrupt as stop:
        complain(*_stopped(options))
        return BY_SIGNAL + int(getattr(stop, "signum", None) or signal.SIGINT)
    except BrokenPipeError:  # As in `smelt run … -o - | head`.
        return BY_SIGNAL + signal.SIGPIPE
    except OSError as problem:  # A disk that is full, or a file that another program took away.
        complain(f"{problem.filename or 'The disk or the terminal'}: {problem.strerror or problem}.")
        return REFUSED


def _read(tree: Parser, arguments: Sequence[str]) -> Namespace:
    options, left = tree.parse_known_args(arguments)
    words = [word for word in left if word != "--"]
    command = options.parser
    if unknown := [word for word in words if word.startswith("-") and word != "-" and " " not in word]:
        raise UsageError(command, f"There is no option {unknown[0]}.{_near(command, unknown[0])}")
    if words and not options.takes_words:
        raise UsageError(command, f"{words[0]!r} is one word too many.")
    options.words = words
    return options


def _near(command: Parser, option: str) -> str:
    from smelt.messages import nearest

    return nearest(option.partition("=")[0], [name for action in command._actions for name in action.option_strings])


def _read_variables(options: Namespace) -> None:
    """Read the file of `--env-file`."""
    if (path := getattr(options, "env_file", None)) is None:
        return
    from smelt.call.defaults import configure

    try:
        configure(env_file=path)
    except SmeltConfigError as problem:
        raise type(problem)(str(problem).replace("env_file", "--env-file", 1)) from None


def _stopped(options: Namespace) -> Iterator[str]:
    """What to say after Ctrl-C or SIGTERM: how to go on, in words of the command line."""
    if not getattr(options, "takes_words", False):
        yield "Stopped."
    elif options.mode == "batch":
        yield "Stopped. Jobs that were submitted run on, and are billed. The same command collects them, also tomorrow;"
        yield "`smelt jobs list` lists them, and `smelt jobs cancel JOB` ends one."
    elif options.no_ledger:
        yield "Stopped. No ledger keeps the answers, so the same command pays again for rows that are not in OUT."
    else:
        yield "Stopped. The same command goes on from here."


def _called(options: Namespace) -> Any:
    module, _, name = options.calls.partition(":")
    if not module:
        options.parser.print_help()
        return 0
    function: Callable[[Namespace], Any] = getattr(import_module(module), name)
    return function(options)


@contextmanager
def _plain_warnings() -> Iterator[None]:
    """Show smelt's warnings as lines, without the line of code, and no others."""

    def show(message: Warning | str, *_: object, **__: object) -> None:
        complain(in_flags(str(message)))

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        warnings.simplefilter("always", SmeltWarning)
        warnings.showwarning = show
        yield
