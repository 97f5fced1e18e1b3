"""The names of this process. A name without a colon, as in `model="fast"`, is looked up here.

The table belongs to the process and is never sent elsewhere. A name that another process gets, for example in a pickled
Polars plan, must be known there too; `SMELT_ENGINES` does that for every process of a user.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from smelt.environment import environ
from smelt.errors import SmeltConfigError
from smelt.messages import shown_value

VARIABLE = "SMELT_ENGINES"

_known: dict[str, Any] = {}
_read: set[str] = set()  # Values of the variable whose file was read.


def put(entries: Mapping[str, Any]) -> None:
    """Add names; all of them, or none.

    Raises:
        SmeltConfigError: A name is malformed, or means something else already.
    """
    for name, entry in entries.items():
        _check(name)
        if name in _known and _known[name] != entry:
            raise SmeltConfigError(
                f"The name {name!r} is registered for another model. Choose another name, or free this one first: "
                f"smelt.register_model({name!r}, None)"
            )
    _known.update(entries)


def drop(name: str) -> None:
    """Forget *name*, if it is known."""
    _check(name)
    _known.pop(name, None)


def find(name: str) -> Any:
    """What *name* was registered for; None if it is unknown. Reads the file that `SMELT_ENGINES` names, once.

    Raises:
        SmeltConfigError: That file is wrong.
    """
    _read_variable()
    return _known.get(name)


def names() -> list[str]:
    """All names, those of `SMELT_ENGINES` included."""
    _read_variable()
    return list(_known)


def _read_variable() -> None:
    named = environ().get(VARIABLE, "").strip()
    if named and named not in _read:
        from smelt.named.files import entries_in  # Imported late: most processes have no file of models.

        try:
            put(entries_in(Path(named).expanduser()))
        except (SmeltConfigError, RuntimeError) as problem:
            raise SmeltConfigError(f"The environment variable {VARIABLE}: {problem}") from None
        _read.add(named)


def _check(name: object) -> None:
    if not isinstance(name, str):
        raise SmeltConfigError.for_type("name", name, 'a string, like "fast"')
    if not name or not name.isprintable() or any(one.isspace() or one == ":" for one in name) or len(name) > _LONGEST:
        raise SmeltConfigError(f"name must be a word without a colon, like 'fast', not {shown_value(name)}.")


_LONGEST = 80
