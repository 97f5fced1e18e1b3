"""A transform as a step of a Polars plan, and what collects or writes such a plan."""
