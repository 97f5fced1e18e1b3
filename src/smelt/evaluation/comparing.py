"""Execution of `compare`: checks all variants first, then runs them one after the other."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

from smelt.call.estimate import Estimate, estimate
from smelt.call.options import Settings
from smelt.call.preparation import Preparation
from smelt.call.running import execute
from smelt.call.wiring import wired
from smelt.errors import SmeltAPIError, SmeltConfigError, warn, warning_once
from smelt.evaluation.comparison import Comparison
from smelt.evaluation.sheet import Sample, Sheet, draw
from smelt.evaluation.variants import Variant, about
from smelt.messages import printable
from smelt.result import SmeltResult


def compare(
    variants: Sequence[Variant],
    output_model: Any,
    settings: Settings,
    data: Any,
    *,
    truth: object,
    n: int | None,
    dry_run: bool,
) -> Comparison | dict[str, Estimate]:
    """Ask all *variants* about the same rows, one after the other.

    If a provider refuses a variant as a whole, the others still run: a warning is given, and all rows of it are failed.

    Args:
        variants: The variants to compare.
        output_model: The fields to ask for.
        settings: The options that all variants share; their seed draws the sample.
        data: The caller's frame.
        truth: The columns with right answers (labels), or None.
        n: Sample size, or None for all rows.
        dry_run: Whether to send nothing and return cost estimates.

    Raises:
        SmeltConfigError: An argument is wrong; nothing was sent.
        SmeltAPIError: No variant was answered.
    """
    # No variant is asked what another is shown.
    sample = draw(data, output_model, truth, n, settings, [(one.prompt, one.settings) for one in variants])
    with warning_once():  # A warning about the ledger or the server is the same for all variants.
        return _compared(variants, output_model, settings, sample, dry_run=dry_run)


def _compared(
    variants: Sequence[Variant], output_model: Any, settings: Settings, sample: Sample, *, dry_run: bool
) -> Comparison | dict[str, Estimate]:
    calls = {one.name: _prepared(one, sample, output_model, is_sent=not dry_run) for one in variants}
    if dry_run:
        return {name: estimate(call) for name, call in calls.items()}
    return Comparison({name: Sheet(sample, result, settings.error_column) for name, result in _asked(calls).items()})


def _prepared(variant: Variant, sample: Sample, output_model: Any, *, is_sent: bool) -> Preparation:
    try:
        return sample.prepare(variant.prompt, output_model, variant.model, variant.settings, is_sent=is_sent)
    except SmeltConfigError as problem:
        raise about(variant.name, problem) from None


def _asked(calls: Mapping[str, Preparation]) -> dict[str, SmeltResult[Any]]:
    results: dict[str, SmeltResult[Any]] = {}
    problems: dict[str, SmeltAPIError] = {}
    for name, call in calls.items():
        try:
            # Variants differ on purpose, so a warning of that says nothing new.
            results[name] = execute(call, awaited="arun", wiring=partial(wired, tells_changes=False))
        except SmeltAPIError as problem:
            if problem.partial_result is None:
                raise
            results[name], problems[name] = problem.partial_result, problem
    if len(problems) == len(calls):
        raise next(iter(problems.values()))
    for name, refusal in problems.items():
        text = f"Variant {printable(name)!r} was not answered: {refusal}"
        warn(text)
    return results
