"""Names for models: the table of this process, and the files that fill it."""
