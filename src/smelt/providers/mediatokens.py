"""The input tokens that providers bill a medium as, by their published formulas: no request is needed to know them.

Read on 29 November 2026. A formula belongs to a family of models, whoever serves them:

- Claude: patches of 28 pixels, within 1,568 pixels and tokens; from Opus 4.7 on within 2,576 pixels and 4,784 tokens. A
  page of a PDF is an image and 1,500 to 3,000 tokens of text (platform.claude.com/docs/en/build-with-claude/vision,
  .../pdf-support).
- OpenAI, older models: tiles of 512 pixels in an image that is made to fit into 2,048 pixels, its shorter side 768.
  Newer ones: patches of 32 pixels, at most 1,536, times a factor (platform.openai.com/docs/guides/images-vision, as
  quoted by srinathmkce/imagetoken: image_token/config.py). Bills of gpt-5-mini and gpt-5.4-mini say 1.2, and that
  `low` changes nothing (community.openai.com/t/1377015).
- Gemini 3: 280, 560 or 1,120 tokens by resolution, a page 560; before, 258 a tile of 768 pixels
  (ai.google.dev/gemini-api/docs/tokens and .../media-resolution). A second of sound is 32 tokens.

For other models an image is reckoned as Qwen's, in patches of 28 pixels, which is more than most take.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import partial
from math import ceil, sqrt

from smelt.plan.media import Medium
from smelt.providers.base import Provider

Counter = Callable[[int, int, str | None], int]
"""The tokens of an image of this width and height, looked at as closely as its detail says."""

_REGION = re.compile(r"^(?:[a-z-]+\.)?[a-z]+\.(?=[a-z])")  # As in "eu.anthropic.claude-haiku-4-5-20251001-v1:0".
_LARGE_CLAUDE = re.compile(r"claude-(?:[a-z]+-4-[7-9]|[a-z]+-[5-9])")
_PAGE = (1_240, 1_754)  # Pixels of a page of A4 at 150 dots per inch.
_SIDE = 1_024  # Pixels of a side, if the size of an image is not known.
_PAGES = 5  # Of a document behind a URL.
_SECOND = 32  # Tokens of a second of sound: Gemini's; others take fewer.
_MOST_PATCHES = 16_384  # Of Qwen's default limit, 12.8 million pixels.
_TEXT_OF_PAGE = {"claude": 2_000, "gpt": 800, "gemini": 0, "": 800}
# Tokens of an image, and of each of its tiles; the longest beginning of a name counts.
_TILES = {
    "gpt-4o-mini": (2_833, 5_667),
    "gpt-4o": (85, 170),
    "gpt-4.1": (85, 170),
    "gpt-4.5": (85, 170),
    "gpt-4-turbo": (85, 170),
    "chatgpt-4o": (85, 170),
    "gpt-5": (70, 140),
    "o1": (75, 150),
    "o3": (75, 150),
}
_FACTORS = {
    "gpt-4.1-mini": 1.62,
    "gpt-4.1-nano": 2.46,
    "o4-mini": 1.72,
    "gpt-5-mini": 1.2,
    "gpt-5-nano": 2.46,
    "gpt-5.": 1.2,
    "gpt-6": 1.2,
}


def counter_of(provider: Provider) -> Callable[[Medium], int]:
    """A function that returns the tokens of a medium for *provider*."""
    listed: str | None = getattr(provider, "priced_as", None)
    family, image = _formula(listed.partition(":")[2] if listed else provider.model)
    page = _of_page(family, image)
    return partial(_tokens, image=image, page=page)


def _tokens(medium: Medium, *, image: Counter, page: int) -> int:
    match medium.kind:
        case "image":
            return image(medium.width or _SIDE, medium.height or _SIDE, medium.detail)
        case "document":
            return (medium.pages or _PAGES) * page
        case "audio":
            return ceil(medium.seconds * _SECOND)


def _of_page(family: str, image: Counter) -> int:
    return 560 if family == "gemini 3" else image(*_PAGE, None) + _TEXT_OF_PAGE.get(family, 0)


def _formula(model: str) -> tuple[str, Counter]:
    """The family of *model*, and how it counts images."""
    name = _REGION.sub("", model.lower().rpartition("/")[2])
    if "claude" in name:
        limits = (2_576, 4_784) if _LARGE_CLAUDE.search(name) else (1_568, 1_568)
        return "claude", partial(_claude, side=limits[0], most=limits[1])
    if "gemini" in name:
        return ("gemini 3", _gemini_3) if re.search(r"gemini-(?:[3-9]|\w*-?latest)", name) else ("gemini", _gemini)
    known = max((start for start in (*_TILES, *_FACTORS) if name.startswith(start)), key=len, default=None)
    if known in _TILES:
        base, tile = _TILES[known]
        return "gpt", partial(_tiles, base=base, tile=tile)
    if known is not None:
        return "gpt", partial(_patches, factor=_FACTORS[known])
    return "", _other


def _claude(width: int, height: int, detail: str | None, *, side: int, most: int) -> int:
    scale = min(1.0, side / max(width, height))
    while (tokens := _cover(width * scale, height * scale, 28)) > most:
        scale *= min(0.995, sqrt(most / tokens))
    return tokens


def _patches(width: int, height: int, detail: str | None, *, factor: float) -> int:
    return ceil(min(1_536, _cover(width, height, 32)) * factor)


def _tiles(width: int, height: int, detail: str | None, *, base: int, tile: int) -> int:
    if detail == "low":
        return base
    scale = min(1.0, 2_048 / max(width, height))
    scale *= min(1.0, 768 / (min(width, height) * scale))
    return base + tile * _cover(width * scale, height * scale, 512)


def _gemini(width: int, height: int, detail: str | None) -> int:
    if detail == "low":
        return 64
    return 258 if max(width, height) <= 384 else 258 * _cover(width, height, 768)


def _gemini_3(width: int, height: int, detail: str | None) -> int:
    return 280 if detail == "low" else 1_120


def _other(width: int, height: int, detail: str | None) -> int:
    return min(_MOST_PATCHES, _cover(width, height, 28))


def _cover(width: float, height: float, side: int) -> int:
    """How many squares of *side* pixels cover an image."""
    return ceil(round(width / side, 6)) * ceil(round(height / side, 6))
