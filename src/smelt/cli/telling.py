"""What the command line says: lines on stderr, objects on stdout, and option names as flags."""

from __future__ import annotations

import json
import re
import sys
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from smelt.errors import SmeltConfigError

if TYPE_CHECKING:
    from smelt.engine.events import Event

FLAGS: Mapping[str, str] = {
    "model": "--model",
    "columns": "--columns",
    "batch_size": "--batch-size",
    "concurrency": "--concurrency",
    "rpm": "--rpm",
    "tpm": "--tpm",
    "max_attempts": "--max-attempts",
    "deadline": "--deadline",
    "max_cost": "--max-cost",
    "max_tokens_total": "--max-tokens",
    "isolation": "--isolation",
    "mode": "--mode",
    "ledger": "--ledger",
    "refresh": "--refresh",
    "any_key": "--any-key",
    "artefacts": "--artefacts",
    "restart": "--restart",
}
"""The flag of each option that has one; the others are given with `--set`."""

OURS = ("progress", "observers")
"""Options that the command line has its own way to say."""
_QUOTED = re.compile(r"`[^`]*`|'[^']*'|\"[^\"]*\"")
_FIRST = re.compile(r"^[a-z_]+(?= (?:must|is|names) )")
_OPTION = re.compile(r"\b([a-z_]+)=((?:\"[^\"]*\"|'[^']*'|\{[^}]*\}|\[[^\]]*\]|[\w.\-]*\w)?)")


def in_flags(text: str) -> str:
    """*text* of a message, with the options of Python as flags of the command line."""
    return _OPTION.sub(_as_flag, _FIRST.sub(lambda match: FLAGS.get(match[0], match[0]), text))


def _as_flag(match: re.Match[str]) -> str:
    name, value = match[1], match[2].strip("\"'")
    if name == "ledger" and value == "False":
        return "--no-ledger"
    if name in FLAGS:
        return FLAGS[name] if value in ("", "True") else f"{FLAGS[name]} {value}"
    from smelt.call.options import NAMES  # Imported late: help needs none of them.

    if name not in NAMES or name in OURS:
        return match[0]
    return f"--set {name}={value.lower() if value in ('True', 'False') else value}"


def complain(*lines: str) -> None:
    """Print lines to stderr; smelt's own sentences, in order."""
    for line in lines if sys.stderr is not None else ():  # Closed: `print` would take the standard output.
        print(line, file=sys.stderr, flush=True)


def say(line: str) -> None:
    """Print a line to stdout. Each is flushed, also in a pipe."""
    print(line, flush=True)


def say_object(found: Any) -> None:
    """Print *found* to stdout as JSON, on one line."""
    print(json.dumps(found, ensure_ascii=False, default=str), flush=True)


def log_event(event: Event) -> None:
    """Print an event of a run to stderr as a line of JSON. Events hold counts and names, and no text of a row."""
    from smelt.engine.events import facts  # Imported late: help needs none of it.

    line = {"time": round(time.time(), 3), "event": type(event).__name__, **facts(event)}
    complain(json.dumps(line, ensure_ascii=False))


def unreadable(written: str, problem: BaseException) -> SmeltConfigError:
    """The error for rows that cannot be read. It holds no cell, though the text of *problem* may quote one."""
    first = next(iter(str(problem).strip().splitlines()), "it is empty").rstrip(".")
    return SmeltConfigError(f"{written} cannot be read: {_QUOTED.sub('…', first)[:200]}.")
