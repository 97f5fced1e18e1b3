"""Supplies for runs that a test starts itself."""

from __future__ import annotations

from smelt.call.part import part_of
from smelt.call.preparation import Preparation
from smelt.engine.supply import Supply
from smelt.plan.answers import Answers


def supply_of(call: Preparation, answers: Answers | None = None) -> Supply:
    """The rows of *call*; *answers* stores their outcomes, if a test looks into it."""
    part = part_of(call)
    part.answers = answers or part.answers
    return Supply.of(part)
