"""What each option takes: its limits, and the check that refuses any other value."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping
from inspect import iscoroutinefunction
from numbers import Real
from os import PathLike, fspath
from pathlib import Path
from typing import Any

from smelt.call.columnchecks import column_name, columns, examples, media
from smelt.checks import flag, integer, one_of, positive
from smelt.errors import ConfigTypeError, SmeltConfigError
from smelt.ledger.answerstore import is_redis, is_url, password_of
from smelt.plan.kinds import TEXT_COLUMN

MOST_VOTES, MOST_SURE_VOTES = 15, 40  # The second one with `sure=`, which rarely takes all of them.
_MOST_ROWS = 1_000
_MOST_IN_FLIGHT = 10_000
_MOST_PER_MINUTE = 1e12
_MOST_ATTEMPTS = 100
_MOST_SECONDS = 7 * 24 * 3600.0
_SECONDS = f"a number of seconds above 0 and up to {_MOST_SECONDS:,.0f} (a week)"
_MOST_DOLLARS = 10_000_000.0
_MOST_TOKENS = 10**15
_MOST_TAIL = 1_000_000_000
_MOST_RISK = 0.25
_LEAST_SHARE, _MOST_SHARE = 0.5, 0.999
_MOST_SEED = 2**32 - 1  # As in NumPy.


def _or_auto(most: int, least: int = 1) -> Callable[[str, object], int | str]:
    def check(name: str, value: object) -> int | str:
        if isinstance(value, str) and value != "auto":
            raise SmeltConfigError.for_value(name, value, f'"auto" or an integer from {least} to {most:,}')
        return value if isinstance(value, str) else integer(name, value, least, most, also='"auto" or ')

    return check


def _integer(least: int, most: int) -> Callable[[str, object], int]:
    return lambda name, value: integer(name, value, least, most)


def _amount_of(unit: str, most: float) -> Callable[[str, object], float]:
    """A check for a positive, finite number."""
    wanted = f"a number of {unit} above 0 and up to {most:,.0f}"
    return lambda name, value: positive(name, value, wanted, most)


def _or_none(check: Callable[[str, object], Any]) -> Callable[[str, object], Any]:
    """*check*, which also takes None."""
    return lambda name, value: None if value is None else check(name, value)


def _share(name: str, value: object) -> float:
    wanted = f"a number from {_LEAST_SHARE} to {_MOST_SHARE}"
    if isinstance(value, bool) or not isinstance(value, Real):
        raise SmeltConfigError.for_type(name, value, wanted)
    share = float(value)
    if not _LEAST_SHARE <= share <= _MOST_SHARE:
        raise SmeltConfigError.for_value(name, value, wanted)
    return share


def _risk(name: str, value: object) -> float:
    wanted = f"the risk of a wrong label, a number above 0 and up to {_MOST_RISK}, such as 0.05"
    return positive(name, value, wanted, _MOST_RISK)


def _seconds(name: str, value: object) -> float:
    return positive(name, value, _SECONDS, _MOST_SECONDS)


def _wait(name: str, value: object) -> bool | float:
    if isinstance(value, bool):
        return value
    return positive(name, value, f"True, False or {_SECONDS}", _MOST_SECONDS)


def _ledger(name: str, value: object) -> bool | str | None:
    if value is None or isinstance(value, bool):
        return value
    wanted = "the path of a file, the URL of a PostgreSQL or Redis database, True or False"
    if not isinstance(value, str | PathLike):
        raise SmeltConfigError.for_type(name, value, wanted)
    path = fspath(value)
    if isinstance(path, str) and is_url(path):
        return _without_password(name, path)
    if not isinstance(path, str):
        raise SmeltConfigError.for_type(name, path, wanted)
    if not path.strip() or "\0" in path:
        raise SmeltConfigError.for_value(name, path, wanted)
    return path


def _without_password(name: str, url: str) -> str:
    try:
        is_bare = password_of(url) is None
    except ValueError:
        example = "redis://host/0" if is_redis(url) else "postgresql://host/name"
        raise SmeltConfigError(f"{name}= is a malformed URL. It is written so: {example}.") from None
    if not is_bare:
        place = "REDISCLI_AUTH" if is_redis(url) else "PGPASSWORD or ~/.pgpass"
        raise SmeltConfigError(
            f"{name}= shows a password, and options are printed, and travel to other processes. Leave it out of the "
            f"URL, and name it in {place}; or give the whole URL in SMELT_LEDGER."
        )
    return url.strip()


def _directory(name: str, value: object) -> str | None:
    wanted = "the path of a directory"
    if value is None:
        return None
    if not isinstance(value, str | PathLike):
        raise SmeltConfigError.for_type(name, value, wanted)
    path = fspath(value)
    if not isinstance(path, str) or not path.strip() or "\0" in path:
        raise SmeltConfigError.for_value(name, path, wanted)
    there = Path(path).absolute()
    while not os.path.lexists(there):  # The first job makes it; a typing error costs nothing.
        there = there.parent
    if not there.is_dir() or not os.access(there, os.W_OK | os.X_OK):
        raise SmeltConfigError.for_value(name, path, f"{wanted} in which files can be written")
    return path


def _params(name: str, value: object) -> Mapping[str, Any]:
    if value is None:
        return {}
    wanted = 'a dict such as {"temperature": 0}'
    if not isinstance(value, Mapping):
        raise SmeltConfigError.for_type(name, value, wanted)
    for key in value:
        if not isinstance(key, str):
            raise SmeltConfigError.for_type(f"every key of {name}", key, f"a string ({wanted})")
    return dict(value)


def _confidence(name: str, value: object) -> Any:
    if isinstance(value, bool):
        return value
    from smelt.trust.calibration import Calibrator  # Imported late: most calls have none.

    if not isinstance(value, Calibrator):
        raise SmeltConfigError.for_type(name, value, "True, False or the .calibrator of an evaluation")
    return value


def _progress(name: str, value: object) -> Any:
    wanted = "True, False, None or a function that takes an event"
    _refuse_async(name, value, wanted)
    if value is not None and not isinstance(value, bool) and not callable(value):
        raise SmeltConfigError.for_type(name, value, wanted)
    return value


def _observers(name: str, value: object) -> Any:
    wanted = "a list of functions that take an event, such as [smelt.Metrics()]"
    if isinstance(value, str | bytes | Mapping) or not isinstance(value, Iterable):
        raise SmeltConfigError.for_type(name, value, wanted)
    observers = tuple(value)
    for one in observers:
        _refuse_async(name, one, wanted)
        if not callable(one) or isinstance(one, type):
            raise SmeltConfigError.for_type(f"every entry of {name}", one, "a function that takes an event")
    return observers


def _refuse_async(name: str, value: object, wanted: str) -> None:
    if iscoroutinefunction(value) or iscoroutinefunction(getattr(value, "__call__", None)):  # noqa: B004  # Not asked whether.
        raise ConfigTypeError(f"{name} must be {wanted}, not an async function: it is called between two requests.")


CHECKS: dict[str, Callable[[str, Any], Any]] = {
    "columns": columns,
    "batch_size": _or_auto(_MOST_ROWS),
    "aim": one_of("balanced", "cheap", "fast"),
    "wire": one_of("keyed", "compact", "auto"),
    "via": one_of("generation", "decisions"),
    "concurrency": _or_auto(_MOST_IN_FLIGHT),
    "rpm": _or_none(_amount_of("requests per minute", _MOST_PER_MINUTE)),
    "tpm": _or_none(_amount_of("tokens per minute", _MOST_PER_MINUTE)),
    "max_wait": _seconds,
    "shuffle": flag,
    "seed": _integer(0, _MOST_SEED),
    "max_attempts": _integer(1, _MOST_ATTEMPTS),
    "timeout": _seconds,
    "deadline": _or_none(_seconds),
    "params": _params,
    "examples": examples,
    "media": media,
    "isolation": one_of("batch", "row"),
    "null_rows": one_of("send", "skip"),
    "on_error": one_of("mark", "raise"),
    "on_conflict": one_of("raise", "suffix", "replace"),
    "error_column": column_name,
    "output": lambda name, value: TEXT_COLUMN if value is None else column_name(name, value),
    "flatten": flag,
    "ledger": _ledger,
    "refresh": flag,
    "extend": flag,
    "any_key": flag,
    "store_inputs": flag,
    "max_cost": _or_none(_amount_of("dollars", _MOST_DOLLARS)),
    "max_tokens_total": _or_none(_integer(1, _MOST_TOKENS)),
    "mode": one_of("now", "flex", "batch"),
    "wait": _wait,
    "tail": _or_auto(_MOST_TAIL, 0),
    "artefacts": _directory,
    "progress": _progress,
    "observers": _observers,
    "votes": _integer(1, MOST_SURE_VOTES),
    "sure": _or_none(_risk),
    "with_confidence": _confidence,
    "target_accuracy": _or_none(_share),
    "target_precision": _or_none(_share),
    "target_recall": _or_none(_share),
    "confidence": _share,
    "cascade_fields": columns,
}
