"""What a report says of a run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple

from smelt.observe.timeline import Timeline
from smelt.providers.base import Request


@dataclass(frozen=True, kw_only=True, eq=False)
class Record:
    """What there is to say of a run beside its result. Strings are as they came, and have to be escaped.

    Attributes:
        prompt: What was asked.
        columns: The columns that were sent.
        output: The output model's name.
        fields: Its fields: name, what values it takes, and what its author says of it.
        options: Options that matter, by name.
        versions: Libraries that were loaded, and their versions.
        started: When the run began.
        skipped: Rows that were not asked, since they are null in every column sent.
        sample: Some of the rows that have an answer, from all over the input.
        timeline: What happened when.
        first_request: The first request that was sent, or None.
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


class Sampled(NamedTuple):
    """A row and its answer, in words.

    Attributes:
        label: Its label in the frame.
        row: What was sent of it, as JSON.
        answer: The fields of its answer, by name.
    """

    label: str
    row: str
    answer: Mapping[str, str]
