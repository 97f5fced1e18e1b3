"""Bugs of smelt that the simulator found and that are still there: each the smallest world that shows it.

What `broken` says of them is left out of the seeds of the suite, and of nothing else. A bug that is fixed fails
`test_known.py`, and goes from here.
"""

from __future__ import annotations

from dataclasses import dataclass

from tests.simulator.world import World


@dataclass(frozen=True, kw_only=True)
class Bug:
    """A bug.

    Attributes:
        name: What is wrong, in a few words.
        world: A world that shows it.
        sentence: What `broken` says of it.
    """

    name: str
    world: World
    sentence: str


KNOWN: tuple[Bug, ...] = ()


def unknown(sentences: list[str]) -> list[str]:
    """Those of *sentences* that are about none of the bugs."""
    return [one for one in sentences if not any(bug.sentence in one for bug in KNOWN)]
