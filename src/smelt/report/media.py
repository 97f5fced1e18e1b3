"""Shows the media of a request to people: each with its name, its measures and, for an image, a thumbnail."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Sequence

from smelt.plan.media import Media
from smelt.providers.base import Request
from smelt.report.markup import Html, el, short

_MOST_SHOWN = 12
_INLINE = "display:inline-block;margin:8px 14px 0 0;vertical-align:top"


def named_media(request: Request) -> list[tuple[str, Media]]:
    """The media of *request*, each with the name in the line before it."""
    before = ["", *request.parts]
    pairs = zip(before, request.parts, strict=False)
    return [(str(text).rpartition("\n")[2].removesuffix(":"), one) for text, one in pairs if isinstance(one, Media)]


def figures(media: Sequence[tuple[str, Media]]) -> Html:
    """Each of *media* with its name, its measures and its thumbnail."""
    return el("div", *(_figure(f"{name}: {one}", one) for name, one in media[:_MOST_SHOWN]), class_="media")


def thumbnails(media: Sequence[tuple[str, Media]]) -> list[Html]:
    """The thumbnails of *media* with their names, for a page without our style sheet."""
    return [_figure(name, one, style=_INLINE) for name, one in media[:_MOST_SHOWN] if one.thumbnail]


def _figure(caption: str, one: Media, *, style: str | None = None) -> Html:
    source = f"data:image/jpeg;base64,{b64encode(one.thumbnail).decode('ascii')}"
    picture = el("img", src=source, alt="") if one.thumbnail else None
    return el("figure", picture, el("figcaption", short(caption)), style=style)
