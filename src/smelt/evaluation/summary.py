"""The result of `evaluate`: accuracy of each field, and the rows with wrong answers."""

from __future__ import annotations

from collections.abc import Container, Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from html import escape
from typing import TYPE_CHECKING, Any

from smelt.checks import share
from smelt.errors import ConfigValueError, SmeltConfigError
from smelt.evaluation.brier import Brier
from smelt.evaluation.reliability import Marked
from smelt.frames.overview import floats, integers, texts
from smelt.messages import nearest, printable, shown_value
from smelt.result import SmeltMetrics, SmeltResult, described, evidence_of, with_report
from smelt.trust.calibration import FEWEST, Calibrator
from smelt.trust.threshold import Threshold, threshold

if TYPE_CHECKING:
    from smelt.evaluation.grading import FieldScore
    from smelt.evaluation.sheet import Sheet
    from smelt.frames.base import OutputColumn
    from smelt.report.report import Report

_MOST_LABELS = 12  # Larger confusion matrices are not shown in the HTML repr.


class Evaluation:
    """How well a job answers rows with known right answers.

    Attributes:
        fields: The score of each field, by its dotted path.
        result: The result of the run; its frame has no columns of right answers, because the model saw none.
        rows: Rows of the sample.
        unlabelled: Rows of the data that were left out because they have no known right answer.
        taught: Rows of the data that were left out because they are examples, whose answers the model sees.

    Examples:
        >>> labelled = df.assign(known=["tech", "finance"])
        >>> found = labelled.smelt.evaluate("Classify {name}.", Company, {"sector": "known"}, model=scripted)
        >>> found.table[["field", "rows", "right"]].values.tolist()
        [['sector', 2, 1]]
        >>> found.disagreements[["name", "known", "sector_answer"]].values.tolist()
        [['Sanofi', 'finance', 'health']]
    """

    def __init__(self, sheet: Sheet, made_for: Mapping[str, str] | None = None) -> None:
        """Keep the graded sheet; frames are built at the first access."""
        self.fields: Mapping[str, FieldScore] = {one.score.field: one.score for one in sheet.grades}
        self.result: SmeltResult[Any] = sheet.result
        self.rows = len(sheet.sample.positions)
        self.unlabelled = sheet.sample.unlabelled
        self.taught = sheet.sample.taught
        self._sheet = sheet
        self._made_for = made_for or {}
        with_report(self.result, self._reported)

    @property
    def metrics(self) -> SmeltMetrics:
        """The metrics of the run, with its cost."""
        return self.result.metrics

    @property
    def model(self) -> str:
        """The model that answered, as `provider:name`."""
        return self.result.model

    @cached_property
    def table(self) -> Any:
        """One row per field, as a frame of the caller's library.

        Columns: `field`, `rows` (asked, and with a known answer), `right`, `failed` (counted in `rows`, not right),
        `unknown` (left out), `accuracy` with the bounds `low` and `high` of its 95 % interval, `macro_f1`,
        `mean_error`, `bias` and their `unit`.
        """
        return self._sheet.table(_columns(list(self.fields.values())))

    def confusion(self, field: str | None = None) -> Any:
        """The confusion matrix of a field, as a frame of the caller's library: rows are right labels, columns answers.

        Args:
            field: A field of labels or booleans. None: the only such field.

        Returns:
            The column `truth`, one integer column per label, and `(null)` and `(error)` if there were such rows.

        Raises:
            SmeltConfigError: There is no such field, or *field* is None and there is not exactly one.

        Examples:
            >>> labelled = df.assign(known=["tech", "finance"])
            >>> found = labelled.smelt.evaluate("Classify {name}.", Company, {"sector": "known"}, model=scripted)
            >>> found.confusion().loc[1].to_dict()
            {'truth': 'finance', 'tech': 0, 'finance': 0, 'health': 1, 'other': 0}
        """
        (name, labels), *counts = _confusion(self._labelled(field)).items()
        return self._sheet.table([texts(name, labels), *(integers(label, one) for label, one in counts)])

    @cached_property
    def calibrator(self) -> Calibrator:
        """Turns votes or scores into the probability of being right: `transform(..., with_confidence=calibrator)`.

        It has the fields with 20 known right answers or more, and holds for the same prompt, output model, model,
        `votes` and `batch_size`; other calls refuse it.

        Raises:
            SmeltConfigError: The rows were asked once, or no field has enough known right answers.

        Examples:
            >>> rows = [{"name": name, "known": "tech"} for name in ("Arm", "AMD", "IBM") for _ in range(10)]
            >>> labelled = [{**row, "number": number} for number, row in enumerate(rows)]
            >>> model = ScriptedProvider({"sector": "tech"})
            >>> found = smelt.evaluate(labelled, "{name} {number}?", Company, {"sector": "known"}, model=model, votes=3)
            >>> found.calibrator.curves["sector"].labels
            30
        """
        curves = {name: self._marked(name).curve() for name in self.fields if len(self._marked(name).right) >= FEWEST}
        if not curves:
            raise SmeltConfigError(
                f"No field has {FEWEST} rows with votes or scores and a known right answer. Evaluate more rows."
            )
        return Calibrator(curves=curves, made_for=self._made_for)

    def reliability(self, field: str) -> Any:
        """How often answers with much or little confidence are right, as a frame of the caller's library.

        The confidence is that of a calibrator which did not see the row: it was made of four fifths of the other rows.

        Args:
            field: A field with known right answers.

        Returns:
            A row for each bin of the rows, sorted by confidence: `low` and `high`, its limits; `rows`; `confidence`,
            the mean; `right`, the share of right answers, with its 95 % interval `right_low` and `right_high`. Up to 10
            bins of 20 rows or more, all of about the same size.

        Raises:
            SmeltConfigError: There is no such field, it has fewer than 20 rows, or the rows were asked once.

        Examples:
            >>> labelled = [{"name": f"firm {number}", "known": "tech"} for number in range(30)]
            >>> model = ScriptedProvider({"sector": "tech"})
            >>> found = smelt.evaluate(labelled, "{name}?", Company, {"sector": "known"}, model=model, votes=3)
            >>> found.reliability("sector")[0]["rows"], found.reliability("sector")[0]["right"]
            (30, 1.0)
        """
        return self._sheet.table(self._known(field).table())

    def brier(self, field: str) -> Brier:
        """The Brier score of the confidence in the answers to *field*, and its parts.

        The confidence is that of `reliability`.

        Args:
            field: A field with known right answers.

        Returns:
            The score, the smaller the better, and what is in it: how far the confidence is off, how well it tells right
            answers from wrong ones, and how often answers are wrong.

        Raises:
            SmeltConfigError: As `reliability`.

        Examples:
            >>> labelled = [{"name": f"firm {number}", "known": "tech"} for number in range(40)]
            >>> model = ScriptedProvider({"sector": "tech"})
            >>> found = smelt.evaluate(labelled, "{name}?", Company, {"sector": "known"}, model=model, votes=3)
            >>> found.brier("sector").uncertainty
            0.0
        """
        return self._known(field).brier(field)

    def threshold(self, field: str, *, precision: float = 0.95, certainty: float = 0.95) -> Threshold:
        """The least confidence at which a share of the answers to *field* is right, by the labelled rows.

        The confidence is that of `calibrator`, so keep the rows of a run with `with_confidence=found.calibrator` whose
        `<field>_confidence` is this or more. The promise is about rows like the labelled ones, drawn at random from the
        rows that the threshold is used on. It is exact, for one field and one *precision*: to try several on the same
        rows until one holds breaks it.

        Args:
            field: A field with known right answers.
            precision: The share that is to be right, between 0 and 1.
            certainty: The probability with which at least *precision* is right.

        Returns:
            The threshold and what it keeps. If no threshold keeps the promise, its `.confidence` is None, and it says
            whether more labels would help. At 95 % and 95 %, no fewer than 59 rows prove anything.

        Raises:
            SmeltConfigError: There is no such field, it has fewer than 20 rows with votes and a known right answer, or
                a share is not between 0 and 1.

        Examples:
            >>> labelled = [{"name": f"firm {number}", "known": "tech"} for number in range(80)]
            >>> model = ScriptedProvider({"sector": "tech"})
            >>> found = smelt.evaluate(labelled, "{name}?", Company, {"sector": "known"}, model=model, votes=3)
            >>> best = found.threshold("sector", precision=0.95)
            >>> best.rows, best.right, round(best.low, 3)
            (80, 80, 0.963)
        """
        for name, value in (("precision", precision), ("certainty", certainty)):
            share(name, value)
        marked = self._known(field)
        return threshold(
            marked.margins, marked.right, marked.curve(), field=field, precision=precision, certainty=certainty
        )

    def _known(self, field: str) -> Marked:
        """The rows of *field* with votes and a known right answer.

        Raises:
            SmeltConfigError: There is no such field, or it has too few of them.
        """
        if field not in self.fields:
            raise ConfigValueError(
                f"No right answers of {shown_value(field)} are known.{nearest(str(field), self.fields)}"
            )
        marked = self._marked(field)
        if len(marked.right) < FEWEST:
            raise SmeltConfigError(
                f"{field} has fewer than {FEWEST} rows with votes or scores and a known right answer."
            )
        return marked

    def _reported(self, report: Report) -> Report:
        """The *report* of the run with how often confident answers are right."""
        if evidence_of(self.result) is None:
            return report
        known = {name: marked for name in self.fields if len((marked := self._marked(name)).right) >= FEWEST}
        sureness = [marked.sureness(name) for name, marked in known.items()]
        return replace(report, record=replace(report.record, sureness=sureness))

    def _marked(self, field: str) -> Marked:
        marks = next(one.marks for one in self._sheet.grades if one.score.field == field)
        if (evidence := evidence_of(self.result)) is None:
            raise SmeltConfigError(
                "This run asked each row once, so nothing is known of how sure its answers are. Pass votes=3; or "
                "with_confidence=True, if the provider gives scores."
            )
        return Marked.of(evidence[field], marks, is_scored=self._made_for.get("votes") == "1")

    @cached_property
    def disagreements(self) -> Any:
        """The rows with a wrong answer or an error, as a frame of the caller's library, in the caller's order.

        Columns: all columns of the caller, including the right answers; `<field>_answer` for each field;
        `smelt_wrong`, the fields that are wrong; the error column.
        """
        return self._sheet.disagreements()

    def __repr__(self) -> str:
        return "\n".join([f"Evaluation({self._headline()})", *(f"  {name}: {text}" for name, text in self._lines())])

    def _repr_html_(self) -> str:
        """Fields, cost, and the confusion matrices that are small enough to show."""
        lines = html_table(None, [[name, text] for name, text in self._lines()])
        matrices = [_html_matrix(one) for one in self.fields.values() if 0 < len(one.labels) <= _MOST_LABELS]
        return f"<div><strong>Evaluation</strong> {escape(self._headline())}{lines}{''.join(matrices)}</div>"

    def _headline(self) -> str:
        return f"{self.rows:,} rows answered by {printable(self.model)}"

    def _lines(self) -> list[tuple[str, str]]:
        wrong = self._sheet.wrong_rows
        left_out = [("left out", f"{self.unlabelled:,} rows without a known answer")] if self.unlabelled else []
        if self.taught:
            left_out.append(("left out", f"{self.taught:,} rows that are examples"))
        return [
            *((one.field, _in_words(one)) for one in self.fields.values()),
            ("wrong", f"{len(wrong):,} rows, in .disagreements" if wrong else "no row"),
            *left_out,
            *described(self.metrics),
        ]

    def _labelled(self, field: str | None) -> FieldScore:
        known = {name: one for name, one in self.fields.items() if one.labels}
        if field is None and len(known) == 1:
            return next(iter(known.values()))
        if field not in known:
            shown = "" if field is None else f", not {shown_value(field)}"
            raise ConfigValueError(f"confusion needs a field of labels or booleans{shown}.{nearest(str(field), known)}")
        return known[field]


def _in_words(score: FieldScore) -> str:
    """A score as one line of text."""
    parts = [_share_in_words(score)]
    if score.macro_f1 is not None:
        parts.append(f"macro F1 {score.macro_f1:.2f}")
    if score.mean_error is not None and score.bias is not None:
        parts.append(
            f"off by {score.mean_error:,.4g}{score.unit and f' {score.unit}'} on average, bias {score.bias:+,.4g}"
        )
    counts = ((score.failed, "failed"), (score.unknown, "unknown"), (score.unasked, "not asked"))
    return ", ".join([*parts, *(f"{count:,} {name}" for count, name in counts if count)])


def _share_in_words(score: FieldScore) -> str:
    """The accuracy and its interval."""
    share = score.accuracy
    if share.value is None or share.interval is None:
        return "no row to compare"
    low, high = share.interval
    return f"{share.value:.1%} right ({share.count:,} of {share.of:,}; 95% interval {low:.1%} to {high:.1%})"


def _confusion(score: FieldScore) -> dict[str, list[Any]]:
    """The columns of a confusion matrix; the right answers are the first.

    Columns for null answers and for failed rows are added only if there are such rows.
    """
    labels = [one.label for one in score.labels]
    columns: dict[str, list[Any]] = {_free("truth", labels): labels}
    columns |= {one: [score.pairs.get((label, one), 0) for label in labels] for one in labels}
    if any(nulls := [score.pairs.get((label, None), 0) for label in labels]):
        columns[_free("(null)", columns)] = nulls
    if any(failures := [score.failures.get(label, 0) for label in labels]):
        columns[_free("(error)", columns)] = failures
    return columns


def _html_matrix(score: FieldScore) -> str:
    columns = _confusion(score)
    table = html_table(list(columns), list(zip(*columns.values(), strict=True)))
    return f"<p>{escape(score.field)}: a line for each right answer, a column for each answer</p>{table}"


def html_table(header: Sequence[str] | None, rows: Sequence[Sequence[Any]]) -> str:
    """An HTML table of text; the first cell of each row is its header."""
    head = "" if header is None else f"<tr>{''.join(_cell('th', one) for one in header)}</tr>"
    body = "".join(f"<tr>{_cell('th', row[0])}{''.join(_cell('td', one) for one in row[1:])}</tr>" for row in rows)
    return f"<table>{head}{body}</table>"


def _cell(tag: str, text: Any) -> str:
    return f'<{tag} style="text-align:left">{escape(printable(str(text)))}</{tag}>'


def _free(name: str, taken: Container[str]) -> str:
    while name in taken:
        name += "_"
    return name


def _columns(scores: Sequence[FieldScore]) -> list[OutputColumn]:
    shares = [one.accuracy for one in scores]
    return [
        texts("field", [one.field for one in scores]),
        integers("rows", [one.of for one in shares]),
        integers("right", [one.count for one in shares]),
        integers("failed", [one.failed for one in scores]),
        integers("unknown", [one.unknown for one in scores]),
        floats("accuracy", [one.value for one in shares]),
        floats("low", [one.interval and one.interval[0] for one in shares]),
        floats("high", [one.interval and one.interval[1] for one in shares]),
        floats("macro_f1", [one.macro_f1 for one in scores]),
        floats("mean_error", [one.mean_error for one in scores]),
        floats("bias", [one.bias for one in scores]),
        texts("unit", [one.unit or None for one in scores]),
    ]
