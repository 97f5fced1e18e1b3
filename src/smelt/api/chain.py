"""What a pipeline is made of: its name, its steps, its default model and its options. It is never changed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any, Self

from smelt.errors import ConfigTypeError
from smelt.messages import counted
from smelt.pipelines.checks import OF_THE_RUN
from smelt.pipelines.steps import Ask, Step, checked_name, with_step


class Chain:
    """Steps in their order."""

    def __init__(self, name: str, steps: tuple[Step, ...], model: Any, options: Mapping[str, Any]) -> None:
        """Keep the parts, which were checked."""
        self.name = name
        self._steps = steps
        self._model = model
        self._options = dict(options)

    def __repr__(self) -> str:
        names = ", ".join(f"{one.name}" for one in self._steps)
        return f"Pipeline({self.name!r}, {counted(len(self._steps), 'step')}{': ' if names else ''}{names})"

    def __len__(self) -> int:
        return len(self._steps)

    def __iter__(self) -> Iterator[str]:
        return iter([one.name for one in self._steps])

    def _with(self, step: Step, *, is_named: bool) -> Self:
        if is_named:
            checked_name("step", step.name)
        return type(self)(self.name, with_step(self._steps, step, is_named=is_named), self._model, self._options)

    def _then(self, other: Chain) -> Self:
        """This pipeline, and after it the steps of *other*, with its model and its options."""
        found = self
        for step in other._steps_with_own():
            found = found._with(step, is_named=False)
        return found

    def _steps_with_own(self) -> tuple[Step, ...]:
        """The steps, each with the model and the options of this pipeline, for use in another one."""
        if shared := [name for name in self._options if name in OF_THE_RUN]:
            raise ConfigTypeError(
                f"A branch has {shared[0]}=, which is about the whole run. Give it to the pipeline that has the branch."
            )
        return tuple(self._owning(one) for one in self._steps)

    def _owning(self, step: Step) -> Step:
        if not isinstance(step, Ask):
            return step
        model = self._model if step.model is None else step.model
        return replace(step, model=model, options={**self._options, **step.options})
