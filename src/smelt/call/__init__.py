"""One call: from its options over checks and the run to its outcome."""
