"""Addresses: which may be asked at all, and what they name."""

from __future__ import annotations

import ipaddress
import re
import socket
from urllib.parse import urlsplit

from smelt.errors import SmeltConfigError


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
    if not _HOST.fullmatch(parts.hostname):
        raise SmeltConfigError(f"{source} has characters in its host that no host has: {parts.hostname!r}.")
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


_HOST = re.compile(r"[A-Za-z0-9._-]+|[0-9A-Fa-f:.]+(?:%[\w.-]+)?")  # A name, or an IPv6 address, perhaps with a zone.
_METADATA_NAMES = frozenset({"metadata", "metadata.google.internal", "metadata.goog", "instance-data"})
# AWS over IPv6, Alibaba, Oracle. The common 169.254.169.254 is link-local.
_METADATA_ADDRESSES = frozenset({"fd00:ec2::254", "100.100.100.200", "192.0.0.192"})


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
