"""`smelt.doctor()`: diagnostics of this machine, safe to paste into a bug report."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from smelt.checkup.findings import Checkup
from smelt.environment import environ
from smelt.errors import SmeltConfigError


def doctor(*, live: bool = False, models: Sequence[Any] = ()) -> Checkup:
    """Check what smelt needs: versions, extras, keys, addresses, settings, ledger, embedded model. Sends nothing.

    Keys are shown only by the names of their variables, never by value. Other environment variables are not shown.

    Args:
        live: Whether to ask each configured provider one tiny question; each costs a small part of a cent.
        models: The models to ask instead. Needed for your own servers, because smelt does not know their models.

    Returns:
        The findings; `is_healthy` says whether nothing is broken.

    Raises:
        SmeltConfigError: An argument has the wrong type.

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
    findings = examine(environ())
    if live or models:
        findings += ask_all(environ(), models)
    return Checkup(tuple(findings))
