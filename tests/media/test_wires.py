"""How each API writes images, documents and audio, and what servers say of those that they do not take."""

from __future__ import annotations

import json
from base64 import b64encode
from typing import Any

import pytest

from smelt.plan.media import Media
from smelt.providers import anthropic, bedrock, compatible, google, openai
from smelt.providers.base import FailureKind, Request
from smelt.providers.failures import from_status

BYTES = {"image/jpeg": b"\xff\xd8\xffj", "application/pdf": b"%PDF-", "audio/mpeg": b"ID3"}
CODED = {kind: b64encode(data).decode() for kind, data in BYTES.items()}
URL = "https://a.example/1.png?signature=s"


def parts(api: Any, *media: Media) -> list[dict[str, Any]]:
    """What *api* writes for *media*, each after a line of text."""
    asked = Request(
        system="", user="", schema={}, max_output_tokens=1, parts=(*(x for one in media for x in ("a:", one)), "z")
    )
    body = json.loads(json.dumps(api.write("m", asked, {})))
    if "input" in body:
        return list(body["input"][0]["content"])
    content = body.get("contents") or body["messages"]
    return list(content[-1].get("parts") or content[-1]["content"])


def medium(kind: str, **facts: Any) -> Media:
    return Media(type=kind, data=BYTES[kind], **facts)


IMAGE, PDF, SOUND = (medium(kind) for kind in BYTES)
EXPECTED: list[tuple[Any, Media, dict[str, Any]]] = [
    (openai, IMAGE, {"type": "input_image", "image_url": f"data:image/jpeg;base64,{CODED['image/jpeg']}"}),
    (
        openai,
        PDF,
        {
            "type": "input_file",
            "filename": "document.pdf",
            "file_data": f"data:application/pdf;base64,{CODED['application/pdf']}",
        },
    ),
    (compatible, IMAGE, {"type": "image_url", "image_url": {"url": f"data:image/jpeg;base64,{CODED['image/jpeg']}"}}),
    (compatible, SOUND, {"type": "input_audio", "input_audio": {"data": CODED["audio/mpeg"], "format": "mp3"}}),
    (
        compatible,
        PDF,
        {
            "type": "file",
            "file": {
                "filename": "document.pdf",
                "file_data": f"data:application/pdf;base64,{CODED['application/pdf']}",
            },
        },
    ),
    (
        anthropic,
        IMAGE,
        {"type": "image", "source": {"type": "base64", "media_type": "image/jpeg", "data": CODED["image/jpeg"]}},
    ),
    (
        anthropic,
        PDF,
        {
            "type": "document",
            "source": {"type": "base64", "media_type": "application/pdf", "data": CODED["application/pdf"]},
        },
    ),
    (google, IMAGE, {"inlineData": {"mimeType": "image/jpeg", "data": CODED["image/jpeg"]}}),
    (google, SOUND, {"inlineData": {"mimeType": "audio/mpeg", "data": CODED["audio/mpeg"]}}),
    (bedrock, IMAGE, {"image": {"format": "jpeg", "source": {"bytes": CODED["image/jpeg"]}}}),
    (
        bedrock,
        PDF,
        {"document": {"format": "pdf", "name": "document-2", "source": {"bytes": CODED["application/pdf"]}}},
    ),
    (bedrock, SOUND, {"audio": {"format": "mp3", "source": {"bytes": CODED["audio/mpeg"]}}}),
    (openai, Media(type="image/*", url=URL), {"type": "input_image", "image_url": URL}),
    (compatible, Media(type="image/*", url=URL), {"type": "image_url", "image_url": {"url": URL}}),
    (anthropic, Media(type="image/*", url=URL), {"type": "image", "source": {"type": "url", "url": URL}}),
    (google, Media(type="image/*", url=URL), {"fileData": {"mimeType": "image/png", "fileUri": URL}}),
]


@pytest.mark.parametrize(("api", "medium", "expected"), EXPECTED)
def test_a_medium_follows_the_text_that_names_it(api: Any, medium: Media, expected: dict[str, Any]) -> None:
    first, second, last = parts(api, medium)

    assert second == expected
    assert "a:" in first.values()
    assert "z" in last.values()


def test_detail_is_passed_on_where_the_api_has_it() -> None:
    low = medium("image/jpeg", detail="low")
    asked = Request(system="", user="", schema={}, max_output_tokens=1, parts=("a:", low, "z"))

    assert parts(openai, low)[1]["detail"] == "low"
    assert parts(compatible, low)[1]["image_url"]["detail"] == "low"
    assert google.write("m", asked, {})["config"]["media_resolution"] == "MEDIA_RESOLUTION_LOW"
    assert "detail" not in str(parts(anthropic, low) + parts(bedrock, low))


def test_two_documents_of_a_row_have_two_names() -> None:
    names = [one["document"]["name"] for one in parts(bedrock, PDF, PDF) if "document" in one]

    assert len(set(names)) == 2


SAID: list[tuple[str, int, str, FailureKind]] = [
    (
        "ggml-org/llama.cpp#15377",
        500,
        "image input is not supported - hint: provide the mmproj",
        "no_media",
    ),
    (
        "ggml-org/llama.cpp#12947",
        500,
        'Unsupported content part type: "image_url"',
        "no_media",
    ),
    ("studio-dots-ai/dots.ocr#61", 400, "facebook/opt-125m is not a multimodal model None", "no_media"),
    ("openrouter", 404, "No endpoints found that support image input", "no_media"),
    ("openai", 400, "Invalid content type. image_url is only supported by certain models.", "no_media"),
    ("gemini", 400, "Image input modality is not enabled for models/gemma-3-1b-it", "no_media"),
    ("bedrock", 400, "This model doesn't support the image content block that you provided.", "no_media"),
    ("xai", 400, "Image inputs are not supported by this model.", "no_media"),
    ("groq", 400, "'messages[1].content' must be a string", "no_media"),
    ("deepseek", 400, "messages[1]: unknown variant `image_url`, expected `text` at line 1", "no_media"),
    ("anthropics/claude-code#56511", 400, "Could not process image", "bad_request"),
    (
        "anthropics/claude-code#12750",
        400,
        "messages.1.image.source.base64: image cannot be empty",
        "bad_request",
    ),
    ("google-gemini/gemini-cli#27244", 400, "Provided image is not valid.", "bad_request"),
    ("charmbracelet/crush#995", 400, "Unsupported MIME type: png", "bad_request"),
    ("vllm", 400, "cannot identify image file <_io.BytesIO object at 0x7f>", "bad_request"),
    ("markingprowlik/claude-code#19", 400, "image exceeds 5 MB maximum: 9427836 bytes > 5242880 bytes", "too_large"),
    (
        "riverscuomo/cuomputer#95",
        400,
        "Failed to download image. Image size exceeds the limit.",
        "too_large",
    ),
    ("vllm", 400, "At most 4 image(s) may be provided in one prompt.", "too_large"),
    ("an outage", 500, "The server had an error while processing your request", "server"),
]


@pytest.mark.parametrize(("source", "status", "words", "kind"), SAID, ids=[one[2][:40] for one in SAID])
def test_a_refusal_of_media_concerns_the_model_the_request_or_the_row(
    source: str, status: int, words: str, kind: FailureKind
) -> None:
    body = {"error": {"message": words, "type": "invalid_request_error", "param": None}}

    assert from_status(status, {}, body).kind == kind


def test_a_row_about_pictures_is_not_taken_for_such_a_refusal() -> None:
    note = "it says: image input is not supported by this server"
    asked = Request(
        system="", user=json.dumps([{"id": "k7f2x", "row": {"note": note}}]), schema={}, max_output_tokens=1
    )
    body = {"error": {"message": f"Flagged: {note}", "type": "invalid_request_error"}}

    assert from_status(400, {}, body, asked=asked).kind == "bad_request"


def test_a_refusal_of_a_large_image_says_how_to_make_it_smaller() -> None:
    body = {"error": {"message": "image exceeds 5 MB maximum: 6737924 bytes > 5242880 bytes"}}

    assert "smelt.Image(max_side=2000)" in from_status(400, {}, body).message
