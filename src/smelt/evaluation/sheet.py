"""`Sample`: the rows that an evaluation asks; `Sheet`: a finished run on a sample, with grades."""

from __future__ import annotations

import json
import random
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

from smelt.call.ladder import prepare_all
from smelt.call.options import Settings
from smelt.call.preparation import Preparation, prepare
from smelt.call.sentcolumns import chosen
from smelt.checks import integer
from smelt.errors import ColumnError, PromptError, SmeltConfigError
from smelt.evaluation.grading import Grade, grade
from smelt.evaluation.reference import known_rows, read_truth
from smelt.evaluation.truth import Leaf, Target, find_targets, leaves
from smelt.frames.adapt import adapt
from smelt.frames.base import Frame, OutputColumn
from smelt.frames.names import resolve_names
from smelt.frames.overview import table, texts
from smelt.messages import shown_value
from smelt.plan.prompt import read_prompt
from smelt.plan.schema import Output, read_output
from smelt.result import SmeltResult, told

_MOST_SAMPLED = 1_000_000


_WRONG = "smelt_wrong"


Job = tuple[str, Settings]
"""A prompt and its options."""


@dataclass(frozen=True, kw_only=True)
class Sample:
    """The rows of an evaluation or comparison.

    Attributes:
        frame: The caller's data.
        blind: The data without the columns of right answers; only this may be sent to a model.
        positions: The rows to ask.
        unlabelled: Number of rows that are not asked because they have no known right answer.
        taught: Number of rows that are not asked because they are examples.
        truths: The right answers of the rows to ask, by field.
        targets: The fields with right answers.
        output: The output model to ask for.
    """

    frame: Frame
    blind: Any
    positions: Sequence[int]
    unlabelled: int
    taught: int
    truths: Mapping[str, Sequence[Any]]
    targets: tuple[Target, ...]
    output: Output

    @cached_property
    def leaves(self) -> tuple[Leaf, ...]:
        """All fields that are asked for."""
        return tuple(leaves(self.output).values())

    def take(self, rows: Sequence[int]) -> Frame:
        """The caller's rows at these places of the sample."""
        return adapt(self.frame.take([self.positions[row] for row in rows]))

    def answer_names(self, error_column: str) -> dict[str, str]:
        """The final names of the columns that `disagreements` adds, by their preferred names."""
        wanted = [*map(_answer_name, self.targets), _WRONG]
        return resolve_names(self.frame.names, wanted, error_column, "suffix")[0]

    def prepare(self, prompt: str, output_model: Any, model: Any, settings: Settings, *, is_sent: bool) -> Preparation:
        """Check a job on these rows, as `preparation.prepare` does.

        Raises:
            SmeltConfigError: An argument is wrong, or the model would see the right answers.
        """
        self._refuse_leaks(prompt, settings)
        if settings.wait is not True:
            raise SmeltConfigError(
                f"wait={settings.wait!r} would grade rows as wrong whose answers are not back yet. Leave it out; or "
                "submit the job by run(..., wait=False), and grade it by the same call of evaluate later."
            )
        self.answer_names(settings.error_column)  # Raises if two of the names are equal.
        # No output column is added to the caller's frame, so a name conflict is no error here.
        settings = replace(settings, on_conflict="suffix")

        def pick(count: int) -> Sequence[int]:
            return self.positions

        if isinstance(model, list | tuple):
            return prepare_all(self.blind, prompt, output_model, model, settings, pick=pick, is_sent=is_sent)
        return prepare(
            self.blind,
            prompt,
            output_model,
            model,
            settings,
            pick=pick,
            is_sent=is_sent,
            is_labelled=bool(self.targets),
        )

    def _refuse_leaks(self, prompt: str, settings: Settings) -> None:
        known = {one.column: one.leaf.name for one in self.targets}
        for name in read_prompt(prompt, self.frame.names).columns:
            if name in known:
                raise PromptError(
                    f"The prompt names {shown_value(name)}, the column with the right answers of {known[name]!r}: the "
                    "model would only have to copy them. Take it out of the prompt."
                )
        for name in settings.columns or ():
            if name in known:
                raise ColumnError(
                    f"columns has {shown_value(name)}, the column with the right answers of {known[name]!r}: the model "
                    "would only have to copy them. Take it out of columns."
                )
        if not set(self.frame.names) - set(known):
            raise ColumnError("All columns have right answers, which are not sent, so no column is left to send.")


@dataclass(frozen=True)
class Sheet:
    """A finished run over a sample, graded.

    Attributes:
        sample: The sample.
        result: The run.
        error_column: The caller's name for the error column.
    """

    sample: Sample
    result: SmeltResult[Any]
    error_column: str

    @cached_property
    def errors(self) -> Mapping[int, str]:
        """Error kinds of failed rows, by their place in the sample."""
        return {one.position: one.kind for one in self.result.errors}

    @cached_property
    def grades(self) -> tuple[Grade, ...]:
        """The grade of each field with right answers."""
        truths = self.sample.truths
        return tuple(
            grade(one, truths[one.leaf.name], self.answers[one.leaf.name], self.errors) for one in self.sample.targets
        )

    @cached_property
    def wrong_rows(self) -> list[int]:
        """Places of the rows with a wrong answer or an error, in any field."""
        marks = [one.marks for one in self.grades]
        return [row for row, found in enumerate(zip(*marks, strict=True)) if False in found]

    @cached_property
    def answers(self) -> Mapping[str, Sequence[Any]]:
        """The answers by field, in comparable form; None if there is none."""
        return {leaf.name: leaf.compared(self.result.data) for leaf in self.sample.leaves}

    def table(self, columns: Sequence[OutputColumn]) -> Any:
        """A frame of *columns*, of the caller's library."""
        return table(self.sample.frame.native, columns)

    def disagreements(self) -> Any:
        """The caller's rows with a wrong answer, with the answers appended as columns."""
        sample, rows = self.sample, self.wrong_rows
        names = sample.answer_names(self.error_column)
        answers = [self.result.data[row] for row in rows]
        messages = {one.position: told(one.kind, one.message) for one in self.result.errors}
        columns = [
            *(one.leaf.column(names[_answer_name(one)], answers) for one in sample.targets),
            texts(names[_WRONG], [self._wrong_fields(row) for row in rows]),
            texts(names[self.error_column], [messages.get(row) for row in rows]),
        ]
        return sample.take(rows).attach(columns)

    def _wrong_fields(self, row: int) -> str | None:
        return ", ".join(one.score.field for one in self.grades if one.marks[row] is False) or None


def draw(data: Any, output_model: Any, truth: object, n: int | None, settings: Settings, jobs: Sequence[Job]) -> Sample:
    """Draw the sample: all rows with a known answer, or *n* of them by the seed; of all rows if *truth* is None.

    Rows that are examples of one of the *jobs*, prompts and their options, are left out: the model sees their answers.

    Raises:
        SmeltConfigError: *truth* does not fit the output model or the data, or there is no row to ask.
    """
    frame, output = adapt(data), read_output(output_model, text_column=settings.output)
    if not len(frame):
        raise SmeltConfigError("data is empty, so there is no row to ask. Give at least one row.")
    targets = () if truth is None else find_targets(truth, output, frame.names)
    candidates: Sequence[int] = range(len(frame))
    if targets:
        candidates = [row for row, is_known in enumerate(known_rows(frame, targets)) if is_known]
    labelled = candidates
    candidates = _untaught(frame, labelled, {one.column for one in targets}, jobs)
    if labelled and not candidates:
        raise SmeltConfigError("Every row with a known answer is an example, so there is no row to ask.")
    if not candidates:
        columns = ", ".join(shown_value(one.column) for one in targets)
        raise SmeltConfigError(f"No row has a known answer in {columns}.")
    positions = candidates if n is None else _sampled(candidates, n, settings.seed)
    return Sample(
        frame=frame,
        blind=frame.attach((), dropped=tuple({one.column: None for one in targets})) if targets else frame.native,
        positions=positions,
        unlabelled=len(frame) - len(labelled),
        taught=len(labelled) - len(candidates),
        truths={one.leaf.name: read_truth(frame, one, positions) for one in targets},
        targets=targets,
        output=output,
    )


def _untaught(frame: Frame, rows: Sequence[int], known: Collection[str], jobs: Sequence[Job]) -> list[int]:
    """The *rows* of *frame* that no job shows to the model as an example, by the columns that the job sends."""
    left = list(rows)
    for prompt, settings in jobs:
        if not settings.examples:
            continue
        try:
            named = chosen(read_prompt(prompt, frame.names).columns, frame.names, settings)
        except SmeltConfigError:  # It is said when the job is prepared, with the name of the variant.
            continue
        sent = [name for name in frame.names if name not in known and (named is None or name in named)]
        taught = [{name: one.get(name) for name in sent} for one in map(json.loads, settings.examples)]
        if sent:
            cells = [
                json.loads(text) if isinstance(text, str) else None
                for text in frame.rows(sent, settings.media).texts(left)
            ]
            left = [row for row, one in zip(left, cells, strict=True) if one not in taught]
    return left


def _answer_name(target: Target) -> str:
    return f"{target.leaf.name}_answer"


def _sampled(candidates: Sequence[int], n: object, seed: int) -> list[int]:
    wanted = integer("n", n, 1, _MOST_SAMPLED)
    return sorted(random.Random(seed).sample(candidates, min(wanted, len(candidates))))
