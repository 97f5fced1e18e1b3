"""`smelt.doctor()`: what smelt finds on this machine, fit to be pasted into a question to others."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

from smelt.checkup.findings import Checkup
from smelt.errors import SmeltConfigError


def doctor(*, live: bool = False, models: Sequence[Any] = ()) -> Checkup:
    """Look at what smelt needs: versions, extras, keys, addresses, settings, ledger, embedded model. Sends nothing.

    Keys are named by their variables; nothing of their values is shown, nor are other environment variables.

    Args:
        live: Whether to ask each configured provider one tiny question, which costs a small part of a cent each.
        models: Which models to ask instead; needed for servers of your own, whose models smelt does not know.

    Returns:
        The findings; `is_healthy` says whether none is broken.

    Raises:
        SmeltConfigError: An argument is of the wrong type.

    Examples:
        >>> print(smelt.doctor())
        smelt doctor: ...
        <BLANKLINE>
        versions
        ...
    """
    from smelt.checkup.examination import examine
    from smelt.checkup.heartbeat import ask_all

    if not isinstance(live, bool):
        raise SmeltConfigError.for_type("live", live, "True or False")
    if isinstance(models, str) or not isinstance(models, Sequence):
        raise SmeltConfigError.for_type("models", models, 'a list of models, like ["openai:gpt-4.1-mini"]')
    findings = examine(os.environ)
    if live or models:
        findings += ask_all(os.environ, models)
    return Checkup(tuple(findings))
