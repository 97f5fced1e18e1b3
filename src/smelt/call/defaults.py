"""Process-wide default options: from `smelt.configure`, then from environment variables."""

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
    """Set defaults for all later calls in this process; an argument of a call overrides them. Sends nothing.

    Args:
        **options: `model`, and the options of `transform`. None removes a default.

    Raises:
        SmeltConfigError: An option does not exist, or its value has the wrong type or is out of range; then nothing is
            set.

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
    """The default of an option: the configured value, else the environment variable, else None.

    Raises:
        SmeltConfigError: The environment variable is malformed; the message names it.
    """
    if name in _configured:
        return _configured[name]
    variable = _VARIABLES.get(name)
    text = os.environ.get(variable, "").strip() if variable else ""
    if not variable or not text:
        return None
    source = f"The environment variable {variable}"
    if name == "ledger":  # The variable may be a path: then it says where the ledger is, not whether there is one.
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
        from smelt.model import read_model  # Imported late: `smelt.model` reads its default here.

        return read_model(value)
    return checked(name, value)


def _number(text: str) -> int | float | str:
    """*text* as a number; other text is returned unchanged, and the option's own check refuses it."""
    if len(text) > _LONGEST_NUMBER:
        return text
    for read in (int, float):
        try:
            return read(text)
        except ValueError:
            continue
    return text


_LONGEST_NUMBER = 20  # Characters. Python parses integers of thousands of digits slowly, or refuses them.


def resolved(options: Mapping[str, Any], output_model: Any) -> Settings:
    """All options of a call: the given ones, and the process defaults for the others.

    Raises:
        SmeltConfigError: An option is unknown, has the wrong type or is out of range.
    """
    if options.get("output") is not None:
        from smelt.plan.forms import is_named  # Imported late: it needs pydantic.

        if is_named(output_model):
            raise SmeltConfigError(
                "output= names the column of a single answer, such as str or Literal['a', 'b']. This output model "
                "names its columns by its fields."
            )
    usual = {name: value for name in NAMES if (value := setting(name)) is not None}
    return Settings.of(**{**usual, **options})
