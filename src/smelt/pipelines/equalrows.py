"""Which rows of a step are equal: each is asked once, over all windows."""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from dataclasses import dataclass, field
from json.encoder import encode_basestring

from smelt.call.preparation import Preparation
from smelt.engine.bloom import BloomFilter
from smelt.engine.parts import Part
from smelt.pipelines.waiting import Waiting
from smelt.plan.rows import Key, key_of


@dataclass(frozen=True, kw_only=True)
class Entry:
    """What becomes of rows that enter.

    Attributes:
        order: The positions of those to ask.
        followers: The positions of those that are equal to a row before them, each with that of the other.
        nothing: The places of those that are null in every column, and so not asked.
    """

    order: array[int] = field(default_factory=lambda: array("q"))
    followers: list[tuple[int, int]] = field(default_factory=list)
    nothing: list[int] = field(default_factory=list)


class EqualRows:
    """What is known of the rows of one step."""

    def __init__(self, name: str, call: Preparation, met: BloomFilter | None) -> None:
        """Begin without rows.

        Args:
            name: The name of the step.
            call: Its call.
            met: In a stream, whose windows are forgotten: the rows of all steps. None in a run that keeps its rows.
        """
        self._name = name
        self._met = met
        self._leaders: dict[Key, int] = {}
        names = call.source.names
        is_skipped = call.settings.null_rows == "skip"
        self._nulls = "{" + ",".join(f"{encode_basestring(one)}:null" for one in names) + "}" if is_skipped else None

    @property
    def is_forgetful(self) -> bool:
        """Whether windows are forgotten, as in a stream."""
        return self._met is not None

    def enter(self, waiting: Waiting, places: Sequence[int]) -> Entry:
        """Compare rows with all before them, and remember them."""
        entry, start, begun = Entry(), waiting.part.start, len(waiting.keys)
        for place, text in zip(places, waiting.source.read(places), strict=True):
            position = start + place
            if not isinstance(text, str):
                entry.order.append(position)
            elif text == self._nulls:
                entry.nothing.append(place)
            elif (leader := self._leaders.setdefault(key := key_of(text), position)) == position:
                entry.order.append(position)
                if self._met is not None:
                    waiting.keys.append(key)
            else:
                entry.followers.append((position, leader))
        if self._met is not None:
            self._note_repeats(self._met, waiting.part, waiting.keys[begun:])
        return entry

    def forget(self, keys: Sequence[Key]) -> None:
        """Drop the rows with these keys."""
        for key in keys:
            self._leaders.pop(key, None)

    def _note_repeats(self, met: BloomFilter, part: Part, keys: Sequence[Key]) -> None:
        """Note which of the rows with *keys* may be equal to rows of windows that are forgotten."""
        for at in met.meet([(self._name, key) for key in keys]):
            part.repeats.append(self._leaders[keys[at]])
