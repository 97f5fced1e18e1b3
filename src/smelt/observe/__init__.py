"""What a run leaves to look at: its events folded into a small record, and the record as a page.

`recorder.py` watches a run and folds what it sees into a `Timeline` (`timeline.py`, `histogram.py`) of bounded size;
`record.py` puts that together with what was asked. `report.py` makes the page out of it and `summary.py` its short form,
both of elements that escape whatever is put into them (`markup.py`), with charts drawn as SVG (`charts.py`).
"""
