"""Registers the accessors on the frame classes, without importing pandas or Polars.

A loaded library gets its accessor at once. For a library that may be imported later, an import hook is put on
`sys.meta_path`; it is removed when all its libraries were imported.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from importlib.machinery import ModuleSpec
from operator import attrgetter
from types import ModuleType
from typing import Any

Load = Callable[[], type]
"""Returns an accessor class. It is called when the library is loaded, so it may import that library."""

_PACKAGE = __name__.partition(".")[0]


class Live:
    """A descriptor that creates a new accessor at every access.

    Polars' own descriptor stores the accessor on the frame, and the accessor holds the frame: a reference cycle, which
    keeps a large frame alive until the garbage collector runs.
    """

    def __init__(self, accessor: type) -> None:
        self._accessor = accessor

    def __get__(self, frame: Any, owner: type | None = None) -> Any:
        return self._accessor if frame is None else self._accessor(frame)


def register(name: str, *, pandas: Load, polars: Load, lazy: Load | None = None, series: Load | None = None) -> None:
    """Make `frame.<name>` work now, or as soon as pandas or Polars is imported.

    Registering again (a module reload, a second copy) replaces smelt's own accessor without a warning. If another
    package has an accessor with this name, the library gives its own warning.

    Args:
        name: The attribute.
        pandas: Returns the accessor class for `pandas.DataFrame`.
        polars: Returns the accessor class for `polars.DataFrame`.
        lazy: Returns the accessor class for `polars.LazyFrame`, if there is one.
        series: Returns the accessor class for the Series of both, if there is one.
    """
    actions: dict[str, Callable[[ModuleType], None]] = {
        "pandas": lambda module: _on(module, name, {"DataFrame": (_DATAFRAME, pandas), "Series": (_SERIES, series)}),
        "polars": lambda module: _on(
            module,
            name,
            {"DataFrame": (_NAMESPACE, polars), "LazyFrame": (_LAZY, lazy), "Series": (_OF_SERIES, series)},
        ),
    }
    # Remove the import hook of an earlier registration under this name.
    earlier = [finder for finder in sys.meta_path if _is_ours(finder) and getattr(finder, "name", None) == name]
    sys.meta_path[:] = [finder for finder in sys.meta_path if finder not in earlier]
    waiting = {}
    for library, action in actions.items():
        if library in sys.modules:
            action(sys.modules[library])
        else:
            waiting[library] = action
    if waiting:
        sys.meta_path.insert(0, _Finder(name, waiting))


# How each library is told of an accessor, which makes it warn of one that is there already.
_DATAFRAME = "extensions.register_dataframe_accessor"
_SERIES = "extensions.register_series_accessor"
_NAMESPACE = "register_dataframe_namespace"
_LAZY = "register_lazyframe_namespace"
_OF_SERIES = "register_series_namespace"


def _on(module: ModuleType, name: str, accessors: Mapping[str, tuple[str, Load | None]]) -> None:
    """Put the accessors on the classes of a library: by class, its function for that and the accessor."""
    for kind, (tell, load) in accessors.items():
        if load is None:
            continue
        owner, accessor = getattr(module, kind), load()
        if not _is_ours(getattr(owner, name, None)):
            attrgetter(tell)(module.api)(name)(accessor)
        setattr(owner, name, Live(accessor))


def _is_ours(thing: Any) -> bool:
    """Whether a class or an instance comes from this package, or from a copy of it that was loaded before."""
    kind = thing if isinstance(thing, type) else type(thing)
    return kind.__module__.partition(".")[0] == _PACKAGE


class _Finder:
    """An import hook that runs an action right after a library was imported.

    It finds no module itself: it asks the finders after it, and wraps `exec_module` of the loader that they return.
    `importlib.util.find_spec` is no import, so the hook stays until the library was really executed.
    """

    def __init__(self, name: str, actions: dict[str, Callable[[ModuleType], None]]) -> None:
        self.name = name
        self._actions = actions

    def find_spec(
        self, fullname: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if fullname not in self._actions:
            return None
        behind = sys.meta_path[sys.meta_path.index(self) + 1 :]
        spec = next(filter(None, (finder.find_spec(fullname, path, target) for finder in behind)), None)
        if spec and spec.loader:
            self._follow(spec.loader, fullname)
        return spec

    def _follow(self, loader: Any, fullname: str) -> None:
        execute = loader.exec_module

        def exec_module(module: ModuleType) -> None:
            vars(loader).pop("exec_module", None)  # First restore the loader, in case the import fails.
            execute(module)
            self._arrived(fullname, module)

        loader.exec_module = exec_module

    def _arrived(self, fullname: str, module: ModuleType) -> None:
        action = self._actions.pop(fullname)
        if not self._actions and self in sys.meta_path:
            sys.meta_path.remove(self)
        action(module)
