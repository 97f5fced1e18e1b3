"""Commands that look before a run: `estimate`, `explain`, `preview`, `evaluate`, `inspect`."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict
from typing import Any

from smelt.cli.arguments import Question, question
from smelt.cli.inputs import opened
from smelt.cli.parser import UsageError
from smelt.cli.running import source_and_words
from smelt.cli.telling import say, say_object
from smelt.cli.upkeep import load_models


def estimate(options: Namespace) -> None:
    """What a run would cost."""
    import smelt

    with _asked(options) as (frame, asked):
        _show(options, smelt.estimate(frame, asked.prompt, asked.output_model, model=asked.model, **asked.settings))


def explain(options: Namespace) -> None:
    """The first request."""
    import smelt

    with _asked(options) as (frame, asked):
        _show(options, smelt.explain(frame, asked.prompt, asked.output_model, model=asked.model, **asked.settings))


def preview(options: Namespace) -> None:
    """A few rows with their answers."""
    import polars as pl

    import smelt

    with _asked(options) as (frame, asked):
        found = smelt.preview(
            frame, asked.prompt, asked.output_model, options.n, model=asked.model, progress=False, **asked.settings
        )
        if options.json:
            say_object(found.to_dicts())
            return
        with pl.Config(tbl_rows=-1, tbl_cols=-1, tbl_hide_dataframe_shape=True, tbl_width_chars=160):
            say(str(found))


def evaluate(options: Namespace) -> None:
    """How often a model is right."""
    import smelt

    truth = _truth(options)
    with _asked(options) as (frame, asked):
        more: dict[str, Any] = {"n": options.n, "dry_run": options.dry_run, "model": asked.model, **asked.settings}
        if options.quiet:
            more["progress"] = False
        found: Any = smelt.evaluate(frame, asked.prompt, asked.output_model, truth, **more)
        if options.json and not options.dry_run:
            say_object({"model": found.model, "rows": found.rows, "fields": found.table.to_dicts()})
            return
        _show(options, found)


def _truth(options: Namespace) -> Mapping[str, str]:
    pairs = [one.partition("=") for one in options.truth]
    if not pairs or not all(field and equals and column for field, equals, column in pairs):
        raise UsageError(
            options.parser, "Name the column that has the right answers of each field: --truth field=column."
        )
    return {field.strip(): column.strip() for field, _, column in pairs}


@contextmanager
def _asked(options: Namespace) -> Iterator[tuple[Any, Question]]:
    """The rows as a frame, and what is asked about them."""
    source, *words = source_and_words(options)
    asked = question(options, words)
    load_models(options.models)
    with opened(source, options) as rows:
        yield rows.plan.collect(), asked


def _show(options: Namespace, found: Any) -> None:
    if options.json:
        say_object(asdict(found))
    else:
        say(repr(found))
