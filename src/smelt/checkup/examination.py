"""The doctor's offline checks: installed packages, keys and addresses, settings, the ledger, the embedded model."""

from __future__ import annotations

import platform
import re
import sqlite3
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import replace
from importlib.metadata import PackageNotFoundError, requires, version
from pathlib import Path
from typing import Any

from smelt.call.defaults import OPTIONS, setting
from smelt.call.resolve import resolve_model
from smelt.checkup.findings import Finding, State
from smelt.errors import (
    MissingDependencyError,
    SmeltConfigError,
    SmeltError,
    SmeltWarning,
    StoreError,
    StoreNotFoundError,
)
from smelt.ledger.answerstore import is_url
from smelt.ledger.answerstore import shown as shown_url
from smelt.ledger.api import open as open_ledger
from smelt.ledger.files import default_path, named_url
from smelt.local.weights import CATALOG, is_here
from smelt.messages import counted
from smelt.model import Model, called, read_model
from smelt.providers.access import find_access
from smelt.providers.addresses import origin_of
from smelt.providers.base import Provider
from smelt.providers.prices import source_of
from smelt.providers.redact import redact
from smelt.providers.secrets import Secret
from smelt.providers.vendor import AMBIENT, Vendor
from smelt.providers.vendors import LOCAL, VENDORS

_DISTRIBUTION = "dfsmelt"
_REQUIREMENT = re.compile(r"([\w.-]+)([^;]*)(?:;.*extra == ['\"](\w+)['\"])?")
_MENTION = re.compile(r"api_key=(?=[ …])")
_SHORTEST_KEY = 8  # Shorter values are no secrets (a server without keys takes `EMPTY`), and occur in any text.
_LONGEST = 400


def examine(environ: Mapping[str, str]) -> list[Finding]:
    """All findings that need no request."""
    found = [*_versions(), *_extras(), *_providers(environ), *_settings(), *_ledger(environ), *_embedded()]
    return [shown(one, environ) for one in found]


def shown(finding: Finding, environ: Mapping[str, str]) -> Finding:
    """*finding* with keys redacted, and with `~` for the home directory."""
    variables = [name for vendor in VENDORS.values() for name in vendor.key_variables]
    values = [environ.get(name, "").strip() for name in variables]
    secrets = [Secret(one) for one in values if len(one) >= _SHORTEST_KEY]
    # In smelt's own messages, the text after `api_key=` is no key and must not be redacted.
    text = redact(_MENTION.sub("api_key", finding.text), secrets, limit=_LONGEST)
    home = str(Path.home())
    text = text.replace(home, "~") if len(home) > 1 else text
    return replace(finding, name=redact(finding.name, secrets, limit=_LONGEST), text=text)


def configured(environ: Mapping[str, str]) -> list[Vendor]:
    """The providers that have a key or an address in *environ*."""
    return [vendor for vendor in VENDORS.values() if _variables(vendor, environ)]


def default_model() -> Any:
    """The configured default model, or None. Raises `SmeltConfigError` if it is malformed."""
    named = setting("model")
    return read_model(named) if isinstance(named, str) else named


def installed(name: str) -> str | None:
    """The version of a distribution, or None."""
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def _versions() -> Iterator[Finding]:
    found = {
        "smelt": installed(_DISTRIBUTION) or "not installed as a package",
        "Python": f"{platform.python_version()} ({platform.python_implementation()}, {platform.system()} "
        f"{platform.machine()})",
        "SQLite": sqlite3.sqlite_version,
    }
    for name, text in found.items():
        yield Finding(part="versions", name=name, state="fine", text=text)
    for requirement, wanted in _requirements().get("", {}).items():
        yield _of_packages("versions", requirement, {requirement: wanted}, f"pip install {_DISTRIBUTION}")


def _extras() -> Iterator[Finding]:
    for extra, packages in _requirements().items():
        if extra:
            yield _of_packages("extras", extra, packages, f"pip install '{_DISTRIBUTION}[{extra}]'")


def _requirements() -> dict[str, dict[str, str]]:
    """The required packages and version ranges, by extra; the extra `""` is smelt itself."""
    found: dict[str, dict[str, str]] = {}
    for line in requires(_DISTRIBUTION) or () if installed(_DISTRIBUTION) else ():
        if (match := _REQUIREMENT.match(line)) and match[1] != _DISTRIBUTION:
            found.setdefault(match[3] or "", {})[match[1]] = match[2].strip()
    return dict(sorted(found.items()))


def _of_packages(part: str, name: str, packages: Mapping[str, str], command: str) -> Finding:
    versions = {package: installed(package) for package in packages}
    if missing := [package for package, found in versions.items() if found is None]:
        lacks = "" if set(missing) == set(packages) else f" ({', '.join(missing)} missing)"
        state: State = "absent" if part == "extras" else "broken"
        return Finding(part=part, name=name, state=state, text=f"not installed{lacks}: {command}")
    unfit = [
        f"{one} {versions[one]}, not {wanted}" for one, wanted in packages.items() if not fits(versions[one], wanted)
    ]
    if unfit:
        text = f"{', '.join(unfit)}: {command.replace('install', 'install -U')}"
        return Finding(part=part, name=name, state="broken", text=text)
    listed = ", ".join(f"{one} {found}" for one, found in versions.items())
    return Finding(part=part, name=name, state="fine", text=listed.removeprefix(f"{name} "))


def fits(found: str | None, wanted: str) -> bool:
    """Whether a version is in a requirement's range, such as `>=3.50,<4`; compares only the leading numbers."""
    number = _numbers(found or "")
    for clause in filter(None, wanted.split(",")):
        bound = _numbers(clause.lstrip("<>=~! "))
        if (clause.startswith(">=") and number < bound) or (
            clause.startswith("<") and clause[1] != "=" and number >= bound
        ):
            return False
    return True


def _numbers(text: str) -> tuple[int, ...]:
    numbers = [int(one) for one in re.match(r"[\d.]*", text.strip())[0].split(".") if one]  # type: ignore[index]  # May be empty, but matches.
    while numbers and not numbers[-1]:
        numbers.pop()  # 4.0 is 4.
    return tuple(numbers)


def _providers(environ: Mapping[str, str]) -> Iterator[Finding]:
    for vendor in VENDORS.values():
        if names := _variables(vendor, environ):
            yield _of_vendor(vendor, names, environ)
        elif vendor.hosted:
            wanted = vendor.key_variables or next(iter(vendor.places.values()))
            text = f"no {'key' if vendor.key_variables else 'project'}: set {' or '.join(wanted)}"
            yield Finding(part="providers", name=vendor.name, state="absent", text=text)


def _of_vendor(vendor: Vendor, names: list[str], environ: Mapping[str, str]) -> Finding:
    url = next((environ[name].strip() for name in vendor.url_variables if environ.get(name, "").strip()), None)
    is_set = f"{' and '.join(names)} {'is' if len(names) == 1 else 'are'} set"
    try:
        access = find_access(vendor, api_key=None, base_url=None, allow_http=False, environ=environ)
        _resolved(Model(vendor.name, "any"))
    except MissingDependencyError as problem:
        return Finding(part="providers", name=vendor.name, state="absent", text=f"{is_set}, but: {problem}")
    except Exception as problem:  # noqa: BLE001  # A broken SDK may raise anything when it is imported.
        # A refused address may contain a password, or a key in its query.
        said = _in_words(problem)
        text = f"{is_set}, but: {said.replace(repr(url), 'its value') if url else said}"
        return Finding(part="providers", name=vendor.name, state="broken", text=text)
    text = f"{is_set}, for {origin_of(access.base_url)}"
    if access.credentials is not None and access.key is None:
        text += "; the credentials of this machine are looked for when a run begins"
    return Finding(part="providers", name=vendor.name, state="fine", text=text)


def _variables(vendor: Vendor, environ: Mapping[str, str]) -> list[str]:
    # A cloud needs no key, but a project or a region.
    places = [name for names in vendor.places.values() for name in names] if vendor.auth in AMBIENT else []
    names = (*vendor.key_variables, *vendor.url_variables, *places)
    return [name for name in names if environ.get(name, "").strip()]


def _resolved(model: Any) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", SmeltWarning)
        return resolve_model(model)


def _settings() -> Iterator[Finding]:
    for name in OPTIONS:
        try:
            value = setting(name)
        except SmeltConfigError as problem:
            yield Finding(part="settings", name=name, state="broken", text=str(problem))
            continue
        if name == "model":
            yield from _of_model()
        elif value is not None and name != "ledger":  # The ledger has its own part.
            text = str(value) if isinstance(value, bool | int | float | str) else "is set"  # params may hold a header.
            yield Finding(part="settings", name=name, state="fine", text=text)


def _of_model() -> Iterator[Finding]:
    provider = None
    try:
        model = default_model()
        if model is None:
            yield _of_no_model()
            return
        name = called(model)
        if not (isinstance(model, Model) and model.provider == LOCAL.name):  # The part "embedded model" covers it.
            provider = _resolved(model)
    except Exception as problem:  # noqa: BLE001  # As above.
        yield Finding(part="settings", name="model", state="broken", text=_in_words(problem))
        return
    yield Finding(part="settings", name="model", state="fine", text=name)
    if provider is not None:
        yield _of_price(provider)


def _of_price(provider: Provider) -> Finding:
    source = source_of(provider)
    text = source or "not known, so max_cost does not work: name it, as smelt.Model(…, price={…}) or priced_as=…"
    return Finding(part="settings", name="price", state="fine" if source else "absent", text=text)


def _in_words(problem: Exception) -> str:
    return str(problem) if isinstance(problem, SmeltError) else f"{type(problem).__name__}: {problem}"


def _of_no_model() -> Finding:
    if installed("xllamacpp"):
        text = "the embedded model, until you set SMELT_MODEL"
        return Finding(part="settings", name="model", state="fine", text=text)
    text = 'none: pass model="openai:gpt-4.1-mini" or set SMELT_MODEL'
    return Finding(part="settings", name="model", state="absent", text=text)


def _ledger(environ: Mapping[str, str]) -> Iterator[Finding]:
    chosen = setting("ledger")
    if chosen is False:
        yield Finding(part="ledger", name="file", state="fine", text="switched off")
        return
    try:
        url = chosen if isinstance(chosen, str) and is_url(chosen) else named_url(environ)
        if url is not None:
            yield Finding(
                part="ledger", name="answer store", state="fine", text=f"{shown_url(url)}, which was not asked"
            )
        path = Path(chosen) if isinstance(chosen, str) and url is None else default_path(environ)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", SmeltWarning)  # Opening repairs file permissions, and warns about it.
            with open_ledger(path) as opened:
                runs, answers = len(opened.runs()), opened.count()
        size = sum(one.stat().st_size for one in (path, path.with_name(f"{path.name}-wal")) if one.exists())
        text = f"{path}, {size / 1e6:,.1f} MB, {counted(answers, 'row')} from {counted(runs, 'run')}"
        yield Finding(part="ledger", name="file", state="fine", text=text)
    except StoreNotFoundError:
        yield Finding(part="ledger", name="file", state="absent", text=f"{path}, which the first run makes")
    except StoreError as problem:
        yield Finding(part="ledger", name="file", state="broken", text=str(problem))


def _embedded() -> Iterator[Finding]:
    found = installed("xllamacpp")
    text = f"xllamacpp {found}" if found else f"not installed: pip install '{_DISTRIBUTION}[{LOCAL.extra}]'"
    yield Finding(part="embedded model", name="runtime", state="fine" if found else "absent", text=text)
    for weights in CATALOG.values():
        here = is_here(weights)
        text = f"here, {weights.size / 1e6:,.0f} MB" if here else f"not here: {weights.command}"
        yield Finding(part="embedded model", name=weights.name, state="fine" if here else "absent", text=text)
