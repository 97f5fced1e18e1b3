"""An async function of the caller's as a model: it gets a row and returns the answer."""

from __future__ import annotations

import functools
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any

from smelt.errors import SmeltConfigError
from smelt.plan.dialect import fields_of_row
from smelt.plan.schema import Output, read_output
from smelt.providers.base import Billing, CallFailed, Capabilities, Reply, Request
from smelt.providers.medialimits import ANYTHING
from smelt.providers.own import is_async
from smelt.providers.own_answers import NoAnswer, fields_of, reply_text
from smelt.providers.own_failures import guarded, own_failure
from smelt.providers.requested import rows_in
from smelt.providers.secrets import Secret

WORKER = "worker"
CONCURRENCY = 32

Function = Callable[[dict[str, Any]], Awaitable[Any]]


class Worker:
    """A provider that calls an async function for each row.

    Args:
        function: The function.
        name: The caller's name for this version of it; None if it has none.
        concurrency: The most rows at once.

    Raises:
        SmeltConfigError: *function* is not async.
    """

    key: Secret | None = None
    thinking_tokens: int | None = None
    params: Mapping[str, Any] = {}

    def __init__(self, function: Function, *, name: str | None = None, concurrency: int = CONCURRENCY) -> None:
        check_async(function)
        self.function = function
        self.is_named = name is not None
        self.model = called(function) if name is None else name
        self.capabilities = Capabilities(
            enforces_schema=False,
            takes_one_row=True,
            takes_compact=False,
            rows_per_request=1,
            concurrency=concurrency,
            is_worth_keeping=self.is_named,
            is_keepable=self.is_named,
            **ANYTHING,
        )

    @property
    def name(self) -> str:
        return WORKER

    @property
    def origin(self) -> str:
        return WORKER

    @property
    def deployment(self) -> str:
        return self.origin

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Worker):
            return False
        return (self.function, self.model, self.capabilities) == (other.function, other.model, other.capabilities)

    def __hash__(self) -> int:
        return hash(self.model)

    def __repr__(self) -> str:
        return f"<smelt.worker {self.model}>"

    def check_params(self, params: Mapping[str, Any]) -> None:
        if params:
            raise SmeltConfigError(
                f"A function takes no params, but params has {next(iter(params))!r}. Bind it: "
                "functools.partial(function, ...)."
            )

    @asynccontextmanager
    async def connect(self, *, connections: int) -> AsyncIterator[WorkerConnection]:
        yield WorkerConnection(self.function, self.model)


class WorkerConnection:
    """Calls the function for the rows of one run."""

    def __init__(self, function: Function, model: str) -> None:
        self._function = function
        self._model = model
        self._output: Output | None = None

    async def send(self, request: Request) -> Reply:
        """Call the function with the row of *request*."""
        (one,) = rows_in(request)
        output, asked = self._asked(request)
        try:
            text = reply_text(one["id"], fields_of(await self._answer(one["row"]), output, asked))
        except NoAnswer as problem:
            raise CallFailed("own_code", Billing.PAID_BAD, f"{self._model} {problem}.") from None
        return Reply(text=text, model=self._model)

    async def _answer(self, row: dict[str, Any]) -> Any:
        try:
            return await guarded(self._function(row))
        except Exception as problem:  # noqa: BLE001  # It is the caller's code.
            raise own_failure(problem) from None

    def _asked(self, request: Request) -> tuple[Output, list[str]]:
        """What the caller declared, and the names of the fields that *request* asks for."""
        if self._output is None:
            self._output = read_output(request.output_model, text_column="text")
        return self._output, fields_of_row(request.schema)


def check_async(function: object) -> None:
    """Refuse what is not an async function.

    Raises:
        SmeltConfigError: It cannot be called, or is not async; the message says how to make it so.
    """
    if is_async(function):
        return
    if not callable(function):
        raise SmeltConfigError.for_type("function", function, "an async function: async def function(row)")
    name = called(function)
    name = name if name.isidentifier() and name != "lambda" else "function"
    raise SmeltConfigError(
        f"{name} is not async, and a call of it would stop the event loop until it returns. Write it as async def "
        f"{name}(row), and await an async client in it. If it must block, await loop.run_in_executor(pool, ...) in it, "
        "with a ThreadPoolExecutor of your own."
    )


def called(function: object) -> str:
    """A name for *function*, to show."""
    while isinstance(function, functools.partial):
        function = function.func
    name = getattr(function, "__name__", None) or type(function).__name__
    return str(name).strip("<>")
