"""Where a run stands, shown in the way that fits the place: a bar, one line of HTML, or plain lines.

Events are folded into a `Tally` (`tally.py`), the tally is put into phrases (`words.py`), and a thin face shows them:
`terminal.py`, `notebook.py` or `plain.py`. No face starts a thread; those that move are moved on by the run's own loop.
"""
