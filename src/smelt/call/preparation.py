"""Preparation of a call: checks all arguments, reads the rows and decides everything that the run needs."""

from __future__ import annotations

import dataclasses
import random
from array import array
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Literal

from smelt.call.columns import Column, added_to
from smelt.call.conflicts import check_keepable, check_mode, check_options, refuse_cascade
from smelt.call.instructions import Instructions, check_unicode
from smelt.call.mediachecks import check_declared, check_media, check_urls, media_words
from smelt.call.options import Settings
from smelt.call.resolve import resolve_model
from smelt.engine.pilot import is_long
from smelt.engine.policy import Policy
from smelt.engine.work import Work
from smelt.errors import ColumnError, SchemaError, SmeltConfigError, warn
from smelt.frames.adapt import adapt
from smelt.frames.base import Frame
from smelt.lanes.jobs import JobRun
from smelt.messages import nearest, printable, shown_value
from smelt.plan.compact import Compact, table_of
from smelt.plan.decisions import Decision, questions_about
from smelt.plan.dialect import check_limits
from smelt.plan.examples import Example, read_examples
from smelt.plan.kinds import Field, Text
from smelt.plan.mediacolumns import KINDS, Audio, key_part
from smelt.plan.probabilities import declared, paired, with_probabilities, without_probabilities
from smelt.plan.prompt import read_prompt, sent_columns
from smelt.plan.rows import Folded, Key, RowSource, Selected, fold, remembering
from smelt.plan.schema import Output, part_of, read_output
from smelt.plan.scores import wanted_beside
from smelt.plan.tokens import compact_bytes, reply_bytes, reply_tokens, text_tokens
from smelt.plan.verbatim import check_columns
from smelt.plan.wire import PROMPT_REMINDER, REMINDER
from smelt.providers.base import CompleteProvider
from smelt.providers.decisions import decisions_of
from smelt.providers.wrapped import tags_of

_USUAL = Settings()
_FIRST_ROWS = 5  # Rows of the first request, which tests the key, the model and the schema.
_told: set[str] = set()  # Prompts that name no column, and were warned about in this process.
_ROOM = 2  # A chunk is planned with this multiple of a row's usual reply tokens, and fills half of the output limit.
_MOST_AUTO_ROWS = 25  # Larger chunks hardly save more of the shared instructions, and answers get worse.


@dataclass(frozen=True, kw_only=True, eq=False)
class Preparation:
    """A call that has passed all checks and may be sent.

    Attributes:
        frame: The caller's frame.
        source: The rows of the columns that are sent.
        folded: The distinct rows, and which rows are equal to them.
        output: The fields to ask for.
        columns: The output columns.
        error_column: Name of the error column.
        dropped: Columns of the caller's frame that output columns replace.
        provider: The provider that answers.
        settings: The options.
        prompt: The caller's question, as it is sent to the model.
        examples: The caller's examples, which are part of the instructions.
        whole: The complete output if *output* has only a part of its fields; None if *output* is complete.
        has_media: Whether rows may have media. In a stream, later frames may have those of declared columns.
        is_prompts: Whether each row is a prompt that the model is to follow, and not data.
        round: The number of the vote that is asked for, from 0.
        confidences: The columns of confidence: the name of each, by the field that it is about.
        earlier: In a cascade: the same call to the cheaper models, the cheapest first; *provider* is the strong one.
        stage: Which rows a run of a cascade is about, in words; empty for the first run, which is about all of them.
        job: What the run is a part of, if other processes have other parts; None if it is alone.
        is_scored: Whether the probabilities of tokens are wanted, to score the answers.
    """

    frame: Frame
    source: RowSource
    folded: Folded
    output: Output
    columns: tuple[Column, ...]
    error_column: str
    dropped: tuple[str, ...]
    provider: CompleteProvider
    settings: Settings
    prompt: str
    examples: tuple[Example, ...] = ()
    whole: Output | None = None
    has_media: bool = False
    is_prompts: bool = False
    round: int = 0
    confidences: Mapping[str, str] = dataclasses.field(default_factory=dict)
    earlier: tuple[Preparation, ...] = ()
    stage: str = ""
    job: JobRun | None = None
    is_scored: bool = False

    @property
    def params(self) -> dict[str, Any]:
        """The request parameters: the provider's own, overridden by the parameters of the call."""
        return {**self.provider.params, **self.settings.params}

    @property
    def identity(self) -> dict[str, Any]:
        """The parameters by which answers are told apart: those of requests, the tags of hooks, and the examples."""
        tags = tags_of(self.provider)
        fields = (self.whole or self.output).fields  # A part of the answer is found in the answers to the whole.
        told = [one.line(declared(fields)) for one in self.examples]
        declared_media = {name: part for name, one in self.settings.media.items() if (part := key_part(one))}
        return {
            **self.params,
            **({"tag of smelt.wrap": list(tags)} if tags else {}),
            **({"examples=": told} if told else {}),
            **({"media=": declared_media} if declared_media else {}),
            **({"via=": self.settings.via} if self.settings.via != _USUAL.via else {}),
            **({"vote=": self.round} if self.round else {}),  # A vote is no duplicate of another one.
            **({"prompts": 1} if self.is_prompts else {}),
        }

    @property
    def instructions(self) -> Instructions:
        """What the model is told before the rows, whichever fields are asked for."""
        return Instructions(
            prompt=self.prompt,
            about=self.output.description,
            examples=self.examples,
            has_media=self.has_media,
            is_decided=self.settings.via == "decisions",
            is_prompts=self.is_prompts,
        )

    @cached_property
    def system(self) -> str:
        """The system message: the full instructions, in the shape that the provider takes."""
        return self.instructions.text(self.output.fields, self.provider.capabilities.codec)

    @property
    def decisions(self) -> tuple[Decision, ...]:
        """What is asked of each row at the endpoint for decisions; empty if the model writes text.

        Raises:
            SmeltConfigError: The endpoint cannot be asked for this.
        """
        if self.settings.via != "decisions":
            return ()
        terms, fields = decisions_of(self.provider, self.params), self.output.fields
        found = questions_about(fields, options=terms.options, levels=terms.levels, provider=self.provider.name)
        if len(found) > terms.questions:
            raise SchemaError(
                f'The output model has {len(found):,} fields; via="decisions" takes {terms.questions:,} at most with '
                f"{self.provider.name}. Split it into two models."
            )
        return found

    def work(self, *, is_whole: bool = True) -> Work:
        """The work order for the engine; *is_whole*: whether no more rows come than those of this call."""
        row_tokens = reply_tokens(self.output.fields)
        most_rows = self._most_rows(row_tokens)
        compact = self._compact(self.output.fields, is_whole=is_whole)
        return Work(
            output=self.output,
            asked=self.output.fields,
            reply_bytes=_reply_bytes(self.output.fields, compact, self.settings.wire),
            system=self.system,
            array_system=self._array_system(self.output.fields),
            params=self.settings.params,
            row_tokens=row_tokens,
            most_rows=most_rows,
            is_auto=self.settings.batch_size == "auto",
            aim=self.settings.aim,
            timeout=self.settings.timeout,
            deadline=self.settings.deadline,
            stop_on_failure=self.settings.on_error == "raise",
            policy=Policy(max_attempts=self.settings.max_attempts),
            first_rows=min(_FIRST_ROWS, most_rows),
            prompt=self.prompt,
            output_model=str if self.output.is_text else (self.whole or self.output).model,
            compact=compact,
            wire=self.settings.wire,
            decisions=self.decisions,
            reminder=PROMPT_REMINDER if self.is_prompts else REMINDER,
            scores=wanted_beside(self.output.fields) if self.asks_scores else 0,
        )

    def _compact(self, fields: Sequence[Field], *, is_whole: bool) -> Compact | None:
        """How *fields* are asked for on the compact wire; None if they are asked for in the keyed form."""
        capabilities = self.provider.capabilities
        wire = self.settings.wire
        if wire == "keyed" or self.settings.via == "decisions" or self.has_media or not capabilities.takes_compact:
            return None
        if wire == "auto" and (capabilities.codec == "keyed" or not self._is_comparable(fields, is_whole=is_whole)):
            return None
        table = table_of(self.source, self.folded.distinct, is_whole=is_whole)
        return self.instructions.compact(fields, capabilities.codec, table)

    def arranged(self, positions: Sequence[int]) -> Sequence[int]:
        """Positions of rows in the order in which they are asked: shuffled, unless the call has `shuffle=False`.

        Votes after the first are always shuffled: a model may answer a row by its place and its company, and a vote in
        the same company would be no second opinion.
        """
        if not (self.settings.shuffle or self.round):
            return positions
        shuffled = array("q", positions)
        seed = f"{self.settings.seed} {self.round}" if self.round else self.settings.seed
        random.Random(seed).shuffle(shuffled)
        return shuffled

    def of_round(
        self, number: int, positions: Sequence[int], *, wire: Literal["keyed", "compact", "auto"]
    ) -> Preparation:
        """The call for the vote *number* about the rows at *positions*, on that *wire*."""
        return (self.about(positions) if number else self).voting(number, wire=wire)

    def voting(self, number: int, *, wire: Literal["keyed", "compact", "auto"]) -> Preparation:
        """The call for the vote *number* about the same rows. A vote that fails is no failed row."""
        settings = replace(self.settings, on_error="mark", wire=wire if number else self.settings.wire)
        return replace(self, settings=settings, round=number)

    def about(self, positions: Sequence[int]) -> Preparation:
        """The call about the rows at *positions* only, which are distinct."""
        folded = replace(self.folded, distinct=array("q", range(len(positions))), twins=None, skipped=None)
        return replace(self, source=Selected(self.source, positions), folded=folded)

    def asked_of(self, provider: CompleteProvider) -> Preparation:
        """The same call to another model.

        Raises:
            SmeltConfigError: That model cannot be asked for this.
        """
        settings, output = self.settings, self.output
        check_keepable(provider, settings)
        check_mode(provider, settings)
        check_limits(output.fields, provider.capabilities.dialect, provider.name)
        check_media(self.folded.media, provider)
        check_urls(settings.media, provider)
        return replace(self, provider=provider)

    @property
    def firsts(self) -> Sequence[int]:
        """For each row the position of the first one that is equal to it."""
        return self.folded.twins or range(len(self.source))

    @property
    def asks_scores(self) -> bool:
        """Whether requests ask for the probabilities of tokens."""
        is_told = self.provider.capabilities.scores == "tokens"
        return self.is_scored and is_told and self.settings.via == "generation"

    @property
    def turn(self) -> str:
        """Which part of a call of several runs this is, in words; empty if there is one run."""
        vote = f"vote {self.round + 1} of {self.settings.votes}" if self.settings.votes > 1 else ""
        return ", ".join(one for one in (self.stage, vote) if one)

    def _is_comparable(self, fields: Sequence[Field], *, is_whole: bool) -> bool:
        """Whether a pilot can tell if the compact wire answers as well, or an earlier one may have told."""
        may_have_one = not is_whole or is_long(len(self.folded.distinct))
        return may_have_one and any(not isinstance(field.kind, Text) for field in fields)

    def extension(self, added: Sequence[str], completing: Mapping[int, str], *, is_whole: bool = True) -> Work:
        """The work for the rows of which only the *added* fields are asked.

        Args:
            added: The new fields, by their names in the reply.
            completing: By position: the JSON of the stored answer that gets the new fields.
            is_whole: As in `work`.
        """
        fields = tuple(field for field in self.output.fields if field.key in added)
        compact = self._compact(fields, is_whole=is_whole)
        return replace(
            self.work(is_whole=is_whole),
            asked=fields,
            system=self.instructions.text(fields, self.provider.capabilities.codec),
            array_system=self._array_system(fields),
            row_tokens=reply_tokens(fields),
            reply_bytes=_reply_bytes(fields, compact, self.settings.wire),
            completing=completing,
            compact=compact,
        )

    def asking(self, names: Sequence[str] | None) -> Preparation:
        """The same call for the output fields *names* only; for all fields if they can only be asked together."""
        if names is None:
            return self
        asked = paired(self.output.fields, names)
        if not (output := part_of(self.output, asked)):
            return self
        return replace(
            self,
            output=output,
            whole=self.output,
            columns=tuple(column for column in self.columns if column.path[0] in names),
        )

    def asked_via(self, via: Literal["generation", "decisions"]) -> Preparation:
        """The same call at the other endpoint, live: only to be estimated.

        Raises:
            SmeltConfigError: It cannot be asked there.
        """
        if via == self.settings.via:
            return self
        is_decided = via == "decisions"
        if is_decided and self.has_media:
            raise SmeltConfigError('via="decisions" sends text only.')
        output = self.output
        output = with_probabilities(output) if is_decided else without_probabilities(output)
        wire = "keyed" if is_decided else self.settings.wire
        settings = replace(self.settings, via=via, mode="now", wire=wire)
        call = replace(self, output=output, settings=settings)
        _ = call.decisions  # Raises.
        return call

    def over(self, frame: Frame, *, seen: dict[Key, int], most_kept: int | None = None) -> Preparation:
        """The same call about the rows of *frame*; *seen* is filled by `plan.rows.fold`.

        *most_kept*: how many characters of the rows' texts may stay in memory, if not only those of small frames.

        Raises:
            ColumnError: *frame* lacks a column that is sent.
        """
        source = remembering(frame.rows(self.source.names, self.settings.media), most=most_kept)
        folded = fold(source, skip_nulls=self.settings.null_rows == "skip", seen=seen)
        check_media(folded.media, self.provider)
        if folded.media and not self.has_media:
            raise ColumnError(
                f"A later frame holds {media_words(folded.media)}, and the first frame did not. Declare the column, "
                "as in media=['photo'], so that the instructions can tell the model of them."
            )
        dropped = tuple(name for name in self.dropped if name in frame.names)
        return replace(self, frame=frame, source=source, folded=folded, dropped=dropped)

    def _array_system(self, fields: Sequence[Field]) -> str:
        """The instructions if rows turn out not to be held to their tokens; empty if that makes no difference."""
        capabilities = self.provider.capabilities
        if capabilities.codec == "array" or capabilities.enforces_schema:
            return ""
        return self.instructions.text(fields, "array")

    @property
    def ledger(self) -> bool | str:
        """The ledger to use: a path, or whether to use the default file."""
        capabilities, chosen = self.provider.capabilities, self.settings.ledger
        if not capabilities.is_keepable:
            return False
        if self.settings.mode == "batch" and chosen is None:
            return True
        return capabilities.is_worth_keeping if chosen is None else chosen

    @property
    def concurrency(self) -> int:
        """Maximum requests in flight."""
        chosen = self.settings.concurrency
        return self.provider.capabilities.concurrency if chosen == "auto" else chosen

    def _most_rows(self, row_tokens: int) -> int:
        capabilities, media = self.provider.capabilities, self.folded.media
        if self.settings.isolation == "row" or capabilities.takes_one_row:
            return 1
        if asked := self.decisions:
            most = decisions_of(self.provider, self.params).questions // len(asked)
            chosen = self.settings.batch_size
            return min(most, _MOST_AUTO_ROWS if chosen == "auto" else chosen)
        if self.settings.batch_size != "auto":
            return self.settings.batch_size
        if self.has_media:  # In a stream, the first rows need not have any.
            media = media | {KINDS[type(one)] for one in self.settings.media.values() if type(one) in KINDS}
            return capabilities.media_rows if media == {"image"} else 1
        # Based on the usual length of an answer, not on its maximum: a str without a length limit may take pages, but
        # rarely does. If a reply is cut off, later requests are smaller.
        usual = min(row_tokens, _ROOM * max(1, text_tokens(reply_bytes(self.output.fields))))
        by_output = max(1, capabilities.max_output_tokens // (2 * usual))
        return min(_MOST_AUTO_ROWS, by_output, capabilities.rows_per_request or _MOST_AUTO_ROWS)


Pick = Callable[[int], Sequence[int]]
"""Chooses row positions, given the number of rows."""


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
    is_prompts: bool = False,
    is_cascade: bool = False,
    is_labelled: bool = False,
) -> Preparation:
    """Do all checks that are possible before money is spent, and read the rows once.

    Args:
        data: The caller's frame.
        prompt: The question.
        output_model: The fields to ask for.
        model: The model to ask.
        settings: The options.
        pick: Chooses the rows to ask; None asks all.
        adapt: Takes the snapshot of *data*.
        is_sent: Whether the call will be sent. If not, as for an estimate, no key is needed.
        is_prompts: As in `Preparation`.
        is_cascade: Whether other models are asked before this one, as `call.ladder` prepares it.
        is_labelled: Whether right answers are known, so that scores of single answers can be calibrated by them.

    Raises:
        SmeltConfigError: An argument is wrong (this class or a subclass); nothing was sent.
    """
    if not is_cascade:
        refuse_cascade(settings)
    frame = adapt(data)
    # An empty list of dicts does not say which keys its rows would have.
    names = frame.names if frame.names or len(frame) else None
    task = read_prompt(prompt, names)
    added = added_to(frame, output_model, settings)
    output = added.output
    sent = None if names is None else chosen(task.columns, names, settings)
    check_declared(settings.media, names, sent)
    rows = frame.rows(sent, settings.media)
    source: RowSource = rows
    if len(source) and not source.names:
        raise ColumnError("The data has rows but no columns, so there is nothing to send.")
    # Last, because it may require a key: a user without one should first see all other errors.
    provider = resolve_model(model, params=settings.params, needs_key=is_sent)
    has_media = bool(settings.media or rows.media_names)
    check_options(settings, provider, output, has_media=has_media, is_cascade=is_cascade, is_labelled=is_labelled)
    check_limits(output.fields, provider.capabilities.dialect, provider.name)
    if names is not None:
        check_columns(output.fields, source.names, frame.names, rows.media_names)
    if settings.columns is None and not task.columns and len(source.names) > 1:
        _warn_of_all_columns(prompt, source.names)
    if pick is not None:  # After the checks on the whole frame: a picked dict may lack a key that the prompt names.
        positions = pick(len(frame))
        frame, source = adapt(frame.take(positions)), Selected(source, positions)
    is_decided = settings.via == "decisions"
    declared_output = read_output(output_model, text_column=settings.output) if is_decided else output
    examples = read_examples(settings.examples, source.names, declared_output, settings.media)
    folded = fold(source, skip_nulls=settings.null_rows == "skip")
    check_media(folded.media, provider)
    check_urls(settings.media, provider)
    call = Preparation(
        frame=frame,
        source=source,
        folded=folded,
        output=output,
        columns=added.columns,
        error_column=added.error_column,
        dropped=added.dropped,
        provider=provider,
        settings=settings,
        prompt=task.text,
        examples=examples,
        has_media=has_media,
        confidences=added.confidences,
        is_prompts=is_prompts,
        is_scored=settings.votes == 1 and settings.with_confidence is not False and not is_cascade,
    )
    check_unicode(call.system)
    _ = call.decisions  # Raises.
    if is_sent:
        _warn_of_addresses(call)
    return call


def _reply_bytes(fields: Sequence[Field], compact: Compact | None, wire: str) -> int:
    """The usual bytes of the answer to one row."""
    if compact is None or compact.layout is None or wire == "auto":
        return reply_bytes(fields)
    return compact_bytes(fields, is_packed=compact.layout.shape == "packed")


def _warn_of_all_columns(prompt: str, names: Sequence[str]) -> None:
    """Warn once per prompt that it names no column: often it is an f-string by mistake, and each column costs."""
    if prompt in _told:
        return
    _told.add(prompt)
    text = (
        f"The prompt names no column, so every request sends {printable(sent_columns(names))}. Write {{column}} for "
        "each column that the model needs, or pass columns=[...]. Do not use an f-string: it removes {column} from "
        "the prompt."
    )
    warn(text)


def _warn_of_addresses(call: Preparation) -> None:
    """Warn once in a process that the ledger cannot see what is behind an address."""
    is_known = not call.ledger or call.settings.refresh or "https://" in _told
    if is_known or not any(one.urls for one in call.settings.media.values() if not isinstance(one, Audio)):
        return
    _told.add("https://")
    warn(
        "media= passes addresses on, and the ledger knows an address by its text. If the picture behind one has "
        "changed, the answer to the old one is used; refresh=True asks again."
    )


def chosen(named: Sequence[str], known: Sequence[str], settings: Settings) -> Sequence[str] | None:
    """The columns to send: those of the `columns` option, else those that the prompt names, else all (None).

    A prompt that names a column outside the `columns` option is refused: the model could not see that column.
    """
    if settings.columns is None:
        return named or None
    there, sent = frozenset(known), frozenset(settings.columns)
    for name in settings.columns:
        if name not in there:
            raise ColumnError(
                f"columns has {shown_value(name)}, which is not a column of the data.{nearest(name, known)}"
            )
    if unseen := [name for name in named if name not in sent]:
        raise ColumnError(f"The prompt names {shown_value(unseen[0])}, but columns leaves it out. Add it to columns.")
    return settings.columns
