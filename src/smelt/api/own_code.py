"""`smelt.worker` and `smelt.wrap`: your own code as a model, and around one."""

from __future__ import annotations

from typing import Any

from smelt.checks import integer
from smelt.errors import SmeltConfigError
from smelt.model import read_model
from smelt.providers.agent import Agent
from smelt.providers.own import After, Before, Hooks, OnError, Wrap, is_agent
from smelt.providers.worker import CONCURRENCY, Function, Worker
from smelt.tracebacks import plainly


@plainly
def worker(function: Function | Any, *, name: str | None = None, concurrency: int = CONCURRENCY) -> Worker | Agent:
    """Make a model of your own async function, `async def function(row)`.

    The function gets one row as a dict: the columns that are sent, with the values that a model would read (dates as
    text, missing values as None). It returns the answer: an instance of the output model, a dict of its fields, or a
    `str`, which is the answer itself for `output_model=str` and JSON otherwise. The prompt is not passed; it still
    chooses the columns. The answer is validated like that of any model, and if it is not valid, the function is called
    again, up to `max_attempts` times.

    Rows are passed one at a time, up to *concurrency* of them at once. A timeout, a broken connection, and an exception
    that carries the HTTP status 429 or 5xx, are retried like those of a provider. To say it yourself, raise
    `smelt.providers.CallFailed`. Any other exception fails its row and no other (`own_code`), with the exception's
    class and its redacted message. What the function costs is not known to smelt.

    A PydanticAI agent may stand for the function, and may also be passed as `model=` itself. It is run once for each
    row, with the output model as its `output_type`, and is told the prompt and the row. Its tokens are counted, and
    statuses of its provider are handled like those of other models. PydanticAI runs tools that are not async in a
    thread; smelt itself starts none.

    Args:
        function: The async function, or the agent. It runs on the event loop of the call, so it must not block.
        name: A name of your own for this version of the function, such as `"v1"`. It lets the ledger keep the answers:
            change it if the function changes, or the old answers are used again. Without a name nothing is kept.
        concurrency: The most rows at once, unless the call has `concurrency=`.

    Returns:
        A model to pass as `model=`. Making it sends nothing.

    Raises:
        SmeltConfigError: *function* is not async, or an argument is wrong.

    Examples:
        >>> async def shout(row):
        ...     return row["name"].upper()
        >>> out = df.smelt.transform("Shout {name}.", str, model=smelt.worker(shout, name="v1"), output="loud")
        >>> out["loud"].tolist()
        ['ARM', 'SANOFI']
    """
    if name is not None:
        _check_name(name)
    integer("concurrency", concurrency, 1, 10_000)
    if is_agent(function):
        return Agent(function, name=name, concurrency=concurrency)
    return Worker(function, name=name, concurrency=concurrency)


@plainly
def wrap(
    model: Any,
    *,
    before: Before | None = None,
    after: After | None = None,
    on_error: OnError | None = None,
    tag: str | None = None,
) -> Wrap:
    """Put your own code around every request of a model: change it, change its reply, or say what a failure means.

    A hook may be async; it must not block. It runs within the `timeout` of the request, on the lane of the model.
    If it raises an exception, the run ends as at a failure of the provider: what was answered is kept. It may raise
    `smelt.providers.CallFailed`, which is taken as the failure of the request.

    Args:
        model: A model, in any of the ways of `model=`. It is resolved when it is asked.
        before: Gets the `smelt.providers.Request`. Returns another one to send, a `Reply` to use instead of sending it
            (*after* does not see that), or None to send it as it is. It may not change the schema, nor remove the ids
            of rows from the text.
        after: Gets the request that was sent, and its `Reply`. Returns another `Reply`, or None to use it as it is.
        on_error: Gets the request that was sent, and its `CallFailed`. Returns another `CallFailed`, of another kind or
            with `retry_after`, a `Reply` to use instead, or None to leave it as it is.
        tag: A name of your own for this version of the hooks, such as `"v1"`. The ledger keeps the answers under it,
            apart from those of the plain model: change it if the hooks change. Needed for *before* and *after*, and if
            *on_error* returns a `Reply`.

    Returns:
        A model to pass as `model=`. Making it sends nothing.

    Raises:
        SmeltConfigError: An argument is wrong, or *tag* is missing.

    Examples:
        >>> from dataclasses import replace
        >>> def in_french(request):
        ...     return replace(request, system=request.system + " Answer in French.")
        >>> french = smelt.wrap(scripted, before=in_french, tag="french-1")
        >>> _ = df.smelt.transform("Classify {name}.", Company, model=french)
        >>> scripted.requests[-1].system.endswith("Answer in French.")
        True
    """
    for name, hook in (("before", before), ("after", after), ("on_error", on_error)):
        if hook is not None and not callable(hook):
            raise SmeltConfigError.for_type(name, hook, "a function")
    if before is None and after is None and on_error is None:
        raise SmeltConfigError("wrap needs at least one of before, after and on_error.")
    if tag is not None:
        _check_name(tag, "tag")
    elif before is not None or after is not None:
        raise SmeltConfigError(
            'wrap needs a tag, like tag="v1": the ledger keeps what before and after change under it. Change the tag '
            "if they change."
        )
    if not isinstance(model, str):
        read_model(model)
    return Wrap(model=model, hooks=Hooks(before=before, after=after, on_error=on_error, tag=tag or ""))


def _check_name(name: object, argument: str = "name") -> None:
    if not isinstance(name, str):
        raise SmeltConfigError.for_type(argument, name, 'a string like "v1"')
    if not name or not name.isprintable() or any(char.isspace() for char in name):
        raise SmeltConfigError.for_value(argument, name, 'a name without spaces, like "v1"')
