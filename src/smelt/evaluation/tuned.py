"""What `tune` returns: how good and how dear each way to ask is, and which one to take."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from html import escape
from typing import Any

from smelt.evaluation.choosing import Candidate, bar, prices, rows_that_would
from smelt.evaluation.summary import html_table
from smelt.frames.overview import floats, integers, table, texts
from smelt.messages import counted, paid, printable

_PER = 10_000


class Tuned:
    """Which model and batch size to take, by a few rows.

    Attributes:
        best: The options to pass on: `df.smelt.transform(prompt, Model, **tuned.best)`. If no candidate is good enough
            for certain, this is the candidate with the most right answers of those that are left; without known
            answers the model that was asked for reference, with the smallest batch size.
        is_sure: Whether the best candidate is good enough for certain.
        agreement: The share of rows that is wanted.
        self_agreement: How often the reference agrees with itself, which no candidate can exceed; None if right answers
            are known.
        rows: Rows that were asked, each time counted.
        cost_usd: Dollars; None if a price is not known.

    Examples:
        >>> tuned = df.smelt.tune("Classify {name}.", Company, model=scripted, batch_size=[1, 2], n=2)
        >>> tuned.best["batch_size"], tuned.is_sure
        (1, False)
        >>> tuned.table[["candidate", "rows", "alike", "state"]].values.tolist()[1]
        ['scripted:script, 2 per request', 2, 2, 'open']
    """

    def __init__(
        self,
        candidates: Sequence[Candidate],
        best: Candidate | None,
        *,
        like: Any,
        agreement: float,
        self_agreement: float | None,
        reference: str | None,
        rows: int,
        cost_usd: float | None,
    ) -> None:
        """Keep what was found; the frame is built at the first access."""
        self.is_sure = best is not None
        self.agreement = agreement
        self.self_agreement = self_agreement
        self.rows = rows
        self.cost_usd = cost_usd
        self._candidates = candidates
        self._reference = reference
        self._like = like
        self._best = best or self._safest()
        self.best: dict[str, Any] = {"model": self._best.model, "batch_size": self._best.batch_size}

    @cached_property
    def table(self) -> Any:
        """One row per candidate, as a frame of the caller's library.

        Columns: `candidate`, `model`, `batch_size`; `rows` that were asked, and of these `alike`, those with the wanted
        answer; `share`, with the bounds `low` and `high`, each wrong with a probability of 5 % at most;
        `input_tokens` and `output_tokens` of a row; `usd`, dollars for 10,000 rows; `state`: `best`, `worse` and
        `dearer` (thrown out), or `open`.
        """
        found = self._candidates
        columns = [
            texts("candidate", [one.shown for one in found]),
            texts("model", [one.name for one in found]),
            integers("batch_size", [one.batch_size for one in found]),
            integers("rows", [one.rows for one in found]),
            integers("alike", [one.alike for one in found]),
            floats("share", [one.share if one.rows else None for one in found]),
            floats("low", [one.low if one.rows else None for one in found]),
            floats("high", [one.high if one.rows else None for one in found]),
            floats("input_tokens", [one.input_tokens / one.rows if one.rows else None for one in found]),
            floats("output_tokens", [one.output_tokens / one.rows if one.rows else None for one in found]),
            floats("usd", [None if one.usd_per_row is None else _PER * one.usd_per_row for one in found]),
            texts("state", [one.state for one in found]),
        ]
        return table(self._like, columns)

    def __repr__(self) -> str:
        header, *rows = self._lines()
        widths = [max(map(len, column)) for column in zip(header, *rows, strict=True)]
        lines = [
            "  " + "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
            for row in (header, *rows)
        ]
        return "\n".join([f"Tuned({self._headline()})", *lines])

    def _repr_html_(self) -> str:
        header, *rows = self._lines()
        return f"<div><strong>Tuned</strong> {escape(self._headline())}{html_table(header, rows)}</div>"

    def _headline(self) -> str:
        own = self.self_agreement
        noisy = "" if own is None or own == 1 else f"; the reference agrees with itself in {own:.0%} of the rows"
        return f"{self._verdict()}{noisy}; {counted(self.rows, 'row')} asked, {paid(self.cost_usd, self.rows)}"

    def _verdict(self) -> str:
        if self.is_sure:
            return f"take {printable(self._best.shown)}"
        left = [one for one in self._candidates if one.state == "open"]
        if not left:
            return (
                f"no candidate reaches {self.agreement:.0%}, the best with {self._best.share:.0%} is {self._best.shown}"
            )
        price = prices(left)
        cheapest = min(left, key=lambda one: price[one])
        wanted = rows_that_would(cheapest, self._wanted)
        more = "more rows would not help it" if wanted is None else f"about {wanted:,} rows would"
        these = " and ".join(printable(one.shown) for one in left[:3]) + (" and others" if len(left) > 3 else "")
        return f"cannot tell whether {these} {'is' if len(left) == 1 else 'are'} good enough; {more}"

    @property
    def _wanted(self) -> float:
        return bar(self.agreement, self.self_agreement)

    def _safest(self) -> Candidate:
        if self._reference is not None:
            own = [one for one in self._candidates if one.name == self._reference]
            return min(own, key=lambda one: one.batch_size)
        left = [one for one in self._candidates if one.state == "open"] or list(self._candidates)
        price = prices(left)
        return max(left, key=lambda one: (one.share, -price[one]))

    def _lines(self) -> list[list[str]]:
        wanted = "as the reference" if self._reference is not None else "right"
        header = ["candidate", "rows", wanted, "95% at least", "tokens/row", f"$ per {_PER:,} rows", ""]
        return [header, *([printable(one.shown), *_cells(one)] for one in self._candidates)]


def _cells(one: Candidate) -> list[str]:
    if not one.rows:
        return ["0", "", "", "", "", one.state]
    usd = "unknown" if one.usd_per_row is None else f"{_PER * one.usd_per_row:.2f}"
    tokens = f"{one.input_tokens / one.rows:.0f} + {one.output_tokens / one.rows:.0f}"
    state = {"best": "<- best", "worse": "out", "dearer": "out, dearer"}.get(one.state, "")
    return [f"{one.rows:,}", f"{one.alike:,}", f"{one.low:.3f}", tokens, usd, state]
