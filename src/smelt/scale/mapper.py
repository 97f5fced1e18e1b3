"""`Mapper`: a job and a model as one picklable callable, from a block of rows to the block with its answers."""

from __future__ import annotations

from collections.abc import Generator, Iterable
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any, TypeVar
from uuid import uuid4

from smelt.api.job import Job
from smelt.call.conflicts import refuse_whole
from smelt.call.options import Settings
from smelt.call.resolve import default_model, resolve_model
from smelt.checks import integer
from smelt.environment import environ
from smelt.errors import SmeltConfigError
from smelt.frames.blank import emptied
from smelt.lanes.places import pacer_place
from smelt.model import called, read_model
from smelt.plan.schema import read_output
from smelt.providers.base import DECISIONS
from smelt.providers.prices import check_priced
from smelt.scale.keys import warn_of_kept
from smelt.scale.metrics import JobMetrics, Traces, asked, metrics_of
from smelt.scale.part import Part
from smelt.scale.schema import FrameSchema

B = TypeVar("B")

_TO_START = 60.0  # Seconds for an engine to start its pacer: on a loaded machine Ray takes some 20 for a process.
_OF_A_RUN = ("max_cost", "max_tokens_total", "deadline")


class Mapper:
    """A job and a model as a function from a block of rows to the same block with its answers, for any engine.

    It pickles (with cloudpickle, if the output model is a class of your script or notebook), and holds no key: each
    process that asks takes the key from its own environment, where `Model(key_env=)` names the variable. Workers of one
    machine share its ledger, so a block that an engine repeats after a worker died pays again only for what was in
    flight. A failed row is marked in the error column, as everywhere.

    Examples:
        >>> mapper = smelt.Mapper(smelt.Job("Classify {name}.", Company), scripted)
        >>> mapper(df)["sector"].tolist()
        ['tech', 'health']
    """

    _of_engine: str | None = None  # The pacer that the engine has, as `places.pacer_place`.

    def __init__(self, job: Job[Any], model: Any = None, *, workers: int = 1) -> None:
        """Check the arguments. Sends nothing, and needs no key.

        With a pacer (`SMELT_PACER`), the job's `max_cost`, `max_tokens_total` and `deadline` hold for all processes
        together; without one they are refused, because a block is a run.

        Args:
            job: What to ask.
            model: As in `smelt.transform`; its default is that of this process.
            workers: How many processes ask at the same time. Each takes its share of the job's `rpm`, `tpm` and
                `concurrency`, if they are set; limits that are not set are found, and the processes of one machine
                share what they find. With a pacer (`SMELT_PACER`), `rpm` and `tpm` hold for all of them together.

        Raises:
            SmeltConfigError: An argument is wrong, or the job has limits and there is no pacer, or it does not answer.
        """
        if not isinstance(job, Job):
            raise SmeltConfigError.for_type("job", job, "a smelt.Job, such as smelt.Job(prompt, Company)")
        _check(job, self._place)
        self.job = job
        self.model = read_model(default_model() if model is None else model)
        self.workers = integer("workers", workers, 1, 10_000)
        self._name = uuid4().hex
        self._since = datetime.now(UTC)
        _open(self._name, job, self.model, self._place)
        warn_of_kept(self.model)

    @property
    def _place(self) -> str | None:
        """Where the pacer of the job is; None if there is none."""
        return pacer_place(environ(), self._of_engine)

    def __dask_tokenize__(self) -> str:
        """What Dask names the step by. It cannot see whether two output models are equal, validators and all."""
        return self._name

    def __repr__(self) -> str:
        return f"Mapper({self.job!r}, {called(self.model)!r})"

    def __call__(self, block: B) -> B:
        """*block* with its answers, as one run. Blocks this thread, which needs no event loop. Spends money.

        Args:
            block: A pandas or Polars frame, an Arrow table or record batch, or a list of dicts.

        Returns:
            A block of the same kind, with the columns and dtypes of `smelt.schema`.

        Raises:
            SmeltError: As in `smelt.transform`.
        """
        return answer(self, block)

    def stream(self, blocks: Iterable[B]) -> Generator[B, None, None]:
        """Yield each of *blocks* with its answers, in order, all as one run: as `smelt.stream`. Spends money.

        Only if the job has a deadline, each block is a run: the time of one run stands still while you look at a block.

        Args:
            blocks: Blocks of one kind with one schema. Those without rows are returned with their columns, unasked.

        Yields:
            Blocks of the same kind.

        Raises:
            SmeltError: As in `smelt.stream`.
        """
        yield from answers(self, blocks)

    def metrics(self) -> JobMetrics:
        """What all processes that use this mapper, or a copy of it, asked, paid and finished so far. Sends nothing.

        Returns:
            The figures, from the pacer, else from the ledger of this machine.

        Raises:
            SmeltConfigError: The pacer does not answer, or there is neither a pacer nor a ledger.

        Examples:
            >>> mapper = smelt.Mapper(smelt.Job("Classify {name}.", Company), scripted)
            >>> mapper.metrics().failed_rows is None  # The ledger does not know.
            True
        """
        settings = self.job.settings
        output = read_output(self.job.output_model, text_column=settings.output)
        return metrics_of(
            self._name,
            self._place,
            Traces(
                since=self._since,
                model=called(self.model),
                fields=frozenset(one.name for one in output.fields),
                ledger=settings.ledger,
            ),
        )

    def schema(self, like: Any = None) -> FrameSchema:
        """The columns and dtypes of what comes back. Sends nothing.

        Args:
            like: As in `smelt.schema`.

        Returns:
            As `smelt.schema`.

        Raises:
            SmeltConfigError: The prompt names a column that *like* does not have, or as in `smelt.schema`.

        Examples:
            >>> smelt.Mapper(smelt.Job("Classify {name}.", Company), scripted).schema(df).arrow.names
            ['name', 'sector', 'smelt_error']
        """
        if like is not None:
            from smelt.call.preparation import prepare

            job, (_, empty) = self.job, emptied(like)
            prepare(empty, job.prompt, job.output_model, self.model, job.settings, is_sent=False)
        return FrameSchema(self.job.output_model, like, self.job.settings)


def part_of(mapper: Mapper, name: str = "") -> Part:
    """A part of the job of *mapper*; *name*: what the engine calls it, the same if it repeats it."""
    settings = in_a_worker(mapper.job.settings, mapper.workers, is_paced=mapper._place is not None)
    share, of_engine = 1 / mapper.workers, mapper._of_engine
    return Part(mapper.job, mapper.model, settings, name=mapper._name, block=name, share=share, of_engine=of_engine)


def answer(mapper: Mapper, block: B, name: str = "") -> B:
    """*block* with its answers, which is what the engine calls *name*."""
    # To its end: a stream left before has not ended its run.
    [finished] = part_of(mapper, name).answered([block], pauses=False)
    return finished


def answers(mapper: Mapper, blocks: Iterable[B], name: str = "") -> Generator[B, None, None]:
    """Each of *blocks* with its answers, all as one run; a run for each if the job has a deadline.

    The clock of one run stops while whoever takes the blocks has control, and a deadline must not.
    """
    if mapper.job.settings.deadline is None:
        yield from part_of(mapper, name).answered(blocks)
        return
    for number, block in enumerate(blocks):
        yield answer(mapper, block, name and f"{name} block {number}")


def in_a_worker(settings: Settings, workers: int, *, is_paced: bool) -> Settings:
    """*settings* as one of *workers* processes takes them: its part of the limits, and no progress display."""
    most, apart = settings.concurrency, 1 if is_paced else workers  # A pacer adds up what its clients are allowed.
    return replace(
        settings,
        progress=False,  # Bars of many workers write over each other.
        max_cost=None,  # The pacer holds these two for the whole job.
        max_tokens_total=None,
        rpm=None if settings.rpm is None else settings.rpm / apart,
        tpm=None if settings.tpm is None else settings.tpm / apart,
        concurrency=most if most == "auto" else max(1, most // workers),
    )


def _limits_of(job: Job[Any]) -> list[str]:
    """The options of *job* that hold for all its blocks together."""
    return [name for name in _OF_A_RUN if getattr(job.settings, name) is not None]


def _open(name: str, job: Job[Any], model: Any, place: str | None) -> None:
    """Tell the pacer the limits of the job called *name*, if it has any.

    Raises:
        SmeltConfigError: The pacer does not answer, or dollars are limited and the price of the model is not known.
    """
    if not _limits_of(job):
        return
    settings = job.settings
    assert place is not None  # Checked.
    if settings.max_cost is not None:
        check_priced(resolve_model(model, needs_key=False), DECISIONS if settings.via == "decisions" else "")
    try:
        asked(place, "open", name, *(getattr(settings, one) for one in _OF_A_RUN), start=_TO_START)
    except SmeltConfigError as problem:
        raise SmeltConfigError(
            f"{problem} Nothing else holds {_limits_of(job)[0]}= for the whole job. Leave it out, or name a pacer that "
            "this process and the workers reach: python -m smelt pacer --help"
        ) from None


def _check(job: Job[Any], place: str | None) -> None:
    settings = job.settings
    refuse_whole(settings)
    if (given := _limits_of(job)) and place is None:
        raise SmeltConfigError(
            f"{given[0]}= holds for one run, and here each block is one, so it would hold for each block. Leave it "
            "out, or have a pacer hold it for the whole job: python -m smelt pacer --help"
        )
    for reason, is_given in (
        ("extend=True needs to see all rows before the first request", settings.extend),
        ("refresh=True would ask a block anew each time that the engine repeats it", settings.refresh),
        ('mode="batch" answers within hours, for which an engine would hold its workers', settings.mode == "batch"),
        ("progress= is a function of this process, and others ask", callable(settings.progress)),
        ("observers= are functions of this process, and others ask", bool(settings.observers)),
    ):
        if is_given:
            raise SmeltConfigError(f"{reason}. Leave it out of the job.")
