"""What a report is put together of: sections, tables, boxes of text."""

from __future__ import annotations

from collections.abc import Sequence

from smelt.report.markup import Child, Html, el, exact, joined, short


def section(title: str, *content: Child) -> Html:
    return el("section", el("h2", title), *content)


def text_box(text: str, *, most: int, name: str) -> Html:
    """A box that scrolls by itself. The inner element keeps the parser from eating a first line break."""
    return el("pre", el("code", exact(text, most=most)), tabindex=0, role="region", aria_label=name)


def aside(*content: Child) -> Html:
    return el("p", *content, class_="aside")


def keyed(kind: str, label: str) -> Html:
    """A label with the colour that it has in a chart."""
    return joined(el("span", class_=f"key {kind}", aria_hidden="true"), label)


def part(label: str) -> Html:
    """The label of a line that says more about the one above it."""
    return el("span", label, class_="part")


def table(
    heads: Sequence[str],
    lines: Sequence[Sequence[Child]],
    *,
    numbers: int = 0,
    class_: str | None = None,
    scrolls_as: str | None = None,
) -> Html:
    """A table in a box that scrolls where it is too wide for a phone.

    Args:
        heads: Names of the columns.
        lines: Rows; the first cell of each is its head.
        numbers: How many of the last columns are numbers.
        class_: The table's class.
        scrolls_as: What the box is called, if it is to scroll downwards as well.
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
