"""How long to wait for what is quick, on a machine that others keep busy."""

from __future__ import annotations

BUSY = 30.0
"""Seconds: many times what a quiet machine needs, and far less than what is ruled out, such as an SDK's own timeout."""

HANGING = 600.0
"""Seconds for a process that a test starts: whatever takes longer hangs, and does so on any machine."""
