"""What is known of media before a request: by vendor, by model, and by the end of a URL."""

from __future__ import annotations

import pytest

from smelt.plan.media import Media
from smelt.providers.base import Capabilities
from smelt.providers.medialimits import ALL, TEXT_ONLY, reads_text_only, type_of_url, with_media
from smelt.providers.vendors import VENDORS
from tests.models import PROTOCOLS
from tests.providers.asking import adapter


@pytest.mark.parametrize(
    "model",
    [
        "gpt-3.5-turbo",
        "openai/gpt-oss-120b",
        "o3-mini-2025-01-31",
        "deepseek-chat",
        "accounts/fireworks/models/deepseek-v3",
        "claude-2.1",
        "meta-llama/Llama-3.1-8B-Instruct",
        "llama-3.3-70b-versatile",
        "Qwen/Qwen3-4B-Instruct-2507",
        "mixtral-8x7b",
    ],
)
def test_models_of_text_are_known_by_their_names(model: str) -> None:
    assert reads_text_only(model)
    assert with_media(Capabilities(media=ALL), {}, model).media == TEXT_ONLY["media"]


@pytest.mark.parametrize(
    "model",
    [
        "gpt-4o",
        "gpt-4.1-mini",
        "gpt-5-mini",
        "gpt-6-sol",
        "o3",
        "o4-mini",
        "gemini-2.5-flash",
        "eu.anthropic.claude-haiku-4-5-20251001-v1:0",
        "Qwen/Qwen3-VL-8B-Instruct",
        "Qwen/Qwen2.5-VL-7B-Instruct",
        "qwen3.5-9b",
        "meta-llama/Llama-3.2-11B-Vision-Instruct",
        "meta-llama/Llama-4-Scout",
        "deepseek-flash",
        "pixtral-12b",
        "my-own-model",
    ],
)
def test_other_models_are_asked(model: str) -> None:
    assert not reads_text_only(model)


@pytest.mark.parametrize("name", PROTOCOLS)
def test_every_vendor_takes_pictures_and_only_some_fetch_them(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GOOGLE_CLOUD_PROJECT", "acme")
    limits = adapter(name, "http://localhost:1").capabilities

    assert "image" in limits.media
    assert limits.media_urls <= limits.media
    assert limits.media_rows == (4 if limits.keeps_media_order else 1)


def test_the_clouds_fetch_nothing_for_claude() -> None:
    rows = [VENDORS["foundry"], VENDORS["vertex"].also["claude"], VENDORS["mantle"].also["anthropic."]]
    assert [row.media["media_urls"] for row in rows] == [frozenset()] * 3


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("https://a.example/1.PNG?sig=x.jpg", "image/png"),
        ("https://a.example/1.jpeg#2", "image/jpeg"),
        ("https://a.example/photo", "image/jpeg"),
    ],
)
def test_the_type_behind_a_url_is_guessed_by_its_end(url: str, expected: str) -> None:
    assert type_of_url(Media(type="image/*", url=url)) == expected
