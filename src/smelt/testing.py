"""Parts for tests of your own: a provider that answers from a script, without a network, a key or a bill."""

from __future__ import annotations

import json
import re
from collections.abc import AsyncIterator, Callable, Collection, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

from pydantic import BaseModel

from smelt.errors import ConfigTypeError
from smelt.loop.jumping import JumpingLoop, run_jumping
from smelt.plan.tokens import text_tokens
from smelt.providers.base import CallFailed, Capabilities, Finish, Reply, Request, Usage

__all__ = ["Answer", "JumpingLoop", "ScriptedProvider", "answered", "asked", "run_jumping"]

Answer = Mapping[str, Any] | BaseModel | Callable[[Mapping[str, Any]], Mapping[str, Any] | BaseModel | None]
Step = Reply | CallFailed | Callable[[Request], Reply | CallFailed] | None

_ROWS = json.JSONDecoder()
_ROW_STARTS = re.compile(r'\{"id":"([^"\\]+)","row":\{')


class ScriptedProvider:
    """A provider whose answers you write.

    Args:
        answer: The answer to every row: a dict or an instance of the output model for all, or a function that takes a row (a
            dict of its columns) and returns one, or None to leave the row out. Fields that are not asked for, as a lazy plan does
            with those that nobody looks at, are left out.
        script: What becomes of the first requests, one entry each: a `Reply`, a `CallFailed`, a function that takes the
            `Request`, or None to answer as usual.
        capabilities: What the provider claims to bear.
        name: The provider's name.
        model: The model's name.
        keep: Whether all requests are held for inspection, which a benchmark of a million rows does not want.

    Attributes:
        requests: The requests that were sent, in order, where *keep* is true.
        rows_sent: Rows in all requests.

    Examples:
        >>> always = ScriptedProvider({"sector": "other"})
        >>> df.smelt.transform("Classify {name}.", Company, model=always)["sector"].tolist()
        ['other', 'other']
        >>> always.rows_sent, len(always.requests)
        (2, 1)
    """

    def __init__(
        self,
        answer: Answer,
        *,
        script: Sequence[Step] = (),
        capabilities: Capabilities | None = None,
        name: str = "scripted",
        model: str = "script",
        keep: bool = True,
    ) -> None:
        """Make a provider; nothing is sent.

        Raises:
            ConfigTypeError: *answer* is neither a dict, a model's instance nor a function.
        """
        self.name = name
        self.model = model
        self.origin = f"{name}://local"
        self.capabilities = replace(capabilities or Capabilities(), is_worth_keeping=False)
        self.requests: list[Request] = []
        self.rows_sent = 0
        self._answer = _as_answer(answer)
        self._script = list(script)
        self._keep = keep
        self._number = 0

    def check_params(self, params: Mapping[str, Any]) -> None:
        """Take any parameter."""

    @asynccontextmanager
    async def connect(self, *, connections: int) -> AsyncIterator[ScriptedProvider]:
        """Nothing to open: the provider is its own connection."""
        yield self

    async def send(self, request: Request) -> Reply:
        """Answer *request* as the script says."""
        step = self._script[self._number] if self._number < len(self._script) else None
        self._number += 1
        if self._keep:
            self.requests.append(request)
        outcome = step(request) if callable(step) else step
        if isinstance(outcome, CallFailed):
            raise outcome
        if outcome is not None:
            return outcome
        fields, answer = _fields(request, self.capabilities.codec), self._answer
        if not callable(answer):
            return self._answered_alike(request, {name: answer[name] for name in answer if name in fields})

        def one(row: Mapping[str, Any]) -> Mapping[str, Any] | None:
            found = _as_fields(answer(row))
            return found and {name: value for name, value in found.items() if name in fields}

        return answered(request, one, self.capabilities.codec, self)

    def _answered_alike(self, request: Request, fields: Mapping[str, Any]) -> Reply:
        """The same as `answered` with the same *fields* for every row, which are written once."""
        tokens = _tokens(request.user)
        self.rows_sent += len(tokens)
        written = json.dumps(fields, ensure_ascii=False, default=_plain)
        if self.capabilities.codec == "keyed":
            rows = ", ".join([f'"{token}": {written}' for token in tokens])
            return _reply(request, f"{{{rows}}}", "stop")
        rest = f", {written[1:]}" if fields else "}"
        rows = ", ".join([f'{{"id": "{token}"{rest}' for token in tokens])
        return _reply(request, f'{{"rows": [{rows}]}}', "stop")


def _as_answer(answer: Any) -> Mapping[str, Any] | Callable[[Mapping[str, Any]], Any]:
    if isinstance(answer, type):
        raise ConfigTypeError(
            f"answer must be the answer to a row, not the class {answer.__name__}. Pass a dict of its fields, "
            "an instance of it, or a function that takes a row and returns one."
        )
    if isinstance(answer, list | tuple):
        raise ConfigTypeError(
            f"answer must be the answer to a row, not a {type(answer).__name__}: rows are shuffled and may be asked again, so "
            "answers have no order. Pass a function that takes a row (a dict of its columns) and returns its answer, "
            'such as lambda row: known[row["name"]].'
        )
    if callable(answer) and not isinstance(answer, BaseModel):
        return answer  # type: ignore[no-any-return]  # What it returns is looked at when it does.
    fields = _as_fields(answer)
    if fields is None:
        raise ConfigTypeError("answer must be a dict, an instance of a model or a function, not None.")
    return fields


def _plain(value: Any) -> Any:
    return value.model_dump(mode="json", by_alias=True) if isinstance(value, BaseModel) else str(value)


def _as_fields(answer: Any) -> Mapping[str, Any] | None:
    """The fields of one answer: a dict as it is, a model's instance as JSON has it."""
    if isinstance(answer, BaseModel):
        return answer.model_dump(mode="json", by_alias=True)
    if answer is None or isinstance(answer, Mapping):
        return answer
    raise ConfigTypeError(
        f"An answer must be a dict of fields or an instance of the output model, not {type(answer).__name__} {answer!r:.80}. "
        "Write {name: value}, with the names of the output model's fields."
    )


def _tokens(text: str) -> list[str]:
    """The tokens of a request's rows."""
    tokens = _ROW_STARTS.findall(text)
    if text.count("{") == 2 * len(tokens) and text.count('},{"id":"') == len(tokens) - 1:  # No object is in a cell.
        return tokens
    return [row["id"] for row in _ROWS.raw_decode(text)[0]]


def _fields(request: Request, codec: str) -> Collection[str]:
    """The fields of an answer that *request* asks for."""
    reply: Any = request.schema["properties"]
    answer = reply["rows"]["items"] if codec == "array" else next(iter(reply.values()))
    fields: Collection[str] = answer["properties"].keys()
    return fields


def asked(request: Request) -> list[tuple[str, dict[str, Any]]]:
    """The rows of a request, as (token, columns) each, in the order in which they were sent.

    Args:
        request: One that a provider was sent.

    Returns:
        The row's token, and the columns that were sent as JSON has them.

    Raises:
        ValueError: It is no request of smelt's.

    Examples:
        >>> from smelt.testing import asked
        >>> out = df.smelt.transform("Classify {name}.", Company, model=scripted)
        >>> [row for token, row in asked(scripted.requests[-1])]
        [{'name': 'Arm'}, {'name': 'Sanofi'}]
    """
    rows = _ROWS.raw_decode(request.user)[0]
    return [(row["id"], row["row"]) for row in rows]


def answered(
    request: Request,
    answer: Callable[[Mapping[str, Any]], Mapping[str, Any] | None],
    codec: str = "array",
    counter: ScriptedProvider | None = None,
    finish: Finish = "stop",
) -> Reply:
    """The reply to *request* in which every row has the answer that *answer* gives for its columns.

    Args:
        request: What is to be answered.
        answer: Takes the columns of a row and gives the answer's fields, or None to leave the row out.
        codec: The shape of the reply, as the provider's capabilities say it.
        counter: Counts the rows.
        finish: Why the model stopped.

    Returns:
        A reply with an estimate of its tokens.

    Raises:
        ValueError: *request* is no request of smelt's.

    Examples:
        >>> from smelt.testing import answered
        >>> cut = lambda request: answered(request, lambda row: {"sector": "tech"}, finish="length")
        >>> cut_off = ScriptedProvider({"sector": "other"}, script=[cut])
        >>> df.smelt.transform("Classify {name}.", Company, model=cut_off)["sector"].tolist()
        ['tech', 'tech']
    """
    rows = asked(request)
    if counter is not None:
        counter.rows_sent += len(rows)
    found = [(token, fields) for token, row in rows if (fields := answer(row)) is not None]
    body: Any = {"rows": [{"id": token, **fields} for token, fields in found]} if codec == "array" else dict(found)
    text = json.dumps(body, ensure_ascii=False, default=_plain)
    return _reply(request, text, finish)


def _reply(request: Request, text: str, finish: Finish) -> Reply:
    usage = Usage(
        input_tokens=text_tokens(len(request.system) + len(request.user)),
        output_tokens=text_tokens(len(text)),
        cached_input_tokens=0,
        reasoning_tokens=0,
    )
    return Reply(text=text, usage=usage, finish=finish, model="script")
