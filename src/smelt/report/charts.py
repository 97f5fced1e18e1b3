"""Charts as SVG that stretches to the available width, with labels in HTML outside of the SVG.

Text inside an SVG would shrink with it and be unreadable on a phone. No script is needed: the details of a column are
in its `<title>`, which browsers show as a tooltip.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import ceil, log2

from smelt.messages import counted
from smelt.observe.histogram import Histogram
from smelt.observe.timeline import Span, Timeline
from smelt.report.markup import Html, el
from smelt.report.numbers import axis, lasting, percent, round_top, three_digits

WIDE, HIGH = 1_000.0, 200.0  # SVG units of a plot; it is stretched in both directions.
_MOST_COLUMNS = 96
_FEWEST_COLUMNS = 8
_MOST_BARS = 40
_MOST_LABELS = 6


def in_flight_chart(timeline: Timeline) -> Html:
    """Requests in flight over time, and the periods in which the run waited and sent nothing."""
    spans = timeline.spans(_MOST_COLUMNS)
    mean = sum(one.in_flight * one.seconds for one in spans) / timeline.seconds if timeline.seconds else 0.0
    waited = sum(one.waiting * one.seconds for one in spans)
    top = round_top(max(one.in_flight for one in spans))
    shapes = [_shade(one, timeline.seconds) for one in spans if one.waiting > 0.05]
    shapes.append(el("path", d=_area(spans, top, timeline.seconds), class_="flight"))
    shapes += [_column(one, timeline.seconds, f"{three_digits(one.in_flight)} in flight") for one in spans]
    said = f"at most {timeline.most_in_flight:,}, {three_digits(mean)} on average"
    legend = [("wait", f"waiting: {lasting(waited)}")] if waited >= 0.0005 else []
    return figure("Requests in flight", said, axis(top), shapes, _times(timeline.seconds), legend)


def rate_chart(timeline: Timeline) -> Html:
    """Rows answered per second over time, with a mark at each refused request."""
    # About 3 replies per column: with 0 or 1 the chart would look like a comb.
    spans = timeline.spans(max(_FEWEST_COLUMNS, min(_MOST_COLUMNS, timeline.replies // 3)))
    top = round_top(max(one.rows_per_second for one in spans))
    refused = sum(one.refused for one in spans)
    shapes = [_bar(one, top, timeline.seconds) for one in spans if one.rows_per_second]
    shapes += [_mark(one, timeline.seconds) for one in spans if one.refused]
    shapes += [_column(one, timeline.seconds, f"{three_digits(one.rows_per_second)} rows/s") for one in spans]
    legend = [("mark", f"{counted(refused, 'request')} refused for rate (429)")] if refused else []
    said = f"{three_digits(timeline.rows_per_second)} rows/s on average"
    return figure("Rows answered per second", said, axis(top), shapes, _times(timeline.seconds), legend)


def latency_chart(latency: Histogram) -> Html:
    """Latency of requests on a logarithmic axis (base 2), with median and 95th percentile."""
    first, last, step = _octaves(latency)
    per_octave = next((one for one in (16, 8, 4, 2) if (last - first) * one <= _MOST_BARS), 1)
    bars = latency.bars(first, last, per_octave)
    top, middle, p95 = round_top(max(bars)), latency.quantile(0.5), latency.quantile(0.95)
    shapes = [_time(n, bar, len(bars), top) for n, bar in enumerate(bars) if bar]
    for kind, seconds in (("median", middle), ("p95", p95)):
        x = spot((log2(max(seconds, 2.0**first)) - first) / (last - first) * WIDE)
        shapes.append(el("path", d=f"M{x} 0V{spot(HIGH)}", class_=f"line {kind}"))
    edges = [lasting(2.0 ** (first + n / per_octave)) for n in range(len(bars) + 1)]
    shapes += [
        hover(n * WIDE / len(bars), WIDE / len(bars), f"{edges[n]} to {edges[n + 1]}: {counted(bar, 'request')}")
        for n, bar in enumerate(bars)
    ]
    legend = [("median", f"median {lasting(middle)}"), ("p95", f"95 % within {lasting(p95)}")]
    said = f"{counted(latency.count, 'request')} with a reply, {lasting(latency.least)} to {lasting(latency.most)}"
    labels = [lasting(2.0**octave) for octave in range(first, last + 1, step)]
    return figure("Seconds per request", said, axis(top), shapes, labels, legend)


def stacked_bar(name: str, parts: Sequence[tuple[str, str, int]]) -> Html:
    """One bar of proportional parts (class, label, number); each part has a visible minimum width."""
    whole = sum(number for _, _, number in parts) or 1
    shapes, x = [], 0.0
    for kind, label, number in parts:
        if number:
            width = WIDE * number / whole
            title = el("title", f"{label}: {number:,} ({percent(number, whole)})")
            shapes.append(
                el("rect", title, x=spot(x), y=0, width=spot(max(width, 4.0)), height=spot(HIGH), class_=kind)
            )
            x += width
    said = ", ".join(f"{label} {number:,}" for _, label, number in parts if number)
    return _svg(name, said, shapes, "stack")


def figure(
    name: str,
    said: str,
    axis: Sequence[str],
    shapes: Sequence[Html],
    times: Sequence[str],
    legend: Sequence[tuple[str, str]],
) -> Html:
    """A plot with its labels.

    Args:
        name: What it shows.
        said: The same in words.
        axis: Labels of the vertical axis, from the top down.
        shapes: What is drawn, in a field of `WIDE` by `HIGH`.
        times: Labels of the horizontal axis.
        legend: Classes of shapes, each with what it stands for.
    """
    keys = [el("li", el("span", class_=f"key {kind}", aria_hidden="true"), text) for kind, text in legend]
    return el(
        "figure",
        el("figcaption", el("strong", name), " ", el("span", said)),
        el(
            "div",
            el("div", *[el("span", one) for one in axis], class_="y", aria_hidden="true"),
            _svg(name, "; ".join([said, *(text for _, text in legend)]), [_grid(len(times)), *shapes], "plot"),
            el("div", *[el("span", one) for one in times], class_="x", aria_hidden="true"),
            class_="chart",
        ),
        el("ul", *keys, class_="legend") if keys else None,
    )


def _svg(name: str, said: str, shapes: Sequence[Html], kind: str) -> Html:
    return el(
        "svg",
        el("title", f"{name}: {said}"),
        *shapes,
        class_=kind,
        viewBox=f"0 0 {WIDE:.0f} {HIGH:.0f}",
        preserveAspectRatio="none",
        role="img",
        aria_label=f"{name}: {said}",
    )


def _grid(labels: int) -> Html:
    rows = "".join(f"M0 {spot(HIGH * share)}H{spot(WIDE)}" for share in (0, 0.5, 1))
    columns = "".join(f"M{spot(WIDE * n / (labels - 1))} 0V{spot(HIGH)}" for n in range(labels))
    return el("path", d=rows + columns, class_="grid")


def _area(spans: Sequence[Span], top: float, seconds: float) -> str:
    """The SVG path of a step chart, one step per span, closed at the bottom."""
    parts = [f"M0 {spot(HIGH)}"]
    for one in spans:
        y = spot(HIGH - one.in_flight / top * HIGH)
        parts.append(f"V{y}H{spot(_x(one.start + one.seconds, seconds))}")
    return "".join([*parts, f"V{spot(HIGH)}Z"])


def _bar(span: Span, top: float, seconds: float) -> Html:
    x, width = _place(span, seconds)
    height = span.rows_per_second / top * HIGH
    return el("rect", x=spot(x), y=spot(HIGH - height), width=spot(width * 0.9), height=spot(height), class_="rate")


def _time(at: int, bar: int, bars: int, top: float) -> Html:
    width, height = WIDE / bars, bar / top * HIGH
    return el(
        "rect", x=spot(at * width), y=spot(HIGH - height), width=spot(width * 0.86), height=spot(height), class_="time"
    )


def _mark(span: Span, seconds: float) -> Html:
    x, width = _place(span, seconds)
    return el("path", d=f"M{spot(x + width / 2)} 0V{spot(HIGH)}", class_="line mark")


def _shade(span: Span, seconds: float) -> Html:
    x, width = _place(span, seconds)
    return el("rect", x=spot(x), y=0, width=spot(width * span.waiting), height=spot(HIGH), class_="wait")


def _column(span: Span, seconds: float, said: str) -> Html:
    x, width = _place(span, seconds)
    words = [said]
    if span.refused:
        words.append(f"{span.refused:,} refused (429)")
    if span.waiting > 0.05:
        words.append(f"{percent(span.waiting, 1)} of it waiting")
    return hover(x, width, f"{lasting(span.start)} to {lasting(span.start + span.seconds)}: {', '.join(words)}")


def hover(x: float, width: float, said: str) -> Html:
    """An invisible column with a tooltip."""
    return el("rect", el("title", said), x=spot(x), y=0, width=spot(width), height=spot(HIGH), class_="column")


def _place(span: Span, seconds: float) -> tuple[float, float]:
    return _x(span.start, seconds), _x(span.seconds, seconds)


def _x(at: float, seconds: float) -> float:
    return WIDE * at / seconds if seconds else WIDE


def _times(seconds: float) -> list[str]:
    return [lasting(seconds * quarter / 4) for quarter in range(5)]


def _octaves(latency: Histogram) -> tuple[int, int, int]:
    """The axis: first and last power of two, and the number of powers per label."""
    first, last = latency.octaves
    last = max(last, first + 2)
    step = ceil((last - first) / (_MOST_LABELS - 1))
    return first, last + -(last - first) % step, step


def spot(number: float) -> str:
    """A coordinate as short text: one decimal is enough for a screen."""
    return f"{number:.1f}".removesuffix(".0")
