"""All that is known, checked and decided of a call before its first request."""

from __future__ import annotations

import random
from array import array
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from smelt.call.options import Settings
from smelt.call.resolve import resolve_model
from smelt.engine.policy import Policy
from smelt.engine.work import Work
from smelt.errors import ColumnError, SchemaError, warn
from smelt.frames.adapt import adapt
from smelt.frames.base import Frame
from smelt.frames.names import settle_names
from smelt.messages import nearest, printable, shown_value
from smelt.plan.dialect import check_limits
from smelt.plan.kinds import Field, Struct
from smelt.plan.prompt import read_prompt, sent_columns
from smelt.plan.rows import Folded, Key, RowSource, Unsendable, fold, remembering
from smelt.plan.schema import Output, part_of, read_output
from smelt.plan.tokens import reply_bytes, reply_tokens, text_tokens
from smelt.plan.wire import system_text
from smelt.providers.base import Provider

_FIRST_ROWS = 5  # Of the first request, which proves key, model and schema.
_told: set[str] = set()  # Prompts without a column's name that were warned of in this process.
_ROOM = 2  # Times what the answer to a row usually takes; twice that is allowed for.
_MOST_AUTO_ROWS = 25  # Beyond this a larger chunk saves little of the shared instructions, and answers get worse.


@dataclass(frozen=True, kw_only=True)
class Column:
    """An output column: which field it shows, and under which name.

    Attributes:
        name: Its name in the frame.
        path: Field names, from the output model down.
        field: The field at the end of the path.
    """

    name: str
    path: tuple[str, ...]
    field: Field


@dataclass(frozen=True, kw_only=True, eq=False)
class Preparation:
    """A call that has been checked and may be sent.

    Attributes:
        frame: The caller's data.
        source: The columns that are sent, as rows.
        folded: Which rows are the same.
        output: What to ask for.
        columns: What comes back.
        error_column: Name of the error column.
        dropped: Columns of the caller's that the output replaces.
        provider: Whom to ask.
        settings: The options.
        prompt: What to find out, as the model is told.
        system: The instructions.
        whole: The output of which *output* is the part that is looked at; None where that is all there is.
    """

    frame: Frame
    source: RowSource
    folded: Folded
    output: Output
    columns: tuple[Column, ...]
    error_column: str
    dropped: tuple[str, ...]
    provider: Provider
    settings: Settings
    prompt: str
    system: str
    whole: Output | None = None

    @property
    def params(self) -> dict[str, Any]:
        """What the provider is told beside the question: its own parameters, and over them those of the call."""
        return {**getattr(self.provider, "params", {}), **self.settings.params}

    def work(self) -> Work:
        """The run that this call asks for."""
        row_tokens = reply_tokens(self.output.fields)
        most_rows = self._most_rows(row_tokens)
        return Work(
            source=self.source,
            order=self.order,
            output=self.output,
            asked=self.output.fields,
            reply_bytes=reply_bytes(self.output.fields),
            system=self.system,
            params=self.settings.params,
            row_tokens=row_tokens,
            most_rows=most_rows,
            is_auto=self.settings.batch_size == "auto",
            timeout=self.settings.timeout,
            deadline=self.settings.deadline,
            stop_on_failure=self.settings.on_error == "raise",
            policy=Policy(max_attempts=self.settings.max_attempts),
            first_rows=min(_FIRST_ROWS, most_rows),
        )

    @property
    def order(self) -> Sequence[int]:
        """Positions of the rows to ask, in the order to ask them in."""
        return _ordered(self.folded.distinct, self.settings)

    def works(self, added: Sequence[str], completing: Mapping[int, str]) -> tuple[Work, Work]:
        """The same run in two parts: rows that are asked for the *added* fields only, and the others.

        Args:
            added: Fields, by their names on the wire.
            completing: JSON of the answers that these fields are added to, by position.
        """
        whole = self.work()
        fields = tuple(field for field in self.output.fields if field.key in added)
        part = replace(
            whole,
            order=array("q", (position for position in whole.order if position in completing)),
            asked=fields,
            system=system_text(self.prompt, fields, self.provider.capabilities.codec, about=self.output.description),
            row_tokens=reply_tokens(fields),
            reply_bytes=reply_bytes(fields),
            completing=completing,
        )
        rest = array("q", (position for position in whole.order if position not in completing))
        return part, replace(whole, order=rest)

    def asking(self, names: Sequence[str] | None) -> Preparation:
        """The same call for the output fields of these *names*; for all of them, where they can only be had together."""
        if names is None or not (output := part_of(self.output, names)):
            return self
        return replace(
            self,
            output=output,
            whole=self.output,
            columns=tuple(column for column in self.columns if column.path[0] in names),
            system=system_text(self.prompt, output.fields, self.provider.capabilities.codec, about=output.description),
        )

    def over(self, frame: Frame, *, seen: dict[Key, int]) -> Preparation:
        """The same call about the rows of *frame*; *seen* is filled as `plan.rows.fold` does.

        Raises:
            ColumnError: It lacks a column that is sent.
        """
        source = remembering(frame.rows(self.source.names))
        folded = fold(source, skip_nulls=self.settings.null_rows == "skip", seen=seen)
        dropped = tuple(name for name in self.dropped if name in frame.names)
        return replace(self, frame=frame, source=source, folded=folded, dropped=dropped)

    @property
    def concurrency(self) -> int:
        """Requests in flight at the most."""
        chosen = self.settings.concurrency
        return self.provider.capabilities.concurrency if chosen == "auto" else chosen

    def _most_rows(self, row_tokens: int) -> int:
        capabilities = self.provider.capabilities
        if self.settings.isolation == "row":
            return 1
        if self.settings.batch_size != "auto":
            return self.settings.batch_size
        # By what answers usually take, not by the most that they may: a str without a length may take pages, and rarely does. A
        # reply that is cut off says so, and later requests are smaller.
        usual = min(row_tokens, _ROOM * max(1, text_tokens(reply_bytes(self.output.fields))))
        by_output = max(1, capabilities.max_output_tokens // (2 * usual))
        return min(_MOST_AUTO_ROWS, by_output, capabilities.rows_per_request or _MOST_AUTO_ROWS)


Pick = Callable[[int], Sequence[int]]
"""Chooses positions of rows, given how many there are."""


@dataclass(frozen=True, eq=False)
class _Part:
    """Some rows of a source. A `RowSource`."""

    whole: RowSource
    positions: Sequence[int]

    @property
    def names(self) -> tuple[str, ...]:
        return self.whole.names

    def __len__(self) -> int:
        return len(self.positions)

    def texts(self, positions: Sequence[int]) -> list[str | Unsendable]:
        return self.whole.texts([self.positions[position] for position in positions])


def prepare(
    data: Any,
    prompt: str,
    output_model: Any,
    model: Any,
    settings: Settings,
    *,
    pick: Pick | None = None,
    adapt: Callable[[Any], Frame] = adapt,
    is_sent: bool = True,
) -> Preparation:
    """Check everything that can be checked before money is spent, and read the rows once.

    Args:
        data: The caller's frame.
        prompt: What to find out.
        output_model: What to ask for.
        model: Whom to ask.
        settings: The options.
        pick: Which rows to ask; None asks all.
        adapt: Takes the snapshot of *data*.
        is_sent: Whether the call will be sent. If not, as for an estimate, it needs no key.

    Raises:
        SmeltConfigError: Or one below it, for whatever is wrong; nothing was sent.
    """
    frame = adapt(data)
    # An empty list of rows cannot say which keys its rows would have.
    names = frame.names if frame.names or len(frame) else None
    task = read_prompt(prompt, names)
    output = read_output(output_model, text_column=settings.output)
    columns, error_column, dropped = _columns(output, frame.names, settings)
    for column in columns:
        frame.require(".".join(column.path), column.field.kind)
    source = frame.rows(None if names is None else _chosen(task.columns, names, settings))
    if len(source) and not source.names:
        raise ColumnError("The data has rows but no columns, so there is nothing to send.")
    # Last, since it may ask for a key: what is wrong with the other arguments would have to be told after that anyway.
    provider = resolve_model(model, params=settings.params, needs_key=is_sent)
    check_limits(output.fields, provider.capabilities.dialect, provider.name)
    if settings.columns is None and not task.columns and len(source.names) > 1:
        _warn_of_all_columns(prompt, source.names)
    if pick is not None:  # Of the rows, not of the frame: one row of a list may lack a key that the prompt names.
        positions = pick(len(frame))
        frame, source = adapt(frame.take(positions)), _Part(source, positions)
    system = system_text(task.text, output.fields, provider.capabilities.codec, about=output.description)
    _require_unicode(system)
    return Preparation(
        frame=frame,
        source=source,
        folded=fold(source, skip_nulls=settings.null_rows == "skip"),
        output=output,
        columns=columns,
        error_column=error_column,
        dropped=dropped,
        provider=provider,
        settings=settings,
        prompt=task.text,
        system=system,
    )


def _warn_of_all_columns(prompt: str, names: Sequence[str]) -> None:
    """Say, once for each prompt, that it names no column: the reason is often an f-string, and every column is paid for."""
    if prompt in _told:
        return
    _told.add(prompt)
    text = (
        f"The prompt names no column, so a request carries {printable(sent_columns(names))}. Write {{column}} for each "
        "column that the model needs, or pass columns=[...]. An f-string leaves no {column} in the prompt."
    )
    warn(text)


def _require_unicode(system: str) -> None:
    try:
        system.encode()
    except UnicodeEncodeError as problem:
        near = system[max(0, problem.start - 20) : problem.start]
        raise SchemaError(
            f"The output model has half of a surrogate pair in a description or a choice, after {near!r}. Remove it."
        ) from None


def _chosen(named: Sequence[str], known: Sequence[str], settings: Settings) -> Sequence[str] | None:
    """The columns to send: those that were chosen, else those that the prompt names, else all (None).

    A prompt that names a column which is not chosen would ask about what the model cannot see.
    """
    if settings.columns is None:
        return named or None
    there, sent = frozenset(known), frozenset(settings.columns)
    for name in settings.columns:
        if name not in there:
            raise ColumnError(f"columns has {shown_value(name)}, which is no column of the data.{nearest(name, known)}")
    if unseen := [name for name in named if name not in sent]:
        raise ColumnError(f"The prompt names {shown_value(unseen[0])}, but columns leaves it out. Add it to columns.")
    return settings.columns


def _columns(
    output: Output, existing: Sequence[str], settings: Settings
) -> tuple[tuple[Column, ...], str, tuple[str, ...]]:
    wanted = [
        ((".".join(path) if settings.flatten else path[0]), path, field)
        for path, field in _paths(output.fields, (), settings.flatten)
    ]
    names = [name for name, _, _ in wanted]
    if doubled := [name for name, count in Counter(names).items() if count > 1]:
        raise SchemaError(f"With flatten=True two columns are called {doubled[0]!r}. Rename one of the fields.")
    final, dropped = settle_names(existing, names, settings.error_column, settings.on_conflict)
    columns = tuple(Column(name=final[name], path=path, field=field) for name, path, field in wanted)
    return columns, final[settings.error_column], tuple(dropped)


def _paths(fields: Sequence[Field], above: tuple[str, ...], flatten: bool) -> list[tuple[tuple[str, ...], Field]]:
    found: list[tuple[tuple[str, ...], Field]] = []
    for one in fields:
        path = (*above, one.name)
        if flatten and isinstance(one.kind, Struct):
            found += _paths(one.kind.fields, path, flatten)
        else:
            found.append((path, one))
    return found


def _ordered(positions: array[int], settings: Settings) -> Sequence[int]:
    if not settings.shuffle:
        return positions
    shuffled = array("q", positions)
    random.Random(settings.seed).shuffle(shuffled)
    return shuffled
