"""`smelt.worker`: your own code as a model."""

from __future__ import annotations

from smelt.checks import integer
from smelt.errors import SmeltConfigError
from smelt.providers.worker import CONCURRENCY, Function, Worker
from smelt.tracebacks import plainly


@plainly
def worker(function: Function, *, name: str | None = None, concurrency: int = CONCURRENCY) -> Worker:
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

    Args:
        function: The async function. It runs on the event loop of the call, so it must not block.
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
    return Worker(function, name=name, concurrency=integer("concurrency", concurrency, 1, 10_000))


def _check_name(name: object) -> None:
    if not isinstance(name, str):
        raise SmeltConfigError.for_type("name", name, 'a string like "v1"')
    if not name or not name.isprintable() or any(char.isspace() for char in name):
        raise SmeltConfigError.for_value("name", name, 'a name without spaces, like "v1"')
