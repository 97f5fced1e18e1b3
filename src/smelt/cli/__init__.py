"""The command line: `smelt`, which is also `python -m smelt`."""

from smelt.cli.command import main

__all__ = ["main"]
