"""`evaluate` grades a job on labelled rows; `compare` runs several variants of a job on the same rows."""
