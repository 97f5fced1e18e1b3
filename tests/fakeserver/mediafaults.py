"""What providers refuse of media, in their own words, and what some do to media without a word.

    is_text_only     the model reads no media
    most             more than so many media in a request are refused, as by vLLM's --limit-mm-per-prompt
    undecodable      media with these checksums cannot be decoded
    dead             these URLs cannot be fetched
    urls             whether any URL is fetched (True)
    permutes         the media of a request reach the model in another order, if there are three or more
    tokens           tokens that each medium is billed as

The words are from public reports; the number of the issue stands beside each.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from tests.fakeserver.errors import INVALID, Refusal, bad_request
from tests.fakeserver.media import is_medium
from tests.fakeserver.model import Row

Rules = Mapping[str, Any]


def refusal(rules: Rules, protocol: str, rows: Sequence[Row]) -> Refusal | None:
    """How *protocol* refuses a request with the media of *rows*."""
    media = [cell for row in rows for cell in row.cells.values() if is_medium(cell)]
    if not media:
        return None
    if rules.get("is_text_only"):
        return _said(protocol, TEXT_ONLY)
    if "most" in rules and len(media) > rules["most"]:
        return bad_request(protocol, f"At most {rules['most']} image(s) may be provided in one prompt.")
    if any(one.get("crc") in rules.get("undecodable", ()) for one in media):
        return _said(protocol, UNDECODABLE)
    urls = [one["url"] for one in media if "url" in one]
    if urls and not rules.get("urls", True):
        return bad_request(protocol, "URL sources are not supported")
    if dead := [url for url in urls if url in rules.get("dead", ())]:
        return _said(protocol, DEAD, url=dead[0])
    return None


def permuted(rules: Rules, rows: Sequence[Row]) -> list[Row]:
    """*rows* as the model sees them, if the media of a request are turned round (lmstudio-bug-tracker#1675)."""
    places = [(row, name) for row in rows for name, cell in row.cells.items() if is_medium(cell)]
    if not rules.get("permutes") or len(places) < 3:
        return list(rows)
    cells = {id(row): dict(row.cells) for row in rows}
    turned = [row.cells[name] for row, name in places[::-1]]
    for (row, name), cell in zip(places, turned, strict=True):
        cells[id(row)][name] = cell
    return [Row(row.id, cells[id(row)]) for row in rows]


def tokens(rules: Rules, rows: Sequence[Row]) -> int:
    """What the media of *rows* are billed as."""
    each: int = rules.get("tokens", 0)
    return each * sum(is_medium(cell) for row in rows for cell in row.cells.values())


def _said(protocol: str, words: Mapping[str, Any], **facts: str) -> Refusal:
    spoken = {"azure": "openai", "foundry": "anthropic", "vertex": "google", "vertex-claude": "anthropic"}
    found = words[spoken.get(protocol, protocol)]
    if isinstance(found, str):
        return bad_request(protocol, found.format(**facts))
    status, message, more = found
    return status, {"error": {"message": message.format(**facts), "type": INVALID, "param": None, **more}}


TEXT_ONLY: dict[str, Any] = {
    "openai": (
        400,
        "Invalid content type. image_url is only supported by certain models.",
        {"param": "messages.[1].content.[1].type"},
    ),
    "compatible": (400, "fake-1 is not a multimodal model None", {"code": 400}),  # studio-dots-ai/dots.ocr#61.
    "anthropic": "This model does not support image input",
    "google": "Image input modality is not enabled for models/fake-1",
    "bedrock": "This model doesn't support the image content block that you provided. Remove it and try again.",
}
UNDECODABLE: dict[str, Any] = {
    "openai": (
        400,
        "The image data you provided does not represent a valid image. Please check your input and try again.",
        {"param": "input", "code": "invalid_value"},
    ),
    "compatible": (400, "cannot identify image file <_io.BytesIO object at 0x7f31e2c3d0>", {"code": 400}),
    "anthropic": "Could not process image",  # anthropics/claude-code#56511.
    "google": "Unable to process input image. Please retry or report in https://…",  # gemini-cli#5064.
    "bedrock": "The model returned the following errors: messages.0.content.1.image: Could not process image",
}
DEAD: dict[str, Any] = {
    # vercel/ai#8857.
    "openai": (400, "Timeout while downloading {url}", {"param": "url", "code": "invalid_value"}),
    # coze-dev/coze-studio#577.
    "compatible": (400, "Timeout while downloading url: {url}", {"param": "image_url", "code": "InvalidParameter"}),
    "anthropic": "Unable to download the file. Please verify the URL and try again.",
    "google": "Cannot fetch content from the provided URL. Please ensure the URL is valid and accessible.",
    "bedrock": "The provided URL cannot be fetched",
}
