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
_STARTS = ("sk", "pk", "rk", "gsk", "xai", "hf", "pplx", "nvapi", "fw", "csk")  # OpenAI, Anthropic, OpenRouter and kin.
_SIGNED = "sig|token|secret|credential|auth|pass|policy|key"  # In names of parameters of signed addresses.
# Keys that are not known to us: a provider may echo a part of one (`sk-abc***xyz`). Each pattern follows texts of which
# all its matches contain one.
_KINDS = (
    ([start + mark for start in _STARTS for mark in "-_"], rf"\b(?:{'|'.join(_STARTS)})[-_][A-Za-z0-9_\-*.…]{{6,}}"),
    (["AIza"], r"\bAIza[A-Za-z0-9_\-*]{10,}"),  # Google.
    (["AQ."], r"\bAQ\.[A-Za-z0-9_\-*.]{20,}"),
    (["ya29."], r"\bya29\.[A-Za-z0-9_\-.]{10,}"),  # Google's access tokens.
    (["eyJ"], r"\beyJ[A-Za-z0-9_\-]{10,}\.[A-Za-z0-9_\-.]{10,}"),  # JSON Web Tokens.
    ([" "], r"(?i:\b(?:bearer|basic)[ ]+)[A-Za-z0-9_\-.~+/=*]{6,}"),
    ([":", "="], r"""(?i:\b(?:x-)?(?:goog-)?api[-_ ]?key["']?\s*[:=]\s*["']?)[^\s"',;&]{6,}"""),
    # The query of a signed address, which a provider quotes if it cannot fetch it.
    (["?"], rf"""(?<=\?)(?=[^\s"'<>]*(?:=[^\s"'<>&]{{16}}|(?i:{_SIGNED})[^\s"'<>&=]*=))[^\s"'<>]+"""),
    (["="], r"""(?<=[?&])key=[^&\s"']+"""),
    (["@"], r"(?<=://)[^/@\s:]+:[^/@\s]+(?=@)"),  # user:password@ in a URL.
)
_KEY_LIKE = re.compile("|".join(pattern for _, pattern in _KINDS))
# Text without any of the parts, such as a request id, is searched in one fast pass. Plain texts are faster to find than
# a pattern, and the fewer the better.
_PARTS = sorted({part for parts, _ in _KINDS for part in parts})
_MAY_BE_KEY = re.compile("|".join(re.escape(one) for one in _PARTS if not any(part in one[1:] for part in _PARTS)))


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
