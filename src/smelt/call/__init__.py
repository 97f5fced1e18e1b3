"""One call: its options, its checks, its execution and its result."""
