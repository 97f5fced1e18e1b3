"""Advice for the user after a provider failure that stops the run."""

from __future__ import annotations

from smelt.errors import SmeltConfigError
from smelt.providers.addresses import is_loopback
from smelt.providers.base import Billing, CallFailed, Provider
from smelt.providers.vendor import AMBIENT
from smelt.providers.vendors import LOCAL, VENDORS

_SCHEMA = "smelt.explain(...) shows the schema that is sent; params= is sent unchanged."
_NO_SCHEMA = " If the model takes no schema, pass params={'response_format': {'type': 'json_object'}}."


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
            return f"Check {_name_of(provider)}, {provider.model!r}, and the address, {_address_of(provider)}."
        case "protocol" if failure.billing is Billing.PAID_BAD:
            return "smelt.explain(...) shows what is sent. Does this model follow instructions?"
        case "schema":
            return _SCHEMA + (_NO_SCHEMA if _takes_a_format(provider) else "")
        case "no_media":
            return "Choose a model that takes them, or leave their column out with columns=[...]."
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
    if vendor is None:
        return "the key"
    what = "the credentials of this machine or the key" if vendor.auth in AMBIENT else "the key"
    return f"{what} ({' or '.join((*vendor.key_variables, 'api_key='))})"


def _name_of(provider: Provider) -> str:
    vendor = VENDORS.get(provider.name)
    return "the deployment's name" if vendor is not None and vendor.auth == "entra" else "the model's name"


def _address_of(provider: Provider) -> str:
    """The origin, and the variables that are a part of the address, which may be what is wrong with it."""
    vendor = VENDORS.get(provider.name)
    names = [" or ".join(variables) for variables in vendor.places.values()] if vendor else []
    return f"{provider.origin} (from {' and '.join(names)})" if names else provider.origin


def _takes_a_format(provider: Provider) -> bool:
    try:
        provider.check_params({"response_format": {"type": "json_object"}})
    except SmeltConfigError:
        return False
    return provider.name in VENDORS
