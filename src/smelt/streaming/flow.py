"""The run of a stream: decides when to read the next frame, when a frame is finished and how the stream ends."""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum, auto

from smelt.call.ballots import asking
from smelt.call.outcome import metrics
from smelt.call.part import FramePart, part_of
from smelt.call.preparation import Preparation
from smelt.engine.events import Event, RequestSent, RunEnded, RunStarted
from smelt.engine.parts import Part, Parts
from smelt.engine.supply import Supply
from smelt.engine.work import Ending
from smelt.errors import SmeltInterrupt
from smelt.plan.rows import Key
from smelt.result import SmeltMetrics
from smelt.streaming.stepwise import Stepwise

_TRUST = 2  # Maximum rows read ahead for each row that was already yielded.
# The next three are in turns. One turn is the rows in flight when the worker pool is full.
TURNS_IN_LINE = 2  # Queue length below which the next frame may be read, so that no worker is idle when a frame ends.
_TURNS_AHEAD = 4  # Maximum rows read ahead of the frame that is yielded next.
_LARGE = 8  # A frame of this size is large: reading ahead for its last requests adds few rows to it.


def trusted_rows(handed_over: int, front: int, turn: int) -> int:
    """Maximum rows read ahead of the frame that is yielded next, which has *front* rows: few before one was yielded."""
    return _TRUST * handed_over + (front if front >= _LARGE * turn else 0)


class Wants(Enum):
    """What the flow needs from the code that drives it, if no frame is finished: the next frame, or nothing more."""

    MORE = auto()
    NOTHING = auto()


class Flow(Stepwise[FramePart | Wants]):
    """One run over many frames. The driver calls `step`, and calls `put` with a frame when `step` asks for one.

    Attributes:
        is_reading: Whether the next frame is being read, so that `step` does not ask for it again.
    """

    def __init__(self, first: Preparation, *, rows: int | None = None, is_partial_shown: bool = True) -> None:
        """Start with the call of the *first* frame, which `put` takes, too. *rows*: expected total, if known."""
        super().__init__()
        self.is_reading = False
        self._supply = Supply(Parts(self._wake.set))
        self._run = asking(first)(
            first, self._supply, observers=[self._watch], rows=rows, is_partial_shown=is_partial_shown
        )
        self._raises = first.settings.on_error == "raise"
        self._handed_over = 0
        self._trouble: BaseException | None = None
        self._has_warned = False

    def put(self, call: Preparation, keys: Mapping[Key, int]) -> None:
        """Add the next frame, with the *keys* of its distinct rows. Its rows are asked from the next `step` on."""
        self._supply.put(part_of(call, start=self._supply.rows, keys=keys))
        self.is_reading = False
        self._wake.set()

    def end(self, trouble: BaseException | None = None) -> None:
        """End the input. *trouble*: the exception that ended it, if any; it is raised after all frames were yielded."""
        self._trouble = trouble
        self._supply.end()
        self._wake.set()

    async def step(self) -> FramePart | Wants:
        """Wait for the next finished frame, or for the need of more input.

        Raises:
            SmeltError: As `execution.execute`.
        """
        self._begun()
        while True:
            self._wake.clear()
            if self._run.engine is not None:
                await self._run.engine.take_in()
            if (found := self._found()) is not None:
                return found
            await self._wake.wait()

    def interrupt(self) -> SmeltInterrupt:
        """The exception to raise after Ctrl-C has stopped the run."""
        partial = self._run.outcome.result()
        done, read = partial.metrics.successful_rows, partial.metrics.total_rows
        kept = " The ledger has all of them: the same call continues from there." if self._run.is_kept else ""
        return SmeltInterrupt(
            f"Interrupted. {self._handed_over:,} rows are in the frames that were handed over. Of {read:,} more that "
            f"were read, {done:,} are answered; they are in `.partial_result`.{kept}",
            partial,
        )

    @property
    def metrics(self) -> SmeltMetrics:
        """The metrics of the run so far; rows are those of all frames that were read."""
        supply, run = self._supply, self._run
        pending = run.counts.pending
        return metrics(
            run.counts,
            rows=supply.rows,
            failed=supply.parts.failed - pending,
            pending=pending,
            distinct=supply.distinct,
            seconds=run.seconds,
        )

    @property
    def ending(self) -> Ending | None:
        """How the run ended; None before that."""
        return self._run.ending

    def _watch(self, event: Event) -> None:
        """Wake `step` when the run begins or ends, and when it may need the next frame."""
        if isinstance(event, RunStarted | RunEnded) or (isinstance(event, RequestSent) and self._is_short):
            self._wake.set()

    def _found(self) -> FramePart | Wants | None:
        """The result of a step; None if it must wait."""
        parts = self._supply.parts
        front = parts.front
        ready = front if front is not None and front.is_settled else None
        if ready is not None and self._is_good(ready):
            return self._hand_over()
        self._raise_problem()
        if ready is not None and self._run.ending is not None:
            return self._hand_over()
        if self._is_hungry():
            return Wants.MORE
        if front is not None or self._main is None or not self._main.done():
            return None
        if self._trouble is not None:
            raise self._trouble
        return Wants.NOTHING

    def _is_good(self, part: Part) -> bool:
        """Whether a settled part can be yielded regardless of how the run ends."""
        return not part.is_cut and not (self._raises and part.answers.failures)

    def _hand_over(self) -> FramePart:
        part = self._supply.parts.hand_over()
        assert isinstance(part, FramePart)
        part.answers.spread()
        self._handed_over += part.rows
        return part

    def _raise_problem(self) -> None:
        """Raise the error that ended the run, if the call's options raise it; else warn about it, once."""
        if self._main is not None and self._main.done():
            self._main.result()
        ending = self._run.ending
        if ending is None or self._has_warned:
            return
        has_failed = self._raises and bool(self._supply.parts.failed)
        if not (ending.why or ending.notices or has_failed):
            return
        outcome = self._run.outcome
        if (error := outcome.error(outcome.result())) is not None:
            raise error
        self._has_warned = True
        outcome.warn()

    @property
    def _turn(self) -> int:
        """Rows in flight when the worker pool is full."""
        run = self._run.engine
        return run.lane.limit * run.work.most_rows if run is not None else 0

    @property
    def _is_short(self) -> bool:
        """Whether the queue will soon be too short to fill the worker pool."""
        return self._supply.line.rows_left < TURNS_IN_LINE * self._turn

    def _is_hungry(self) -> bool:
        """Whether to read the next frame. Read-ahead starts small, so inspecting the first frame costs little."""
        parts = self._supply.parts
        if self.is_reading or not self._supply.is_open or self._run.engine is None:
            return False
        if parts.front is None:
            return True
        if self._supply.is_behind:
            return False
        front = parts.front.rows
        ahead = parts.rows_under_way - front
        trusted = trusted_rows(self._handed_over, front, self._turn)
        return self._supply.rest is None and self._is_short and ahead < min(trusted, _TURNS_AHEAD * self._turn)
