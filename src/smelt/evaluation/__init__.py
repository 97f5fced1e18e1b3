"""`evaluate` and `compare`: a job tried on rows whose right answers are known, or several jobs on the same rows."""
