"""Signatures for AWS (Signature Version 4), by botocore, in line. No boto3, whose clients are synchronous."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from typing import Any

from smelt.errors import MissingDependencyError
from smelt.providers.credentials import Memory, NotAuthorised
from smelt.providers.redact import redact
from smelt.providers.secrets import Hidden, Secret

_REGION = re.compile(r"//(?:[\w-]+\.)?bedrock[\w-]*\.([a-z]{2,}(?:-[a-z0-9]+)+)\.")
_HELP = (
    "Set AWS_PROFILE, or AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_BEARER_TOKEN_BEDROCK; with single "
    "sign-on, run `aws sso login`."
)


class SigV4(Hidden):
    """Signs with the credentials that botocore finds: variables, profiles, single sign-on, roles of the machine.

    They are read for every request, because roles rotate; botocore itself fetches new ones before they end.
    """

    def __init__(self, *, account: str, region: str, service: str, extra: str) -> None:
        self.account = account
        self._service = service
        self._region = region
        self._extra = extra
        self._memory = Memory()
        self._credentials: Any = None

    @property
    def secrets(self) -> tuple[Secret, ...]:
        return self._memory.secrets

    async def headers(self, method: str, url: str, body: bytes) -> Mapping[str, str]:
        keys = self._keys()
        from botocore.auth import SigV4Auth
        from botocore.awsrequest import AWSRequest

        request = AWSRequest(method=method, url=url, data=body)
        SigV4Auth(keys, self._service, self._region).add_auth(request)
        return {name.lower(): value for name, value in request.headers.items()}

    async def renewed(self, used: Mapping[str, str]) -> bool:
        if _signed_with(used, self._keys()):
            self._credentials = None  # Found anew: also a file or a variable that somebody has changed since.
        return not _signed_with(used, self._keys())

    def _keys(self) -> Any:
        """The keys of this moment, which do not change while a request is signed."""
        if self._credentials is None:
            self._credentials = self._found()
        exceptions = _botocore(self._extra).exceptions
        try:
            keys = self._credentials.get_frozen_credentials()
        except exceptions.BotoCoreError as problem:
            raise _refused(problem, exceptions) from None
        self._memory.keep(keys.secret_key, keys.token)
        return keys

    def _found(self) -> Any:
        exceptions = _botocore(self._extra).exceptions
        try:
            session = _session(self._extra)
            found = session.get_credentials()
            self._region = self._region or session.get_config_variable("region") or ""
        except (exceptions.BotoCoreError, exceptions.ClientError) as problem:
            raise _refused(problem, exceptions) from None
        if found is None:
            raise NotAuthorised(f"There are no credentials for AWS. {_HELP}")
        if not self._region:
            raise NotAuthorised("The region of AWS is not known. Set AWS_REGION.")
        return found


def region_in(url: str) -> str | None:
    """The region in the address of an endpoint of Bedrock."""
    match = _REGION.search(url)
    return match[1] if match else None


def region(extra: str) -> str | None:
    """The region that the profile of this machine names, if any."""
    botocore = _botocore(extra)
    try:
        found = _session(extra).get_config_variable("region")
    except botocore.exceptions.BotoCoreError:  # A profile that does not exist; said when it is used.
        return None
    return found if isinstance(found, str) else None


def _botocore(extra: str) -> Any:
    try:
        import botocore.exceptions
        import botocore.session
    except ModuleNotFoundError:
        raise MissingDependencyError.for_extra(extra, "botocore") from None
    return botocore


def _session(extra: str) -> Any:
    session = _botocore(extra).session.Session()
    bundle = os.environ.get("SSL_CERT_FILE")
    if bundle and not session.get_config_variable("ca_bundle"):
        session.set_config_variable("ca_bundle", bundle)  # For the requests that fetch credentials.
    return session


def _refused(problem: Exception, exceptions: Any) -> NotAuthorised:
    is_passing = isinstance(problem, exceptions.HTTPClientError)
    return NotAuthorised(f"AWS gave no credentials: {redact(str(problem)).rstrip('.')}. {_HELP}", is_passing=is_passing)


def _signed_with(used: Mapping[str, str], keys: Any) -> bool:
    same_key = f"Credential={keys.access_key}/" in used.get("authorization", "")
    return same_key and used.get("x-amz-security-token") == keys.token
