"""The instructions of a call: what the model is told before the rows, the same in every request."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from smelt.errors import SchemaError
from smelt.plan.compact import Compact, Table, told
from smelt.plan.decisions import TOLD
from smelt.plan.examples import Example
from smelt.plan.kinds import Field
from smelt.plan.packed import Layout
from smelt.plan.probabilities import declared
from smelt.plan.wire import Codec, prompts_told, system_text


@dataclass(frozen=True, kw_only=True)
class Instructions:
    """What they are made of, whichever fields are asked for.

    Attributes:
        prompt: The caller's question.
        about: What the author of the output model says of an answer.
        examples: Rows with their right answers.
        has_media: Whether rows may have media.
        is_decided: Whether the endpoint for decisions is asked.
        is_prompts: Whether each row is a prompt that the model is to follow, and not data.
    """

    prompt: str
    about: str
    examples: Sequence[Example]
    has_media: bool
    is_decided: bool
    is_prompts: bool

    def text(self, fields: Sequence[Field], codec: Codec) -> str:
        """The system message that asks for *fields*, in the shape *codec*, and shows the examples' values for them."""
        fields = declared(fields)
        told = [TOLD] if self.is_decided else prompts_told(fields, codec) if self.is_prompts else []
        return system_text(
            self.prompt,
            fields,
            codec,
            about=self.about,
            examples=[one.line(fields) for one in self.examples],
            has_media=self.has_media,
            told=told,
        )

    def compact(self, fields: Sequence[Field], codec: Codec, table: Table) -> Compact:
        """How *fields* are asked for on the compact wire, about the rows of *table*."""
        # A grammar with a property per row holds the model to each row, and needs the names.
        layout = Layout.of(fields) if codec == "array" else None
        system = system_text(
            self.prompt,
            fields,
            codec,
            about=self.about,
            examples=[one.line(fields, layout) for one in self.examples],
            told=told(table, fields, codec, layout),
        )
        return Compact(system=system, table=table, layout=layout)


def check_unicode(system: str) -> None:
    """Refuse instructions that cannot be sent as UTF-8.

    Raises:
        SchemaError: A description or a choice of the output model has half of a surrogate pair.
    """
    try:
        system.encode()
    except UnicodeEncodeError as problem:
        near = system[max(0, problem.start - 20) : problem.start]
        raise SchemaError(
            f"The output model has half of a surrogate pair in a description or a choice, after {near!r}. Remove it."
        ) from None
