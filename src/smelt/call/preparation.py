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
from smelt.call.mediachecks import check_declared, check_media, check_urls, media_words, warn_of_addresses
from smelt.call.options import Settings
from smelt.call.resolve import resolve_model
from smelt.call.sentcolumns import chosen, warn_of_all_columns
from smelt.errors import ColumnError, SchemaError, SmeltConfigError
from smelt.frames.adapt import adapt
from smelt.frames.base import Frame
from smelt.lanes.jobrun import JobRun
from smelt.plan.decisions import Decision, questions_about
from smelt.plan.dialect import check_limits
from smelt.plan.examples import Example, read_examples
from smelt.plan.mediacolumns import key_part
from smelt.plan.probabilities import declared, paired, with_probabilities, without_probabilities
from smelt.plan.prompt import read_prompt
from smelt.plan.rows import Folded, Key, RowSource, Selected, fold, remembering
from smelt.plan.schema import Output, part_of, read_output
from smelt.plan.verbatim import check_columns
from smelt.providers.base import CompleteProvider
from smelt.providers.decisions import decisions_of
from smelt.providers.wrapped import tags_of

_USUAL = Settings()


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
        warn_of_all_columns(prompt, source.names)
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
    if is_sent and call.ledger and not settings.refresh:
        warn_of_addresses(settings.media)
    return call
