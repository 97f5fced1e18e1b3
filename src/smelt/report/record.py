"""The data of a report: everything about a run that is not in its result."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple

from smelt.observe.timeline import Timeline
from smelt.providers.base import Request


@dataclass(frozen=True, kw_only=True, eq=False)
class Record:
    """What a report shows of a run besides its result. Strings are raw and must be escaped.

    Attributes:
        prompt: The prompt.
        columns: The columns that were sent.
        output: Name of the output model.
        fields: Its fields: name, allowed values, and description.
        options: The relevant options, by name.
        versions: Versions of the loaded libraries.
        started: Start time of the run.
        skipped: Rows that were not asked because they are null in every column sent.
        sample: Some answered rows, spread over the input.
        timeline: The run's events over time.
        first_request: The first request that was sent, or None.
        votes: How many rows took how many votes, and in how many the votes for a field all agree; empty with one vote.
        sureness: How often answers with much or little confidence are right, for each field with known right answers.
        cascade: What a call to several models promises and saved, as name and text; empty with one model.
        answered_by: How many rows each of them answered.
    """

    prompt: str
    columns: Sequence[str]
    output: str
    fields: Sequence[tuple[str, str, str]]
    options: Mapping[str, str]
    versions: Mapping[str, str]
    started: datetime
    skipped: int
    timeline: Timeline
    first_request: Request | None
    sample: Sequence[Sampled] = ()
    cascade: Sequence[tuple[str, str]] = ()
    answered_by: Sequence[tuple[str, int]] = ()
    votes: Sequence[tuple[str, int]] = ()
    sureness: Sequence[Sureness] = ()


class Sampled(NamedTuple):
    """A row and its answer, as text.

    Attributes:
        label: Index label of the row.
        row: The part of the row that was sent, as JSON.
        answer: The fields of its answer, by name.
    """

    label: str
    row: str
    answer: Mapping[str, str]


class Bin(NamedTuple):
    """Labelled rows with about the same confidence.

    Attributes:
        rows: How many they are.
        confidence: Their mean confidence.
        right: The share of them whose answer is right.
        low: The lower end of its 95 % interval.
        high: The upper end.
    """

    rows: int
    confidence: float
    right: float
    low: float
    high: float


class Sureness(NamedTuple):
    """How sure answers to a field are, and how often they are right.

    Attributes:
        field: Its dotted path.
        bins: The labelled rows by confidence.
        words: The Brier score and its parts, in words.
    """

    field: str
    bins: Sequence[Bin]
    words: str
