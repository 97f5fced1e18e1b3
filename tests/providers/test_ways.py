"""Certificates and proxies, as the environment names them."""

from __future__ import annotations

from pathlib import Path

import httpx2
import pytest

from smelt.errors import SmeltConfigError
from smelt.providers.ways import bare, proxy_to, tls, tls_for

THERE = "https://api.vendor.example/v1"


@pytest.fixture(autouse=True)
def no_proxies(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http", "https", "all", "no"):
        monkeypatch.delenv(f"{name}_proxy", raising=False)
        monkeypatch.delenv(f"{name.upper()}_PROXY", raising=False)
    for name in ("SSL_CERT_FILE", "SSL_CERT_DIR"):
        monkeypatch.delenv(name, raising=False)


@pytest.mark.parametrize(
    ("variable", "value", "base", "proxy"),
    [
        ("HTTPS_PROXY", "http://proxy.example:3128", THERE, "http://proxy.example:3128"),
        ("https_proxy", "proxy.example:3128", THERE, "http://proxy.example:3128"),
        ("ALL_PROXY", "http://proxy.example:3128", THERE, "http://proxy.example:3128"),
        ("HTTP_PROXY", "http://proxy.example:3128", THERE, None),
        ("HTTPS_PROXY", "http://proxy.example:3128", "https://localhost:8000/v1", None),
        ("HTTPS_PROXY", "http://proxy.example:3128", "https://127.0.0.1/v1", None),
        ("HTTPS_PROXY", "", THERE, None),
    ],
    ids=["as a URL", "without a scheme", "for all", "of the other scheme", "this machine", "its number", "empty"],
)
def test_a_proxy_is_taken_from_the_environment_but_not_to_this_machine(
    variable: str, value: str, base: str, proxy: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(variable, value)

    found = proxy_to(base)

    assert (found and str(found.url).rstrip("/")) == proxy


def test_a_host_in_no_proxy_is_reached_directly(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTPS_PROXY", "http://proxy.example:3128")
    monkeypatch.setenv("NO_PROXY", "vendor.example")

    assert proxy_to(THERE) is None


@pytest.mark.parametrize("value", ["ftp://user:secret@proxy.example", "http://"])
def test_a_proxy_that_is_none_is_named_by_its_variable_only(value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTPS_PROXY", value)

    with pytest.raises(SmeltConfigError, match="HTTPS_PROXY is not the URL of a proxy") as caught:
        proxy_to(THERE)

    assert "secret" not in str(caught.value)


def test_certificates_are_loaded_only_where_something_is_encrypted() -> None:
    assert tls_for("http://localhost:8000/v1") is bare()
    assert tls_for("http://localhost:8000/v1", httpx2.Proxy("http://proxy.example")) is bare()
    assert tls_for(THERE) is tls() is not bare()
    assert tls_for("http://vendor.example", httpx2.Proxy("https://proxy.example")) is tls()


@pytest.mark.parametrize("variable", ["SSL_CERT_FILE", "SSL_CERT_DIR"])
def test_certificates_that_are_not_there_are_named(
    variable: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(variable, str(tmp_path / "gone"))

    with pytest.raises(SmeltConfigError, match=f"{variable} names .*gone, which does not exist"):
        tls()


def test_certificates_that_cannot_be_read_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    broken = tmp_path / "broken.pem"
    broken.write_text("no certificate")
    monkeypatch.setenv("SSL_CERT_FILE", str(broken))

    with pytest.raises(SmeltConfigError, match="SSL_CERT_FILE has certificates that cannot be read"):
        tls()
