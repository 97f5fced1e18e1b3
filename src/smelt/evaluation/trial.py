"""Execution of `evaluate`: draws the sample, runs the job without the right answers, and grades the result."""

from __future__ import annotations

from typing import Any

from smelt.call.estimate import Estimate, estimate
from smelt.call.gauge import made_for
from smelt.call.options import Settings
from smelt.call.running import execute
from smelt.evaluation.sheet import Sheet, draw
from smelt.evaluation.summary import Evaluation
from smelt.evaluation.truth import wrong_truth


def evaluate(
    prompt: str,
    output_model: Any,
    model: Any,
    settings: Settings,
    data: Any,
    truth: object,
    n: int | None,
    dry_run: bool,
) -> Evaluation | Estimate:
    """Implementation of `Job.evaluate`.

    Raises:
        SmeltConfigError: An argument is wrong; nothing was sent.
    """
    if truth is None:
        raise wrong_truth(truth)
    sample = draw(data, output_model, truth, n, settings, [(prompt, settings)])
    call = sample.prepare(prompt, output_model, model, settings, is_sent=not dry_run)
    if dry_run:
        return estimate(call)
    sheet = Sheet(sample, execute(call, awaited="arun"), settings.error_column)
    return Evaluation(sheet, made_for(call))
