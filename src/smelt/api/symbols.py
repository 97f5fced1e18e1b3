"""Python objects that a file of a pipeline names. A module is imported only if the caller allows it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib import import_module
from types import ModuleType
from typing import Any

from smelt.errors import ConfigTypeError, SmeltConfigError
from smelt.messages import nearest, shown_value


class Symbols:
    """The objects that a file may name."""

    def __init__(self, given: Mapping[str, Any] | None, imports: bool | Sequence[str]) -> None:
        """Check the arguments of `load_pipeline`."""
        if given is not None and not isinstance(given, Mapping):
            raise SmeltConfigError.for_type("symbols", given, "a dict of names and objects, such as globals()")
        is_list = not isinstance(imports, str) and isinstance(imports, Sequence)
        if not isinstance(imports, bool) and not (is_list and all(isinstance(one, str) for one in imports)):
            raise SmeltConfigError.for_type("imports", imports, "True, False or a list of module names")
        self._given = given or {}
        self._imports = imports

    def find(self, name: object) -> Any:
        """The object that a file calls *name*: one of `symbols=`, or `"module:name"`.

        Raises:
            SmeltConfigError: There is none, or its module may not be imported.
        """
        if not isinstance(name, str) or not name:
            raise ConfigTypeError(f"{shown_value(name)} is no name of a Python object, such as 'module:function'.")
        if name in self._given:
            return self._given[name]
        module, colon, path = name.partition(":")
        if not colon:
            near = nearest(name, list(self._given))
            raise SmeltConfigError(f"There is no {name!r} in symbols=.{near} A name in a module is 'module:name'.")
        if self._imports is not True and module not in (self._imports or ()):
            raise SmeltConfigError(
                f"{name!r} is code, and a file may only name code that you allow: "
                f"load_pipeline(path, imports=[{module!r}])."
            )
        return _attribute(_module(module, name), path, name)

    def function(self, name: object) -> Any:
        """The function that a file calls *name*."""
        found = self.find(name)
        if not callable(found):
            raise SmeltConfigError(f"{name!r} is no function.")
        return found


def imported(module: str) -> ModuleType | None:
    """The module with this name; None if there is none.

    Raises:
        ImportError: It is there, and a module that it imports is missing: its own words are better.
    """
    try:
        return import_module(module)
    except ModuleNotFoundError as problem:
        if problem.name is None or not f"{module}.".startswith(f"{problem.name}."):
            raise
        return None


def _module(module: str, name: str) -> ModuleType:
    try:
        found = imported(module)
    except (ValueError, TypeError):
        raise SmeltConfigError(f"{name!r} names no module. Write 'module:name'.") from None
    if found is None:
        raise SmeltConfigError(f"{name!r} names the module {module}, which cannot be found. Is its folder on sys.path?")
    return found


def _attribute(found: Any, path: str, name: str) -> Any:
    if not path.isidentifier() or not hasattr(found, path):  # No way through what the module has imported.
        raise SmeltConfigError(f"{name!r} is not there: the module has no {path!r}.")
    return getattr(found, path)
