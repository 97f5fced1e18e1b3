"""Text from outside, made fit to be shown: one line, of bounded length, without keys."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable

from smelt.providers.keys import Secret

_MASK = "[key]"
# What keys look like, for those that are not ours to know: a provider may echo a part of one (`sk-abc***xyz`).
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


def redact(text: str, secrets: Iterable[Secret] = (), *, limit: int = 300) -> str:
    """Make *text* one line of at most *limit* characters that holds none of the *secrets* and nothing like a key.

    Control, format (bidirectional, zero-width) and surrogate characters are dropped: the line goes to terminals and logs.
    """
    hidden = [secret.reveal() for secret in secrets]
    cut = 4 * limit + 2_000  # A look at the first part is enough, and keeps a body of megabytes cheap.
    line = " ".join(text[:cut].split())
    line = "".join(char for char in line if unicodedata.category(char) not in ("Cc", "Cf", "Cs", "Co", "Cn"))
    if len(text) > cut:  # The last of it may be the beginning of a key.
        line = line[: -max(256, *map(len, hidden), 0)]
    for key in hidden:
        line = line.replace(key, _MASK)
    line = _KEY_LIKE.sub(_MASK, line)
    return line if len(line) <= limit else line[: limit - 1].rstrip() + "…"
