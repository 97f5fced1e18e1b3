"""Makes a question of the options of a command: prompt, output model, model and settings."""

from __future__ import annotations

import importlib.util
import json
import sys
from argparse import Namespace
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from traceback import extract_tb
from typing import Any

from smelt.checks import plain_path
from smelt.cli.parser import UsageError
from smelt.cli.telling import OURS
from smelt.errors import SmeltConfigError, SmeltError
from smelt.messages import nearest, shown_value

_PLAIN = (
    "batch_size",
    "concurrency",
    "rpm",
    "tpm",
    "max_attempts",
    "deadline",
    "max_cost",
    "max_tokens_total",
    "isolation",
    "mode",
    "ledger",
)
_FLAGS = ("refresh", "any_key")
_LONGEST_FILE = 10_000_000  # Bytes of a prompt or a schema.


@dataclass(frozen=True, kw_only=True)
class Question:
    """What a command asks.

    Attributes:
        prompt: The prompt.
        output_model: What an answer is.
        model: The model; None for the default.
        settings: Options of `smelt.transform` that were given.
    """

    prompt: str
    output_model: Any
    model: str | None
    settings: Mapping[str, Any]


def question(options: Namespace, words: Sequence[str]) -> Question:
    """The question of a command whose words after IN are *words*.

    Raises:
        UsageError: The prompt is missing, or there are two.
        SmeltConfigError: A value cannot be read.
    """
    if options.steps is not None:
        raise UsageError(options.parser, "--steps is for a pipeline.")
    _check_names(options)
    return Question(
        prompt=_prompt(options, words),
        output_model=_output_model(options),
        model=options.model,
        settings=settings(options),
    )


def _check_names(options: Namespace) -> None:
    from smelt.call.options import NAMES  # Imported late: help needs none of them.

    for one in options.set:
        name = _option(one)
        if name not in NAMES:
            raise UsageError(options.parser, f"There is no option {shown_value(name)} for --set.{nearest(name, NAMES)}")


def _option(written: str) -> str:
    """The name of the option in `name=value`."""
    return written.partition("=")[0].strip().replace("-", "_")


def _prompt(options: Namespace, words: Sequence[str]) -> str:
    if len(words) > 1:
        raise UsageError(options.parser, f"{words[1]!r} is one word too many. Put the prompt in quotes.")
    if (options.prompt_file is None) == (not words):
        found = "both PROMPT and -f are given" if words else "the prompt is missing. Write it after IN, or -f FILE"
        raise UsageError(options.parser, f"{found[0].upper()}{found[1:]}.")
    return words[0] if words else text_of(options.prompt_file, "-f").strip()


def text_of(path: str, flag: str) -> str:
    """The text of a file that *flag* names.

    Raises:
        SmeltConfigError: It cannot be read.
    """
    file = plain_path(path, f"the path of a file ({flag})")
    try:
        if file.stat().st_size > _LONGEST_FILE:
            raise SmeltConfigError(f"{flag} {path}: the file is larger than {_LONGEST_FILE:,} bytes.")
        return file.read_text(encoding="utf-8")
    except OSError as problem:
        raise SmeltConfigError(f"{flag} {path}: {problem.strerror}.") from None
    except UnicodeDecodeError:
        raise SmeltConfigError(f"{flag} {path}: the file is no UTF-8 text.") from None


def _output_model(options: Namespace) -> Any:
    ways = [name for name in ("field", "schema", "output") if getattr(options, name) is not None]
    if len(ways) > 1:
        raise UsageError(options.parser, f"--{ways[0]} and --{ways[1]} both say what an answer is. Leave one out.")
    if options.schema is not None:
        return _schema(options.schema)
    if options.output is not None:
        return named_object(options.output, "--output")
    if options.field is None:
        return str
    from smelt.plan.shorthand import fields_of  # Imported late: it needs pydantic.

    return fields_of(options.field)


def _schema(path: str) -> Any:
    from smelt.plan.jsonschema import model_of_schema

    text = text_of(path, "--schema")
    try:
        found = _yaml(text) if path.endswith((".yml", ".yaml")) else json.loads(text)
    except (ValueError, RecursionError) as problem:
        raise SmeltConfigError(f"--schema {path} cannot be read: {str(problem).splitlines()[0]}.") from None
    return model_of_schema(found)


def _yaml(text: str) -> Any:
    try:
        import yaml
    except ImportError:
        from smelt.errors import MissingDependencyError

        raise MissingDependencyError.for_extra("yaml", "pyyaml") from None
    try:
        return yaml.safe_load(text)
    except yaml.YAMLError as problem:
        raise ValueError(" ".join(str(problem).split())) from None


def named_object(written: str, flag: str) -> Any:
    """The object that `module:name` or `file.py:name` names. Runs that module, which is the user's code.

    Raises:
        SmeltConfigError: There is no such module, file or name.
    """
    module, _, name = written.rpartition(":")
    if not module or not name:
        raise SmeltConfigError(f"{flag} {written}: write module:name or file.py:name.")
    found = _file(module, flag) if module.endswith(".py") else _module(module, flag)
    for part in name.split("."):
        if not hasattr(found, part):
            raise SmeltConfigError(f"{flag} {written}: there is no {part!r}.{nearest(part, vars(found))}")
        found = getattr(found, part)
    return found


def _module(name: str, flag: str) -> Any:
    here = str(Path.cwd())
    if here not in sys.path:
        sys.path.insert(0, here)  # As `python -m` does.
    from smelt.api.symbols import imported  # Imported late: few commands name code.

    if name.startswith("."):
        raise SmeltConfigError(f"{flag}: there is no module {shown_value(name)}.")
    with _said(f"{flag} {name}"):
        found = imported(name)
    if found is None:
        raise SmeltConfigError(f"{flag}: there is no module {shown_value(name)}.")
    return found


def _file(path: str, flag: str) -> Any:
    file = plain_path(path, f"the path of a file ({flag})").resolve()
    if not file.is_file():
        raise SmeltConfigError(f"{flag}: there is no file {shown_value(path)}.")
    spec = importlib.util.spec_from_file_location(file.stem, file)
    assert spec is not None
    assert spec.loader is not None
    if str(file.parent) not in sys.path:
        sys.path.insert(0, str(file.parent))
    module = importlib.util.module_from_spec(spec)
    sys.modules.setdefault(file.stem, module)  # Annotations of its classes are looked up there.
    with _said(f"{flag} {path}", str(file)):
        spec.loader.exec_module(module)
    return module


@contextmanager
def _said(what: str, path: str | None = None) -> Iterator[None]:
    """Say an exception of the user's code in a line, with the last line of the file at *path* that it came through.

    Raises:
        SmeltConfigError: There was one.
    """
    try:
        yield
    except SmeltError:
        raise
    except Exception as problem:
        told = problem.msg if isinstance(problem, SyntaxError) else str(problem)
        first = next(iter(told.splitlines()), "")
        lines = [at.lineno for at in extract_tb(problem.__traceback__) if at.filename == path]
        line = problem.lineno if isinstance(problem, SyntaxError) else lines[-1] if lines else None
        place = "" if line is None else f" (line {line})"
        raise SmeltConfigError(f"{what}: {type(problem).__name__}: {first}{place}") from problem


def settings(options: Namespace) -> dict[str, Any]:
    """The options of `smelt.transform` that were given, unchecked."""
    found = {name: value for name in _PLAIN if (value := getattr(options, name, None)) is not None}
    found.update({name: True for name in _FLAGS if getattr(options, name, False)})
    if options.columns is not None:
        found["columns"] = names_in(options.columns)
    if options.no_ledger:
        if options.ledger is not None:
            raise UsageError(options.parser, "--ledger and --no-ledger exclude each other.")
        found["ledger"] = False
    for one in options.set:
        name, equals, value = one.partition("=")
        if not equals or not name.strip() or name in OURS:
            raise UsageError(options.parser, f"--set {one}: write --set name=value, with an option of smelt.transform.")
        found[_option(one)] = _value(value)
    return found


def names_in(written: str) -> list[str]:
    """The names of columns in `a,b`."""
    return [name.strip() for name in written.split(",") if name.strip()]


def _value(written: str) -> Any:
    """*written* as JSON, and else as text."""
    try:
        return json.loads(written)
    except (ValueError, RecursionError):
        return written
