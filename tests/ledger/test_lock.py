"""The lock beside a ledger."""

from __future__ import annotations

from pathlib import Path

import pytest

from smelt.errors import StoreError
from smelt.ledger.lock import Guard
from smelt.ledger.opening import open_store


@pytest.mark.parametrize("kind", ["symlink", "directory"])
def test_a_lock_that_is_replaced_under_way_is_an_error_of_ours(path: Path, kind: str) -> None:
    open_store(path).close()
    guard = Guard(path)
    lock = path.with_name(f"{path.name}-lock")
    lock.unlink()
    if kind == "symlink":
        lock.symlink_to(path)
    else:
        lock.mkdir()

    with pytest.raises(StoreError, match="-lock cannot be opened"):
        guard.try_take()

    guard.close()
