"""Whether another process of this machine lives, where there is no `/proc` that says more."""

from __future__ import annotations

import os


def exists(pid: int) -> bool:
    """Whether there is a process *pid*, of any user; also if it has ended and nobody has waited for it."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
