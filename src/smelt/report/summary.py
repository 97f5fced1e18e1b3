"""A result as a few lines of HTML for a notebook: the short form of the report.

Colours are inherited from the page if possible, because a notebook may be dark or light. Styles are inline: if a viewer
removes them, a plain table remains.
"""

from __future__ import annotations

from collections.abc import Sequence

from smelt.plan.media import Media
from smelt.report.markup import Html, el, exact
from smelt.report.media import thumbnails
from smelt.report.numbers import percent

_ANSWERED, _FAILED = "#14918a", "#d9534f"  # Both visible on white and on black.
_MOST_SHOWN = 20_000  # Characters of a text; a notebook file stores all output.
_BAR = (
    "display:flex;height:6px;width:min(100%,28em);border-radius:3px;overflow:hidden;margin:6px 0;background:#88888840"
)
_CELL = "text-align:left;vertical-align:top;padding:2px 14px 2px 0;border:0;background:none"


def summary(headline: str, lines: Sequence[tuple[str, str]], *, answered: int, total: int) -> str:
    """A headline, a bar with the share of answered rows, and a table of *lines*."""
    return _block(_title("SmeltResult", headline), _bar(answered, total), _table(lines))


def table(
    name: str,
    headline: str,
    lines: Sequence[tuple[str, str]],
    *,
    grid: tuple[Sequence[str], Sequence[Sequence[str]]] | None = None,
) -> str:
    """The object's *name*, a headline, a table of *lines*, and if given another table: its head and its rows."""
    return _block(_title(name, headline), _table(lines), *([_grid(*grid)] if grid else []))


def texts(
    name: str, headline: str, parts: Sequence[tuple[str, str]], *, pictures: Sequence[tuple[str, Media]] = ()
) -> str:
    """The object's *name*, a headline, named texts with their line breaks, and thumbnails of *pictures*."""
    shown = [one for title, text in parts for one in (_name(title), _text(text))]
    return _block(_title(name, headline), *shown, *thumbnails(pictures))


def _name(name: str) -> Html:
    return el("div", name, style="opacity:0.7;margin:8px 0 2px")


def _text(text: str) -> Html:
    style = (
        "margin:0;padding:0;background:none;color:inherit;white-space:pre-wrap;overflow-wrap:anywhere;font-size:0.92em"
    )
    return el("pre", exact(text, most=_MOST_SHOWN), style=style)


def _block(*parts: Html) -> str:
    # A plain `str`: marimo refuses subclasses of `str`.
    return str(el("div", *parts, style="max-width:60em;line-height:1.45"))


def _title(name: str, headline: str) -> Html:
    return el("div", el("strong", name), f" {headline}")


def _table(lines: Sequence[tuple[str, str]]) -> Html:
    rows = [
        el(
            "tr",
            el("th", name, scope="row", style=f"{_CELL};font-weight:400;opacity:0.7;white-space:nowrap"),
            el("td", text, style=f"{_CELL};font-variant-numeric:tabular-nums;overflow-wrap:anywhere"),
            style="background:none",
        )
        for name, text in lines
    ]
    return el("table", *rows, style="border-collapse:collapse;border:0;margin:0;font-size:inherit;color:inherit")


def _grid(head: Sequence[str], rows: Sequence[Sequence[str]]) -> Html:
    """A table whose first column holds names, and whose other columns hold numbers."""
    styles = [_CELL, *[f"{_CELL};text-align:right;font-variant-numeric:tabular-nums"] * (len(head) - 1)]
    names = [
        el("th", name, scope="col", style=f"{style};font-weight:400;opacity:0.7")
        for name, style in zip(head, styles, strict=True)
    ]
    lines = [
        el(
            "tr",
            *[el("td", cell, style=style) for cell, style in zip(row, styles, strict=True)],
            style="background:none",
        )
        for row in rows
    ]
    style = "border-collapse:collapse;border:0;margin:8px 0 0;font-size:inherit;color:inherit"
    return el("table", el("tr", *names, style="background:none"), *lines, style=style)


def _bar(answered: int, total: int) -> Html:
    parts = [(_ANSWERED, answered), (_FAILED, total - answered)]
    shown = [el("div", style=f"flex:{number} 0 3px;background:{colour}") for colour, number in parts if number]
    return el("div", *shown, style=_BAR, role="img", aria_label=f"{percent(answered, total)} of the rows answered")
