"""HTML building blocks of a report: sections, tables, text boxes."""

from __future__ import annotations

from collections.abc import Sequence

from smelt.report.markup import Child, Html, el, exact, joined, short


def section(title: str, *content: Child) -> Html:
    return el("section", el("h2", title), *content)


def text_box(text: str, *, most: int, name: str) -> Html:
    """A scrollable box of text. The inner element keeps the HTML parser from dropping a leading line break."""
    return el("pre", el("code", exact(text, most=most)), tabindex=0, role="region", aria_label=name)


def aside(*content: Child) -> Html:
    return el("p", *content, class_="aside")


def keyed(kind: str, label: str) -> Html:
    """A label with its chart colour."""
    return joined(el("span", class_=f"key {kind}", aria_hidden="true"), label)


def part(label: str) -> Html:
    """The label of a table line that is a detail of the line above it."""
    return el("span", label, class_="part")


def table(
    heads: Sequence[str],
    lines: Sequence[Sequence[Child]],
    *,
    numbers: int = 0,
    class_: str | None = None,
    scrolls_as: str | None = None,
) -> Html:
    """A table in a box that scrolls sideways if the table is too wide.

    Args:
        heads: The column headers.
        lines: The rows; the first cell of each is its header.
        numbers: How many of the last columns are numbers.
        class_: CSS class of the table.
        scrolls_as: Accessible name of the box. If given, the box also scrolls vertically.
    """
    kinds = [None] * (len(heads) - numbers) + ["num"] * numbers
    head = el("tr", *[el("th", one, scope="col", class_=kind) for one, kind in zip(heads, kinds, strict=True)])
    body = [_line(line, kinds) for line in lines]
    whole = el("table", el("thead", head), el("tbody", *body), class_=class_)
    if scrolls_as is None:
        return el("div", whole, class_="box")
    return el("div", whole, class_="box tall", tabindex=0, role="region", aria_label=scrolls_as)


def _line(cells: Sequence[Child], kinds: Sequence[str | None]) -> Html:
    rest = [el("td", one, class_=kind) for one, kind in zip(cells[1:], kinds[1:], strict=True)]
    return el("tr", el("th", cells[0], scope="row"), *rest)


def words(kind: str) -> str:
    return short(kind.replace("_", " "))
