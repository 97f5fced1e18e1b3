"""The record of a run for its report: prompt, model, options, versions, timeline and a sample of answers."""

from __future__ import annotations

import platform
import sys
from collections.abc import Mapping
from dataclasses import fields
from importlib.metadata import PackageNotFoundError, version
from pathlib import PurePath
from typing import Any

from pydantic_core import from_json, to_json

from smelt.call.options import Settings
from smelt.call.preparation import Preparation
from smelt.messages import shown_value
from smelt.observe.recorder import EventRecorder
from smelt.plan.answers import Answers
from smelt.plan.dialect import describe
from smelt.plan.media import media_of
from smelt.plan.mediacolumns import Declared
from smelt.providers.base import Request
from smelt.providers.redact import redact
from smelt.providers.vendors import VENDORS
from smelt.report.record import Record, Sampled

_SHOWN_ALWAYS = ("batch_size", "concurrency", "isolation", "max_attempts", "timeout", "shuffle", "seed")
_SHOWN_ELSEWHERE = frozenset({"columns", "params", "ledger", "progress"})  # Or irrelevant to the answers.
_LIBRARIES = {  # Module name to distribution name.
    "pandas": "pandas",
    "polars": "polars",
    "pyarrow": "pyarrow",
    **{module: name for vendor in VENDORS.values() for module, name in vendor.sdk.items()},
    "genai_prices": "genai-prices",
}
_LONGEST_OPTION = 200  # Characters.
_SAMPLED = 8  # Rows.


def recorded(call: Preparation, answers: Answers, recorder: EventRecorder, *, first_request: Request | None) -> Record:
    """The record of *call* and its *answers*."""
    return Record(
        prompt=call.prompt,
        columns=call.source.names,
        output="str" if call.output.is_text else call.output.model.__name__,
        fields=[(one.name, describe(one.kind), one.description) for one in call.output.fields],
        options=_options(call),
        versions=_versions(),
        started=recorder.started,
        skipped=answers.skipped,
        timeline=recorder.timeline,
        first_request=first_request,
        sample=_sample(call, answers),
    )


def _sample(call: Preparation, answers: Answers) -> list[Sampled]:
    positions = answers.spread_out(_SAMPLED)
    labels, rows = call.frame.labels(positions), call.source.texts(positions)
    names = [field.name for field in call.output.fields]
    return [
        Sampled(
            str(label),
            _in_short(row),
            {name: _in_words(column[at]) for name, column in zip(names, answers.columns, strict=True)},
        )
        for at, label, row in zip(positions, labels, rows, strict=True)
    ]


def _in_short(row: object) -> str:
    """The text of a row, with type and size in place of the hash of each medium."""
    text = str(row)
    for _, medium in media_of(row) if isinstance(row, str) else ():
        text = text.replace(medium.text, to_json(str(medium)).decode())
    return text


def _in_words(value: Any) -> str:
    """A value of an answer as JSON; strings and dates without quotation marks."""
    text = to_json(value, fallback=str).decode("utf-8", "replace")
    return str(from_json(text)) if text.startswith('"') else text


def _options(call: Preparation) -> dict[str, str]:
    settings, usual = call.settings, Settings()
    shown = {
        one.name: _shown(getattr(settings, one.name))
        for one in fields(settings)
        if one.name not in _SHOWN_ELSEWHERE
        and (one.name in _SHOWN_ALWAYS or getattr(settings, one.name) != getattr(usual, one.name))
    }
    if settings.concurrency == "auto":
        shown["concurrency"] = f"auto, at most {call.concurrency}"
    shown["ledger"] = _ledger(call)
    return shown | {f"params.{name}": _param(name, value) for name, value in call.params.items()}


def _shown(value: object) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, Mapping):  # Media. The path of a root folder is nobody else's business.
        return ", ".join(f"{name}: {_shown_media(one)}" for name, one in value.items())[:_LONGEST_OPTION]
    return f"{value:,g}" if isinstance(value, float) else str(value)[:_LONGEST_OPTION]


def _shown_media(declared: Declared) -> str:
    told = [
        f"{one.name}={value!r}"
        for one in fields(declared)
        if (value := getattr(declared, one.name)) and one.name != "root"
    ]
    return f"{type(declared).__name__}({', '.join(told)})"


def _ledger(call: Preparation) -> str:
    """Whether a ledger was used. Only the file name of a path is shown, because a report is passed on to others."""
    chosen = call.ledger
    if isinstance(chosen, str):
        return f"on: {PurePath(chosen).name}"[:_LONGEST_OPTION]
    return "on" if chosen else "off"


def _param(name: str, value: Any) -> str:
    """A parameter in one line. Headers are not shown: any header may carry a credential."""
    if "header" in name.lower():
        return "not shown"
    return redact(value if isinstance(value, str) else shown_value(value), limit=_LONGEST_OPTION)


def _versions() -> dict[str, str]:
    found = {"smelt": version("dfsmelt"), "Python": f"{platform.python_version()} on {platform.system()}"}
    for module, name in {"pydantic": "pydantic", **_LIBRARIES}.items():
        if module in sys.modules:
            try:
                found[name] = version(name)
            except PackageNotFoundError:
                continue  # Vendored, or imported from a source checkout.
    return found
