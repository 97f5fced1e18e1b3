"""The provider `mock`: valid answers of the output model by seed, to rehearse a call without a model."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

from smelt.plan.dialect import fields_of_row, is_array
from smelt.plan.media import Media, digest_of
from smelt.plan.refusals import InvalidRow
from smelt.plan.samples import sample
from smelt.plan.schema import Output, bare_part, read_output
from smelt.plan.tokens import text_tokens
from smelt.plan.validate import Validator
from smelt.plan.verbatim import copied
from smelt.providers.base import Capabilities, Reply, Request, Usage
from smelt.providers.medialimits import ANYTHING
from smelt.providers.params import check, whole
from smelt.providers.requested import rows_in
from smelt.providers.secrets import Secret
from smelt.providers.vendors import MOCK

_MOST_DRAWN = 20  # Answers drawn for a row until the output model accepts one.


class Mock:
    """Answers each row with values that the types and constraints of the output model allow.

    An answer depends on the seed (`params={"seed": 1}`; 0 by default), on the columns that are sent and on the name of
    the field: not on the prompt, on the order of rows or on what is in the same request. Other parameters are accepted
    and ignored, so that a call can be rehearsed unchanged.

    If the output model has validators, up to 20 answers are drawn for a row until it accepts one. If it accepts none,
    the last one is sent, and fares like an invalid answer of any model: the row is asked again, and in the end it is
    marked with the validator's message.
    """

    key: Secret | None = None
    thinking_tokens: int | None = None

    def __init__(self, model: str = "", *, params: Mapping[str, Any] | None = None) -> None:
        self.model = model
        self.params: Mapping[str, Any] = params or {}

    @property
    def name(self) -> str:
        return MOCK.name

    @property
    def origin(self) -> str:
        return MOCK.name

    @property
    def deployment(self) -> str:
        return self.origin

    @property
    def capabilities(self) -> Capabilities:
        return Capabilities(is_worth_keeping=False, is_keepable=False, takes_compact=False, **ANYTHING)

    def check_params(self, params: Mapping[str, Any]) -> None:
        if (seed := params.get("seed")) is not None:
            check({"seed": seed}, {"seed": whole(0)}, provider=MOCK.name)

    @asynccontextmanager
    async def connect(self, *, connections: int) -> AsyncIterator[MockConnection]:
        yield MockConnection({**self.params})


class MockConnection:
    """Answers the requests of one run.

    Args:
        params: The parameters of the provider; those of a request override them.
    """

    def __init__(self, params: Mapping[str, Any]) -> None:
        self._params = params
        self._known: dict[tuple[str, ...], tuple[Output, Validator]] = {}

    async def send(self, request: Request) -> Reply:
        """Answer every row of *request*, in the shape that its schema asks for."""
        output, validator = self._asked(request)
        seed = {**self._params, **request.params}.get("seed") or 0
        answers = {row["id"]: _answer(row, seed, output, validator) for row in rows_in(request)}
        text = json.dumps(_in_shape(answers, request.schema), ensure_ascii=False)
        usage = Usage(
            input_tokens=text_tokens(len(request.system) + len(request.user) + len(json.dumps(request.schema))),
            output_tokens=text_tokens(len(text)),
            cached_input_tokens=0,
            reasoning_tokens=0,
        )
        return Reply(text=text, usage=usage, model=MOCK.name)

    def _asked(self, request: Request) -> tuple[Output, Validator]:
        """The fields that *request* asks for, and what validates them."""
        keys = tuple(fields_of_row(request.schema))
        if keys not in self._known:
            output = read_output(request.output_model, text_column="text")
            if len(keys) < len(output.fields):
                output = bare_part(output, [field.name for field in output.fields if field.key in keys])
            self._known[keys] = (output, Validator(output))
        return self._known[keys]


def _answer(row: Mapping[str, Any], seed: int, output: Output, validator: Validator) -> dict[str, Any]:
    """An answer that the output model accepts, or the last one that was drawn."""
    content = f"{seed}\0{json.dumps(row['row'], sort_keys=True, default=_digest)}"
    first = _MOST_DRAWN if "problem" in row else 0  # An answer was refused: draw others.
    answer: dict[str, Any] = {}
    for attempt in range(first, first + _MOST_DRAWN):
        answer = copied(output.fields, sample(output.fields, content, attempt=attempt), row["row"])
        try:
            validator.read(dict(answer))
        except InvalidRow:
            continue
        break
    return answer


def _digest(medium: Media) -> str:
    return medium.url or digest_of(medium.data).hex()


def _in_shape(answers: Mapping[str, Mapping[str, Any]], schema: Mapping[str, Any]) -> dict[str, Any]:
    """The reply: an array of rows, or an object with a property for each row."""
    if is_array(schema):
        return {"rows": [{"id": token, **answer} for token, answer in answers.items()]}
    return dict(answers)
