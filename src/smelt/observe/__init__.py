"""Event observers of a run.

`reporter.py` passes the run's events to all observers. `recorder.py` is an observer that every run has: it aggregates
the events into a `Timeline` (`timeline.py`, `histogram.py`) of bounded size, which `smelt.report` shows as a page.
"""
