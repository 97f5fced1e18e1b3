"""The fields with probabilities: an output model gets one field `<field>_p` more for each of its fields.

So the ledger, the frames and the validation need to know nothing of decisions.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import replace
from typing import Annotated, Any

import pydantic
from pydantic import BaseModel

from smelt.errors import SchemaError
from smelt.plan.decisions import check_kinds
from smelt.plan.forms import Formed
from smelt.plan.kinds import TEXT_COLUMN, Field
from smelt.plan.schema import Output, bare_part, read_output

SUFFIX = "_p"
_ABOUT = "The probability of the value."


def asked_output(output_model: Any, *, text_column: str = TEXT_COLUMN, via: str = "generation") -> Output:
    """The output of a call: that of `read_output`, with probabilities if it is asked *via* decisions.

    Raises:
        SchemaError: As `read_output`; or a field cannot be decided.
    """
    output = read_output(output_model, text_column=text_column)
    return with_probabilities(output) if via == "decisions" else output


def with_probabilities(output: Output) -> Output:
    """*output* with the probability of each field.

    Raises:
        SchemaError: A field cannot be decided, or has the name of another one's probability.
    """
    check_kinds(output.fields)
    names = {one.name for one in output.fields}
    for one in output.fields:
        if f"{one.name}{SUFFIX}" in names:
            raise SchemaError(
                f'The field {f"{one.name}{SUFFIX}"!r} has the name that via="decisions" gives to the probability of '
                f"{one.name!r}. Give it another name."
            )
    model = _extended(output)
    # Read again: the model's configuration may give aliases.
    added = read_output(model).fields[len(output.fields) :]
    chances = [
        replace(one, name=f"{field.name}{SUFFIX}", chance_of=field.name)
        for field, one in zip(output.fields, added, strict=True)
    ]
    return replace(output, model=model, fields=(*output.fields, *chances))


def without_probabilities(output: Output) -> Output:
    """*output* as it was, without the code of the model's author: to reckon with, and not to validate."""
    return bare_part(output, [one.name for one in declared(output.fields)])


def paired(fields: Sequence[Field], names: Collection[str]) -> list[str]:
    """*names* of *fields*, each with that of its probability, or of the field whose probability it is."""
    wanted = {one.chance_of or one.name for one in fields if one.name in names}
    return [one.name for one in fields if (one.chance_of or one.name) in wanted]


def declared(fields: Sequence[Field]) -> tuple[Field, ...]:
    """The *fields* that are no probability of another one."""
    return tuple(one for one in fields if not one.chance_of)


def _extended(output: Output) -> type[BaseModel]:
    """The model of *output* with the fields of probabilities; an answer of it is an answer of the caller's class."""
    chance = Annotated[float, pydantic.Field(ge=0, le=1, description=_ABOUT)]
    more: dict[str, Any] = {f"{name}{SUFFIX}": (chance, ...) for name in output.model.model_fields}
    model: Any = pydantic.create_model(
        output.model.__name__, __base__=output.model, __doc__=output.model.__doc__, __module__=__name__, **more
    )
    if issubclass(output.model, Formed):
        inner = output.model
        model.__restore__ = lambda values: inner.__restore__({n: v for n, v in values.items() if n not in more})
    return model  # type: ignore[no-any-return]  # `create_model` is typed for fields that are known.
