"""Defaults of the process: what `smelt.configure` was told, then what the environment says."""

from __future__ import annotations

import math
import os
from collections.abc import Callable
from typing import Any

from smelt.errors import SmeltConfigError, nearest

OPTIONS = frozenset(
    {
        "model",
        "batch_size",
        "concurrency",
        "shuffle",
        "seed",
        "max_attempts",
        "timeout",
        "deadline",
        "params",
        "isolation",
        "null_rows",
        "on_error",
        "on_conflict",
        "error_column",
        "output",
        "flatten",
        "progress",
    }
)
_configured: dict[str, Any] = {}


def configure(**options: Any) -> None:
    """Set defaults for all later calls in this process; an argument of a call comes over them.

    Args:
        **options: `model`, and the options of `transform`. None takes a default back. Values are checked where they are
            used, since what fits depends on the model and the frame.

    Raises:
        SmeltConfigError: There is no such option; then nothing is set.
    """
    for name in options:
        if name not in OPTIONS:
            raise SmeltConfigError(f"There is no option {name!r}.{nearest(name, sorted(OPTIONS))}")
    for name, value in options.items():
        if value is None:
            _configured.pop(name, None)
        else:
            _configured[name] = value


def setting(name: str) -> Any:
    """The default of an option: configured, else from the environment, else None.

    Raises:
        SmeltConfigError: The environment variable is malformed; names it.
    """
    if name in _configured:
        return _configured[name]
    if name not in _ENVIRONMENT:
        return None
    variable, read = _ENVIRONMENT[name]
    text = os.environ.get(variable, "").strip()
    return read(variable, text) if text else None


def _text(variable: str, text: str) -> str:
    if not text.isprintable():
        raise SmeltConfigError(f"The environment variable {variable} has control characters.")
    return text


def _count(variable: str, text: str) -> int | str:
    if text == "auto":
        return text
    if not text.isascii() or not text.isdigit() or not 0 < int(text[:10]) < 10**9:
        raise SmeltConfigError(
            f'The environment variable {variable} must be "auto" or a number from 1 on, not {text!r}.'
        )
    return int(text)


def _seconds(variable: str, text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = math.nan
    if not 0 < seconds < math.inf:
        raise SmeltConfigError(f"The environment variable {variable} must be a number of seconds, not {text!r}.")
    return seconds


_ENVIRONMENT: dict[str, tuple[str, Callable[[str, str], Any]]] = {
    "model": ("SMELT_MODEL", _text),
    "batch_size": ("SMELT_BATCH_SIZE", _count),
    "concurrency": ("SMELT_CONCURRENCY", _count),
    "timeout": ("SMELT_TIMEOUT", _seconds),
}
