"""What the caller says about columns with media: `smelt.Image`, `smelt.Document` and `smelt.Audio`."""

from __future__ import annotations

from dataclasses import dataclass, fields
from os import PathLike, fspath
from typing import Any, Literal

from smelt.errors import SmeltConfigError
from smelt.plan.media import MediaKind

_LEAST_SIDE, _MOST_SIDE = 16, 16_384
_DETAILS = ("low", "high", "auto", "original")


@dataclass(frozen=True, kw_only=True)
class Image:
    """Declares a column of images, for `media={"photo": smelt.Image(...)}`.

    Cells may be opened `PIL.Image` images, bytes, `pathlib.Path` objects, NumPy arrays, dicts `{"bytes", "path"}`, and
    strings: a data URL, a path inside *root*, or an https URL if *urls* is true.

    Attributes:
        detail: How closely the model should look: `"low"`, `"high"`, `"auto"` or `"original"`, where the provider knows
            it. It changes what an image costs. None leaves it to the provider.
        max_side: Images with a longer side than this, in pixels, are made smaller before they are sent. Needs Pillow.
        root: The folder that paths are relative to, and must not leave. Without it, `pathlib.Path` objects may lead
            anywhere, and paths in strings are refused.
        urls: Whether https URLs are passed on to the provider, which fetches them. smelt itself fetches no URL.

    Examples:
        >>> smelt.Image(max_side=1024)
        Image(detail=None, max_side=1024, root=None, urls=False)
    """

    detail: Literal["low", "high", "auto", "original"] | None = None
    max_side: int | None = None
    root: str | PathLike[str] | None = None
    urls: bool = False

    def __post_init__(self) -> None:
        if self.detail is not None and self.detail not in _DETAILS:
            raise SmeltConfigError.for_value("detail", self.detail, ", ".join(map(repr, _DETAILS)) + " or None")
        if self.max_side is not None:
            _check_side(self.max_side)
        _check_places(self.root, self.urls)


@dataclass(frozen=True, kw_only=True)
class Document:
    """Declares a column of PDFs, for `media={"scan": smelt.Document(...)}`.

    Cells may be bytes, `pathlib.Path` objects, dicts `{"bytes", "path"}`, and strings: a data URL, a path inside
    *root*, or an https URL if *urls* is true. Each document travels in a request of its own.

    Attributes:
        root: As in `smelt.Image`.
        urls: As in `smelt.Image`.

    Examples:
        >>> smelt.Document(root="invoices/")
        Document(root='invoices/', urls=False)
    """

    root: str | PathLike[str] | None = None
    urls: bool = False

    def __post_init__(self) -> None:
        _check_places(self.root, self.urls)


@dataclass(frozen=True, kw_only=True)
class Audio:
    """Declares a column of audio clips, WAV or MP3, for `media={"call": smelt.Audio(...)}`.

    Cells may be bytes, `pathlib.Path` objects, dicts `{"bytes", "path"}`, and strings: a data URL or a path inside
    *root*. Each clip travels in a request of its own.

    Attributes:
        root: As in `smelt.Image`.

    Examples:
        >>> smelt.Audio()
        Audio(root=None)
    """

    root: str | PathLike[str] | None = None

    def __post_init__(self) -> None:
        _check_places(self.root, urls=False)


@dataclass(frozen=True, kw_only=True)
class AnyMedia:
    """What `media=["photo"]` says about a column: that it holds media, of any kind."""

    root: None = None
    urls: bool = False


Declared = Image | Document | Audio | AnyMedia
"""What the caller says about one column."""

KINDS: dict[type[Any], MediaKind] = {Image: "image", Document: "document", Audio: "audio"}


def key_part(declared: Declared | None) -> dict[str, Any]:
    """What of a declaration changes the answers, and so belongs to the ledger's key; empty if nothing does."""
    return {
        one.name: value
        for one in (fields(declared) if declared is not None else ())
        if one.name in ("detail", "max_side") and (value := getattr(declared, one.name)) is not None
    }


def _check_side(side: object) -> None:
    wanted = f"an integer from {_LEAST_SIDE} to {_MOST_SIDE:,}"
    if not isinstance(side, int) or isinstance(side, bool):
        raise SmeltConfigError.for_type("max_side", side, wanted)
    if not _LEAST_SIDE <= side <= _MOST_SIDE:
        raise SmeltConfigError.for_value("max_side", side, wanted)


def _check_places(root: object, urls: object) -> None:
    if root is not None:
        if not isinstance(root, str | PathLike) or not isinstance(fspath(root), str):
            raise SmeltConfigError.for_type("root", root, "the path of a folder")
        if not fspath(root):
            raise SmeltConfigError.for_value("root", root, "the path of a folder")
    if not isinstance(urls, bool):
        raise SmeltConfigError.for_type("urls", urls, "True or False")
