"""Images, documents and audio clips in cells: what is known of one, and the text that stands for it in a row.

In the canonical text of its row, a medium is an object with its type and the hash of its bytes. So equal files are one
row, whether a cell holds a path, the bytes or an opened image. In a request, the object names the part with the medium
(`user_parts` in `plan.wire`).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import cache
from typing import Literal, Self

from smelt.messages import counted
from smelt.plan.mediafacts import Facts, facts_of, type_of

MediaKind = Literal["image", "document", "audio"]
"""What a medium is to a model."""

DIGEST_BYTES = 16
_FORMATS = {"audio/mpeg": "mp3"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Medium:
    """One medium of one row, without its bytes.

    Attributes:
        type: Its media type, such as `image/jpeg`; `image/*` if it is behind a URL.
        digest: Hash of its bytes as they are in the cell or the file, or of its URL.
        size: Its bytes as they are sent, before base64. An estimate if it is encoded or made smaller first.
        width: Pixels, or 0 if that is not known.
        height: Pixels, or 0 if that is not known.
        pages: Pages of a document; an estimate if they cannot be counted.
        seconds: Length of an audio clip; an estimate if it is compressed.
        url: Its address, which the provider fetches; empty if its bytes are sent.
        detail: How closely the model should look at an image, or None.
        load: Returns the bytes to send. Raises `ValueError` if they are no longer those of *digest*.
        shrink: Returns a thumbnail of its bytes as a JPEG, or no bytes; None if it is no image.
    """

    type: str
    digest: bytes
    size: int
    width: int = 0
    height: int = 0
    pages: int = 0
    seconds: float = 0.0
    url: str = field(repr=False, default="")
    detail: str | None = None
    load: Callable[[], bytes] = field(repr=False, compare=False, default=bytes)
    shrink: Callable[[bytes], bytes] | None = field(repr=False, compare=False, default=None)

    @property
    def kind(self) -> MediaKind:
        """What it is to a model."""
        return kind_of(self.type)

    def loaded(self) -> Media:
        """It, with its bytes.

        Raises:
            ValueError: They cannot be read, or are not the same any more.
        """
        if self.url:
            return Media(type=self.type, url=self.url, detail=self.detail)
        data = self.load()
        media_type = type_of(data) or self.type
        return Media(type=media_type, data=data, detail=self.detail, size=len(data), shrink=self.shrink)

    def __str__(self) -> str:
        """As `Media` says it."""
        about = _told(Facts(self.width, self.height, self.pages, self.seconds))
        return str(Media(type=self.type, url=self.url, size=self.size, about=about))

    @property
    def text(self) -> str:
        """The object that stands for it in the canonical text of its row."""
        if not self.url:
            return f'{{"media":"{self.type}","blake2b":"{self.digest.hex()}"}}'
        from json.encoder import encode_basestring  # Late, as `hashlib`: `import smelt` takes no time for media.

        shown = encode_basestring(without_query(self.url))
        return f'{{"media":"{self.type}","url":{shown},"blake2b":"{self.digest.hex()}"}}'


@dataclass(frozen=True, slots=True, kw_only=True)
class Media:
    """One medium of a request, as it is sent.

    Attributes:
        type: Its media type, such as `image/jpeg`.
        data: Its bytes; empty if it is behind a URL.
        url: Its address, which the provider fetches; empty if its bytes are sent.
        detail: How closely the model should look at an image, or None.
        size: Its bytes, before base64. Kept when the bytes are not, to show it to people.
        about: What people are told of it, such as `1,200 x 900 pixels`. Set when the bytes are dropped.
        thumbnail: A small JPEG of it, or no bytes. Set when the bytes are dropped.
        shrink: As in `Medium`.
    """

    type: str
    data: bytes = field(default=b"", repr=False)
    url: str = field(default="", repr=False)
    detail: str | None = None
    size: int = 0
    about: str = field(default="", compare=False)
    thumbnail: bytes = field(default=b"", repr=False, compare=False)
    shrink: Callable[[bytes], bytes] | None = field(default=None, repr=False, compare=False)

    @property
    def kind(self) -> MediaKind:
        """What it is to a model."""
        return kind_of(self.type)

    @property
    def format(self) -> str:
        """Its type in one word, such as `jpeg`, `pdf` or `mp3`."""
        return _FORMATS.get(self.type, self.type.partition("/")[2])

    @property
    def base64(self) -> Base64:
        """Its bytes as base64."""
        return Base64(_base64(self.data), "ascii")

    @property
    def data_url(self) -> str:
        """Its bytes as a data URL, or its address."""
        return self.url or Base64(b"data:%b;base64,%b" % (self.type.encode(), _base64(self.data)), "ascii")

    def without_data(self) -> Self:
        """The same without its bytes, to be kept and shown."""
        thumbnail = self.shrink(self.data) if self.shrink is not None and self.data else b""
        about = _told(facts_of(self.data, self.type)) if self.data else self.about
        return replace(self, data=b"", about=about, thumbnail=thumbnail or self.thumbnail, shrink=None)

    def __str__(self) -> str:
        """Type, measure and size, such as `image/jpeg, 1,200 x 900 pixels, 214 kB`; or its address without a query."""
        if self.url:
            return without_query(self.url)
        about = self.about or (_told(facts_of(self.data, self.type)) if self.data else "")
        size = f"{self.size / 1_000:,.0f} kB" if self.size >= 1_000 else f"{self.size} bytes"
        return ", ".join(filter(None, [self.type, about, size]))


class Base64(str):
    """Text of letters that JSON writes as they are, so that nobody needs to look at each of its megabytes again."""

    __slots__ = ()


class MediaText(str):
    """The canonical text of a row, or of one cell, that has media. It equals the same text without them.

    Attributes:
        media: The media in it, in order, each with the name of its column.
    """

    __slots__ = ("media",)
    media: tuple[tuple[str, Medium], ...]

    def __new__(cls, text: str, media: tuple[tuple[str, Medium], ...]) -> Self:
        """*text* with *media*."""
        made = super().__new__(cls, text)
        made.media = media
        return made


def media_of(text: str) -> tuple[tuple[str, Medium], ...]:
    """The media in the text of a row, each with the name of its column."""
    return text.media if isinstance(text, MediaText) else ()


def kind_of(media_type: str) -> MediaKind:
    """What a medium of this type is to a model."""
    main = media_type.partition("/")[0]
    return "document" if main == "application" else "audio" if main == "audio" else "image"


def digest_of(data: bytes) -> bytes:
    """The hash by which media are told apart."""
    from hashlib import blake2b

    return blake2b(data, digest_size=DIGEST_BYTES).digest()


def _told(facts: Facts) -> str:
    """The measure of a medium in words; empty if it is not known."""
    if facts.width:
        return f"{facts.width:,} x {facts.height:,} pixels"
    if facts.pages:
        return counted(facts.pages, "page")
    return f"{facts.seconds:,.0f} seconds" if facts.seconds else ""


def without_query(url: str) -> str:
    """*url* without parameters, query and fragment, which may be a signature, and so a secret."""
    end = min((at for at in map(url.find, ";?#") if at >= 0), default=len(url))
    return url if end == len(url) else f"{url[:end]}?…"


def _base64(data: bytes) -> bytes:
    return _encoder()(data)


@cache  # A missing package is looked for in every folder of the path.
def _encoder() -> Callable[[bytes], bytes]:
    try:
        import pybase64  # It comes with the extra `media`: 0.06 ms a megabyte; the standard library's takes 3.4.
    except ImportError:
        import base64

        return base64.b64encode
    return pybase64.b64encode
