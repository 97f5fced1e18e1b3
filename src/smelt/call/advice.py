"""Advice for the user after a provider failure that stops the run."""

from __future__ import annotations

from smelt.providers.access import is_loopback
from smelt.providers.base import CallFailed, Provider
from smelt.providers.vendors import LOCAL, VENDORS

_SCHEMA = "smelt.explain(...) shows the schema that is sent; params= is sent unchanged."


def advice(failure: CallFailed, provider: Provider) -> str:
    """One or two sentences about what to check first; empty if no advice is known."""
    if provider.name == LOCAL.name:  # The error messages of the embedded model say what to do.
        return ""
    match failure.kind:
        case "auth":
            return f"Check {_key_of(provider)}, and whether it may use {provider.model!r}."
        case "quota":
            return "Check the credit and the limits of the account, then run again."
        case "not_found":
            return f"Check the model's name, {provider.model!r}, and the address, {provider.origin}."
        case "schema":
            return _SCHEMA
        case "connection" | "timeout" | "certificate" if is_loopback(provider.origin):
            return "Is the server running, and is this its address?"
        case "connection" | "timeout":
            return "Is this machine online, and is the address right? A proxy is taken from HTTPS_PROXY."
        case "no_files":
            return "Allow this process more open files (ulimit -n), or fewer requests at a time (concurrency=)."
        case "certificate":
            return "If your company's proxy signs the traffic, set SSL_CERT_FILE to its certificate."
    return ""


def _key_of(provider: Provider) -> str:
    vendor = VENDORS.get(provider.name)
    return f"the key ({' or '.join(vendor.key_variables)}, or api_key=)" if vendor else "the key"
