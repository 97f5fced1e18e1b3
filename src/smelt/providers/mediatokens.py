"""The input tokens that providers bill a medium as, by their published formulas: no request is needed to know them."""

from __future__ import annotations

from collections.abc import Callable
from math import ceil

from smelt.plan.media import Medium
from smelt.providers.base import Provider


def counter_of(provider: Provider) -> Callable[[Medium], int]:
    """A function that returns the tokens of a medium for *provider*."""
    return _patches


def _patches(medium: Medium) -> int:
    return min(1_536, ceil(medium.width / 32) * ceil(medium.height / 32)) or 1_536
