"""The options of a call and their validation: every bad value is refused before anything is sent."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from os import PathLike
from typing import TYPE_CHECKING, Any, Literal, Self, TypedDict

from smelt.call.optionchecks import CHECKS
from smelt.engine.events import Event
from smelt.errors import ConfigTypeError, SmeltConfigError
from smelt.messages import nearest, shown_value
from smelt.plan.kinds import TEXT_COLUMN
from smelt.plan.sizes import Aim

if TYPE_CHECKING:
    from smelt.plan.mediacolumns import Declared
    from smelt.trust.calibration import Calibrator

TARGETS = ("target_accuracy", "target_precision", "target_recall")
"""What a cascade can promise."""
CASCADE_VOTES = 3  # Nearly as few requests as 2 take, and a better answer.
_OF_A_STEP = ("fields", "stream")
_OF_THE_MODEL = ("key", "api_key", "base_url", "allow_http")  # No spelling hint: it would suggest `any_key`.


class Options(TypedDict, total=False):
    """Keyword options that every public call takes. `Settings` documents them."""

    columns: Sequence[str] | None
    batch_size: int | Literal["auto"]
    aim: Aim
    wire: Literal["keyed", "compact", "auto"]
    via: Literal["generation", "decisions"]
    concurrency: int | Literal["auto"]
    rpm: float | None
    tpm: float | None
    max_wait: float
    shuffle: bool
    seed: int
    max_attempts: int
    timeout: float
    deadline: float | None
    params: Mapping[str, Any] | None
    examples: Any
    media: Mapping[str, Declared] | Sequence[str] | None
    isolation: Literal["batch", "row"]
    null_rows: Literal["send", "skip"]
    on_error: Literal["mark", "raise"]
    on_conflict: Literal["raise", "suffix", "replace"]
    error_column: str
    output: str | None
    flatten: bool
    ledger: bool | str | PathLike[str] | None
    refresh: bool
    extend: bool
    any_key: bool
    store_inputs: bool
    max_cost: float | None
    max_tokens_total: int | None
    mode: Literal["now", "flex", "batch"]
    wait: bool | float
    tail: int | Literal["auto"]
    artefacts: str | PathLike[str] | None
    progress: bool | Callable[[Event], None] | None
    observers: Sequence[Callable[[Event], None]]
    votes: int
    sure: float | None
    with_confidence: bool | Calibrator
    target_accuracy: float | None
    target_precision: float | None
    target_recall: float | None
    confidence: float
    cascade_fields: Sequence[str] | None


@dataclass(frozen=True, kw_only=True)
class Settings:
    """The validated options of a call.

    Attributes:
        columns: The columns to send. None: the columns that the prompt names, or all columns if it names none.
        batch_size: Maximum rows per request, 1 to 1,000. `"auto"` starts with a few and finds what the model can
            handle.
        aim: What `batch_size="auto"` chooses by. `"balanced"` takes at most 15 % more input tokens than 20 rows per
            request would, and uses them to be done sooner; `"cheap"` as few as it can; `"fast"` up to half more.
        wire: How rows and answers are written. `"keyed"`: each value beside its name. `"compact"`: the names once per
            request, which takes a third fewer tokens. `"auto"`: keyed, but compact if a pilot of 50 rows finds that it
            answers as well; only for 2,000 rows or more whose price is known. Answers in the ledger are found with
            either.
        via: Which endpoint is asked. `"generation"`: the model writes the answers. `"decisions"`: the provider's
            endpoint for decisions, if it has one, which gives each value with its probability, in one more column
            `<field>_p`. It takes fields that are bool, Literal, Enum or an int with narrow bounds, and no others.
        concurrency: Maximum requests in flight, 1 to 10,000. `"auto"` finds what the provider can handle, up to 512; a
            model server on a desktop gets as many as it processes at once.
        rpm: Maximum requests per minute, for all runs of this process with the same model and key. None: the limit of
            the provider, which is found during the run.
        tpm: Maximum tokens per minute, input plus output, for the same runs as `rpm`. None as for `rpm`.
        max_wait: Seconds that a run waits when the provider asks it to, or goes without an answer, before it stops.
            Answers are kept, and the message says when to run again.
        shuffle: Whether rows are asked in random order, so that a sorted frame does not give one-sided chunks.
        seed: Seed for the order of shuffled rows and for the sample of a preview.
        max_attempts: Maximum paid answers for one row; then the row fails.
        timeout: Seconds for one request, whatever the timeout of the SDK.
        deadline: Seconds for the whole run; rows without an answer by then are marked as failed. None: no limit.
        params: Parameters for the provider, such as `{"temperature": 0}`; each provider documents its own.
        examples: Rows with their right answers, which the model sees in every request: a frame or a list of dicts with
            the columns that are sent and the output columns, 50 rows at most. Changing them asks the rows again.
        media: Columns of images, PDFs or audio whose cells are paths, URLs or arrays, each with what it holds:
            `{"photo": smelt.Image(root="photos/")}`; or a list of such columns. Bytes and opened images need no
            declaration.
        isolation: `"row"` sends every row alone: the only real boundary between rows of untrusted text.
        null_rows: Whether rows that are null in every column sent are asked, or left null without an error.
        on_error: Whether rows that fail are marked in the error column, or end the run with an exception.
        on_conflict: What to do if the frame already has a column with the name of an output column.
        error_column: Name of the column that says why a row failed.
        output: Name of the output column if the output model is a single type, such as `str` or `Literal["a", "b"]`.
        flatten: Whether nested models become `parent.child` columns.
        ledger: Where answers are stored, so that no row is paid for twice: the path of a file, True for `SMELT_LEDGER`
            or a file in the user's cache directory, False for no ledger. The URL of a database in PostgreSQL
            (`"postgresql://host/name"`) or Redis (`"redis://host/0"`): that file, and the database for answers that
            several machines share. None means True, except for models whose answers are not worth keeping, such as a
            scripted model in a test.
        refresh: Whether rows that the ledger knows are asked again, and replaced in the ledger. With `mode="batch"`,
            each row is asked once until a call has brought all rows: answers since the first call count as refreshed.
        extend: Whether rows that the ledger knows are asked for the new fields only, if the only change is that the
            output model has more fields.
        any_key: Whether answers that were bought with another API key are reused, for example after a key was renewed.
        store_inputs: Whether the ledger stores the prompt and the rows as plain text instead of keyed hashes.
        max_cost: Maximum dollars that the run may spend; the remaining rows are then marked `budget`. None: no limit.
        max_tokens_total: Maximum tokens, input plus output, that the run may spend; then as `max_cost`.
        mode: `"batch"` asks through the provider's Batch API: at half the price, and with answers within 24 hours. It
            needs a ledger, and the same call finds its jobs again, also in another process. `"flex"` asks live at half
            the price, where a provider has such a tier: answers take minutes, and rows that it declines three times are
            asked at the usual price.
        wait: With `mode="batch"`: whether to wait until all rows are answered; or seconds to wait. Rows that are not
            back by then are null and marked `pending`, and the same call collects them later.
        tail: With `mode="batch"`: when this many rows or fewer are left after a job, they are asked live. `"auto"`: 2 %
            of the rows, or 50 if that is more.
        artefacts: With `mode="batch"`: a directory that gets the files of each job, byte for byte as they were sent and
            received. They hold your rows, and only you can read them. None: no files are kept.
        progress: True or None shows progress in the form that fits the environment, False shows none, a function gets
            the events.
        observers: Functions that get the events of the run, beside the progress display, such as `smelt.Metrics()`.
            Events hold counts and no text. An observer that raises is dropped with a warning.
        votes: How often each row is asked, 1 to 15, or up to 40 with `sure`. Every time the rows are in another order
            and other company, and the answer is what most votes say, field by field. A row is asked no more when the
            votes that are left cannot change its answer; so 3 votes take about 2.2 requests per row, and give exactly
            the answer of all 3.
        sure: With `votes` of 7 or more: the risk that a label is not the one that the model gives most often, up to
            0.25, for each field that is bool, Literal or Enum. A row is asked until each label is as sure as that, or
            has all its votes; other fields get the value of the votes so far. 0.05 takes 7 votes if all agree on one of
            two labels, and 11 if one does not. `result.votes` says which labels are sure. None: nothing is promised.
        with_confidence: Whether each field gets a column `<field>_confidence`: how much the votes agree with the
            answer, from 0 to 1, and null if fewer than two votes were answered. Needs `votes` of 2 or more, or
            in `evaluate` a provider that tells how likely its answers were. The `.calibrator` of an evaluation in place
            of True: the probability that the answer is right.
        target_accuracy: With `model=[cheap, strong]`: the share of answers, from 0.5 to 0.999, that are to be those of
            the strong model. The cheap model answers all rows, with `votes=3` if that is not given; the strong model
            answers a random sample, and the rows that the cheap model is too unsure of. None: one model is asked.
        target_precision: In place of `target_accuracy`, for one field that is bool: the share of the rows answered True
            that the strong model answers so, from 0.5 to 0.999. False answers of the cheap model are kept.
        target_recall: Likewise the share of the rows that the strong model answers True that are answered so. Alone it
            keeps all True answers of the cheap model; with `target_precision` both are promised.
        confidence: With a target: the probability with which that is promised, from 0.5 to 0.999.
        cascade_fields: With a target: the fields that are promised, by their dotted names. None: all of them, or with
            `target_precision` and `target_recall` the only one that is bool. A field of free text cannot be promised,
            because two models never write the same.

    Examples:
        >>> df.smelt.run("Classify {name}.", Company, model=scripted, batch_size=1, progress=False).metrics.requests
        2
    """

    columns: tuple[str, ...] | None = None
    batch_size: int | Literal["auto"] = "auto"
    aim: Aim = "balanced"
    wire: Literal["keyed", "compact", "auto"] = "auto"
    via: Literal["generation", "decisions"] = "generation"
    concurrency: int | Literal["auto"] = "auto"
    rpm: float | None = None
    tpm: float | None = None
    max_wait: float = 900.0
    shuffle: bool = True
    seed: int = 0
    max_attempts: int = 4
    timeout: float = 120.0
    deadline: float | None = None
    params: Mapping[str, Any] = field(default_factory=dict)
    examples: tuple[str, ...] = ()
    media: Mapping[str, Declared] = field(default_factory=dict)
    isolation: Literal["batch", "row"] = "batch"
    null_rows: Literal["send", "skip"] = "send"
    on_error: Literal["mark", "raise"] = "mark"
    on_conflict: Literal["raise", "suffix", "replace"] = "raise"
    error_column: str = "smelt_error"
    output: str = TEXT_COLUMN
    flatten: bool = False
    ledger: bool | str | None = None
    refresh: bool = False
    extend: bool = False
    any_key: bool = False
    store_inputs: bool = False
    max_cost: float | None = None
    max_tokens_total: int | None = None
    mode: Literal["now", "flex", "batch"] = "now"
    wait: bool | float = True
    tail: int | Literal["auto"] = "auto"
    artefacts: str | None = None
    progress: bool | Callable[[Event], None] | None = None
    observers: tuple[Callable[[Event], None], ...] = ()
    votes: int = 1
    sure: float | None = None
    with_confidence: bool | Calibrator = False
    target_accuracy: float | None = None
    target_precision: float | None = None
    target_recall: float | None = None
    confidence: float = 0.95
    cascade_fields: tuple[str, ...] | None = None

    @property
    def targets(self) -> dict[str, float]:
        """What a cascade promises, by name; empty if one model is asked."""
        found = {name: getattr(self, name) for name in TARGETS}
        return {name: value for name, value in found.items() if value is not None}

    @classmethod
    def of(cls, /, **options: Any) -> Self:
        """Validate *options*; all others have their defaults.

        Raises:
            SmeltConfigError: An option is unknown, has the wrong type or is out of range; the message says what is
                allowed.
        """
        return replace(cls(), **{name: checked(name, value) for name, value in options.items()})


NAMES = tuple(one.name for one in fields(Settings))
NAMING = ("on_conflict", "error_column", "output", "flatten")
"""The options that decide how output columns are called."""


def checked(name: str, value: object, *, source: str | None = None) -> Any:
    """The validated *value* of the option *name*, as `Settings` stores it.

    Args:
        name: The option.
        value: The value that the caller gave.
        source: The name for error messages, if it differs from *name*.

    Raises:
        SmeltConfigError: The option is unknown, or the value has the wrong type or is out of range.
    """
    if name not in CHECKS:
        raise unknown_option(name, NAMES)
    return CHECKS[name](source or name, value)


def unknown_option(name: str, known: Sequence[str]) -> SmeltConfigError:
    """The error for an option that does not exist; suggests the nearest of the *known* names."""
    if name == "model":  # All others that take options take a model, too.
        return ConfigTypeError("A job takes no model=. Pass the model when it runs: job.run(model, data=…).")
    if name in _OF_A_STEP:
        return ConfigTypeError(f"{name} is an option only of lf.smelt.transform(...), on a Polars LazyFrame.")
    hint = "" if name in _OF_THE_MODEL else nearest(name, known)
    if "Did you mean" not in hint:
        hint = (
            f" The options are model, {', '.join(NAMES)}. Parameters of the provider go into params={{...}}, "
            "a key or an address into smelt.Model(...)."
        )
    return ConfigTypeError(f"There is no option {shown_value(name)}.{hint}")
