"""Redaction: makes text from outside safe to show, as one line of limited length without keys."""

from __future__ import annotations

import re
import unicodedata
from base64 import b64encode
from collections.abc import Iterable
from functools import lru_cache
from urllib.parse import quote

from smelt.providers.secrets import Secret

_MASK = "[key]"
_LONG = 8  # Shorter keys are not searched in other spellings: they would match everywhere.
# Patterns of keys that are not known to us: a provider may echo a part of one (`sk-abc***xyz`).
_KEY_LIKE = re.compile(
    r"""
    \b(?:sk|pk|rk|gsk|xai|hf|pplx|nvapi|fw|csk)[-_][A-Za-z0-9_\-*.…]{6,}   # OpenAI, Anthropic, OpenRouter and kin
    | \bAIza[A-Za-z0-9_\-*]{10,} | \bAQ\.[A-Za-z0-9_\-*.]{20,}             # Google
    | \bya29\.[A-Za-z0-9_\-.]{10,}                                         # Google access tokens
    | \beyJ[A-Za-z0-9_\-]{10,}\.[A-Za-z0-9_\-.]{10,}                       # JSON Web Tokens
    | (?i:\b(?:bearer|basic)[ ]+)[A-Za-z0-9_\-.~+/=*]{6,}
    | (?i:\b(?:x-)?(?:goog-)?api[-_ ]?key["']?\s*[:=]\s*["']?)[^\s"',;&]{6,}
    | (?<=[?&])key=[^&\s"']+
    | (?<=://)[^/@\s:]+:[^/@\s]+(?=@)                                      # user:password@ in a URL
    """,
    re.VERBOSE,
)
# A part of every pattern above, so that text without any, such as a request id, is searched in one fast pass.
_MAY_BE_KEY = re.compile(r"sk-|sk_|pk-|pk_|rk-|rk_|xai|hf-|hf_|pplx|nvapi|fw-|fw_|AIza|AQ\.|ya29|eyJ| |=|:|@")


def redact(text: str, secrets: Iterable[Secret] = (), *, limit: int = 300) -> str:
    """Make *text* one line of at most *limit* characters, without *secrets* and anything that looks like a key.

    A secret is found in any case, wrapped over lines, in URL, JSON, base64 and hexadecimal notation. Control, format
    (bidirectional, zero-width) and surrogate characters are dropped: the line goes to terminals and logs.
    """
    hidden = [secret.reveal() for secret in secrets]
    cut = 4 * limit + 2_000  # The first part is enough, and keeps a body of megabytes cheap.
    line = " ".join(text[:cut].split())
    if not (line.isascii() and line.isprintable()):
        line = "".join(char for char in line if unicodedata.category(char) not in ("Cc", "Cf", "Cs", "Co", "Cn"))
    if len(text) > cut:  # It may end in the middle of a key.
        line = line[: -max(256, *map(len, hidden), 0)]
    for key in hidden:
        line = line.replace(key, _MASK) if len(key) < _LONG else _spellings(key).sub(_MASK, line)
    if _MAY_BE_KEY.search(line):
        line = _KEY_LIKE.sub(_MASK, line)
    return line if len(line) <= limit else line[: limit - 1].rstrip() + "…"


def masked(text: str, secrets: Iterable[Secret]) -> str:
    """*text* with only the *secrets* replaced: for text of any length that programs read."""
    for secret in secrets:
        for form in _forms(secret):
            if form in text:
                text = text.replace(form, _MASK)
    return text


@lru_cache(maxsize=64)
def _forms(secret: Secret) -> tuple[str, ...]:
    key = secret.reveal()
    return tuple({key, quote(key, safe="")}) if len(key) >= _LONG else ()


def holds(text: str, secrets: Iterable[Secret]) -> bool:
    """Whether *text* contains one of the *secrets*, in any case."""
    lower = text.lower()
    return any(secret.reveal().lower() in lower for secret in secrets)


@lru_cache(maxsize=64)
def _spellings(key: str) -> re.Pattern[str]:
    """A pattern for *key* in the spellings that servers use."""
    between = r"(?:\s|\\[nrt])*"
    letters = [rf"(?:{re.escape(char)}|%{ord(char):02x}|\\u{ord(char):04x})" for char in key]
    return re.compile("|".join([between.join(letters), *map(re.escape, _encoded(key))]), re.IGNORECASE)


def _encoded(key: str) -> list[str]:
    """*key* in hexadecimal, and the part of its base64 that does not depend on the bytes around it."""
    found = [key.encode().hex()]
    for before in range(3):
        text = b64encode(bytes(before) + key.encode()).decode()
        text = text[(before * 8 + 5) // 6 : (before + len(key.encode())) * 8 // 6]
        found += [text, text.replace("+", "-").replace("/", "_")]
    return [one for one in dict.fromkeys(found) if len(one) >= _LONG]
