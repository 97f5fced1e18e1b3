"""The lock file is good on every machine."""

from __future__ import annotations

import re
from pathlib import Path

LOCK = Path(__file__).resolve().parent.parent / "uv.lock"


def test_the_lock_names_no_host_but_those_of_pypi() -> None:
    hosts = set(re.findall(r"[a-z]+://([^/\"]+)", LOCK.read_text(encoding="utf-8")))

    assert hosts == {"pypi.org", "files.pythonhosted.org"}
