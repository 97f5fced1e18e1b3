"""How long to wait for what is quick, on a machine that others keep busy."""

from __future__ import annotations

BUSY = 10.0
"""Seconds: many times what a quiet machine needs, and far less than what is ruled out, such as an SDK's own timeout."""
