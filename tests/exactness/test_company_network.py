"""A company's network: a proxy stands before everything, and an authority of the company's own signs certificates."""

from __future__ import annotations

import socketserver
import ssl
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx2
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

import smelt
from tests.conftest import MakeScenario
from tests.fakeserver import Scenario
from tests.fakeserver.account import service_account

HOSTS = ["aiplatform.googleapis.com", "acme.openai.azure.com", "oauth2.googleapis.com", "login.example"]


_SIGNS = x509.KeyUsage(
    key_cert_sign=True,
    crl_sign=True,
    digital_signature=False,
    content_commitment=False,
    key_encipherment=False,
    data_encipherment=False,
    key_agreement=False,
    encipher_only=False,
    decipher_only=False,
)


def authority(folder: Path) -> tuple[Path, Path]:
    """The certificate of an authority, and a key with a certificate for HOSTS that it has signed."""
    own, key = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "The company")])
    now = datetime.now(UTC)

    signer = x509.AuthorityKeyIdentifier.from_issuer_public_key(own.public_key())

    def signed(public: Any, subject: x509.Name, *extensions: x509.ExtensionType) -> bytes:
        made = x509.CertificateBuilder(name, subject, public, x509.random_serial_number())
        made = made.not_valid_before(now - timedelta(days=1)).not_valid_after(now + timedelta(days=1))
        # From Python 3.13 on, a certificate must say who signed it, and an authority that it is one.
        for one in (*extensions, signer, x509.SubjectKeyIdentifier.from_public_key(public)):
            made = made.add_extension(one, critical=isinstance(one, x509.BasicConstraints | x509.KeyUsage))
        return made.sign(own, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)

    root = signed(own.public_key(), name, x509.BasicConstraints(ca=True, path_length=None), _SIGNS)
    host = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "Anything")])
    names = x509.SubjectAlternativeName([x509.DNSName(one) for one in HOSTS])
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    (folder / "root.pem").write_bytes(root)
    (folder / "host.pem").write_bytes(private + signed(key.public_key(), host, names))
    return folder / "root.pem", folder / "host.pem"


class Proxy(socketserver.ThreadingTCPServer):
    """Takes CONNECT, opens the TLS of the host, and hands each request in it to a scenario."""

    daemon_threads = True

    def __init__(self, certificate: Path, scenario: Scenario) -> None:
        super().__init__(("127.0.0.1", 0), _Tunnel)
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.context.load_cert_chain(certificate)
        self.url = scenario.url("")
        self.connected: list[str] = []


class _Tunnel(socketserver.StreamRequestHandler):
    server: Proxy

    def handle(self) -> None:
        method, target, _ = self.rfile.readline().decode().split()
        while self.rfile.readline().strip():
            pass
        assert method == "CONNECT"
        self.server.connected.append(target)
        self.wfile.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
        with self.server.context.wrap_socket(self.connection, server_side=True) as inner, inner.makefile("rb") as said:
            method, path, _ = said.readline().decode().split()
            lines = [line.decode().strip().split(": ", 1) for line in iter(said.readline, b"\r\n")]
            head = {name.lower(): value for name, value in lines}
            body = said.read(int(head.get("content-length", 0)))
            for name in ("host", "content-length", "connection", "accept-encoding"):
                head.pop(name, None)
            answer = httpx2.request(method, f"{self.server.url}{path}", headers=head, content=body, trust_env=False)
            line = f"HTTP/1.1 {answer.status_code} OK\r\ncontent-type: application/json\r\nconnection: close\r\n"
            inner.sendall(f"{line}content-length: {len(answer.content)}\r\n\r\n".encode() + answer.content)


@pytest.fixture
def network(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, scenario: MakeScenario
) -> Iterator[tuple[Proxy, Scenario]]:
    root, host = authority(tmp_path)
    fake = scenario()
    with Proxy(host, fake) as proxy:
        threading.Thread(target=proxy.serve_forever, args=(0.01,), daemon=True).start()
        for name in ("NO_PROXY", "no_proxy", "ALL_PROXY", "all_proxy", "https_proxy"):
            monkeypatch.delenv(name, raising=False)
        monkeypatch.setenv("HTTPS_PROXY", f"http://127.0.0.1:{proxy.server_address[1]}")
        monkeypatch.setenv("SSL_CERT_FILE", str(root))
        yield proxy, fake
        proxy.shutdown()


def test_google_is_asked_for_tokens_and_answers_by_the_proxy(
    network: tuple[Proxy, Scenario], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    proxy, fake = network
    account = service_account(tmp_path, fake)
    account.write_text(account.read_text().replace(fake.url("/token"), "https://oauth2.googleapis.com/token"))
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(account))
    monkeypatch.setenv("GOOGLE_CLOUD_PROJECT", "acme")

    result = smelt.run([{"name": "a"}], "Repeat {name}.", str, model="vertex:fake-1", progress=False)

    assert result.metrics.failed_rows == 0
    assert proxy.connected == ["oauth2.googleapis.com:443", "aiplatform.googleapis.com:443"]


def test_a_function_that_logs_in_goes_by_the_proxy_as_its_client_does(network: tuple[Proxy, Scenario]) -> None:
    proxy, _ = network

    async def token() -> str:
        async with httpx2.AsyncClient() as client:
            answer = await client.post("https://login.example/token")
        return f"eyJ.{answer.json()['expires_in']}.signed"

    model = smelt.Model("azure", "fake-1", api_key=token, base_url="https://acme.openai.azure.com")
    result = smelt.run([{"name": "a"}], "Repeat {name}.", str, model=model, progress=False)

    assert result.metrics.failed_rows == 0
    assert set(proxy.connected) == {"login.example:443", "acme.openai.azure.com:443"}


def test_without_the_authority_the_certificate_is_told(
    network: tuple[Proxy, Scenario], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("SSL_CERT_FILE")
    model = smelt.Model("azure", "fake-1", api_key="k" * 32, base_url="https://acme.openai.azure.com")

    with pytest.raises(smelt.SmeltAPIError, match="certificate.*set SSL_CERT_FILE to its certificate"):
        smelt.run([{"name": "a"}], "Repeat {name}.", str, model=model, progress=False)
