"""The ledger: what was answered and paid for, on disk. `smelt.ledger.open().spend(by="model")` says what it came to."""

from __future__ import annotations

from smelt.ledger.api import Ledger, open  # noqa: A004  # `smelt.ledger.open`, as in `gzip.open`.

__all__ = ["Ledger", "open"]
