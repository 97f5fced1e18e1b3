"""What a calibrator belongs to: the prompt, output model, model and votes by which it was made."""

from __future__ import annotations

import json
from hashlib import blake2b

from smelt.call.preparation import Preparation
from smelt.errors import SmeltConfigError
from smelt.ledger.keys import definition
from smelt.trust.calibration import Calibrator


def made_for(call: Preparation) -> dict[str, str]:
    """What tells *call* from calls whose votes mean something else, by name. Texts are hashed."""
    settings = call.settings
    fields = json.dumps([definition(one) for one in call.output.fields], default=repr)
    params = json.dumps(call.identity, sort_keys=True, default=repr)
    return {
        "prompt": _digest(f"{call.prompt}\0{call.output.description}"),
        "output model": _digest(fields),
        "model": f"{call.provider.name}:{call.provider.model}",
        "params": _digest(params),
        "votes": str(settings.votes),
        "sure": str(settings.sure),
        "batch_size": str(settings.batch_size),
        "isolation": settings.isolation,
    }


def check_calibrator(call: Preparation) -> None:
    """Refuse a calibrator that was made for another call.

    Raises:
        SmeltConfigError: What differs.
    """
    calibrator = call.settings.with_confidence
    if not isinstance(calibrator, Calibrator):
        return
    own = made_for(call)
    if changed := [name for name, value in own.items() if calibrator.made_for.get(name) != value]:
        raise SmeltConfigError(
            f"The calibrator of with_confidence= was made with another {' and another '.join(changed)}, so it says "
            "nothing about these votes. Evaluate again with this call, and pass the calibrator that you get."
        )


def _digest(text: str) -> str:
    return blake2b(text.encode("utf-8", "surrogatepass"), digest_size=16).hexdigest()
