"""The result of `compare`: accuracy, agreement and cost of the variants of a job on the same rows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from html import escape
from itertools import combinations
from typing import TYPE_CHECKING, Any

from smelt.evaluation.summary import Evaluation, html_table
from smelt.frames.names import resolve_names
from smelt.frames.overview import floats, integers, texts
from smelt.messages import paid, printable
from smelt.result import SmeltMetrics, SmeltResult

if TYPE_CHECKING:
    from smelt.evaluation.pairing import Pair
    from smelt.evaluation.scores import Share
    from smelt.evaluation.sheet import Sheet
    from smelt.frames.base import OutputColumn

_MOST_PAIRS = 12  # Shown in a repr.


class Comparison:
    """The results of the variants of a job on the same rows.

    Attributes:
        results: The run of each variant, by name.
        evaluations: The evaluation of each variant, by name; empty if no right answers were given.
        rows: Rows of the sample.
        unlabelled: Rows of the data that were left out because they have no known right answer.
        taught: Rows of the data that were left out because they are examples, whose answers the model sees.

    Examples:
        >>> variants = {"one by one": {"batch_size": 1}, "together": {"batch_size": 2}}
        >>> found = df.smelt.compare("Classify {name}.", Company, variants, model=scripted)
        >>> found.table[["variant", "requests"]].values.tolist()
        [['one by one', 2], ['together', 1]]
        >>> len(found.disagreements)
        0
    """

    def __init__(self, sheets: Mapping[str, Sheet]) -> None:
        """Keep the graded sheets of all variants; frames are built at the first access."""
        sample = next(iter(sheets.values())).sample
        self.results: Mapping[str, SmeltResult[Any]] = {name: one.result for name, one in sheets.items()}
        self.evaluations = {name: Evaluation(one) for name, one in sheets.items()} if sample.targets else {}
        self.rows = len(sample.positions)
        self.unlabelled = sample.unlabelled
        self.taught = sample.taught
        self._sheets = sheets
        self._sample = sample

    @cached_property
    def table(self) -> Any:
        """One row per variant, as a frame of the caller's library.

        Columns: `variant`; for each field with right answers its accuracy `<field>.accuracy`, and the bounds of its
        95 % interval, `<field>.low` and `<field>.high`; `rows`, `failed`, `from_ledger` (answered at no cost),
        `requests`, `input_tokens`, `output_tokens`, `cost_usd` and `seconds`.
        """
        return self._frame(_table_columns(self._accuracies(), self.results))

    @cached_property
    def pairs(self) -> Any:
        """One row per field and pair of variants, as a frame of the caller's library.

        Columns: `field`, `first`, `second`; `rows` that both answered, their `agreement`, and the bounds `low` and
        `high` of its 95 % interval; if right answers are known, the rows that `only_first` or `only_second` has right,
        and `p_value`: the probability that equally good variants differ this much on one sample (exact McNemar test).
        """
        return self._frame(_pair_columns(self._pairs))

    @cached_property
    def disagreements(self) -> Any:
        """The rows that the variants answer differently, as a frame of the caller's library, in the caller's order.

        Columns: all columns of the caller, and `<field> (<variant>)` for each field and variant.
        """
        from smelt.evaluation.pairing import differing_rows

        rows = differing_rows(list(self._sheets.values()))
        taken = self._sample.take(rows)
        wanted = {
            f"{leaf.name} ({name})": (leaf, one) for leaf in self._sample.leaves for name, one in self.results.items()
        }
        names, _ = resolve_names(taken.names, list(wanted), "smelt_error", "suffix")
        return taken.attach(
            [leaf.column(names[name], [one.data[row] for row in rows]) for name, (leaf, one) in wanted.items()]
        )

    def __repr__(self) -> str:
        agreements = [f"  {one}" for one in self._agreements()]
        return "\n".join([f"Comparison({self._headline()})", *_aligned(self._lines()), *agreements])

    def _repr_html_(self) -> str:
        header, *rows = self._lines()
        agreements = "".join(f"<li>{escape(one)}</li>" for one in self._agreements())
        return (
            f"<div><strong>Comparison</strong> {escape(self._headline())}{html_table(header, rows)}"
            f"<ul>{agreements}</ul></div>"
        )

    @cached_property
    def _pairs(self) -> list[Pair]:
        from smelt.evaluation.pairing import pair

        return [
            pair(leaf, one, other)
            for leaf in self._sample.leaves
            for one, other in combinations(self._sheets.items(), 2)
        ]

    def _frame(self, columns: Sequence[OutputColumn]) -> Any:
        return next(iter(self._sheets.values())).table(columns)

    def _accuracies(self) -> dict[str, list[Any]]:
        fields = [one.leaf.name for one in self._sample.targets]
        return {field: [one.fields[field].accuracy for one in self.evaluations.values()] for field in fields}

    def _headline(self) -> str:
        left_out = f", {self.taught:,} rows that are examples left out" if self.taught else ""
        return f"{len(self.results)} variants on the same {self.rows:,} rows{left_out}"

    def _lines(self) -> list[list[str]]:
        fields = [one.leaf.name for one in self._sample.targets]
        header = ["variant", *fields, "failed", "requests", "tokens in", "tokens out", "cost", "time"]
        return [
            header,
            *([printable(name), *self._right(name), *_spent(one.metrics)] for name, one in self.results.items()),
        ]

    def _right(self, name: str) -> list[str]:
        scores = self.evaluations[name].fields.values() if self.evaluations else ()
        return [_in_words(one.accuracy) for one in scores]

    def _agreements(self) -> list[str]:
        """The pairs in words, lowest agreement first."""
        pairs = sorted(self._pairs, key=lambda one: 1.0 if one.agreement.value is None else one.agreement.value)
        shown = [printable(one.in_words()) for one in pairs[:_MOST_PAIRS]]
        more = len(pairs) - len(shown)
        return [*shown, f"and {more:,} more in .pairs"] if more else shown


def _in_words(share: Share) -> str:
    if share.value is None or share.interval is None:
        return "not asked"
    low, high = share.interval
    return f"{share.value:.1%} [{100 * low:.1f}, {100 * high:.1f}]"


def _spent(metrics: SmeltMetrics) -> list[str]:
    cost = paid(metrics.cost_usd, metrics.requests)
    known = f" ({metrics.ledger_rows:,} rows from the ledger)" if metrics.ledger_rows else ""
    return [
        f"{metrics.failed_rows:,}",
        f"{metrics.requests:,}{known}",
        f"{metrics.input_tokens:,}",
        f"{metrics.output_tokens:,}",
        cost,
        f"{metrics.wall_time_seconds:,.1f} s",
    ]


def _aligned(rows: Sequence[Sequence[str]]) -> list[str]:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [
        "  " + "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows
    ]


def _table_columns(
    accuracies: Mapping[str, Sequence[Any]], results: Mapping[str, SmeltResult[Any]]
) -> list[OutputColumn]:
    metrics = [one.metrics for one in results.values()]
    columns = [texts("variant", list(results))]
    for field, shares in accuracies.items():
        columns.append(floats(f"{field}.accuracy", [one.value for one in shares]))
        columns.append(floats(f"{field}.low", [one.interval and one.interval[0] for one in shares]))
        columns.append(floats(f"{field}.high", [one.interval and one.interval[1] for one in shares]))
    return [
        *columns,
        integers("rows", [one.total_rows for one in metrics]),
        integers("failed", [one.failed_rows for one in metrics]),
        integers("from_ledger", [one.ledger_rows for one in metrics]),
        integers("requests", [one.requests for one in metrics]),
        integers("input_tokens", [one.input_tokens for one in metrics]),
        integers("output_tokens", [one.output_tokens for one in metrics]),
        floats("cost_usd", [one.cost_usd for one in metrics]),
        floats("seconds", [one.wall_time_seconds for one in metrics]),
    ]


def _pair_columns(pairs: Sequence[Pair]) -> list[OutputColumn]:
    shares = [one.agreement for one in pairs]
    return [
        texts("field", [one.field for one in pairs]),
        texts("first", [one.first for one in pairs]),
        texts("second", [one.second for one in pairs]),
        integers("rows", [one.of for one in shares]),
        floats("agreement", [one.value for one in shares]),
        floats("low", [one.interval and one.interval[0] for one in shares]),
        floats("high", [one.interval and one.interval[1] for one in shares]),
        integers("only_first", [one.only_first for one in pairs]),
        integers("only_second", [one.only_second for one in pairs]),
        floats("p_value", [one.p_value for one in pairs]),
    ]
