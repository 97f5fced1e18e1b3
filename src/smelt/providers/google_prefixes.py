"""Gemini's `cachedContents` (Developer API): the calls, and the words with which the server says that one is gone."""

from __future__ import annotations

import re
from typing import Any

import google.genai as genai
from google.genai import errors, types

from smelt.providers.base import Answer
from smelt.providers.boundary import try_anew
from smelt.providers.prefixes import Unkeepable
from smelt.providers.tariff import Price

# ai.google.dev/gemini-api/docs/caching, November 2026: 1,024 tokens for Flash, 4,096 for Pro. A create below it answers
# 400 with both counts.
_LEAST = {"pro": 4_096}
# Dollars for a million tokens and an hour, ai.google.dev/gemini-api/docs/pricing, November 2026.
_STORAGE = {"pro": 4.50}
_LEAST_OF_OTHERS, _STORAGE_OF_OTHERS = 1_024, 1.00
_GONE = re.compile(r"cached ?content", re.IGNORECASE)
_TIMEOUT = 20_000  # Milliseconds.
_PAGE = 1_000  # Contents in one answer.
_FINAL = (400, 401, 403, 404, 429)  # 429: the free tier keeps nothing.


def least_prefix(model: str) -> int:
    """Tokens of the smallest content that is kept for *model*."""
    return next((least for word, least in _LEAST.items() if f"-{word}" in model), _LEAST_OF_OTHERS)


def storage_usd(model: str, token_hours: float, price: Price | None = None) -> float:
    """Dollars for keeping tokens for hours, at the caller's own *price* if it says."""
    listed = next((usd for word, usd in _STORAGE.items() if f"-{word}" in model), _STORAGE_OF_OTHERS)
    return (listed if price is None or price.stored is None else price.stored) * token_hours / 1e6


def is_gone(answer: Answer | None) -> bool:
    """Whether a request was refused because the content that it names is gone, or belongs to another key."""
    return answer is not None and answer.status in (403, 404) and _GONE.search(answer.text) is not None


class Contents:
    """The calls of one model."""

    def __init__(self, sdk: genai.Client, model: str) -> None:
        self._caches = sdk.aio.caches
        self._model = model

    async def make(self, text: str, seconds: float, label: str) -> tuple[str, int]:
        """Keep *text* as the system instruction."""
        config = types.CreateCachedContentConfig(
            system_instruction=text, ttl=_ttl(seconds), display_name=label, http_options=_options()
        )
        try:
            made = await self._caches.create(model=self._model, config=config)
        except errors.APIError as problem:
            raise (Unkeepable() if problem.code in _FINAL else problem) from None
        finally:
            try_anew()
        if not made.name:
            raise ValueError("no name")
        return made.name, _tokens(made)

    async def find(self, label: str) -> list[tuple[str, int]]:
        """The contents of this key that have the name *label* for people. The server filters by nothing."""
        config = types.ListCachedContentsConfig(page_size=_PAGE, http_options=_options())
        try:
            listed = [one async for one in await self._caches.list(config=config)]
        finally:
            try_anew()
        return [(one.name, _tokens(one)) for one in listed if one.display_name == label and one.name]

    async def renew(self, name: str, seconds: float) -> None:
        """Let it live for so long from now on."""
        await self._caches.update(
            name=name, config=types.UpdateCachedContentConfig(ttl=_ttl(seconds), http_options=_options())
        )

    async def drop(self, name: str) -> None:
        """Delete it."""
        await self._caches.delete(name=name, config=types.DeleteCachedContentConfig(http_options=_options()))


def _tokens(content: types.CachedContent) -> int:
    return (content.usage_metadata.total_token_count if content.usage_metadata else None) or 0


def _ttl(seconds: float) -> str:
    return f"{seconds:g}s"


def _options() -> Any:
    return types.HttpOptions(timeout=_TIMEOUT)
