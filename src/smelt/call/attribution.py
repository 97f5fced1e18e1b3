"""What a cascade shows of the models behind its answers: which one gave each, and how sure it was."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from smelt.call.cascademodel import Answer
from smelt.call.preparation import Preparation
from smelt.call.tally import confidence
from smelt.frames.base import OutputColumn
from smelt.plan.kinds import Choice, Float
from smelt.trust.calibration import Calibrator
from smelt.trust.votes import Panel


def answered_by(call: Preparation, models: Sequence[str], given: Mapping[int, int | None]) -> Any:
    """A column with the model that answered each row.

    Args:
        call: The call.
        models: The names of the models.
        given: The number of that model, by the position of distinct rows.
    """
    numbers = [given.get(at) for at in call.firsts]
    values = [None if number is None else models[number] for number in numbers]
    kind = Choice(values=tuple(models), nullable=True)
    made = call.frame.attach([OutputColumn(name="model", kind=kind, values=values)], dropped=call.frame.names)
    return [row["model"] for row in made] if isinstance(made, list) else made["model"]


def confidences(call: Preparation, answers: Sequence[Answer | None], *, last: int) -> list[OutputColumn]:
    """The columns of confidence.

    Args:
        call: The call.
        answers: The final answer to each row.
        last: The number of the last model. Its answers have no confidence, because it is asked once.
    """
    places = {leaf.name: place for place, leaf in enumerate(Panel(call.output).leaves)}
    return [
        OutputColumn(
            name=column,
            kind=Float(nullable=True),
            values=[None if one is None else _sureness(call, one, leaf, places[leaf], last) for one in answers],
        )
        for leaf, column in call.confidences.items()
    ]


def _sureness(call: Preparation, answer: Answer, leaf: str, place: int, last: int) -> float | None:
    """How sure an answer is of a field; None if it is by the last model, or by one that nobody calibrated."""
    wanted, model = call.settings.with_confidence, answer.model
    if model == last or (model and isinstance(wanted, Calibrator)):
        return None
    return confidence(wanted, leaf, answer.standings[place])
