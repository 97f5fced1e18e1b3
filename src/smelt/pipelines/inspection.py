"""What `inspect` shows: the steps of a pipeline, what they read and write, and the graph of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from smelt.messages import clean, counted


@dataclass(frozen=True, kw_only=True)
class StepInfo:
    """One step, as it is shown.

    Attributes:
        name: Its name.
        verb: What it does.
        reads: The columns that it reads; None for all.
        writes: The columns that it adds.
        after: The steps that must be done before it.
        model: The model that it asks, as `provider:name`; empty if it asks none.
        prompt: Its prompt; empty if it asks none.
        options: Its own options, in words.
    """

    name: str
    verb: str
    reads: tuple[str, ...] | None
    writes: tuple[str, ...]
    after: tuple[str, ...]
    model: str = ""
    prompt: str = ""
    options: str = ""

    def is_beside(self, other: StepInfo) -> bool:
        """Whether each row goes to one of the two: they are the models of one step with `route=`."""
        is_routed = self.options.startswith("route=") and other.options.startswith("route=")
        return is_routed and (self.writes, self.prompt) == (other.writes, other.prompt)

    def in_words(self) -> str:
        """What it reads and writes, in one line."""
        reads = "every column" if self.reads is None else ", ".join(self.reads) or "nothing"
        return f"{reads} → {', '.join(self.writes)}" if self.writes else reads


@dataclass(frozen=True, kw_only=True, repr=False)
class Inspection:
    """The steps of a pipeline and how they depend on each other. Printing it shows them; nothing was sent.

    Attributes:
        name: The name of the pipeline.
        inputs: The columns of the input; None if no input was given.
        steps: The steps, in order.
        columns: The columns of the output.

    Examples:
        >>> pipe = smelt.pipeline("companies", model=scripted).transform("Classify {name}.", Company)
        >>> print(pipe.inspect(df))
        companies: 1 step
        company  transform  name → sector  scripted:script
    """

    name: str
    inputs: tuple[str, ...] | None
    steps: tuple[StepInfo, ...]
    columns: tuple[str, ...]

    def __repr__(self) -> str:
        head = f"{clean(self.name)}: {counted(len(self.steps), 'step')}"
        rows = [(one.name, one.verb, one.in_words(), one.model, one.options) for one in self.steps]
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)] if rows else []
        lines = [
            "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True) if width).rstrip()
            for row in rows
        ]
        return "\n".join([head, *lines])

    def to_dict(self) -> dict[str, Any]:
        """The same as plain data, for JSON.

        Returns:
            A dict of lists and strings.

        Examples:
            >>> pipe = smelt.pipeline("companies", model=scripted).transform("Classify {name}.", Company)
            >>> pipe.inspect(df).to_dict()["steps"][0]["writes"]
            ['sector']
        """
        return {
            "name": self.name,
            "inputs": None if self.inputs is None else list(self.inputs),
            "steps": [
                {
                    "name": one.name,
                    "verb": one.verb,
                    "reads": None if one.reads is None else list(one.reads),
                    "writes": list(one.writes),
                    "after": list(one.after),
                    "model": one.model,
                    "prompt": one.prompt,
                }
                for one in self.steps
            ],
            "columns": list(self.columns),
        }

    def mermaid(self) -> str:
        """The graph in the language of Mermaid, for Markdown pages.

        Returns:
            A flowchart.

        Examples:
            >>> pipe = smelt.pipeline("companies", model=scripted).transform("Classify {name}.", Company)
            >>> print(pipe.inspect(df).mermaid())
            flowchart LR
                input(["input"])
                s0["company<br>transform"]
                input -->|name| s0
        """
        ids = {one.name: f"s{number}" for number, one in enumerate(self.steps)}
        lines = ["flowchart LR", '    input(["input"])']
        lines += [f'    {ids[one.name]}["{_plain(one.name)}<br>{one.verb}"]' for one in self.steps]
        for one in self.steps:
            for before, columns in self._before(one):
                said = f"|{_plain(', '.join(columns))}|" if columns else ""
                lines.append(f"    {ids.get(before, 'input')} -->{said} {ids[one.name]}")
        return "\n".join(lines)

    def _repr_html_(self) -> str:
        from smelt.pipelines.drawing import drawn

        said = [(one.name, " · ".join(filter(None, [one.in_words(), one.model, one.options]))) for one in self.steps]
        asking = {one.name for one in self.steps if one.model}
        return drawn(self.name, {one.name: one.verb for one in self.steps}, self.edges, said, asking=asking)

    @property
    def edges(self) -> dict[str, list[tuple[str, tuple[str, ...]]]]:
        """For each step, those that it depends on (an empty name is the input), and the columns that it reads there."""
        return {one.name: self._before(one) for one in self.steps}

    def _before(self, step: StepInfo) -> list[tuple[str, tuple[str, ...]]]:
        """The steps on which *step* depends (an empty name is the input), each with the columns that it reads there."""
        makers: dict[str, list[StepInfo]] = {}
        for one in self.steps[: self.steps.index(step)]:
            for column in one.writes:  # Steps with a route share their columns.
                makers[column] = [two for two in makers.get(column, ()) if two.is_beside(one)] + [one]
        found: dict[str, list[str]] = {name: [] for name in step.after}
        for column in step.reads or ():
            for maker in [one.name for one in makers.get(column, ())] or [""]:
                if maker in found or not step.after:
                    found.setdefault(maker, []).append(column)
        return [(name, tuple(columns)) for name, columns in found.items()] or [("", ())]


def _plain(text: str) -> str:
    return clean(text).replace('"', "'").replace("|", "/").replace("<", "(").replace(">", ")")
