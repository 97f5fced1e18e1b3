"""Text formatting for messages and displays: values, counts, durations and amounts of money."""

from __future__ import annotations

import builtins
import unicodedata
from collections.abc import Iterable, Mapping
from math import ceil

_LONGEST_SHOWN = 80  # Characters of a value or name that a message quotes.
_LONGEST_PHRASE = 80  # Characters of a phrase on one line of a display.
_LONGEST_PRINTED = 400  # Characters of a label or a message that is printed.
_LONGEST_WORD = 20  # Longer strings of the wrong type are not quoted: one may be a key passed to the wrong argument.


def nearest(name: str, known: Iterable[str]) -> str:
    """A sentence that suggests the nearest of the *known* names, or lists a few of them."""
    from difflib import get_close_matches  # Imported late: only needed for messages.

    names = [str(one) for one in known]
    # The time of a comparison grows with the product of both lengths, and a column name may have 10,000 characters.
    short = [one for one in names if len(one) <= _LONGEST_SHOWN]
    if len(name) <= _LONGEST_SHOWN and (near := get_close_matches(name, short)):
        near.sort(key=lambda one: sorted(one) != sorted(name))  # Swapped letters are the likeliest slip.
        return f" Did you mean {near[0]!r}?"
    shown = ", ".join(shown_value(one) for one in names[:8])
    more = f" and {len(names) - 8} more" if len(names) > 8 else ""
    return f" There are {shown}{more}." if names else " There are none."


def described_argument(value: object) -> str:
    """What a wrong argument is, for a message: a short value itself, otherwise its type, since it may be a key."""
    if value is None or isinstance(value, bool | int | float):
        return shown_value(value)
    if isinstance(value, str) and len(value) <= _LONGEST_WORD:
        return f"a str ({shown_value(value)})"
    name = type(value).__name__
    if (
        hasattr(builtins, name) and type(value).__module__ != "builtins"
    ):  # "Not a bool" would confuse a user who passed NumPy's bool.
        name = f"{type(value).__module__}.{name}"
    article = "an" if name[:1].lower() in "aeiou" else "a"
    return f"{article} {name}" if not isinstance(value, type) else f"the class {value.__name__}"


def shown_value(value: object) -> str:
    """The repr of a user's value for a message: short, and never raising."""
    try:
        shown = repr(value)
    except Exception:  # noqa: BLE001  # A repr may raise anything, and Python refuses to print integers of 5,000 digits.
        return f"a value of type {type(value).__name__}"
    return shown if len(shown) <= _LONGEST_SHOWN else f"{shown[:_LONGEST_SHOWN]}…"


def printable(text: str) -> str:
    """*text* with non-printable characters (control, invisible, bidirectional) replaced, cut to a maximum length."""
    shown = text if len(text) <= _LONGEST_PRINTED else f"{text[:_LONGEST_PRINTED]}…"
    return "".join(one if one.isprintable() else "\ufffd" for one in shown)


def counted(number: int, thing: str) -> str:
    """`1 row`, `2 rows`."""
    return f"{number:,} {thing}" if number == 1 else f"{number:,} {thing}s"


def at_standard(rows: int, requests: int) -> str:
    """What the standard tier served in a run that prefers the flex tier; empty if nothing."""
    return f"{counted(rows, 'row')} in {counted(requests, 'request')}, at its price" if requests else ""


def by_tier(replies: Mapping[str, int]) -> str:
    """`flex 39, standard 1`: replies by service tier; empty if there is none but the standard one."""
    if not set(replies) - {"standard"}:
        return ""
    return ", ".join(f"{printable(name)} {count:,}" for name, count in sorted(replies.items()))


def duration(seconds: float) -> str:
    """`9 s`, `2:05 min`, `3:07 h`, `4 days`: rounded up, coarser for longer times."""
    whole = ceil(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60}:{whole % 60:02} min"
    minutes = ceil(seconds / 60)
    return f"{minutes // 60}:{minutes % 60:02} h" if minutes < 48 * 60 else f"{ceil(minutes / 1440)} days"


def lasted(seconds: float) -> str:
    """Duration of a finished run: `<0.1 s`, `0.4 s`, `9.3 s`, from 10 seconds as `duration`."""
    if seconds < 0.1:
        return "<0.1 s"
    return f"{seconds:.1f} s" if seconds < 9.95 else duration(seconds)


def tokens(number: int) -> str:
    """`950 tokens`, `45.2k tokens`, `1.20M tokens`."""
    if number < 1_000:
        return counted(number, "token")
    return f"{number / 1e3:.1f}k tokens" if number < 999_950 else f"{number / 1e6:.2f}M tokens"


def dollars(amount: float) -> str:
    """`$12.30`, `$0.0123`, `<$0.0001`."""
    if amount < 0.0001:
        return "<$0.0001"
    return f"${amount:,.2f}" if amount >= 1 else f"${amount:.4f}"


def price(amount: float | None) -> str:
    """`unknown`, `free`, or dollars. A price of 0, as for the embedded model, is `free` and not `$0.0000`."""
    if amount is None:
        return "unknown"
    return dollars(amount) if amount else "free"


def paid(amount: float | None, requests: int) -> str:
    """The cost of a run, as `price`; `nothing` if it sent no request."""
    return price(amount) if requests or amount else "nothing"


def clean(text: str) -> str:
    """*text* on one line, without control and formatting characters, cut to a maximum length."""
    kept = "".join(" " if _steers(one) else one for one in text[: 4 * _LONGEST_PHRASE])
    short = " ".join(kept.split())
    return short if len(short) <= _LONGEST_PHRASE else short[: _LONGEST_PHRASE - 1] + "…"


def _steers(character: str) -> bool:
    return unicodedata.category(character) in {"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"}
