"""Argument checks; their errors say what is expected."""

from __future__ import annotations

import operator
import os
from pathlib import Path

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
