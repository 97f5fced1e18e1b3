"""Safe HTML construction: every string that is not `Html` is escaped when it is inserted."""

from __future__ import annotations

import unicodedata
from html import escape
from itertools import groupby
from typing import TypeAlias

LONGEST = 400  # Maximum characters shown of a text from a row, a provider or a user.

_STEERING = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})
_EMPTY = frozenset({"img", "link", "meta"})  # Elements without an end tag.


class Html(str):
    """Markup that is inserted without escaping. Made only by `el`, `joined`, `exact` and for our own style sheet."""

    __slots__ = ()


Child: TypeAlias = "str | Html | None"


def el(name: str, /, *children: Child, **attributes: str | float | None) -> Html:
    """An HTML element.

    Args:
        name: The element's name.
        children: Text, which is escaped, or markup. None is left out.
        attributes: Attributes; `class_` is `class`, `aria_label` is `aria-label`. None is left out.
    """
    pairs = "".join(
        f' {key.rstrip("_").replace("_", "-")}="{escape(plain(str(value)))}"'
        for key, value in attributes.items()
        if value is not None
    )
    end = "" if name in _EMPTY else f"{joined(*children)}</{name}>"
    return Html(f"<{name}{pairs}>{end}")


def joined(*children: Child) -> Html:
    """Text and markup, concatenated; text is escaped."""
    return Html("".join([one if isinstance(one, Html) else escape(plain(one)) for one in children if one is not None]))


def plain(text: str) -> str:
    """*text* on one line, without control and formatting characters (invisible, bidirectional, line breaks)."""
    if text.isprintable():
        return text
    return "".join([" " if one in "\t\r\n" else "\ufffd" if _steers(one) else one for one in text])


def short(text: str) -> str:
    """*text*, cut to `LONGEST` characters."""
    return text if len(text) <= LONGEST else f"{text[:LONGEST]}…"


def exact(text: str, *, most: int) -> Html:
    """The first *most* characters of *text*, all visible: control and formatting characters as code points (`U+…`)."""
    parts = [
        el("span", " ".join(f"U+{ord(one):04X}" for one in run), class_="code") if steers else escape("".join(run))
        for steers, run in groupby(text[:most], key=lambda one: one not in "\t\n" and _steers(one))
    ]
    if len(text) > most:
        parts.append(el("span", f"{len(text) - most:,} characters more", class_="code"))
    return Html("".join(parts))


def _steers(character: str) -> bool:
    return unicodedata.category(character) in _STEERING
