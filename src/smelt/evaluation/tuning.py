"""Execution of `tune`: asks a few rows in several ways, throws out the bad ones early, and chooses."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import replace
from itertools import product
from typing import Any

from smelt.call.estimate import Estimate, estimate
from smelt.call.interrupt import see_through
from smelt.call.options import Settings
from smelt.call.part import part_of
from smelt.call.preparation import Preparation
from smelt.checks import integer, share
from smelt.errors import SmeltConfigError
from smelt.evaluation.choosing import Candidate, bar, choose, looks, throw_out
from smelt.evaluation.sheet import Sample, draw
from smelt.evaluation.tuned import Tuned
from smelt.evaluation.waves import Waves, compared_fields, wire_of
from smelt.loop.bridge import run_blocking

_ROUND = 10_000  # Each run shuffles its rows in another way.
_PASSES = 2  # How often the reference is asked.
_MOST_ROWS = 10_000
_MOST_TOGETHER = 1_000


def tune(
    prompt: str,
    output_model: Any,
    model: Any,
    batch_size: Any,
    settings: Settings,
    data: Any,
    *,
    truth: Mapping[str, str] | None,
    n: int,
    agreement: float,
    dry_run: bool,
) -> Tuned | dict[str, Estimate]:
    """Ask *n* rows in all ways, and choose the cheapest that is good enough.

    Raises:
        SmeltConfigError: An argument is wrong; nothing was sent.
    """
    rows = integer("n", n, 2, _MOST_ROWS)
    share("agreement", agreement)
    sizes = [integer("batch_size", one, 1, _MOST_TOGETHER) for one in _listed(batch_size)]
    if too_large := [one for one in sizes if one > rows]:
        raise SmeltConfigError(
            f"{rows} rows show nothing about requests of {too_large[0]}. Pass n={2 * too_large[0]} or more."
        )
    if settings.votes > 1 or settings.targets:
        given = min(settings.targets, default="target_accuracy")
        raise SmeltConfigError(f"tune asks each row once with each candidate. Leave out votes= and {given}=.")
    # Answers from the ledger would come from other companies, and cost nothing.
    settings = replace(settings, mode="now", refresh=False, on_error="mark", ledger=False)
    sample = draw(data, output_model, truth, rows, settings, [(prompt, settings)])
    ways = []
    for given, size in product(_listed(model), sizes):
        own = replace(settings, batch_size=size)
        call = sample.prepare(prompt, output_model, given, own, is_sent=not dry_run)
        name = f"{call.provider.name}:{call.provider.model}"
        ways.append((Candidate(model=given, name=name, batch_size=size), call))
    if doubled := {one.shown for one, _ in ways if [other.shown for other, _ in ways].count(one.shown) > 1}:
        raise SmeltConfigError(f"Two candidates are {min(doubled)}. Name each model and each batch_size once.")
    if len(ways) < 2:
        raise SmeltConfigError("tune needs two candidates or more: give a list of models, of batch sizes, or both.")
    distinct = len(ways[0][1].folded.distinct)
    if max(sizes) > distinct:
        raise SmeltConfigError(
            f"The sample has {distinct} distinct rows, which show nothing about requests of {max(sizes)}. Leave out"
            " that batch_size, or give more rows."
        )
    if dry_run:
        return {one.shown: estimate(call) for one, call in ways}
    tuning = Tuning(ways, sample, agreement=agreement)
    run_blocking(see_through(tuning), awaited="arun")
    return tuning.result()


class Tuning(Waves):
    """The runs of `tune`."""

    def __init__(self, ways: Sequence[tuple[Candidate, Preparation]], sample: Sample, *, agreement: float) -> None:
        """Prepare the runs; the last way's model, one row at a time, is the reference if no right answers are known."""
        known = {one.leaf.name for one in sample.targets}
        labelled = [one for one in sample.leaves if one.name in known]
        super().__init__(ways[0][1], labelled or compared_fields(sample.output))
        self._ways = ways
        self._sample = sample
        self._agreement = agreement
        # Rows that are equal to another one of the sample say nothing more.
        self._rows = list(ways[0][1].folded.distinct)
        self._reference = None if known else replace(ways[-1][1], settings=_alone(ways[-1][1].settings))
        self._wanted: list[Hashable | None] = [] if self._reference else self._truths()
        self._own: list[bool] = []  # For each row whether the reference agrees with itself.

    async def run_safely(self) -> None:
        """Ask in looks, each twice as large as all before, until one candidate is left or all rows were asked."""
        candidates, start = [one for one, _ in self._ways], 0
        for end in looks(len(self._rows), max(one.batch_size for one in candidates)):
            await self._look(self._rows[start:end], start)
            start = end
            if not self.is_whole:
                return
            throw_out(candidates, self._bar, len(self._rows))
            if not any(one.state == "open" for one in candidates):
                return

    def result(self) -> Tuned:
        """What was found."""
        candidates = [one for one, _ in self._ways]
        self.check_ended("tune", has_found=any(one.rows for one in candidates))
        best = choose(candidates, self._bar) if self.is_whole else None
        return Tuned(
            candidates,
            best,
            like=self._sample.frame.native,
            agreement=self._agreement,
            self_agreement=self._self_agreement if self._reference else None,
            reference=None if self._reference is None else candidates[-1].name,
            rows=sum(one.rows for one in candidates) + _PASSES * len(self._own),
            cost_usd=self.counts.cost_usd,
        )

    @property
    def _self_agreement(self) -> float:
        return sum(self._own) / len(self._own) if self._own else 1.0

    @property
    def _bar(self) -> float:
        """What a candidate has to reach: nobody agrees with the reference more often than it does itself."""
        return bar(self._agreement, self._self_agreement)

    async def _look(self, rows: Sequence[int], start: int) -> None:
        if self._reference is not None:
            call = replace(self._reference, stage="reference")
            passes = [await self._asked(call, rows, number) for number in range(_PASSES) if self.is_whole]
            if not self.is_whole:
                return
            first, again = passes
            self._wanted += [first.get(row) for row in rows]
            self._own += [again.get(row) == first[row] for row in rows if row in first]
        for number, (one, call) in enumerate(self._ways, start=_PASSES):
            if one.state != "open" or not self.is_whole:
                continue
            before = self.counts.cost_usd, self.counts.input_tokens, self.counts.output_tokens
            answers = await self._asked(replace(call, stage=one.together), rows, number)
            wanted = self._wanted[start : start + len(rows)]
            one.marks += [
                answers.get(row) == right for row, right in zip(rows, wanted, strict=True) if right is not None
            ]
            one.input_tokens += self.counts.input_tokens - before[1]
            one.output_tokens += self.counts.output_tokens - before[2]
            cost = _less(self.counts.cost_usd, before[0])
            one.cost_usd = None if cost is None or one.cost_usd is None else one.cost_usd + cost

    async def _asked(self, call: Preparation, rows: Sequence[int], number: int) -> dict[int, Hashable]:
        call = call.of_round(_ROUND + number, rows, wire=wire_of(call))
        return await self.answers(part_of(replace(call, settings=self._limited(call.settings))), rows)

    def _limited(self, settings: Settings) -> Settings:
        """The limits that are left for one more run."""
        cost, tokens, counts = settings.max_cost, settings.max_tokens_total, self.counts
        return replace(
            settings,
            max_cost=None if cost is None else max(0.0, cost - (counts.cost_usd or 0.0)),
            max_tokens_total=None if tokens is None else max(1, tokens - counts.input_tokens - counts.output_tokens),
        )

    def _truths(self) -> list[Hashable | None]:
        columns = [self._sample.truths[leaf.name] for leaf in self._compared]
        found = [tuple(column[row] for column in columns) for row in self._rows]
        return [None if None in one else one for one in found]


def _alone(settings: Settings) -> Settings:
    return replace(settings, batch_size=1)


def _less(now: float | None, before: float | None) -> float | None:
    return None if now is None or before is None else now - before


def _listed(given: Any) -> list[Any]:
    return list(given) if isinstance(given, list | tuple) else [given]
