"""TLS context and proxy of a connection, from the environment; loaded only if the connection needs them."""

from __future__ import annotations

import os
import ssl
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass_environment  # type: ignore[attr-defined]  # Not in typeshed.

import httpx2

from smelt.errors import SmeltConfigError
from smelt.providers.addresses import is_loopback

_SCHEMES = ("http", "https", "socks5", "socks5h")


def tls_for(base_url: str, proxy: httpx2.Proxy | None = None) -> ssl.SSLContext:
    """The TLS context for *base_url*; loads no certificates if neither the server nor the proxy uses https.

    Raises:
        SmeltConfigError: The environment names certificates that cannot be read.
    """
    is_needed = base_url.startswith("https:") or (proxy is not None and proxy.url.scheme == "https")
    return tls() if is_needed else bare()


def tls() -> ssl.SSLContext:
    """The TLS context with the certificates that the environment names now, else with the system's.

    Raises:
        SmeltConfigError: They cannot be read.
    """
    return _context(os.environ.get("SSL_CERT_FILE", ""), os.environ.get("SSL_CERT_DIR", ""))


@cache
def bare() -> ssl.SSLContext:
    """A TLS context without certificates, for connections without TLS: loading the system's takes 40 ms."""
    return ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)


def proxy_to(base_url: str) -> httpx2.Proxy | None:
    """The proxy that the environment, or the system, names for *base_url*; None for servers on this machine.

    A proxy cannot reach them, and should not see their keys.

    Raises:
        SmeltConfigError: It cannot be used; names the variable, but not its value, which may hold a password.
    """
    parts = urlsplit(base_url)
    if is_loopback(base_url):
        return None
    proxies = getproxies()
    named = next((name for name in (parts.scheme, "all") if proxies.get(name)), None)
    if named is None or proxy_bypass_environment(parts.netloc, proxies):
        return None
    value = proxies[named] if "://" in proxies[named] else f"http://{proxies[named]}"
    try:
        proxy = httpx2.Proxy(value)
    except (ValueError, httpx2.InvalidURL):
        proxy = None
    if proxy is None or proxy.url.scheme not in _SCHEMES or not proxy.url.host:
        raise SmeltConfigError(f"{_variable(named)} is not the URL of a proxy. Correct it, or unset it.")
    if proxy.url.scheme.startswith("socks") and find_spec("socksio") is None:
        raise SmeltConfigError(
            f"{_variable(named)} names a SOCKS proxy, for which the package socksio is missing: pip install socksio. "
            f"Or list {parts.hostname} in NO_PROXY."
        )
    return proxy


def _variable(name: str) -> str:
    """The environment variable that gives the proxy for *name*; the lower-case one has priority."""
    names = (f"{name}_proxy", f"{name}_proxy".upper())
    return next((one for one in names if os.environ.get(one)), "The system's setting for proxies")


@cache
def _context(file: str, directory: str) -> ssl.SSLContext:
    """One context per process: loading the system's certificates takes 40 ms."""
    for variable, path in (("SSL_CERT_FILE", file), ("SSL_CERT_DIR", directory)):
        if path and not Path(path).exists():
            raise SmeltConfigError(f"{variable} names {path}, which does not exist. Correct it, or unset it.")
        if path:
            break  # SSL_CERT_DIR counts only if SSL_CERT_FILE is not set.
    try:
        return httpx2.create_ssl_context()
    except (OSError, ValueError) as problem:
        reason = problem.strerror if isinstance(problem, OSError) and problem.strerror else str(problem)
    variable = "SSL_CERT_FILE" if file else "SSL_CERT_DIR" if directory else "The system's store"
    raise SmeltConfigError(f"{variable} has certificates that cannot be read: {reason}.")
