"""The graph of a pipeline as SVG: a box for each step, to the right of the steps that it depends on."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

from smelt.messages import clean, counted
from smelt.report.markup import Html, el
from smelt.report.summary import table

Edges = Mapping[str, Sequence[tuple[str, Sequence[str]]]]
"""For each step, those that it depends on, with the columns between them. An empty name is the input."""

_WIDE, _HIGH = 156, 46  # A box, in pixels.
_APART, _BELOW = 64, 16  # Between two boxes.
_MARGIN = 4
_LETTERS = 18  # That fit into a box, also if they are wide.
_INPUT = ""
_LINE, _ACCENT = "#88888880", "#14918a"  # Visible on white and on black.


def drawn(
    name: str, verbs: Mapping[str, str], edges: Edges, lines: Sequence[tuple[str, str]], *, asking: Collection[str]
) -> str:
    """A pipeline as HTML: the drawing, and a table of *lines*.

    Args:
        name: The name of the pipeline.
        verbs: What each step does, by its name.
        edges: What each step depends on.
        lines: What is said of each step.
        asking: The steps that ask a model.
    """
    picture = el("div", _picture(name, verbs, edges, asking), style="overflow-x:auto;margin:6px 0")
    headline = f"{clean(name)}: {counted(len(verbs), 'step')}"
    return table("Pipeline", headline, lines).replace("<table", f"{picture}<table", 1)


def places(edges: Edges) -> dict[str, tuple[int, int]]:
    """The column and the line of each box, by the step's name; the empty name is the input."""
    depths = {_INPUT: 0}
    for name, before in edges.items():
        depths[name] = 1 + max(depths[one] for one, _ in before)
    used: dict[int, int] = {}
    found = {}
    for name, depth in depths.items():
        found[name] = (depth, used.get(depth, 0))
        used[depth] = used.get(depth, 0) + 1
    return found


def direct(edges: Edges) -> Edges:
    """*edges* without those that a longer way says already; such a line would run through the boxes on that way."""
    before: dict[str, set[str]] = {_INPUT: set()}
    for name, found in edges.items():
        before[name] = {one for one, _ in found}.union(*(before[one] for one, _ in found))
    return {
        name: [(one, columns) for one, columns in found if not any(one in before[other] for other, _ in found)]
        for name, found in edges.items()
    }


def _picture(name: str, verbs: Mapping[str, str], edges: Edges, asking: Collection[str]) -> Html:
    there = places(edges)
    width = 1 + max(column for column, _ in there.values())
    height = 1 + max(line for _, line in there.values())
    wide = width * _WIDE + (width - 1) * _APART + 2 * _MARGIN
    high = height * _HIGH + (height - 1) * _BELOW + 2 * _MARGIN
    shapes = [
        _edge(there[before], there[step], ", ".join(columns))
        for step, found in direct(edges).items()
        for before, columns in found
    ]
    boxes = [
        _box(step or "input", verbs.get(step, ""), place, _ACCENT if step in asking else _LINE)
        for step, place in there.items()
    ]
    return el(
        "svg",
        *shapes,
        *boxes,
        viewBox=f"0 0 {wide} {high}",
        width=wide,
        height=high,
        role="img",
        aria_label=f"The graph of {name}",
        style="color:inherit;font-size:12px",
    )


def _corner(place: tuple[int, int]) -> tuple[int, int]:
    column, line = place
    return _MARGIN + column * (_WIDE + _APART), _MARGIN + line * (_HIGH + _BELOW)


def _box(name: str, verb: str, place: tuple[int, int], line: str) -> Html:
    x, y = _corner(place)
    middle = x + _WIDE / 2
    shape = el("rect", x=x, y=y, width=_WIDE, height=_HIGH, rx=6, fill="none", stroke=line, stroke_width=1.5)
    words = [_words(name, middle, y + (19 if verb else 27), bold=True)]
    if verb:
        words.append(_words(verb, middle, y + 36, bold=False))
    return el("g", el("title", name), shape, *words)


def _words(text: str, x: float, y: float, *, bold: bool) -> Html:
    shown = clean(text)
    shown = shown if len(shown) <= _LETTERS else f"{shown[: _LETTERS - 1]}…"
    return el(
        "text",
        shown,
        x=x,
        y=y,
        text_anchor="middle",
        fill="currentColor",
        font_weight="600" if bold else None,
        opacity=None if bold else 0.7,
    )


def _edge(start: tuple[int, int], end: tuple[int, int], columns: str) -> Html:
    (x1, y1), (x2, y2) = _corner(start), _corner(end)
    x1, y1, y2 = x1 + _WIDE, y1 + _HIGH // 2, y2 + _HIGH // 2
    bend = (x1 + x2) / 2
    path = el(
        "path",
        d=f"M{x1} {y1} C{bend} {y1} {bend} {y2} {x2 - 6} {y2} m-5 -4 l5 4 l-5 4",
        fill="none",
        stroke=_LINE,
        stroke_width=1.5,
    )
    return el("g", el("title", clean(columns) or "all rows"), path)
