"""The caller's own parameters: which a provider accepts, which smelt sets itself, and which values are valid."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from smelt.errors import SmeltConfigError
from smelt.messages import nearest

# Set by smelt, or meaningless, because each request has one answer that must be parsed by row.
_RESERVED = frozenset(
    [
        "background",
        "candidate_count",
        "contents",
        "continuation_token",
        "conversation",
        "extra_body",
        "extra_query",
        "format",
        "functions",
        "function_call",
        "generation_config",
        "input",
        "instructions",
        "include",
        "max_completion_tokens",
        "max_output_tokens",
        "max_tokens",
        "messages",
        "modalities",
        "model",
        "n",
        "output_config",
        "output_format",
        "parallel_tool_calls",
        "previous_response_id",
        "prompt",
        "response_format",
        "response_json_schema",
        "response_mime_type",
        "response_modalities",
        "response_schema",
        "schema",
        "store",
        "stream",
        "stream_options",
        "system",
        "system_instruction",
        "text",
        "timeout",
        "tool_choice",
        "tool_config",
        "tools",
        "truncation",
    ]
)
_AUTH_HEADERS = frozenset({"authorization", "x-api-key", "api-key", "x-goog-api-key", "proxy-authorization", "cookie"})
_OUR_HEADERS = frozenset(
    {"host", "accept-encoding", "content-length", "content-type", "transfer-encoding", "connection"}
)


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _is_table(value: object) -> bool:
    return isinstance(value, Mapping) and all(isinstance(key, str) for key in value)


def _is_list_of(kind: type, value: object) -> bool:
    return isinstance(value, list | tuple) and all(isinstance(one, kind) for one in value)


@dataclass(frozen=True, kw_only=True)
class Takes:
    """A valid value of a parameter: in words, and as a test."""

    wanted: str
    fits: Callable[[Any], bool]


def number(low: float, high: float) -> Takes:
    """A finite number from *low* to *high*."""
    wanted = f"a number from {low:g} to {high:g}"
    return Takes(wanted=wanted, fits=lambda value: _is_number(value) and low <= value <= high)


def whole(low: int, high: int = 2**63 - 1) -> Takes:
    """An integer from *low* to *high*."""
    wanted = f"an integer of at least {low}" if high > 10**9 else f"an integer from {low} to {high}"
    return Takes(wanted=wanted, fits=lambda value: type(value) is int and low <= value <= high)


def one_of(*values: str) -> Takes:
    """One of these strings."""
    return Takes(wanted=" or ".join(map(repr, values)), fits=lambda value: value in values)


_UNITS = {"s": 1.0, "m": 60.0, "h": 3_600.0}
_DURATION = re.compile(r"([0-9]{1,9})([smh])")


def seconds_of(duration: Any, usual: float) -> float:
    """The seconds in a duration such as `"90s"`, `"15m"` or `"1h"`; *usual* if there is none."""
    found = _DURATION.fullmatch(duration) if isinstance(duration, str) else None
    return usual if found is None else int(found[1]) * _UNITS[found[2]]


def life(least: float, most: float) -> Takes:
    """A duration from *least* to *most* seconds, or of nothing."""

    def fits(value: Any) -> bool:
        seconds = seconds_of(value, -1.0)
        return seconds == 0 or least <= seconds <= most

    wanted = f"a duration such as '90s', '15m' or '1h', from {least:g} seconds to {most / 3_600:g} hours, or '0s'"
    return Takes(wanted=wanted, fits=fits)


SWITCH = Takes(wanted="True or False", fits=lambda value: isinstance(value, bool))
TEXT = Takes(wanted="a string", fits=lambda value: isinstance(value, str) and bool(value))
TEXTS = Takes(
    wanted="a string or a list of strings",
    fits=lambda value: isinstance(value, str) or _is_list_of(str, value),
)
TABLE = Takes(wanted="a dict with string keys", fits=_is_table)
TABLES = Takes(wanted="a list of dicts", fits=lambda value: _is_list_of(dict, value))


def check(params: Mapping[str, Any], taken: Mapping[str, Takes], *, provider: str) -> None:
    """Refuse parameters that *provider* does not accept or that smelt sets itself, and invalid values.

    Raises:
        SmeltConfigError: Names the parameter.
    """
    if not _is_table(params):
        raise SmeltConfigError.for_type("params", params, TABLE.wanted)
    for name, value in params.items():
        if name == "extra_headers":
            _check_headers(value)
        elif name in _RESERVED and name not in taken:
            raise SmeltConfigError(f"The parameter {name!r} is set by smelt. Leave it out of params.")
        elif name not in taken:
            raise SmeltConfigError(f"{provider} takes no parameter {name!r}.{nearest(name, taken)}")
        elif not taken[name].fits(value):
            shown = value if isinstance(value, int | float | str) else type(value).__name__
            raise SmeltConfigError.for_value(f"params[{name!r}]", shown, taken[name].wanted)


def _check_headers(headers: Any) -> None:
    if not _is_table(headers) or not all(isinstance(value, str) for value in headers.values()):
        raise SmeltConfigError.for_type("params['extra_headers']", headers, "a dict of strings")
    for name, value in headers.items():
        if not name or not name.isascii() or not name.isprintable() or any(char in name for char in " :\t"):
            raise SmeltConfigError(f"The header name {name!r} in extra_headers is not allowed in HTTP.")
        if any(char in value for char in "\r\n\0") or not value.isascii():
            raise SmeltConfigError(f"The value of the header {name!r} has characters that HTTP does not allow.")
        if name.lower() in _AUTH_HEADERS:
            raise SmeltConfigError(f"The header {name!r} would override the key. Pass the key as api_key= instead.")
        if name.lower() in _OUR_HEADERS:
            raise SmeltConfigError(f"The header {name!r} is set by smelt. Leave it out of extra_headers.")
