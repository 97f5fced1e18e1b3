"""The environment variables: those of the process, and those of a file that the caller named."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from os import PathLike
from pathlib import Path

from smelt.errors import MissingDependencyError, SmeltConfigError

_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_of_file: dict[str, str] = {}


def environ() -> Mapping[str, str]:
    """All variables. Those of the process win; `os.environ` itself is never changed."""
    return {**_of_file, **os.environ} if _of_file else os.environ


def cache_folder(environ: Mapping[str, str]) -> Path:
    """The folder of this user for what smelt keeps unasked. Raises RuntimeError if there is no home directory."""
    cache = environ.get("XDG_CACHE_HOME", "")
    return (Path(cache) if Path(cache).is_absolute() else Path.home() / ".cache") / "smelt"


def is_variable(name: str) -> bool:
    """Whether *name* can be the name of a variable, which a key with a dash in it cannot."""
    return _VARIABLE.fullmatch(name) is not None


def values_in(path: object) -> dict[str, str]:
    """The variables in the file at *path*, as python-dotenv reads them.

    Raises:
        SmeltConfigError: It is no file, or cannot be read; the message holds nothing of its text.
        MissingDependencyError: python-dotenv is not installed.
    """
    wanted = "the path of a file such as .env"
    if not isinstance(path, str | PathLike):
        raise SmeltConfigError.for_type("env_file", path, wanted)
    try:
        from dotenv import dotenv_values
    except ModuleNotFoundError as problem:
        raise MissingDependencyError.for_extra("env", "python-dotenv") from problem
    try:
        file = Path(path).expanduser()
        if file.is_dir() or not file.exists():
            raise SmeltConfigError(f"env_file: there is no file {str(path)!r} in {str(Path.cwd())!r}.")
        found = dotenv_values(file, encoding="utf-8")
    except (OSError, ValueError, RuntimeError) as problem:
        if isinstance(problem, SmeltConfigError):
            raise
        raise SmeltConfigError(f"env_file: {str(path)!r} cannot be read ({type(problem).__name__}).") from None
    return {name: value for name, value in found.items() if value is not None}


def use(values: Mapping[str, str]) -> None:
    """Take *values* in place of those of an earlier file."""
    _of_file.clear()
    _of_file.update(values)
