"""A transform as a node of a Polars lazy plan, with `collect` and sinks for such plans."""
