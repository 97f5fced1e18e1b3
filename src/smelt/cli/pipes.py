"""Commands over a pipeline: `pipe.py:pipe` or a `.yml` file in place of a prompt and fields."""

from __future__ import annotations

import os
import time
from argparse import Namespace
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from smelt.cli.arguments import named_object, settings
from smelt.cli.inputs import opened
from smelt.cli.outputs import Target, target
from smelt.cli.parser import UsageError
from smelt.cli.summary import Summary, telling
from smelt.cli.tables import is_table
from smelt.cli.telling import say, say_object
from smelt.cli.upkeep import load_models
from smelt.errors import SmeltConfigError
from smelt.messages import nearest, shown_value

if TYPE_CHECKING:
    import polars as pl

    from smelt.api.pipelines import Pipeline

_OF_STEPS = ("prompt_file", "field", "schema", "output", "columns")


def is_pipeline(word: str) -> bool:
    """Whether *word* names a pipeline, and not rows."""
    return not is_table(word) and (word.endswith((".yml", ".yaml")) or ".py:" in word)


def run(options: Namespace) -> int:
    """Run a pipeline, and write its rows."""
    pipe, source = _read(options)
    require_out(options)
    with opened(source, options) as rows:
        goal = target(options.out, options.to, rows.files)
        summary = Summary(options=options, out=options.out)
        began = time.monotonic()
        asked = {**settings(options), **telling(options, summary.watch)}
        with _draft(goal.path) as draft:
            found = pipe.run(rows.plan.collect(), **asked).frame
            _write(found, goal, draft)
        summary.written.count(found.lazy(), asked.get("error_column", "smelt_error"))
        return summary.tell(time.monotonic() - began)


def source_and_words(options: Namespace) -> Sequence[str]:
    """IN, and the words after it.

    Raises:
        UsageError: There is no IN.
    """
    if not options.words or not options.words[0]:
        raise _without_rows(options)
    words: Sequence[str] = options.words
    return words


def _without_rows(options: Namespace) -> UsageError:
    return UsageError(options.parser, "IN is missing: a file, a pattern of files, or - for the standard input.")


def require_out(options: Namespace) -> None:
    """Check that the rows have somewhere to go.

    Raises:
        UsageError: They have not, or their place is taken.
    """
    if not options.out:
        raise UsageError(options.parser, "Say where the rows go: -o FILE, or -o - for the standard output.")
    if options.out == "-" and options.json:
        raise UsageError(options.parser, "--json and -o - both go to the standard output. Leave one out.")


def estimate(options: Namespace) -> None:
    """What a pipeline would cost."""
    pipe, source = _read(options)
    with opened(source, options) as rows:
        found = pipe.estimate(rows.plan.collect(), **settings(options))
    if options.json:
        say_object({"requests": found.requests, "cost_usd": found.cost_usd})
    else:
        say(repr(found))


def explain(options: Namespace) -> None:
    """The first request of each step."""
    pipe, source = _read(options)
    with opened(source, options) as rows:
        found = pipe.explain(rows.plan.collect(), **settings(options))
    for name, one in found.items():
        say(f"=== {name}\n{one!r}\n")


def preview(options: Namespace) -> Any:
    """A few rows with the answers of all steps."""
    pipe, source = _read(options)
    with opened(source, options) as rows:
        return pipe.preview(rows.plan.collect(), options.n, progress=False, **settings(options))


def inspect(options: Namespace) -> None:
    """The steps of a pipeline; on the columns of IN, if it is given."""
    pipe, source = _read(options, needs_rows=False)
    if source is None:
        found = pipe.inspect()
    else:
        with opened(source, options) as rows:
            found = pipe.inspect(rows.plan.head(0).collect())
    if options.json:
        say_object(found.to_dict())
    else:
        say(found.mermaid() if options.mermaid else repr(found))


def _read(options: Namespace, *, needs_rows: bool = True) -> tuple[Pipeline, Any]:
    """The pipeline that the words of *options* name, and IN."""
    word, *words = options.words
    if len(words) > 1:
        raise UsageError(options.parser, f"{words[1]!r} is one word too many.")
    if needs_rows and not words:
        raise _without_rows(options)
    if taken := [name for name in _OF_STEPS if getattr(options, name, None) is not None]:
        flag = taken[0].replace("_", "-")
        raise UsageError(options.parser, f"--{flag} is for one question; the steps of a pipeline have their own.")
    load_models(options.models)
    pipe = _chosen(_loaded(word), options.steps)
    return pipe if options.model is None else pipe.using(options.model), words[0] if words else None


def _loaded(word: str) -> Pipeline:
    import smelt
    from smelt.api.pipelines import Pipeline

    found: Any
    if ".py:" in word:
        found = named_object(word, "PIPELINE")
    else:
        found = smelt.load_pipeline(word)
    if not isinstance(found, Pipeline):
        raise SmeltConfigError(f"{word} is a {type(found).__name__}, and no pipeline of smelt.pipeline().")
    return found


def _chosen(pipe: Pipeline, steps: str | None) -> Pipeline:
    """The steps that `--steps` names: `a`, `a+` (from a on) or `+a` (up to a)."""
    if steps is None:
        return pipe
    name, names = steps.strip("+"), list(pipe)
    if name not in names:
        raise SmeltConfigError(f"--steps {steps}: there is no step {shown_value(name)}.{nearest(name, names)}")
    at = names.index(name)
    first = 0 if steps.startswith("+") else at
    last = len(names) if steps.endswith("+") else at + 1
    part: Pipeline = pipe[first:last]
    return part


@contextmanager
def _draft(path: Path | None) -> Iterator[Path | None]:
    """A file beside *path*, which is there before anything is spent; None if the rows go to the standard output.

    Raises:
        SmeltConfigError: It cannot be written.
    """
    if path is None:
        yield None
        return
    draft = path.with_name(f".{path.name}.{os.getpid()}.smelt{path.suffix}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        draft.touch()
    except OSError as problem:
        raise SmeltConfigError(f"-o {path} cannot be written: {problem.strerror}.") from None
    try:
        yield draft
    finally:
        draft.unlink(missing_ok=True)


def _write(found: pl.DataFrame, goal: Target, draft: Path | None) -> None:
    """Write *found*; a file appears when it is complete."""
    if goal.path is None or draft is None:
        goal.print(found, is_first=True)
        return
    from smelt.lazy.shards import publish  # Imported late: it needs Polars.

    goal.write(found.lazy(), draft)
    publish(draft, goal.path)
