"""Progress display of a run: a terminal bar, one line of HTML in a notebook, or plain lines.

A `Tally` (`tally.py`) sums up the events, `words.py` turns it into phrases, and a display class ("face") shows them:
`terminal.py`, `notebook.py` or `plain.py`. No face starts a thread; the run's event loop redraws the display.
"""
