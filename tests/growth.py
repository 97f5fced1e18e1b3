"""How the time of a reader grows with the length of the text, on a machine of any speed."""

from __future__ import annotations

import time
from collections.abc import Callable

_TIMES = 8
_NOISE = 0.05  # CPU seconds: what a collection of garbage or another process on the core may add to a short reading.


def assert_time_grows_linearly(read: Callable[[int], object], size: int) -> None:
    """*read* of a text of eight times *size* costs less than 40 times as much as of *size*; quadratic would be 64."""

    def cost(length: int) -> float:
        started = time.process_time()
        read(length)
        return time.process_time() - started

    read(size // 10)  # What the first reading makes once, such as compiled patterns, is not to be measured.
    small, large = min(cost(size) for _ in range(3)), min(cost(_TIMES * size) for _ in range(2))

    assert large < _NOISE + 5 * _TIMES * small
