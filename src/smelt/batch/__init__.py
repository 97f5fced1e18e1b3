"""Jobs of Batch APIs. `smelt.batch.read("out/", Company)` makes a result of the files that `artefacts=` wrote."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from smelt.api.artefacts import read

__all__ = ["read"]


def __getattr__(name: str) -> Any:
    if name in __all__:  # Loaded on first access, because a run does not need it.
        from smelt.api import artefacts

        return getattr(artefacts, name)
    raise AttributeError(f"module 'smelt.batch' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
