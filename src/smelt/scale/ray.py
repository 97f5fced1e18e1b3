"""A transform of a Ray Dataset."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Unpack

from smelt.api.job import Job
from smelt.call.options import Options, Settings
from smelt.environment import environ
from smelt.errors import SmeltConfigError
from smelt.frames.dtypes import load_arrow
from smelt.lanes.places import pacer_place
from smelt.scale.cluster import PLACE, is_started, wait
from smelt.scale.keys import warn_of_shown
from smelt.scale.mapper import Mapper, answer
from smelt.scale.marks import columns_told, marked, metrics_of_result
from smelt.scale.metrics import JobMetrics

if TYPE_CHECKING:
    import pyarrow as pa
    from ray.data import Dataset

_BLOCK = (5_000, 10_000, 20_000)  # Rows of a block: the fewest, as many as usual, the most.
_ROWS = 25  # Of a request, if smelt chooses: it comes to so many.
_TURNS = 10  # A block is so many times what is in flight, so that waiting for its last replies takes a tenth.


def transform(
    dataset: Dataset,
    prompt: str,
    output_model: Any,
    *,
    model: Any = None,
    workers: int = 1,
    preserve_order: bool = False,
    **options: Unpack[Options],
) -> Dataset:
    """`smelt.transform` of a Ray Dataset, as a step of its plan. Sends nothing now; each execution spends money.

    An actor holds hundreds of requests in flight, so a few suffice. They are spread over the machines, and take no CPU
    of Ray's account: what reads and writes could wait for one for ever. A block of some 10,000 rows is one run.
    `schema()`, `limit` and `count` on the result execute the step for whole blocks: ask `smelt.schema(Model, like=…)`
    for the columns instead.

    Without `SMELT_PACER`, a named actor is started as the pacer of the cluster, which keeps `rpm`, `tpm` and the limits
    of the job for all actors together, and has the figures of `metrics`. With `SMELT_PACER=off` there is none: each
    actor takes its share of `rpm` and `tpm`, and limits of the job are refused.

    Args:
        dataset: The Dataset.
        prompt: As in `smelt.transform`.
        output_model: As in `smelt.transform`.
        model: As in `smelt.transform`. Actors take the key from their own environment; see `Model(key_env=)`.
        workers: How many actors ask. Each takes its share of `concurrency`, if it is set.
        preserve_order: Whether the rows keep the order of *dataset*, which Ray does not do by itself. It holds for the
            whole plan.
        **options: See `smelt.call.options.Settings`.

    Returns:
        A lazy Dataset with the output columns and the error column, as Arrow blocks.

    Raises:
        SmeltConfigError: An argument is wrong, or the job has limits and no pacer, or it cannot be reached; raised
            here, before actors start.
    """
    if not hasattr(dataset, "map_batches"):
        raise SmeltConfigError.for_type("dataset", dataset, "a Ray Dataset, such as ray.data.read_parquet(path)")
    if not isinstance(preserve_order, bool):
        raise SmeltConfigError.for_type("preserve_order", preserve_order, "True or False")
    from ray.data import ActorPoolStrategy

    job = Job(prompt, output_model, **options)
    mapper = _mapper(job, model, workers)
    _check_keys(mapper)
    known = columns_of(dataset)
    columns = None if known is None else mapper.schema(known).arrow  # Refuses what is wrong.
    if isinstance(mapper, _Mapper) and not is_started():
        mapper = Mapper(job, model, workers=workers)
    answered = dataset.map_batches(
        Worker,
        fn_constructor_args=(mapper,),
        batch_format="pyarrow",
        batch_size=rows_of_a_block(job.settings),
        compute=ActorPoolStrategy(size=mapper.workers),
        num_cpus=0,  # With one each, as many actors as CPUs leave none to the tasks that read: the job stands still.
    )
    answered.context.raise_original_map_exception = True  # Else Ray raises an exception of its own for a wrong key.
    if preserve_order:
        answered.context.execution_options.preserve_order = True
    return marked(answered, mapper, columns=columns)


def metrics(dataset: Dataset) -> JobMetrics:
    """What all workers asked, paid and finished so far for a result of `transform`. Sends nothing, computes nothing.

    A block that Ray asks again because an actor died counts once; executing the Dataset twice counts twice.

    Args:
        dataset: What `transform` returned; not what was made of it.

    Returns:
        The figures, from the pacer. If the one of the cluster knows nothing of them, since it has left or was started
        anew, from the ledger of this machine.

    Raises:
        SmeltConfigError: *dataset* is something else, the pacer does not answer, or there is neither pacer nor ledger.
    """
    return metrics_of_result("dataset", dataset)


class _Mapper(Mapper):
    """A mapper whose pacer is the named actor of the cluster."""

    _of_engine = PLACE


def _mapper(job: Job[Any], model: Any, workers: int) -> Mapper:
    import ray

    if pacer_place(environ(), PLACE) != PLACE:
        return Mapper(job, model, workers=workers)
    if not ray.is_initialized():
        ray.init()  # As Ray itself does when something is first asked of it.
    return _Mapper(job, model, workers=workers)


class Worker:
    """What an actor runs: a mapper, and how Ray calls the blocks that it is given."""

    def __init__(self, mapper: Mapper) -> None:
        """Take the mapper, once an actor."""
        self._mapper = mapper
        if isinstance(mapper, _Mapper):
            wait()
        self._task = ("", 0)

    def __call__(self, block: Any) -> Any:
        """*block* with its answers."""
        import ray

        task = ray.get_runtime_context().get_task_id() or ""  # That of the first try, if this is another one.
        self._task = task, self._task[1] + 1 if self._task[0] == task else 1
        return answer(self._mapper, block, f"{task} {self._task[1]}" if task else "")


def _check_keys(mapper: Mapper) -> None:
    import ray

    if ray.is_initialized():
        given = ray.get_runtime_context().runtime_env.get("env_vars") or {}
        where = "Ray writes env_vars of its runtime_env into a log and shows them in its dashboard"
        warn_of_shown(mapper.model, given, where, "Set it where Ray is started on each machine instead.")


def columns_of(dataset: Dataset) -> pa.Schema | None:
    """The columns of *dataset*, as far as they are known without executing anything; of blocks of pandas, the names."""
    if (told := columns_told(dataset)) is not None:
        return told
    found = getattr(dataset.schema(fetch_if_missing=False), "base_schema", None)
    if found is None or type(found).__module__.startswith("pyarrow"):
        return found
    arrow = load_arrow()  # Blocks of pandas have a schema of Ray's own.
    return arrow.schema([(str(name), arrow.null()) for name in found.names])


def rows_of_a_block(settings: Settings) -> int:
    """Rows of a block: several times what is in flight, if that is known."""
    least, usual, most = _BLOCK
    if settings.concurrency == "auto":
        return usual
    rows = _ROWS if settings.batch_size == "auto" else settings.batch_size
    return min(max(_TURNS * settings.concurrency * rows, least), most)
