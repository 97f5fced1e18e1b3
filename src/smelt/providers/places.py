"""The address of a vendor: the places in it, such as an account or a region, and the vendor's own hosts."""

from __future__ import annotations

import re
from collections.abc import Mapping
from fnmatch import fnmatchcase
from urllib.parse import urlsplit

from smelt.errors import SmeltConfigError
from smelt.providers.vendor import Vendor

# A part of a host name or of a path. Anything else, such as "evil.example/", would change where the key goes.
_PROJECT = re.compile(r"(?P<root>https?://.+?)/v1[a-z0-9]*/projects/(?P<project>[^/]+)/locations/(?P<location>[^/]+)")
_VALUE = re.compile(r"[A-Za-z0-9](?:[\w.-]*[A-Za-z0-9])?", re.ASCII)


def address_of(
    vendor: Vendor, base_url: str | None, environ: Mapping[str, str], *, is_needed: bool = True
) -> tuple[str, str]:
    """The base URL of *vendor*, and where it is from: the name of an environment variable, or "base_url".

    The argument *base_url* counts first, then the vendor's variables for a whole address, then the address in its row
    with the places filled in from the environment. If it is not needed, a place may be unknown. An address
    that is only a host gets the vendor's path.

    Raises:
        SmeltConfigError: An address, or a place in it, is not known or malformed. Says which variable to set.
    """
    if base_url is not None:
        return _with_path(vendor, base_url, environ, is_needed), "base_url"
    for variable in vendor.url_variables:
        if environ.get(variable, "").strip():
            return _with_path(vendor, environ[variable].strip(), environ, is_needed), variable
    if vendor.base_url is None and not is_needed:
        return f"https://{vendor.name}.invalid", "base_url"  # Nothing is sent, and nothing has this address (RFC 2606).
    if vendor.base_url is None:
        ways = [*(f"set {one}" for one in vendor.url_variables), _given(vendor)]
        raise SmeltConfigError(f"{vendor.name} needs the address of a server: {' or '.join(ways)}.")
    return _filled(vendor, vendor.base_url, environ, is_needed)


def _with_path(vendor: Vendor, url: str, environ: Mapping[str, str], is_needed: bool) -> str:
    if not vendor.path or not is_bare(url):
        return url
    return url.rstrip("/") + _filled(vendor, vendor.path, environ, is_needed)[0]


def is_bare(url: str) -> bool:
    """Whether *url* is only a host."""
    return re.fullmatch(r"https?://[^/?#]+/?", url) is not None


def is_own_host(vendor: Vendor, url: str) -> bool:
    """Whether *url* is on one of the vendor's `own_hosts`, by https and the usual port."""
    parts = urlsplit(url)
    if parts.scheme != "https" or parts.port not in (None, 443):
        return False
    return any(_is_like(parts.hostname or "", one) for one in vendor.own_hosts)


def project_in(base_url: str) -> tuple[str, str, str]:
    """Root, project and location in the address of a project.

    Raises:
        SmeltConfigError: It names no project or no location.
    """
    match = _PROJECT.fullmatch(base_url)
    if match is None:
        raise SmeltConfigError(
            "The base_url of vertex must end with /v1/projects/PROJECT/locations/LOCATION, or be only a host: then the "
            "project is that of GOOGLE_CLOUD_PROJECT."
        )
    return match["root"], match["project"], match["location"]


def _is_like(host: str, pattern: str) -> bool:
    """Whether *host* fits *pattern*: `*.` at its beginning stands for any labels, any other `*` is within one label."""
    labels, wanted = host.split("."), pattern.removeprefix("*.").split(".")
    if pattern.startswith("*."):
        labels = labels[-len(wanted) :] if len(labels) > len(wanted) else []
    return len(labels) == len(wanted) and all(map(fnmatchcase, labels, wanted))


def _filled(vendor: Vendor, url: str, environ: Mapping[str, str], is_needed: bool) -> tuple[str, str]:
    """*url* with every place that is known; the source is the last variable that filled one."""
    source = "base_url"
    for place, variables in vendor.places.items():
        if f"{{{place}}}" not in url:
            continue
        variable = next((one for one in variables if environ.get(one, "").strip()), None)
        if variable is not None:
            rest = url.partition(f"{{{place}}}")[2].partition("/")[0]  # Users write it, too, as in "me.example.com".
            value = _value_of(variable, environ).removesuffix(rest)
            url, source = url.replace(f"{{{place}}}", value), variable
        elif place in vendor.usual_places:
            url = url.replace(f"{{{place}}}", vendor.usual_places[place])
        elif is_needed:
            names = " or ".join(variables)
            raise SmeltConfigError(f"{vendor.name} needs its {place}: set {names}, or {_given(vendor)}.")
        else:
            url = url.replace(f"{{{place}}}", "unknown")
    for spelt, other in vendor.rewritten.items():
        url = url.replace(spelt, other)
    return url, source


def _value_of(variable: str, environ: Mapping[str, str]) -> str:
    value = environ[variable].strip().removeprefix("https://").rstrip("/")  # DATABRICKS_HOST is often a URL.
    if not _VALUE.fullmatch(value):
        raise SmeltConfigError(f"{variable} must be a plain name of letters, digits, '.', '-' and '_'. Correct it.")
    return value


def _given(vendor: Vendor) -> str:
    return f"pass the whole address, as smelt.Model({vendor.name!r}, …, base_url=…)"
