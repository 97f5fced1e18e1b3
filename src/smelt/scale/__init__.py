"""Beyond one process: a transform as one picklable callable, and doors to the engines that run it."""
