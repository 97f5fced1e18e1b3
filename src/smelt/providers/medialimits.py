"""What each API takes of images, documents and audio: kinds, bytes, counts, and whether it fetches URLs.

From the vendors' pages and from public reports, read on 29 November 2026. No vendor was asked. Bytes are counted before
base64, which makes 4 of 3. A kind that is missing here is refused before the first request; one that a server does not
take after all is refused by the server, which costs nothing and ends the run.
"""

from __future__ import annotations

import re
from dataclasses import replace
from typing import TypedDict

from smelt.plan.media import Media, MediaKind
from smelt.providers.base import Capabilities

ALL: frozenset[MediaKind] = frozenset({"image", "document", "audio"})
"""All kinds of media."""
_IMAGE: frozenset[MediaKind] = frozenset({"image"})
_NONE: frozenset[MediaKind] = frozenset()
_MOST_ROWS = 4  # Rows with images in a request: 14 % fewer input tokens than one; with more, answers get worse.


class MediaLimits(TypedDict, total=False):
    """The fields of `Capabilities` that concern media."""

    media: frozenset[MediaKind]
    media_rows: int
    media_bytes: int
    image_bytes: int | None
    media_count: int | None
    image_side: int | None
    media_urls: frozenset[MediaKind]
    keeps_media_order: bool


TEXT_ONLY: MediaLimits = {"media": _NONE}
IMAGES: MediaLimits = {
    "media": _IMAGE,
    "media_rows": 1,
    "media_bytes": 10_000_000,
    "media_count": None,
    "media_urls": _IMAGE,
    "keeps_media_order": False,
}
"""Chat completions of a server that nothing is known of."""
HEARING: MediaLimits = {**IMAGES, "media": frozenset({"image", "audio"})}
"""The same with audio: vLLM, llama.cpp and SGLang take it if the model does."""
LOOKING: MediaLimits = {**IMAGES, "media_urls": _NONE}
"""Servers that fetch nothing, as those on a desktop."""
ROUTED: MediaLimits = {**IMAGES, "media": ALL}
"""Routers, and servers that the caller names: what they take depends on the model."""
SMALL: MediaLimits = {**IMAGES, "media_bytes": 3_000_000}
"""4 MB a request: Databricks (docs.databricks.com, model serving limits)."""
GROQ: MediaLimits = {**SMALL, "media_count": 5}
"""console.groq.com/docs/vision: 4 MB with base64, 5 images."""
ANYTHING: MediaLimits = {"media": ALL, "media_bytes": 96_000_000, "media_urls": ALL}
"""The caller's own code, which gets what is in the cell."""
SCRIPTED: MediaLimits = {**ANYTHING, "media_rows": _MOST_ROWS}
"""A scripted provider, which stands for any."""

# platform.openai.com/docs/guides/images-vision and .../pdf-files: 500 images, 50 MB in all.
RESPONSES: MediaLimits = {
    "media": frozenset({"image", "document"}),
    "media_rows": _MOST_ROWS,
    "media_bytes": 36_000_000,
    "media_count": 500,
    "media_urls": frozenset({"image", "document"}),
}
# platform.claude.com/docs/en/build-with-claude/vision and .../pdf-support: 32 MB a request, 8,000 px a side, and 2,000
# px in a request with more than 20 images, so that we send 20. An image may have 5 MB; the API counts its base64
# (aws-sdk-js-v3#6785), and newer pages say 10 MB, so what is between is left to the API, whose refusal costs nothing.
CLAUDE: MediaLimits = {
    "media": frozenset({"image", "document"}),
    "media_rows": _MOST_ROWS,
    "media_bytes": 23_000_000,
    "image_bytes": 5_242_880,
    "media_count": 20,
    "image_side": 8_000,
    "media_urls": frozenset({"image", "document"}),
}
CLAUDE_IN_CLOUDS: MediaLimits = {**CLAUDE, "media_urls": _NONE}
# ai.google.dev/gemini-api/docs/image-understanding: 20 MB a request, text included.
GEMINI: MediaLimits = {
    "media": ALL,
    "media_rows": _MOST_ROWS,
    "media_bytes": 14_000_000,
    "media_count": 3_000,
    "media_urls": frozenset({"image", "document"}),
}
# docs.aws.amazon.com/bedrock/latest/APIReference/API_runtime_Message.html: 20 images of 3.75 MB and 8,000 px, 5
# documents of 4.5 MB.
CONVERSE: MediaLimits = {
    "media": ALL,
    "media_rows": _MOST_ROWS,
    "media_bytes": 14_000_000,
    "image_bytes": 3_750_000,
    "media_count": 20,
    "image_side": 8_000,
    "media_urls": _NONE,
}

# Models that read text only. A model whose name is not here is asked, and its server says no at no cost.
_READS_TEXT = re.compile(
    r"gpt-3\.5|gpt-4-(?:0613|0314|32k)|gpt-4$|gpt-oss|o1-mini|o1-preview|o3-mini|text-|davinci"
    r"|claude-(?:2|instant)"
    r"|deepseek-(?:chat|reasoner|coder|v[23]|r1)"
    r"|(?:meta-)?llama-?(?:2|3(?:\.[13])?)-(?!.*vision)|mixtral|codestral|mistral-7b|ministral-8b-2410"
    r"|qwen(?:2|2\.5|3)-(?!.*(?:vl|omni))|phi-[34]-mini|smollm2"
)
_REGION = re.compile(r"^(?:[a-z-]+\.)?[a-z]+\.(?=[a-z])")  # As in "eu.anthropic.claude-haiku-4-5-20251001-v1:0".


def with_media(usual: Capabilities, limits: MediaLimits, model: str) -> Capabilities:
    """*usual* with the *limits* of a vendor; a *model* that is known to read text only takes no media."""
    if not (limits or usual.media):
        return usual
    return replace(usual, **(TEXT_ONLY if reads_text_only(model) else limits))


def reads_text_only(model: str) -> bool:
    """Whether the model of that name is known to read text only."""
    return _READS_TEXT.match(_REGION.sub("", model.lower().rpartition("/")[2])) is not None


def type_of_url(medium: Media) -> str:
    """The media type of a medium behind a URL, by how its path ends."""
    ending = medium.url.partition("?")[0].partition("#")[0].rpartition(".")[2].lower()
    return _ENDINGS.get(ending, "application/pdf" if medium.kind == "document" else "image/jpeg")


_ENDINGS = {
    "png": "image/png",
    "webp": "image/webp",
    "gif": "image/gif",
    "heic": "image/heic",
    "pdf": "application/pdf",
}
