"""Tokens of Google: Application Default Credentials, by google-auth, fetched in line over an HTTP client of ours.

google-auth's own transports would load another HTTP library, which reads other variables for certificates. Its
background refresh would start a thread; here only `refresh` is called, which does not.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx2

from smelt.errors import MissingDependencyError, SmeltConfigError
from smelt.providers.addresses import is_private_to_cloud, origin_of
from smelt.providers.credentials import Memory, NotAuthorised
from smelt.providers.redact import redact
from smelt.providers.secrets import Hidden, Secret
from smelt.providers.ways import proxy_to, tls_for

_SCOPES = ["https://www.googleapis.com/auth/cloud-platform"]
_EARLY = timedelta(minutes=5)
_PAUSE = timedelta(seconds=20)  # After a failed early refresh, while the old token is still valid.
_SECONDS = 10.0  # For one request for a token; the loop waits for it.
_HELP = (
    "Run `gcloud auth application-default login`, or set GOOGLE_APPLICATION_CREDENTIALS to a credentials file, "
    "or pass api_key= a function that returns an access token."
)


class ApplicationDefault(Hidden):
    """Application Default Credentials: of a file, of gcloud, or of the machine in Google's cloud.

    A token is fetched when less than five minutes of the last one are left.
    """

    def __init__(self, *, account: str, extra: str) -> None:
        self.account = account
        self._extra = extra
        self._memory = Memory()
        self._credentials: Any = None
        self._tried = datetime.min.replace(tzinfo=UTC)

    @property
    def secrets(self) -> tuple[Secret, ...]:
        return self._memory.secrets

    async def headers(self, method: str, url: str, body: bytes) -> Mapping[str, str]:
        credentials = self._loaded()
        left = _left(credentials)
        if left < _EARLY and (left <= timedelta() or datetime.now(UTC) - self._tried > _PAUSE):
            self._refresh(credentials, is_needed=left <= timedelta())
        found = {"authorization": f"Bearer {credentials.token}"}
        if project := getattr(credentials, "quota_project_id", None):
            found["x-goog-user-project"] = project  # A user's own credentials are billed to it.
        return found

    async def renewed(self, used: Mapping[str, str]) -> bool:
        credentials = self._loaded()
        if used.get("authorization") == f"Bearer {credentials.token}":
            self._refresh(credentials, is_needed=True)
        return bool(used.get("authorization") != f"Bearer {credentials.token}")

    def _loaded(self) -> Any:
        if self._credentials is None:
            self._credentials, _ = _default(self._extra)
        return self._credentials

    def _refresh(self, credentials: Any, *, is_needed: bool) -> None:
        from google.auth import exceptions

        self._tried = datetime.now(UTC)
        try:
            credentials.refresh(_transport)
        except (exceptions.GoogleAuthError, ValueError, _Unreached) as problem:
            if not is_needed:
                return
            raise NotAuthorised(
                f"Google gave no token: {redact(str(problem), self.secrets)} {_HELP}",
                is_passing=isinstance(problem, _Unreached) or bool(getattr(problem, "retryable", False)),
            ) from None
        self._memory.keep(credentials.token)


def project(environ: Mapping[str, str]) -> str | None:
    """The project that the credentials file names, if any. Google's own look-up would ask the network, too."""
    folder = environ.get("CLOUDSDK_CONFIG", "")
    usual = (Path(folder) if folder else Path.home() / ".config" / "gcloud") / "application_default_credentials.json"
    try:
        found = json.loads(Path(environ.get("GOOGLE_APPLICATION_CREDENTIALS", "") or usual).read_bytes())
    except (OSError, ValueError, RuntimeError):  # Path.home may not be known.
        return None
    name = found.get("project_id") or found.get("quota_project_id") if isinstance(found, dict) else None
    return name if isinstance(name, str) else None


def _default(extra: str) -> tuple[Any, str | None]:
    try:
        import google.auth
        from google.auth import exceptions
    except ModuleNotFoundError:
        raise MissingDependencyError.for_extra(extra, "google-auth") from None
    try:
        return google.auth.default(scopes=_SCOPES, request=_transport)  # type: ignore[arg-type]  # As its protocol calls it.
    except (exceptions.GoogleAuthError, ValueError, _Unreached) as problem:
        raise NotAuthorised(f"There are no credentials for Google: {redact(str(problem))} {_HELP}") from None


def _left(credentials: Any) -> timedelta:
    """How long the token is valid; google-auth writes its end in UTC, without a time zone."""
    if not credentials.token:
        return timedelta()
    end = credentials.expiry
    return timedelta.max if end is None else end.replace(tzinfo=UTC) - datetime.now(UTC)


class _Unreached(Exception):
    """A token server cannot be reached, or is overloaded.

    It is no exception of google-auth, which would try again and sleep in between, and so hold the event loop. The run
    waits and tries again by itself.
    """


_PASSING = frozenset([408, 429, 500, 502, 503, 504])


class _Response:
    """An answer as google-auth reads it."""

    def __init__(self, answer: httpx2.Response) -> None:
        self.status = answer.status_code
        self.headers = answer.headers
        self.data = answer.content


def _transport(
    url: str,
    method: str = "GET",
    body: bytes | None = None,
    headers: Mapping[str, str] | None = None,
    timeout: float | None = None,
    **_: Any,
) -> _Response:
    """A request for a token, by the proxy and the certificates that the model is asked by. Follows no redirect."""
    try:
        proxy = None if is_private_to_cloud(urlsplit(url).hostname or "") else proxy_to(url)
        seconds = min(timeout or _SECONDS, _SECONDS)
        with httpx2.Client(verify=tls_for(url, proxy), proxy=proxy, trust_env=False, timeout=seconds) as client:
            answer = client.request(method, url, content=body, headers=dict(headers or {}))
    except (httpx2.HTTPError, OSError, SmeltConfigError) as problem:
        raise _Unreached(f"{origin_of(url)}: {problem}") from problem
    if answer.status_code in _PASSING:
        raise _Unreached(f"{origin_of(url)}: HTTP {answer.status_code}")
    return _Response(answer)
