"""`RowAnswers`, the iterator that `smelt.as_completed` returns, for `for` and for `async for`."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Coroutine, Generator
from types import TracebackType
from typing import Any, Generic, Self

from smelt.call.conflicts import refuse_whole
from smelt.call.options import Settings
from smelt.call.preparation import Preparation
from smelt.errors import ConfigTypeError, SmeltConfigError
from smelt.loop.bridge import warn_of_blocking
from smelt.loop.driver import Driver
from smelt.result import SmeltMetrics
from smelt.streaming.completion import Completion, RowAnswer, T
from smelt.streaming.stepwise import ending

_BOTH = "These answers are iterated with `for` already. Use either `for` or `async for`, not both."


def refuse_batch(settings: Settings) -> None:
    """Refuse `mode="batch"`, and what needs all rows first."""
    refuse_whole(settings)
    if settings.mode == "batch":
        raise SmeltConfigError(
            'mode="batch" answers within hours, and all rows of a job at once. Use run or transform, and look at the '
            "rows when it is done."
        )


class RowAnswers(Generic[T]):
    """Iterates once over the rows of a run, each as soon as it has its outcome. Use it in `for` or in `async for`.

    To end it early, `close` it, or `await` its `aclose`, or leave its `with` or `async with` block.

    Attributes:
        metrics: The metrics of the run so far. None before the first row.

    Examples:
        >>> answers = smelt.as_completed(df, "Classify {name}.", Company, model=scripted, shuffle=False)
        >>> [(one.label, one.value.sector) for one in answers], answers.metrics.requests
        ([(0, 'tech'), (1, 'health')], 1)
    """

    def __init__(self, call: Preparation) -> None:
        """Keep the checked *call*; nothing is sent before the first row is asked for."""
        self._call = call
        self._begun: list[Completion] = []  # One at most. The generators know it, and not this object: no circle.
        self._here: Generator[RowAnswer[Any], None, None] | None = None
        self._awaited: AsyncGenerator[RowAnswer[Any], None] | None = None

    @property
    def metrics(self) -> SmeltMetrics | None:
        """The metrics of the run so far. None before the first row."""
        return self._begun[0].metrics if self._begun else None

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> RowAnswer[T]:
        if self._here is None:
            if self._awaited is not None:
                raise ConfigTypeError(_BOTH.replace("`for` already", "`async for` already"))
            warn_of_blocking("", "iterate with `async for`")
            self._here = _driven(self._call, self._begun)
        return next(self._here)

    def __aiter__(self) -> Self:
        return self

    def __anext__(self) -> Coroutine[Any, Any, RowAnswer[T]]:
        if self._awaited is None:
            if self._here is not None:
                raise ConfigTypeError(_BOTH)
            self._awaited = _awaited(self._call, self._begun)
        return self._awaited.__anext__()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, problem: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, problem: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.aclose()

    def close(self) -> None:
        """End the run: send nothing more, and wait a short grace period for replies. Does nothing if it has ended."""
        if self._here is None:
            self._here = _driven(self._call, self._begun)  # Closed before its first row: it sends nothing.
        self._here.close()

    async def aclose(self) -> None:
        """`close` for `async for`."""
        if self._awaited is None:
            self._awaited = _awaited(self._call, self._begun)
        await self._awaited.aclose()


def _driven(call: Preparation, begun: list[Completion]) -> Generator[RowAnswer[Any], None, None]:
    """Yield the rows. While the caller has control, the loop and its clock stop, unless another stream runs it."""
    with Driver.shared() as driver:
        completion = Completion(call, is_partial_shown=True)
        begun.append(completion)
        with ending(driver, lambda: completion):
            while found := driver.run(completion.interruptible_step()):
                yield from found


async def _awaited(call: Preparation, begun: list[Completion]) -> AsyncGenerator[RowAnswer[Any], None]:
    """Yield the rows, on the running event loop. While too many of them wait, nothing more is sent."""
    completion = Completion(call, is_partial_shown=False)
    begun.append(completion)
    try:
        while found := await completion.step():
            for one in found:
                yield one
    finally:
        await completion.stop()
