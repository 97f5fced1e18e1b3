"""What a cloud does before a model is asked: hands out tokens and keys, and refuses those that expired or do not fit.

    POST /SCENARIO/token          Google's token endpoint: `ya29.fake-N`, a new one each time
    GET  /SCENARIO/credentials    the keys of a role of AWS, as a container gets them: number N

Signatures are checked with botocore, the signer that AWS ships, over the request as it arrived.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from tests.fakeserver import errors
from tests.fakeserver.faults import JSON, Response, status
from tests.fakeserver.messages import Headers, WireProtocol

STATIC = {"AKIAFAKESTATIC": "static-secret-of-nobody"}
"""Keys of AWS that are not of a role, by id."""
SECRET_HEADERS = ("authorization", "api-key", "x-api-key", "x-goog-api-key", "x-amz-security-token")


class Gate:
    """The tokens of one scenario."""

    def __init__(self, config: Any) -> None:
        self._config = config
        self._uses: Counter[str] = Counter()
        self.issued = 0

    def token(self) -> Response:
        """A token for Google."""
        if self._config.token_refusal is not None:
            refusal = self._config.token_refusal
            return Response(refusal["code"], JSON, json.dumps(refusal["body"]).encode())
        self.issued += 1
        body = {
            "access_token": f"ya29.fake-{self.issued}-c4n4ry",
            "expires_in": self._config.token_seconds,
            "token_type": "Bearer",
        }
        return Response(200, JSON, json.dumps(body).encode())

    def credentials(self) -> Response:
        """The keys of a role of AWS."""
        self.issued += 1
        end = datetime.now(UTC) + timedelta(seconds=self._config.token_seconds)
        body = {
            "AccessKeyId": f"ASIAFAKE{self.issued}",
            "SecretAccessKey": f"role-secret-{self.issued}",
            "Token": f"session-token-{self.issued}-c4n4ry",
            "Expiration": end.strftime("%Y-%m-%dT%H:%M:%SZ"),
        }
        return Response(200, JSON, json.dumps(body).encode())

    def refusal(self, protocol: WireProtocol, path: str, headers: Headers, body: bytes) -> Response | None:
        """What a cloud says to a request whose key is expired, or whose signature is wrong."""
        used = next((headers[name] for name in SECRET_HEADERS[-1:] + SECRET_HEADERS if name in headers), "")
        lasts = self._config.token_lasts
        self._uses[used] += 1
        if lasts is not None and self._uses[used] > lasts:
            table = errors.TABLES[protocol.refusals]
            return status({"kind": "expired" if "expired" in table else "auth"}, protocol)
        if headers.get("authorization", "").startswith("AWS4-") and not is_signed(
            path, headers, body, getattr(protocol, "service", "bedrock")
        ):
            return status({"kind": "signature"}, protocol)
        return None


def is_signed(path: str, headers: Headers, body: bytes, wanted_service: str) -> bool:
    """Whether the signature for *wanted_service* is right for the request as it arrived, by botocore."""
    from botocore.auth import SigV4Auth
    from botocore.awsrequest import AWSRequest
    from botocore.credentials import Credentials

    parts = _authorization(headers["authorization"])
    key, day, region, service, _ = parts["Credential"].split("/")
    number = key.removeprefix("ASIAFAKE")
    secret = STATIC.get(key) or f"role-secret-{number}"
    token = None if key in STATIC else f"session-token-{number}-c4n4ry"
    if service != wanted_service or headers.get("x-amz-security-token") != token or not region:
        return False
    signed = {name: headers[name] for name in parts["SignedHeaders"].split(";")}
    if not {"host", "x-amz-date"} <= signed.keys():
        return False
    request = AWSRequest(method="POST", url=f"http://{headers['host']}{path}", data=body, headers=signed)
    request.context["timestamp"] = headers["x-amz-date"]
    signer = SigV4Auth(Credentials(key, secret, token), service, region)
    wanted = signer.signature(signer.string_to_sign(request, signer.canonical_request(request)), request)
    return headers["x-amz-date"].startswith(day) and parts["Signature"] == wanted


def _authorization(header: str) -> Mapping[str, str]:
    return dict(part.split("=", 1) for part in header.removeprefix("AWS4-HMAC-SHA256 ").split(", "))
