"""Keys and base URLs: where they come from, and which ones are refused before a request is sent.

A key belongs to the address that it was given for.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NoReturn
from urllib.parse import urlsplit

from smelt.errors import AuthConfigError, InsecureURLError
from smelt.providers.addresses import check_base_url, is_loopback, origin_of
from smelt.providers.ambient import found_places, of_this_machine
from smelt.providers.credentials import Credentials, Given
from smelt.providers.places import address_of, is_bare, is_own_host
from smelt.providers.secrets import KeySource, Secret, check_key
from smelt.providers.vendor import AMBIENT, Vendor
from smelt.providers.vendors import owners_of


@dataclass(frozen=True, kw_only=True)
class Access:
    """A base URL and its key; through a Unix socket, if one is named.

    Attributes:
        base_url: The address.
        key: The key.
        credentials: What authorises requests instead of the SDK; None if the SDK sends the key.
        socket: The Unix socket.
        is_account_wide: Whether the whole host is one service, which limits an account over all paths.
    """

    base_url: str
    key: Secret | None = None
    credentials: Credentials | None = None
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
        """The secrets to redact from every text. Those of credentials change while a run lasts."""
        key = () if self.key is None else (self.key,)
        return key if self.credentials is None else (*key, *self.credentials.secrets)

    @property
    def account(self) -> Secret | None:
        """What tells accounts apart: the key, or the account of the credentials."""
        return self.key or (Secret(self.credentials.account) if self.credentials else None)


def find_access(
    vendor: Vendor,
    *,
    api_key: Secret | KeySource | None,
    base_url: str | None,
    allow_http: bool,
    environ: Mapping[str, str],
    needs_key: bool = True,
) -> Access:
    """Find address and key of *vendor*: the argument first, then its environment variables, then the default.

    A cloud without a key is asked with the credentials of this machine; they are loaded when the run begins.

    With *needs_key* false a missing key or place is no error, because nothing is sent; a malformed one still is.

    Raises:
        AuthConfigError: The key is missing, malformed, or meant for another place.
        InsecureURLError: The key would travel in clear text.
        SmeltConfigError: The address is malformed or must not be used.
    """
    if needs_key and (base_url is None or is_bare(base_url)):
        environ = {**found_places(vendor, environ), **environ}
    url, url_source = address_of(vendor, base_url, environ, is_needed=needs_key)
    source, source_name = _find_key(vendor, api_key, environ)
    check_base_url(url, source=url_source)
    is_own = is_own_host(vendor, url) or (vendor.base_url is not None and origin_of(url) == origin_of(vendor.base_url))
    key = source if isinstance(source, Secret) else None
    url = url.rstrip("/")
    access = Access(
        base_url=url,
        key=key,
        credentials=_credentials(vendor, source, url, environ, is_own=vendor.hosted and is_own),
        is_account_wide=vendor.hosted and is_own,
    )
    if key is not None:
        check_key(key.reveal(), source=source_name)
    if access.account is None:
        if vendor.hosted and needs_key:
            _refuse_missing_key(vendor)
        return access
    if vendor.hosted and url_source not in vendor.url_variables and api_key is None and not is_own:
        what = f"The key in {source_name} is" if key else f"{source_name} are"
        raise AuthConfigError(
            f"{what} not sent to {access.origin}, an address given as {url_source}. "
            f"If {'it is' if key else 'they are'} meant for that server, pass {'it' if key else 'a key'} as api_key= "
            "too."
        )
    if (owner := _foreign_owner(access, vendor)) and vendor.hosted and is_own:
        raise AuthConfigError(f"{source_name} looks like a key of {owner}, and was given for {vendor.name}.")
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


def _find_key(
    vendor: Vendor, api_key: Secret | KeySource | None, environ: Mapping[str, str]
) -> tuple[Secret | KeySource | None, str]:
    if api_key is not None:
        return api_key, "api_key"
    for variable in vendor.key_variables:
        if variable in environ and environ[variable] != "":
            return Secret(environ[variable]), variable
    return None, "The credentials of this machine" if vendor.auth in AMBIENT else "api_key"


def _credentials(
    vendor: Vendor, source: Secret | KeySource | None, url: str, environ: Mapping[str, str], *, is_own: bool
) -> Credentials | None:
    """What authorises requests to *url*; None if there is no key, or a plain key that the SDK sends itself."""

    def refuse(key: str) -> None:
        owners = owners_of(key)
        if owners and vendor.name not in owners:
            returned = f"The function in api_key= returned what looks like a key of {owners[0]}"
            raise AuthConfigError(f"{returned}, and was given for {vendor.name}.")

    if source is None:
        return of_this_machine(vendor, url, environ)
    if isinstance(source, KeySource) or vendor.auth in ("entra", *AMBIENT):
        return Given(vendor.auth, source, account=url, refuse=refuse if is_own else None)
    return None


def _refuse_missing_key(vendor: Vendor) -> NoReturn:
    variables = " or ".join(vendor.key_variables)
    raise AuthConfigError(
        f"There is no key for {vendor.name}. Set {variables}, or pass smelt.Model({vendor.name!r}, …, api_key=…)."
    )


def _foreign_owner(access: Access, vendor: Vendor) -> str | None:
    """The vendor that the key's prefix belongs to, if it is not *vendor*."""
    owners = owners_of(access.key.reveal()) if access.key else []
    return owners[0] if owners and vendor.name not in owners else None
