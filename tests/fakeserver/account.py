"""A service account of Google that nobody has, whose tokens the fake server hands out."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from tests.fakeserver.client import Scenario


def service_account(folder: Path, fake: Scenario) -> Path:
    """A credentials file in *folder*; its tokens come from *fake*."""
    file = folder / "account.json"
    account = {
        "type": "service_account",
        "project_id": "acme",
        "private_key_id": "1",
        "private_key": _private_key(),
        "client_email": "smelt@acme.iam.gserviceaccount.com",
        "token_uri": fake.url("/token"),
    }
    file.write_text(json.dumps(account))
    return file


@cache
def _private_key() -> str:
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    ).decode()
