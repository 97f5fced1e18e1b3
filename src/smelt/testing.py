"""Test tools for users: a scripted provider that needs no network, no key and no money."""

from __future__ import annotations

import json
import re
from collections.abc import AsyncIterator, Callable, Collection, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import fields as dataclass_fields
from dataclasses import is_dataclass, replace
from typing import Any

from pydantic import BaseModel

from smelt.errors import ConfigTypeError
from smelt.loop.jumping import JumpingLoop, run_jumping
from smelt.plan.compact import HEAD
from smelt.plan.packed import Layout
from smelt.plan.tokens import text_tokens
from smelt.providers.base import CallFailed, Capabilities, Finish, Reply, Request, Usage
from smelt.providers.medialimits import SCRIPTED
from smelt.providers.requested import rows_in

__all__ = ["Answer", "JumpingLoop", "ScriptedProvider", "answered", "asked", "run_jumping"]

Answer = Mapping[str, Any] | BaseModel | Callable[[Mapping[str, Any]], Mapping[str, Any] | BaseModel | None]
Step = Reply | CallFailed | Callable[[Request], Reply | CallFailed] | None

_ROWS = json.JSONDecoder()
_ROW_STARTS = re.compile(r'\{"id":"([^"\\]+)","row":\{')


class ScriptedProvider:
    """A fake provider with the answers that you give.

    Args:
        answer: The answer to every row: a dict or an instance of the output model, which may be a dataclass or a
            NamedTuple, for all rows; or a function that takes a row (a dict of its columns) and returns one of these,
            or None to leave the row out. Fields that a request does not ask for are left out; a lazy plan asks only for
            the fields that it uses.
        script: The outcomes of the first requests, one entry each: a `Reply`, a `CallFailed`, a function that takes the
            `Request`, or None to answer as usual.
        capabilities: The capabilities that the provider reports. By default it takes images, PDFs and audio.
        name: The provider's name.
        model: The model's name.
        keep: Whether to keep all requests for inspection. Set it to False for large benchmarks.

    Attributes:
        requests: The requests that were sent, in order, if *keep* is true.
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
        """Create the provider; nothing is sent.

        Raises:
            ConfigTypeError: *answer* is neither a dict, a model's instance nor a function.
        """
        self.name = name
        self.model = model
        self.origin = f"{name}://local"
        self.capabilities = replace(capabilities or Capabilities(**SCRIPTED), is_worth_keeping=False)
        self.requests: list[Request] = []
        self.rows_sent = 0
        self._answer = _as_answer(answer)
        self._script = list(script)
        self._keep = keep
        self._number = 0

    def check_params(self, params: Mapping[str, Any]) -> None:
        """Accept any parameter."""

    @asynccontextmanager
    async def connect(self, *, connections: int) -> AsyncIterator[ScriptedProvider]:
        """Yield the provider itself; there is no connection to open."""
        yield self

    async def send(self, request: Request) -> Reply:
        """Answer *request* by the script, then by the answer."""
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
        if not callable(answer) and request.layout is None and not request.user.startswith(HEAD):
            return self._answered_alike(request, {name: answer[name] for name in answer if name in fields})

        def one(row: Mapping[str, Any]) -> Mapping[str, Any] | None:
            found = _as_fields(answer(row) if callable(answer) else answer)
            return found and {name: value for name, value in found.items() if name in fields}

        return answered(request, one, self.capabilities.codec, self)

    def _answered_alike(self, request: Request, fields: Mapping[str, Any]) -> Reply:
        """As `answered` with the same *fields* for every row, but the fields are serialised only once."""
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
    if isinstance(answer, list | tuple) and not hasattr(answer, "_asdict"):
        raise ConfigTypeError(
            f"answer must be the answer to a row, not a {type(answer).__name__}: rows are shuffled and may be asked "
            "again, so answers have no order. Pass a function that takes a row (a dict of its columns) and returns "
            "its answer, "
            'such as lambda row: known[row["name"]].'
        )
    if callable(answer) and not isinstance(answer, BaseModel) and not is_dataclass(answer):
        return answer  # type: ignore[no-any-return]  # Its return values are checked at each call.
    fields = _as_fields(answer)
    if fields is None:
        raise ConfigTypeError("answer must be a dict, an instance of a model or a function, not None.")
    return fields


def _plain(value: Any) -> Any:
    return str(value) if (fields := _fields_of(value)) is None else fields


def _fields_of(value: Any) -> dict[str, Any] | None:
    if isinstance(value, BaseModel):
        return value.model_dump(mode="json", by_alias=True)
    if is_dataclass(value) and not isinstance(value, type):
        return {one.name: _nested(getattr(value, one.name)) for one in dataclass_fields(value)}
    if isinstance(value, tuple) and hasattr(value, "_asdict"):
        return {name: _nested(one) for name, one in value._asdict().items()}
    return None


_SCALARS = frozenset([str, int, float, bool, type(None)])


def _nested(value: Any) -> Any:
    """*value* with the fields of each NamedTuple in it, which JSON would write as a list."""
    if (fields := _fields_of(value)) is not None:
        return fields
    if isinstance(value, list | tuple | set | frozenset):
        return [_nested(one) for one in value]
    return {name: _nested(one) for name, one in value.items()} if isinstance(value, Mapping) else value


def _as_fields(answer: Any) -> Mapping[str, Any] | None:
    """The fields of one answer: a dict unchanged, a model instance as its JSON form."""
    if (fields := _fields_of(answer)) is not None:
        return fields
    if answer is None:
        return None
    if isinstance(answer, Mapping):
        return answer if _SCALARS.issuperset(map(type, answer.values())) else dict(_nested(answer))
    raise ConfigTypeError(
        f"An answer must be a dict of fields or an instance of the output model, not {type(answer).__name__} "
        f"{answer!r:.80}. "
        "Write {name: value}, with the names of the output model's fields."
    )


def _tokens(text: str) -> list[str]:
    """The row tokens of a request."""
    tokens = _ROW_STARTS.findall(text)
    if text.count("{") == 2 * len(tokens) and text.count('},{"id":"') == len(tokens) - 1:  # No object is in a cell.
        return tokens
    return [row["id"] for row in _ROWS.raw_decode(text)[0]]


def _fields(request: Request, codec: str) -> Collection[str]:
    """The field names that *request* asks for."""
    if request.layout is not None:
        return [one.key for one in request.layout.fields]
    reply: Any = request.schema["properties"]
    answer = reply["rows"]["items"] if codec == "array" else next(iter(reply.values()))
    fields: Collection[str] = answer["properties"].keys()
    return fields


def asked(request: Request) -> list[tuple[str, dict[str, Any]]]:
    """The rows of a request as (token, columns), in the order in which they were sent.

    Args:
        request: A request that a provider received.

    Returns:
        For each row its token, and the sent columns as JSON values. An image, document or audio clip is an object with
        `type`, `kind`, `data` (its bytes) and `url`.

    Raises:
        ValueError: *request* was not made by smelt.

    Examples:
        >>> from smelt.testing import asked
        >>> out = df.smelt.transform("Classify {name}.", Company, model=scripted)
        >>> [row for token, row in asked(scripted.requests[-1])]
        [{'name': 'Arm'}, {'name': 'Sanofi'}]
    """
    return [(row["id"], row["row"]) for row in rows_in(request)]


def answered(
    request: Request,
    answer: Callable[[Mapping[str, Any]], Mapping[str, Any] | None],
    codec: str = "array",
    counter: ScriptedProvider | None = None,
    finish: Finish = "stop",
) -> Reply:
    """A reply to *request*, with the answer of the function *answer* for each row.

    Args:
        request: The request to answer.
        answer: Takes the columns of a row and returns the answer's fields, or None to leave the row out.
        codec: The shape of the reply, as in the provider's capabilities.
        counter: A provider whose `rows_sent` is increased.
        finish: The finish reason of the reply.

    Returns:
        A reply with an estimate of its tokens.

    Raises:
        ValueError: *request* was not made by smelt.

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
    text = json.dumps(_body(found, request.layout, codec), ensure_ascii=False, default=_plain)
    return _reply(request, text, finish)


def _body(found: Sequence[tuple[str, Mapping[str, Any]]], layout: Layout | None, codec: str) -> dict[str, Any]:
    if codec != "array":
        return dict(found)
    rows = [(token, json.loads(json.dumps(fields, default=_plain))) for token, fields in found]
    if layout is None or not all(_fits(fields, layout) for _, fields in rows):
        return {"rows": [{"id": token, **fields} for token, fields in found]}
    return {"rows": [layout.write(token, fields) for token, fields in rows]}


def _fits(fields: Mapping[str, Any], layout: Layout) -> bool:
    """Whether an answer has the fields of *layout*; a test may also answer with others."""
    return fields.keys() == {one.key for one in layout.fields}


def _reply(request: Request, text: str, finish: Finish) -> Reply:
    usage = Usage(
        input_tokens=text_tokens(len(request.system) + len(request.user)),
        output_tokens=text_tokens(len(text)),
        cached_input_tokens=0,
        reasoning_tokens=0,
    )
    return Reply(text=text, usage=usage, finish=finish, model="script")
