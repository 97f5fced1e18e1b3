"""Commands that look before a run: `estimate`, `explain`, `preview`, `evaluate`, `inspect`."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict
from typing import Any

from smelt.cli import pipes
from smelt.cli.arguments import Question, question
from smelt.cli.inputs import opened
from smelt.cli.parser import UsageError
from smelt.cli.pipes import source_and_words
from smelt.cli.telling import say, say_object
from smelt.cli.upkeep import load_models


def estimate(options: Namespace) -> None:
    """What a run would cost."""
    import smelt

    _look(options, smelt.estimate, pipes.estimate)


def explain(options: Namespace) -> None:
    """The first request."""
    import smelt

    _look(options, smelt.explain, pipes.explain)


def _look(options: Namespace, verb: Callable[..., Any], piped: Callable[[Namespace], None]) -> None:
    """Show what *verb* says of a question, or *piped* of a pipeline."""
    if _is_piped(options):
        piped(options)
        return
    with _asked(options) as (frame, asked):
        _show(options, verb(frame, asked.prompt, asked.output_model, model=asked.model, **asked.settings))


def preview(options: Namespace) -> None:
    """A few rows with their answers."""
    found = pipes.preview(options) if _is_piped(options) else _preview(options)
    if options.json:
        say_object(found.to_dicts())
        return
    import polars as pl

    with pl.Config(tbl_rows=-1, tbl_cols=-1, tbl_hide_dataframe_shape=True, tbl_width_chars=160):
        say(str(found))


def _preview(options: Namespace) -> Any:
    import smelt

    with _asked(options) as (frame, asked):
        more = {"model": asked.model, "progress": False, **asked.settings}
        return smelt.preview(frame, asked.prompt, asked.output_model, options.n, **more)


def inspect(options: Namespace) -> None:
    """The columns of rows, what a question sends and gives, or the steps of a pipeline."""
    if _is_piped(options):
        pipes.inspect(options)
        return
    source, *words = source_and_words(options)
    load_models(options.models)
    with opened(source, options) as rows:
        schema, sent, made = rows.plan.collect_schema(), [], {}
        if words or options.prompt_file is not None:
            step = _step(rows.plan, question(options, words))
            sent, made = list(step.call.source.names), {name: str(dtype) for name, dtype in step.outputs.items()}
        facts = {"rows": rows.rows(), "columns": {name: str(dtype) for name, dtype in schema.items()}}
    if options.json:
        say_object({**facts, "sent": sent, "answers": made})
        return
    say(f"{facts['rows']:,} rows")
    for name, dtype in schema.items():
        say(f"  {name:24} {dtype!s:24} {'sent' if name in sent else ''}".rstrip())
    for name, made_as in made.items():
        say(f"  {name:24} {made_as:24} answered")


def _step(plan: Any, asked: Question) -> Any:
    from smelt.api.lazy import transform
    from smelt.lazy.step import steps_of

    asking = transform(plan, asked.prompt, asked.output_model, model=asked.model, **asked.settings)
    return steps_of(asking)[1][0]


def _is_piped(options: Namespace) -> bool:
    return pipes.is_pipeline(source_and_words(options)[0])


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
