"""Keys and base URLs: where they come from, and which ones are refused before a request is sent.

A key belongs to the address that it was given for.
"""

from __future__ import annotations

import ipaddress
import re
import socket
from collections.abc import Mapping
from dataclasses import dataclass
from typing import NoReturn
from urllib.parse import urlsplit

from smelt.errors import AuthConfigError, InsecureURLError, SmeltConfigError
from smelt.providers.places import address_of, is_own_host
from smelt.providers.secrets import Secret
from smelt.providers.vendor import Vendor
from smelt.providers.vendors import owners_of


@dataclass(frozen=True, kw_only=True)
class Access:
    """A base URL and its key; through a Unix socket, if one is named.

    Attributes:
        base_url: The address.
        key: The key.
        socket: The Unix socket.
        is_account_wide: Whether the whole host is one service, which limits an account over all paths.
    """

    base_url: str
    key: Secret | None = None
    socket: str | None = None
    is_account_wide: bool = False

    @property
    def deployment(self) -> str:
        """What a limit, a pause or an outage applies to: a gateway or Azure has several deployments on one host."""
        return self.origin if self.is_account_wide else self.origin + urlsplit(self.base_url).path.rstrip("/")

    @property
    def origin(self) -> str:
        return origin_of(self.base_url)

    @property
    def secrets(self) -> tuple[Secret, ...]:
        """The secrets to redact from every text."""
        return () if self.key is None else (self.key,)


def find_access(
    vendor: Vendor,
    *,
    api_key: Secret | None,
    base_url: str | None,
    allow_http: bool,
    environ: Mapping[str, str],
    needs_key: bool = True,
) -> Access:
    """Find address and key of *vendor*: the argument first, then its environment variables, then the default.

    With *needs_key* false a missing key or place is no error, because nothing is sent; a malformed one still is.

    Raises:
        AuthConfigError: The key is missing, malformed, or meant for another place.
        InsecureURLError: The key would travel in clear text.
        SmeltConfigError: The address is malformed or must not be used.
    """
    url, url_source = address_of(vendor, base_url, environ, is_needed=needs_key)
    key, key_source = _find_key(vendor, api_key, environ)
    check_base_url(url, source=url_source)
    is_own = is_own_host(vendor, url) or (vendor.base_url is not None and origin_of(url) == origin_of(vendor.base_url))
    access = Access(base_url=url.rstrip("/"), key=key, is_account_wide=vendor.hosted and is_own)
    if key is None:
        if vendor.hosted and needs_key:
            _refuse_missing_key(vendor)
        return access
    check_key(key.reveal(), source=key_source)
    if vendor.hosted and url_source not in vendor.url_variables and api_key is None and not is_own:
        raise AuthConfigError(
            f"The key in {key_source} is not sent to {access.origin}, an address given as {url_source}. "
            "If it is meant for that server, pass it as api_key= too."
        )
    if (owner := _foreign_owner(access, vendor)) and vendor.hosted and is_own:
        raise AuthConfigError(f"{key_source} looks like a key of {owner}, and was given for {vendor.name}.")
    if url.lower().startswith("http:") and not is_loopback(access.base_url) and not allow_http:
        raise InsecureURLError(
            f"The key would be sent to {access.origin} in clear text. Use https://, or allow_http=True if you trust "
            "every network on the way."
        )
    return access


def doubt_about(access: Access, vendor: Vendor) -> str | None:
    """A warning if the key looks like another company's. A gateway's own keys often do."""
    if not vendor.key_variables:  # The key was given for this very address.
        return None
    owner = _foreign_owner(access, vendor)
    return owner and f"The key for {vendor.name} at {access.origin} looks like a key of {owner}."


def check_key(key: object, *, source: str) -> None:
    """Refuse a string that cannot be a key. The message never contains it.

    Raises:
        AuthConfigError: Says what is wrong.
    """
    if not isinstance(key, str):
        raise AuthConfigError(f"{source} must be a string, not a {type(key).__name__}.")
    if not key.strip():
        raise AuthConfigError(f"{source} is blank.")
    if key != key.strip():
        raise AuthConfigError(f"{source} has spaces or a line end around it. Remove them.")
    if not key.isascii() or not key.isprintable() or " " in key:
        raise AuthConfigError(f"{source} has characters that no key has. Copy it again.")


def check_base_url(url: object, *, source: str) -> None:
    """Refuse a URL that is not an API's base URL, and link-local and cloud-metadata addresses.

    Raises:
        SmeltConfigError: Names *source*.
    """
    if not isinstance(url, str):
        raise SmeltConfigError.for_type(source, url, 'a URL, like "http://localhost:8000/v1"')
    if not url.isascii() or not url.isprintable() or " " in url:
        raise SmeltConfigError(f"{source} has characters that no URL has.")
    try:
        parts, port = urlsplit(url), urlsplit(url).port
    except ValueError:
        raise SmeltConfigError(f"{source} is not a URL.") from None
    if parts.username is not None or parts.password is not None:
        raise SmeltConfigError(f"{source} holds a user name or password. Pass the key as api_key= instead.")
    if parts.scheme not in ("http", "https"):
        raise SmeltConfigError(f"{source} must begin with https:// or http://, not {url!r}.")
    if not parts.hostname or port == 0:
        raise SmeltConfigError(f"{source} names no host to ask: {url!r}.")
    if "?" in url or "#" in url:
        raise SmeltConfigError(f"{source} must end with the path, without a query or fragment.")
    if is_private_to_cloud(parts.hostname):
        raise SmeltConfigError(
            f"{source} is {parts.hostname}, a link-local or cloud-metadata address; nothing is sent to it."
        )


def origin_of(url: str) -> str:
    """Scheme, host and port of *url*; the port only if it is not the scheme's default."""
    parts = urlsplit(url)
    host = parts.hostname or ""
    host = f"[{host}]" if ":" in host else host
    usual = {"https": 443, "http": 80}.get(parts.scheme)
    return f"{parts.scheme}://{host}" + (f":{parts.port}" if parts.port not in (None, usual) else "")


def is_loopback(url: str) -> bool:
    """Whether *url* names this machine."""
    host = urlsplit(url).hostname or ""
    address = _address(host)
    return address.is_loopback if address else host == "localhost" or host.endswith(".localhost")


def is_private_to_cloud(host: str) -> bool:
    """Whether *host* is link-local or a cloud's metadata service, in any notation."""
    name = host.lower().rstrip(".")
    if name in _METADATA_NAMES:
        return True
    address = _address(name)
    return address is not None and (
        address.is_link_local or address.is_unspecified or str(address) in _METADATA_ADDRESSES
    )


_METADATA_NAMES = frozenset({"metadata", "metadata.google.internal", "metadata.goog", "instance-data"})
# AWS over IPv6, Alibaba, Oracle. The common 169.254.169.254 is link-local.
_METADATA_ADDRESSES = frozenset({"fd00:ec2::254", "100.100.100.200", "192.0.0.192"})


def _find_key(vendor: Vendor, api_key: Secret | None, environ: Mapping[str, str]) -> tuple[Secret | None, str]:
    if api_key is not None:
        return api_key, "api_key"
    for variable in vendor.key_variables:
        if variable in environ and environ[variable] != "":
            return Secret(environ[variable]), variable
    return None, "api_key"


def _refuse_missing_key(vendor: Vendor) -> NoReturn:
    variables = " or ".join(vendor.key_variables)
    raise AuthConfigError(
        f"There is no key for {vendor.name}. Set {variables}, or pass smelt.Model({vendor.name!r}, …, api_key=…)."
    )


def _foreign_owner(access: Access, vendor: Vendor) -> str | None:
    """The vendor that the key's prefix belongs to, if it is not *vendor*."""
    owners = owners_of(access.key.reveal()) if access.key else []
    return owners[0] if owners and vendor.name not in owners else None


def _address(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    """The IP address that *host* spells: also in octal, hexadecimal or integer notation, or IPv4 mapped into IPv6."""
    try:
        address = ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        if not re.fullmatch(r"[0-9a-fA-Fx.]+", host) or not host[0].isdigit():
            return None
        try:
            address = ipaddress.IPv4Address(socket.inet_aton(host))
        except OSError:
            return None
    mapped = getattr(address, "ipv4_mapped", None)
    return mapped or address
