"""Defaults of the process: what `smelt.configure` was told, then what the environment says."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

from smelt.call.options import NAMES, Settings, checked, unknown_option
from smelt.errors import SmeltConfigError
from smelt.tracebacks import plainly

OPTIONS = ("model", *NAMES)
_VARIABLES = {
    "model": "SMELT_MODEL",
    "batch_size": "SMELT_BATCH_SIZE",
    "concurrency": "SMELT_CONCURRENCY",
    "timeout": "SMELT_TIMEOUT",
    "ledger": "SMELT_LEDGER",
}
_NO_LEDGER = ("off", "false", "no", "0")
_configured: dict[str, Any] = {}


@plainly
def configure(**options: Any) -> None:
    """Set defaults for all later calls in this process; an argument of a call comes over them. Sends nothing.

    Args:
        **options: `model`, and the options of `transform`. None takes a default back.

    Raises:
        SmeltConfigError: There is no such option, or its value is of the wrong type or out of range; then nothing is set.

    Examples:
        >>> smelt.configure(model=scripted, concurrency=8)
        >>> df.smelt.transform("Classify {name}.", Company)["sector"].tolist()
        ['tech', 'health']
        >>> smelt.configure(model=None, concurrency=None)
    """
    given = {name: _checked(name, value) for name, value in options.items()}
    for name, value in given.items():
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
    variable = _VARIABLES.get(name)
    text = os.environ.get(variable, "").strip() if variable else ""
    if not variable or not text:
        return None
    source = f"The environment variable {variable}"
    if name == "ledger":  # As a path it says where, not whether.
        return False if text.lower() in _NO_LEDGER else None
    if name != "model":
        return checked(name, _number(text), source=source)
    if not text.isprintable():
        raise SmeltConfigError(f"{source} has control characters.")
    return text


def _checked(name: str, value: Any) -> Any:
    if name not in OPTIONS:
        raise unknown_option(name, OPTIONS)
    if value is None:
        return None
    if name == "model":
        from smelt.model import read_model  # Which reads its default here.

        return read_model(value)
    return checked(name, value)


def _number(text: str) -> int | float | str:
    """What *text* says; text that is no number is for the option's own check to refuse."""
    if len(text) > _LONGEST_NUMBER:
        return text
    for read in (int, float):
        try:
            return read(text)
        except ValueError:
            continue
    return text


_LONGEST_NUMBER = 20  # Characters; Python reads integers of thousands of digits slowly, or not at all.


def settled(options: Mapping[str, Any], output_model: Any) -> Settings:
    """All options of a call: those that were given, and the defaults of the process for the others.

    Raises:
        SmeltConfigError: An option is unknown, of the wrong type or out of range.
    """
    if options.get("output") is not None and output_model is not str:
        raise SmeltConfigError(
            "output names the column of free text, where output_model is str. The fields of a model name its columns."
        )
    usual = {name: value for name in NAMES if (value := setting(name)) is not None}
    return Settings.of(**{**usual, **options})
