"""Argument checks; their errors say what is expected."""

from __future__ import annotations

import operator
import os
import stat
from collections.abc import Callable
from numbers import Real
from pathlib import Path
from typing import Any

from smelt.errors import SmeltConfigError


def plain_path(path: object, wanted: str) -> Path:
    """*path* as a `Path`, with `~` expanded; *wanted* describes the expected value in errors.

    Raises:
        SmeltConfigError: *path* cannot be a file path.
    """
    if not isinstance(path, str | os.PathLike) or not isinstance(text := os.fspath(path), str):
        raise SmeltConfigError.for_type("path", path, wanted)
    if "\0" in text:
        raise SmeltConfigError.for_value("path", text, wanted)
    try:
        return Path(text).expanduser()
    except RuntimeError:
        raise SmeltConfigError.for_value("path", text, f"{wanted}: there is no such home directory") from None


def place_to_write(path: Path) -> Path:
    """*path* with links followed: a place for a file, which replaces the file that is there.

    Raises:
        SmeltConfigError: There is something else, such as a device or a pipe, or there can be no file.
    """
    try:
        place = path.resolve()
        mode = place.stat().st_mode
    except FileNotFoundError:
        return place
    except (OSError, RuntimeError) as problem:
        raise SmeltConfigError(f"{path} cannot be written: {getattr(problem, 'strerror', problem)}.") from None
    if not stat.S_ISREG(mode):
        what = "a folder" if stat.S_ISDIR(mode) else "a device, a pipe or a socket"
        raise SmeltConfigError(f"{path} is {what}. Write the path of a file.")
    return place


def share(name: str, value: object) -> float:
    """*value*, which must be a number between 0 and 1."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < 1:
        raise SmeltConfigError.for_value(name, value, "a number between 0 and 1, such as 0.95")
    return value


def integer(name: str, value: object, least: int, most: int, *, also: str = "") -> int:
    """*value* as an int from *least* to *most*. Accepts NumPy integers; refuses booleans."""
    wanted = f"{also}an integer from {least:,} to {most:,}"
    try:
        number = operator.index(value)  # type: ignore[arg-type]  # Raises if it is no integer.
    except TypeError:
        raise SmeltConfigError.for_type(name, value, wanted) from None
    if isinstance(value, bool):
        raise SmeltConfigError.for_type(name, value, wanted)
    if not least <= number <= most:
        raise SmeltConfigError.for_value(name, number, wanted)
    return number


def positive(name: str, value: object, wanted: str, most: float) -> float:
    """*value* as a float above 0 and up to *most*; *wanted* describes that in errors. Refuses booleans and NaN."""
    if isinstance(value, bool) or not isinstance(value, Real):
        raise SmeltConfigError.for_type(name, value, wanted)
    number: Any = value  # `Real` (such as NumPy's 32-bit floats) has no ordering for the type checker.
    if not 0 < number <= most:  # This also refuses NaN.
        raise SmeltConfigError.for_value(name, value, wanted)
    return float(number)


def flag(name: str, value: object) -> bool:
    """*value*, which must be True or False."""
    if not isinstance(value, bool):
        raise SmeltConfigError.for_type(name, value, "True or False")
    return value


def one_of(*choices: str) -> Callable[[str, object], str]:
    """A check for one of these words."""
    wanted = ", ".join(repr(one) for one in choices[:-1]) + f" or {choices[-1]!r}"

    def check(name: str, value: object) -> str:
        if not isinstance(value, str):
            raise SmeltConfigError.for_type(name, value, wanted)
        if value not in choices:
            raise SmeltConfigError.for_value(name, value, wanted)
        return value

    return check
