"""Number formats of a report: three significant digits for fractions."""

from __future__ import annotations

from math import floor, log10

from smelt.messages import duration


def lasting(seconds: float) -> str:
    """`0 s`, `240 µs`, `1.4 ms`, `12.3 s`, `2:05 min`."""
    if seconds >= 60:
        return duration(seconds)
    if seconds == 0 or seconds >= 0.9995:
        return f"{three_digits(seconds)} s"
    return f"{three_digits(seconds * 1e3)} ms" if seconds >= 0.9995e-3 else f"{three_digits(seconds * 1e6)} µs"


def three_digits(number: float) -> str:
    """`0.123`, `1.23`, `12.3`, `123`, `1,234`: three significant digits or a whole number, without trailing zeros."""
    if number == 0:
        return "0"
    places = max(0, 2 - floor(log10(abs(number))))
    text = f"{number:,.{places}f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def compact(number: int) -> str:
    """`950`, `45.2k`, `1.2M`, `3.4B`."""
    for unit, size in (("B", 10**9), ("M", 10**6), ("k", 10**3)):
        if number >= size * 0.9995:
            return f"{three_digits(number / size)}{unit}"
    return f"{number:,}"


def percent(part: float, whole: float) -> str:
    """`0 %`, `<0.1 %`, `12.3 %`, `>99.9 %`, `100 %`; only a complete share is shown as `100 %`."""
    share = 100 * part / whole if whole else 0.0
    if share in (0.0, 100.0):
        return f"{share:.0f} %"
    if share < 0.1:
        return "<0.1 %"
    return ">99.9 %" if share > 99.9 else f"{three_digits(share)} %"


def round_top(peak: float) -> float:
    """The maximum of an axis that starts at 0: the next 1, 2, 3, 4, 5, 6 or 8 times a power of ten."""
    if peak <= 0:
        return 1.0
    unit = 10.0 ** floor(log10(peak))
    return next(step * unit for step in (1, 2, 3, 4, 5, 6, 8, 10) if step * unit >= peak * (1 - 1e-9))


def axis(top: float) -> list[str]:
    """The labels of an axis, from *top* down to 0; short, because there is little space."""
    return [compact(round(one)) if one >= 10_000 else three_digits(one) for one in (top, top / 2, 0)]
