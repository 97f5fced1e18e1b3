"""The ledger: paid answers, on disk. `smelt.ledger.open().spend(by="model")` reports what was spent."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from smelt.ledger.api import Ledger, open  # noqa: A004  # `smelt.ledger.open`, as in `gzip.open`.

__all__ = ["Ledger", "open"]


def __getattr__(name: str) -> Any:
    if name in __all__:  # Loaded on first access, because a run does not need the reports.
        from smelt.ledger import api

        return getattr(api, name)
    raise AttributeError(f"module 'smelt.ledger' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
