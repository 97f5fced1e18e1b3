"""A place for a store."""

from __future__ import annotations

from pathlib import Path

import pytest


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Where a ledger may be made: `tmp_path` is closed to others."""
    return tmp_path / "ledger.sqlite"
