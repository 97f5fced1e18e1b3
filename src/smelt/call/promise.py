"""What a cascade promises: about which fields and rows, how surely, and how many labels that takes."""

from __future__ import annotations

from smelt.call.options import Settings
from smelt.call.preparation import Preparation
from smelt.errors import SmeltConfigError
from smelt.messages import nearest, shown_value
from smelt.plan.kinds import Boolean, has_text
from smelt.trust.ranking import Population
from smelt.trust.sides import Sides
from smelt.trust.votes import Leaf, Panel
from smelt.trust.walk import labels_wanted


def promised(call: Preparation) -> list[tuple[int, Leaf]]:
    """The fields that a cascade promises, each with its place among all fields.

    Raises:
        SmeltConfigError: One cannot be promised.
    """
    leaves = Panel(call.output).leaves
    wanted, known = call.settings.cascade_fields, [one.name for one in leaves]
    is_sided = is_of_sides(call.settings)
    if is_sided and wanted is None:
        wanted = tuple(one.name for one in leaves if isinstance(one.kind, Boolean))
    for name in wanted or ():
        if name not in known:
            raise SmeltConfigError(f"cascade_fields has {shown_value(name)}, which is no field.{nearest(name, known)}")
    found = [(place, leaf) for place, leaf in enumerate(leaves) if wanted is None or leaf.name in wanted]
    if texts := [leaf.name for _, leaf in found if has_text(leaf.kind)]:
        others = [leaf.name for _, leaf in found if not has_text(leaf.kind)]
        hint = f"Name the fields that count: cascade_fields={others}." if others else "Ask one model."
        raise SmeltConfigError(
            f"The field {texts[0]!r} is free text, which two models never write the same, so no agreement can be "
            f"promised. {hint}"
        )
    if is_sided and (len(found) != 1 or not isinstance(found[0][1].kind, Boolean)):
        raise SmeltConfigError(
            "target_precision= and target_recall= are about one field that is bool. Name it with cascade_fields=; for "
            "other fields there is target_accuracy=."
        )
    return found


def is_of_sides(settings: Settings) -> bool:
    """Whether precision or recall are promised, and not how many answers are those of the last model."""
    return bool(settings.targets.keys() - {"target_accuracy"})


def sides_of(call: Preparation) -> Sides:
    """What is promised of the rows answered true, and of those that are true."""
    settings = call.settings
    return Sides(precision=settings.target_precision, recall=settings.target_recall, confidence=confidence_of(call))


def population_of(call: Preparation) -> Population:
    """The rows that the promise of *call* is about: all that can be sent."""
    distinct = call.folded.distinct
    found = zip(distinct, call.source.texts(distinct), strict=True)
    texts = {at: text for at, text in found if isinstance(text, str)}
    return Population(texts, call.firsts)


def confidence_of(call: Preparation) -> float:
    """The confidence of one promise, so that all of them hold together: about all fields, or precision and recall."""
    promises = len(call.settings.targets) if is_of_sides(call.settings) else len(promised(call))
    return 1 - (1 - call.settings.confidence) / promises


def sample_size(call: Preparation, rows: int) -> int:
    """How many of *rows* the strong model is asked to see how good the answers of cheaper ones are.

    For precision and recall it is at least so many: the answers of the cheap model say how many.
    """
    return labels_wanted(rows, max(call.settings.targets.values()), confidence_of(call))
