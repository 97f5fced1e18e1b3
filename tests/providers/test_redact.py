"""Text from outside, made fit to be shown."""

from __future__ import annotations

from base64 import b64encode, urlsafe_b64encode
from urllib.parse import quote

import pytest

from smelt.providers.redact import redact
from smelt.providers.secrets import Secret

LIKE_KEYS = {
    "openai": "sk-proj-Ab12_cd34-Ef56",
    "masked": "sk-abc***xyz1",
    "anthropic": "sk-ant-api03-Ab12",
    "google": "AIzaSyA1234567890abcdefg",
    "groq": "gsk_1234567890",
    "huggingface": "hf_abcdefghij",
    "jwt": "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0In0.abc",
    "bearer": "Bearer abcdef123456",
    "query": "https://x.example/v1?key=abcdef",
    "userinfo": "https://user:secret@x.example",
    "header": "x-goog-api-key: abcdef123",
}


@pytest.mark.parametrize("text", LIKE_KEYS.values(), ids=LIKE_KEYS.keys())
def test_what_looks_like_a_key_is_hidden(text: str) -> None:
    shown = redact(f"before {text} after")

    assert "[key]" in shown
    assert text not in shown
    assert shown.startswith("before ")
    assert shown.endswith(" after")


def test_a_secret_of_any_look_is_hidden() -> None:
    assert redact("the word plain, twice plain", [Secret("plain")]) == "the word [key], twice [key]"


@pytest.mark.parametrize("text", ["risk-averse", "task-1234567", "a disk-shaped thing", "min-p must be 0"])
def test_ordinary_words_stay(text: str) -> None:
    assert redact(text) == text


KEY = "sk-canary7Q9zXw3VbN5mL2kJ8hG4fD+/=?"
SPELLINGS = {
    "another case": KEY.upper(),
    "quoted for a URL": quote(KEY, safe=""),
    "all of it quoted": "".join(f"%{ord(char):02X}" for char in KEY),
    "as JSON": "".join(f"\\u{ord(char):04x}" for char in KEY),
    "over lines": KEY[:9] + "\n" + KEY[9:17] + "\r\n   " + KEY[17:],
    "over escaped lines": KEY[:9] + "\\n" + KEY[9:],
    "with invisible characters": "\u200b".join(KEY),
    "with controls": KEY[:4] + "\x1b\x00" + KEY[4:],
    "hexadecimal": KEY.encode().hex(),
    "basic authentication": b64encode(f"user:{KEY}".encode()).decode(),
    "base64": b64encode(KEY.encode()).decode(),
    "base64 behind one letter": b64encode(f"x{KEY}".encode()).decode(),
    "base64 for URLs": urlsafe_b64encode(f"xy{KEY}!".encode()).decode(),
}


@pytest.mark.parametrize("text", SPELLINGS.values(), ids=SPELLINGS.keys())
def test_a_secret_is_hidden_in_other_spellings(text: str) -> None:
    shown = redact(f"before {text} after", [Secret(KEY)])

    assert shown.startswith("before ")
    assert "[key]" in shown
    assert len(shown) < len("before [key] after") + 12  # What is left of base64 says at most a letter or two.


def test_a_line_has_no_controls_and_an_end() -> None:
    assert redact("a\r\nb\tc\x00\x1b]8;;x\x07\u202e\u200b\ud800" + "y" * 400, limit=20) == "a b c]8;;xyyyyyyyyy…"


@pytest.mark.parametrize("filler", [" ", "\n", "\x00", "x"], ids=["spaces", "lines", "controls", "letters"])
def test_no_part_of_a_key_is_left_where_a_long_text_is_cut(filler: str) -> None:
    key = "plain-" + "0123456789" * 40

    for room in range(1, len(key), 50):
        shown = redact(filler * (4 * 300 + 2_000 - room) + key + " and more", [Secret(key)])

        assert key[:5] not in shown


def test_a_body_of_megabytes_is_cheap() -> None:
    assert len(redact("x" * 10_000_000)) == 300


@pytest.mark.parametrize(
    "text",
    [
        *(f"{kind}{mark}Abc123xyz789" for mark in "-_"
          for kind in ("sk", "pk", "rk", "gsk", "xai", "hf", "pplx", "nvapi", "fw", "csk")),
        "AIzaSyA1234567890abc", "AQ.Ab8RN6I1234567890abcdef", "ya29.a0AfH6SMBx1234567890",
        "eyJhbGciOiJIUzI1.eyJzdWIiOiIx",
    ],
)  # fmt: skip
def test_what_looks_like_a_key_is_hidden_though_nothing_stands_around_it(text: str) -> None:
    assert redact(text) == "[key]"
