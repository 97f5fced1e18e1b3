"""Draws how often answers with much or little confidence are right."""

from __future__ import annotations

from math import floor

from smelt.messages import counted
from smelt.report.charts import HIGH, WIDE, figure, hover, spot
from smelt.report.markup import Html, el, short
from smelt.report.numbers import percent
from smelt.report.record import Bin, Sureness

_LABELS = 5
_REACH = WIDE / 40  # How wide the place is that shows the numbers of a dot.


def reliability_chart(told: Sureness) -> Html:
    """A dot for each bin of rows: their confidence from left to right, and from below how many of them are right."""
    least = min(min(one.confidence, one.low) for one in told.bins)
    first = min(0.9, floor(10 * least) / 10)

    def x(share: float) -> float:
        return (share - first) / (1 - first) * WIDE

    def y(share: float) -> float:
        return HIGH - (share - first) / (1 - first) * HIGH

    shapes = [el("path", d=f"M0 {spot(HIGH)}L{spot(WIDE)} 0", class_="line p95")]
    for one in told.bins:
        place = spot(x(one.confidence))
        low, high, middle = (spot(y(share)) for share in (one.low, one.high, one.right))
        shapes.append(el("path", d=f"M{place} {low}V{high}", class_="interval"))
        shapes.append(el("path", d=f"M{place} {middle}h0", class_="dot"))
    shapes += [hover(x(one.confidence) - _REACH / 2, _REACH, _in_words(one)) for one in told.bins]
    labels = [f"{100 * (first + (1 - first) * step / (_LABELS - 1)):.0f}%" for step in range(_LABELS)]
    legend = [("dot", "share of right answers, with its 95 % interval"), ("p95", "as the confidence says")]
    axis = [labels[-1], labels[_LABELS // 2], labels[0]]
    return figure(f"Confidence in {short(told.field)}", told.words, axis, shapes, labels, legend)


def _in_words(one: Bin) -> str:
    right = f"{percent(one.right, 1)} (95 % interval {percent(one.low, 1)} to {percent(one.high, 1)})"
    return f"{counted(one.rows, 'row')}: confidence {percent(one.confidence, 1)}, right {right}"
