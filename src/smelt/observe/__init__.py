"""Event observers of a run, for `observers=[…]`.

`reporter.py` passes the run's events to all observers. `recorder.py` is an observer that every run has: it aggregates
the events into a `Timeline` (`timeline.py`, `histogram.py`) of bounded size, which `smelt.report` shows as a page.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from smelt.observe.metrics import Metrics
    from smelt.observe.runlog import RunLog
    from smelt.observe.spans import telemetry

_LATE = {"Metrics": "metrics", "RunLog": "runlog", "telemetry": "spans"}

__all__ = ["Metrics", "RunLog", "telemetry"]


def __getattr__(name: str) -> Any:
    if name in _LATE:
        return getattr(import_module(f"smelt.observe.{_LATE[name]}"), name)
    raise AttributeError(f"module 'smelt.observe' has no attribute {name!r}")
