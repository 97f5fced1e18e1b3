"""Process-wide default options: from `smelt.configure`, then from environment variables."""

from __future__ import annotations

from collections.abc import Mapping
from os import PathLike
from typing import Any

from smelt.call.options import CASCADE_VOTES, NAMES, TARGETS, Settings, checked, unknown_option
from smelt.environment import environ, use, values_in
from smelt.errors import SmeltConfigError
from smelt.tracebacks import plainly


class Unset:
    """The type of an argument that was not given, where None has a meaning."""

    def __repr__(self) -> str:
        return "..."


UNSET = Unset()
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
def configure(*, env_file: str | PathLike[str] | Unset | None = UNSET, **options: Any) -> None:
    """Set defaults for all later calls in this process; an argument of a call overrides them. Sends nothing.

    Args:
        env_file: A file with environment variables, such as ".env": keys, addresses and `SMELT_…`. Variables of the
            process win, and `os.environ` is not changed. It is read now, and never looked for if you do not name it;
            None forgets it. Needs the extra `env`.
        **options: `model`, and the options of `transform`. None removes a default.

    Raises:
        SmeltConfigError: An option does not exist, or its value has the wrong type or is out of range, or the file
            cannot be read; then nothing is set.

    Examples:
        >>> smelt.configure(model=scripted, concurrency=8)
        >>> df.smelt.transform("Classify {name}.", Company)["sector"].tolist()
        ['tech', 'health']
        >>> smelt.configure(model=None, concurrency=None)
    """
    variables = None if isinstance(env_file, Unset) else values_in(env_file) if env_file is not None else {}
    given = {name: _checked(name, value) for name, value in options.items()}
    if variables is not None:
        use(variables)
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
    text = environ().get(variable, "").strip() if variable else ""
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
    asked = {**usual, **options}
    if any(asked.get(name) is not None for name in TARGETS):
        asked.setdefault("votes", CASCADE_VOTES)
    return Settings.of(**asked)
