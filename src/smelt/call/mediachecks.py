"""What is checked of media before anything is sent: what the caller declares, and what the provider takes."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

from smelt.errors import ColumnError, SmeltConfigError, warn
from smelt.messages import nearest, shown_value
from smelt.plan.media import MediaKind
from smelt.plan.mediacolumns import KINDS, Audio, Declared
from smelt.providers.base import CompleteProvider

_MEDIA_WORDS: dict[MediaKind, str] = {"audio": "audio", "document": "PDFs", "image": "images"}
_told: set[str] = set()  # The schemes of addresses that were warned about in this process.


def check_declared(media: Mapping[str, Declared], names: Sequence[str] | None, sent: Sequence[str] | None) -> None:
    """Refuse a declaration of a column that does not exist or is not sent."""
    for name in media:
        if names is not None and name not in names:
            raise ColumnError(
                f"media has {shown_value(name)}, which is not a column of the data.{nearest(name, names)}"
            )
        if sent is not None and name not in sent:
            raise ColumnError(f"media has {shown_value(name)}, which is not sent. Name it in the prompt.")


def check_media(media: frozenset[MediaKind], provider: CompleteProvider) -> None:
    """Refuse media that the provider does not take."""
    taken = provider.capabilities.media
    if not (refused := sorted(media - taken)):
        return
    name = f"{provider.name}:{provider.model}"
    takes = f"takes {media_words(taken)} only" if taken else "reads text only"
    raise SmeltConfigError(
        f"The rows hold {media_words(refused)}, and {name} {takes}. Leave the column out with columns=[...], or "
        "choose another model."
    )


def check_urls(media: Mapping[str, Declared], provider: CompleteProvider) -> None:
    """Refuse a declaration of URLs for a provider that fetches none."""
    for name, declared in media.items():
        kind = KINDS.get(type(declared))
        if getattr(declared, "urls", False) and kind in provider.capabilities.media - provider.capabilities.media_urls:
            raise SmeltConfigError(
                f"media[{shown_value(name)}] has urls=True, and {provider.name} fetches no {_MEDIA_WORDS[kind]} from "
                "URLs. smelt fetches none either: load the files yourself, and pass their bytes."
            )


def warn_of_addresses(media: Mapping[str, Declared]) -> None:
    """Warn once in a process that the ledger cannot see what is behind an address."""
    if "https://" in _told or not any(one.urls for one in media.values() if not isinstance(one, Audio)):
        return
    _told.add("https://")
    warn(
        "media= passes addresses on, and the ledger knows an address by its text. If the picture behind one has "
        "changed, the answer to the old one is used; refresh=True asks again."
    )


def media_words(kinds: Collection[MediaKind]) -> str:
    """These kinds in words."""
    return " and ".join(_MEDIA_WORDS[one] for one in sorted(kinds))
