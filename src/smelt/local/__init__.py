"""The embedded model: its weights, how they are fetched, and the child process that runs it."""
