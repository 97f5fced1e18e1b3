"""The two clocks of a batch run: the loop's, which tests turn on, and the time of day, which providers know."""

from __future__ import annotations

import asyncio
import time


def wall() -> float:
    """The time of day, in seconds since 1970."""
    return time.time()


def now() -> float:
    """The time of the loop, in seconds."""
    return asyncio.get_running_loop().time()
