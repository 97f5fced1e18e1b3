"""Renders a result as one self-contained HTML page: no script, no network, everything escaped."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from smelt.messages import at_standard, by_tier, counted, paid, price
from smelt.observe.timeline import Timeline
from smelt.providers.base import Request
from smelt.report.blocks import aside, keyed, part, section, table, text_box, words
from smelt.report.charts import in_flight_chart, latency_chart, rate_chart, stacked_bar
from smelt.report.diagrams import reliability_chart
from smelt.report.markup import Child, Html, el, joined, short
from smelt.report.media import figures, named_media
from smelt.report.numbers import compact, lasting, percent, three_digits
from smelt.report.page import page
from smelt.report.record import Record, Sampled
from smelt.report.writing import target_of, write_page

if TYPE_CHECKING:
    from smelt.result import RowError, SmeltMetrics, SmeltResult

_SHOWN_FAILURES = 100
_SHOWN_FIELDS = 50
_SHOWN_COLUMNS = 30
_LONGEST_PROMPT = 20_000  # Characters.
_LONGEST_REQUEST = 100_000
_NONE = "—"
_CHEAPER = ("known", "cached")  # Colours of the cheaper models of a cascade.
_SHORT = 1.0  # Seconds. No rates are shown for shorter runs: one reply could count as 20,000 rows/s.


@dataclass(frozen=True)
class Report:
    """Writes the report of a run. A `smelt.result.ReportWriter`.

    Attributes:
        record: The data of the run that is not in its result.
    """

    record: Record

    def write(self, result: SmeltResult[Any], path: object, *, first_request: bool, overwrite: bool) -> Path:
        target = target_of(path, overwrite=overwrite)
        write_page(render(result, self.record, first_request=first_request), target)
        return target


def render(result: SmeltResult[Any], record: Record, *, first_request: bool) -> str:
    """The HTML page. With *first_request* it contains text of rows, and says so at the top."""
    request = record.first_request if first_request else None
    sample = record.sample if first_request else ()
    return page(
        f"{_headline(result.metrics)} · smelt report",
        _head(result, record, _privacy(shows_request=request is not None, shows_answers=bool(sample))),
        _tiles(result.metrics, record),
        _rows(result, record),
        _cascade(record),
        _votes(record, result.metrics),
        _sureness(record),
        *_sample(sample, result.metrics),
        *_course(record),
        _spend(result.metrics, record),
        *_failures(result.errors),
        _question(record),
        _setting(record),
        _first_request(request) if request else None,
    )


def _head(result: SmeltResult[Any], record: Record, privacy: Html) -> Html:
    metrics, ended = result.metrics, record.timeline.ended
    when = record.started.strftime("%d %B %Y, %H:%M:%S UTC").removeprefix("0")
    facts = [el("span", short(result.model)), el("time", when, datetime=record.started.isoformat(timespec="seconds"))]
    if ended not in (None, "done"):
        facts.append(el("span", f"ended early: {ended}", class_="bad"))
    return el(
        "header",
        el("p", "smelt report", class_="kicker"),
        el("h1", _headline(metrics)),
        el("p", *[one for fact in facts for one in (fact, " ")], class_="facts"),
        text_box(record.prompt, most=_LONGEST_PROMPT, name="Prompt"),
        privacy,
    )


def _headline(metrics: SmeltMetrics) -> str:
    return f"{metrics.successful_rows:,} of {counted(metrics.total_rows, 'row')} answered"


def _privacy(*, shows_request: bool, shows_answers: bool) -> Html:
    shown = ["the first request, as it was sent"] * shows_request + ["a sample of answers"] * shows_answers
    if not shown:
        return el("p", "From the data, this page holds at most the labels of failed rows.", class_="note")
    option = el("code", "report(path, first_request=False)")
    it = "it" if len(shown) == 1 else "them"
    return el("p", f"This page holds text of rows: {' and '.join(shown)}. Without {it}: ", option, class_="note")


def _tiles(metrics: SmeltMetrics, record: Record) -> Html:
    timeline = record.timeline
    tokens = metrics.input_tokens + metrics.output_tokens
    tiles = [
        ("Cost", paid(metrics.cost_usd, metrics.requests)),
        ("Requests", f"{metrics.requests:,}"),
        ("Tokens", compact(tokens)),
        ("Time", lasting(metrics.wall_time_seconds)),
        ("Rows per second", _rate(timeline)),
        ("Median latency", lasting(timeline.latency.quantile(0.5)) if timeline.replies else _NONE),
    ]
    return el("dl", *[el("div", el("dt", name), el("dd", value)) for name, value in tiles], class_="tiles")


def _rate(timeline: Timeline) -> str:
    """Rows per second; a dash for a run of less than a second, whose rate says nothing about longer runs."""
    return three_digits(timeline.rows_per_second) if timeline.answered and timeline.seconds >= _SHORT else _NONE


def _rows(result: SmeltResult[Any], record: Record) -> Html:
    metrics = result.metrics
    if not metrics.total_rows:
        return section("Rows", el("p", "There were none."))
    kinds = Counter(error.kind for error in result.errors).most_common()
    answered = metrics.successful_rows - record.skipped
    known = min(metrics.ledger_rows, answered)  # With several votes for a row, the ledger knows more than rows.
    parts = [
        ("answered", "answered by requests", answered - known),
        ("known", "known from the ledger", known),
        ("skipped", "not asked, because null", record.skipped),
        *(("failed", f"failed: {words(kind)}", number) for kind, number in kinds),
    ]
    shown = [part for part in parts if part[2]]
    lines = [[keyed(kind, label), f"{number:,}", percent(number, metrics.total_rows)] for kind, label, number in shown]
    twins = metrics.total_rows - metrics.distinct_rows - record.skipped
    return section(
        "Rows",
        stacked_bar("Rows by outcome", shown),
        table(["Outcome", "Rows", "Share"], lines, numbers=2, class_="narrow"),
        aside(f"Equal to another row, so not asked again: {counted(twins, 'row')}.") if twins > 0 else None,
    )


def _cascade(record: Record) -> Html | None:
    if not record.cascade:
        return None
    *cheaper, strong = record.answered_by
    parts = [(kind, name, rows) for kind, (name, rows) in zip(_CHEAPER, cheaper, strict=False)]
    return section(
        "Cascade",
        stacked_bar("Rows by model", [*parts, ("answered", *strong)]),
        table(["", ""], [list(line) for line in record.cascade], class_="pairs"),
    )


def _votes(record: Record, metrics: SmeltMetrics) -> Html | None:
    if not record.votes:
        return None
    lines = [[name, f"{rows:,}", percent(rows, metrics.total_rows)] for name, rows in record.votes]
    return section("Votes", table(["", "Rows", "Share"], lines, numbers=2, class_="narrow"))


def _sureness(record: Record) -> Html | None:
    if not record.sureness:
        return None
    said = aside(
        "By rows with a known right answer, each with the confidence that the other rows give it. Dots on the dashed "
        "line say that it can be taken as it is, dots below it that it is too high."
    )
    charts = el("div", *map(reliability_chart, record.sureness), class_="sureness")
    return section("How sure is it?", said, charts)


def _sample(sample: Sequence[Sampled], metrics: SmeltMetrics) -> Iterator[Html]:
    if not sample:
        return
    is_all = len(sample) == metrics.successful_rows
    lines = [[el("bdi", short(one.label)), el("bdi", short(one.row)), _answer(one.answer)] for one in sample]
    yield section(
        "Answers" if is_all else f"Answers of {len(sample)} rows",
        table(["Row", "Sent", "Answer"], lines, class_="answers"),
    )


def _answer(answer: Mapping[str, str]) -> Html:
    shown = list(answer.items())[:_SHOWN_COLUMNS]
    return joined(*[el("div", el("small", short(name)), el("bdi", short(value))) for name, value in shown])


def _course(record: Record) -> Iterator[Html]:
    timeline = record.timeline
    if not timeline.sent:
        yield section("Requests", el("p", "No request was sent."))
        return
    rates = rate_chart(timeline) if timeline.seconds >= _SHORT else None
    yield section("Requests over time", in_flight_chart(timeline), rates)
    charts: list[Child] = [latency_chart(timeline.latency)] if timeline.replies else []
    if timeline.failures:
        lines = [[words(kind), f"{number:,}"] for kind, number in Counter(timeline.failures).most_common()]
        charts.append(table(["Requests without a reply", "Number"], lines, numbers=1, class_="narrow"))
    yield section("Latency", *charts)


def _spend(metrics: SmeltMetrics, record: Record) -> Html:
    answered = record.timeline.answered
    per_thousand = None if metrics.cost_usd is None else metrics.cost_usd / max(1, answered) * 1_000
    lines: list[list[Child]] = [
        ["Cost", paid(metrics.cost_usd, metrics.requests)],
        [part("per 1,000 rows answered"), price(per_thousand) if answered else _NONE],
        ["Requests", f"{metrics.requests:,}"],
        [part("repeated"), f"{metrics.total_retries:,}"],
        [part("refused for rate (429)"), f"{metrics.rate_limited:,}"],
        [part("possibly billed without an answer"), f"{metrics.possible_duplicates:,}"],
        ["Tokens of answers that were not used", f"{metrics.wasted_tokens:,}"],
        ["Rows from the ledger, at no cost", f"{metrics.ledger_rows:,}"],
    ]
    if tiers := by_tier(metrics.tiers):
        lines.append(["Replies by service tier", tiers])
    if standard := at_standard(metrics.standard_rows, metrics.standard_requests):
        lines.append(["Served by the standard tier", standard])
    if metrics.ledger_rows:
        lines.append([part("what they cost when they were bought"), price(metrics.ledger_cost_usd)])
    spend = table(["Item", "Number"], lines, numbers=1)
    return section("Spend", el("div", spend, el("div", *_tokens(metrics, record)), class_="pair"))


def _tokens(metrics: SmeltMetrics, record: Record) -> Iterator[Html]:
    if not metrics.input_tokens + metrics.output_tokens:
        return
    cached, written = metrics.cached_input_tokens, metrics.written_input_tokens
    reasoning, timeline = metrics.reasoning_tokens, record.timeline
    parts = [
        ("input", "input", metrics.input_tokens - cached - written),
        ("written", "input, written to the provider's cache", written),
        ("cached", "input, cached", cached),
        ("output", "output", metrics.output_tokens - reasoning),
        ("reasoning", "output, reasoning", reasoning),
    ]
    shown = [part for part in parts if part[2] > 0]
    yield stacked_bar("Tokens", shown)
    yield table(["Tokens", "Number"], [[keyed(kind, label), f"{number:,}"] for kind, label, number in shown], numbers=1)
    if timeline.input_per_row.count:
        spread = [("Input", timeline.input_per_row), ("Output", timeline.output_per_row)]
        lines = [
            [name, *(three_digits(one) for one in (tokens.mean, tokens.quantile(0.5), tokens.quantile(0.95)))]
            for name, tokens in spread
        ]
        yield table(["Tokens per row", "Mean", "Median", "p95"], lines, numbers=3)
        yield aside(f"Rows per request on average: {three_digits(timeline.rows_replied / timeline.replies)}.")


def _failures(errors: Sequence[RowError]) -> Iterator[Html]:
    if not errors:
        return
    title, lines = f"Failed rows ({len(errors):,})", [_failure(error) for error in errors[:_SHOWN_FAILURES]]
    more = len(errors) - _SHOWN_FAILURES
    yield section(
        title,
        table(["Row", "Kind", "Why", "Attempts"], lines, numbers=1, class_="failures", scrolls_as="Failed rows"),
        aside(f"{counted(more, 'row')} more, in the result's ", el("code", "errors"), ".") if more > 0 else None,
    )


def _failure(error: RowError) -> list[Child]:
    request = el("small", f"request {short(error.request_id)}") if error.request_id else None
    return [
        el("bdi", short(str(error.label))),
        words(error.kind),
        joined(el("bdi", short(error.message)), request),
        f"{error.attempts:,}",
    ]


def _question(record: Record) -> Html:
    lines = [_field(*one) for one in record.fields[:_SHOWN_FIELDS]]
    more, unsaid = len(record.fields) - _SHOWN_FIELDS, len(record.columns) - _SHOWN_COLUMNS
    columns = [one for name in record.columns[:_SHOWN_COLUMNS] for one in (el("code", short(name)), " ")]
    return section(
        "Question",
        el("h3", "Columns sent"),
        el("p", *columns, f"and {unsaid:,} more" if unsaid > 0 else None, class_="names"),
        el("h3", "Answer: ", el("code", short(record.output))),
        table(["Field", "Values"], lines, class_="fields"),
        aside(f"{counted(more, 'field')} more.") if more > 0 else None,
    )


def _field(name: str, values: str, description: str) -> list[Child]:
    said = el("small", short(description)) if description else None
    return [el("code", short(name)), joined(short(values), said)]


def _setting(record: Record) -> Html:
    options = [[el("code", short(name)), short(value)] for name, value in record.options.items()]
    versions = [[short(name), short(number)] for name, number in record.versions.items()]
    tables = table(["Option", "Value"], options), table(["Software", "Version"], versions)
    return section("Setting", el("div", *tables, class_="pair"))


def _first_request(request: Request) -> Html:
    schema = json.dumps(request.schema, indent=2, ensure_ascii=False)
    example, media = el("span", "U+200B", class_="code"), named_media(request)
    shown = [el("h3", "Images and files"), figures(media)] if media else []
    return section(
        "First request",
        aside("As it was sent. ", example, " and the like stand for invisible characters."),
        el("h3", "System"),
        text_box(request.system, most=_LONGEST_REQUEST, name="System"),
        el("h3", "User"),
        text_box(request.user, most=_LONGEST_REQUEST, name="User"),
        *shown,
        el("details", el("summary", "Schema of the reply"), text_box(schema, most=_LONGEST_REQUEST, name="Schema")),
    )
