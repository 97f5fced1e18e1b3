"""Keys and addresses: where they come from, and what is refused."""

from __future__ import annotations

import copy
import pickle

import pytest

from smelt.errors import AuthConfigError, InsecureURLError, SmeltConfigError
from smelt.providers.access import Access, doubt_about, find_access
from smelt.providers.addresses import check_base_url, is_loopback, is_private_to_cloud, origin_of
from smelt.providers.secrets import Secret, check_key
from smelt.providers.vendor import Vendor

HOSTED = Vendor(
    name="openai",
    base_url="https://api.openai.com/v1",
    key_variables=("OPENAI_API_KEY", "OTHER_KEY"),
    url_variables=("OPENAI_BASE_URL",),
    hosted=True,
)
OWN = Vendor(
    name="vllm",
    base_url="http://localhost:8000/v1",
    key_variables=("VLLM_API_KEY",),
    url_variables=("VLLM_BASE_URL",),
)


def find(
    vendor: Vendor = HOSTED,
    *,
    api_key: str | None = None,
    base_url: str | None = None,
    allow_http: bool = False,
    **environ: str,
) -> Access:
    key = None if api_key is None else Secret(api_key)
    return find_access(vendor, api_key=key, base_url=base_url, allow_http=allow_http, environ=environ)


def test_a_secret_shows_nothing() -> None:
    secret = Secret("sk-hidden")

    assert "hidden" not in f"{secret}{secret!r}{[secret]}"
    assert b"hidden" not in pickle.dumps(secret)
    assert pickle.loads(pickle.dumps(secret)) is None
    assert copy.deepcopy(secret).reveal() == "sk-hidden"


def test_the_argument_comes_before_the_environment() -> None:
    assert find(api_key="sk-given", OPENAI_API_KEY="sk-found").key == Secret("sk-given")
    assert find(OPENAI_API_KEY="sk-found", OTHER_KEY="sk-later").key == Secret("sk-found")
    assert find(OPENAI_API_KEY="", OTHER_KEY="sk-later").key == Secret("sk-later")


def test_a_server_of_ones_own_needs_no_key() -> None:
    assert find(OWN).key is None
    assert find(OWN, VLLM_API_KEY="token-1", base_url="https://gpu.example/v1").key == Secret("token-1")


def test_a_hosted_provider_needs_a_key() -> None:
    with pytest.raises(AuthConfigError, match=r"Set OPENAI_API_KEY or OTHER_KEY, or pass smelt.Model\('openai'"):
        find()


@pytest.mark.parametrize(
    "key",
    ["", "   ", " sk-a", "sk-a\n", "sk-a b", "sk-é", "sk-\x00", "sk-\u200b", 7, None, b"sk-a"],
    ids=["empty", "blank", "space", "newline", "inner-space", "accent", "nul", "zero-width", "int", "none", "bytes"],
)
def test_what_cannot_be_a_key_is_refused_without_being_shown(key: object) -> None:
    with pytest.raises(AuthConfigError, match=r"^OPENAI_API_KEY ") as caught:
        check_key(key, source="OPENAI_API_KEY")

    assert "sk-" not in str(caught.value)


@pytest.mark.parametrize(
    "host", ["evil.com\\.openai.azure.com", "evil.com%2f.openai.azure.com", "evil.com;.x", "a,b.c"]
)
def test_a_host_with_characters_that_no_host_has_is_refused(host: str) -> None:
    with pytest.raises(SmeltConfigError, match="characters in its host|not a URL"):
        find(api_key="sk-a", base_url=f"https://{host}/v1")


def test_a_key_of_the_environment_is_checked_under_its_own_name() -> None:
    with pytest.raises(AuthConfigError, match="OPENAI_API_KEY has spaces or a line end around it"):
        find(OPENAI_API_KEY="sk-a\n")


@pytest.mark.parametrize(
    ("key", "owner"), [("sk-ant-api03-x", "anthropic"), ("AIzaSyx", "google"), ("sk-or-v1-x", "openrouter")]
)
def test_another_companys_key_is_refused_for_a_company(key: str, owner: str) -> None:
    with pytest.raises(AuthConfigError, match=f"looks like a key of {owner}, and was given for openai") as caught:
        find(api_key=key)

    assert key not in str(caught.value)


def test_another_companys_key_is_only_doubted_at_a_gateway() -> None:
    gateway = find(api_key="sk-ant-x", base_url="https://gateway.example/v1")
    own = find(OWN, api_key="sk-x")

    assert (
        doubt_about(gateway, HOSTED) == "The key for openai at https://gateway.example looks like a key of anthropic."
    )
    assert doubt_about(own, OWN) is not None
    assert doubt_about(find(api_key="sk-x"), HOSTED) is None


def test_a_key_of_the_environment_stays_with_its_provider() -> None:
    with pytest.raises(
        AuthConfigError, match=r"OPENAI_API_KEY is not sent to https://evil.example, an address given as"
    ):
        find(base_url="https://evil.example/v1", OPENAI_API_KEY="sk-found")


def test_a_key_goes_to_another_host_when_both_come_from_one_place() -> None:
    assert find(api_key="sk-a", base_url="https://eu.example/v1").origin == "https://eu.example"
    assert find(OPENAI_API_KEY="sk-a", OPENAI_BASE_URL="https://eu.example/v1/").base_url == "https://eu.example/v1"
    assert find(OPENAI_API_KEY="sk-a", base_url="https://api.openai.com/v2").key == Secret("sk-a")


def test_a_key_is_not_sent_in_clear_text_unless_told() -> None:
    with pytest.raises(InsecureURLError, match=r"http://gpu.example:8000 in clear text"):
        find(OWN, api_key="token", base_url="http://gpu.example:8000/v1")

    assert find(OWN, api_key="token", base_url="http://gpu.example/v1", allow_http=True).key
    assert find(OWN, api_key="token", base_url="http://127.0.0.1:8000/v1").key
    assert find(OWN, base_url="http://gpu.example/v1").key is None


@pytest.mark.parametrize(
    ("url", "said"),
    [
        (7, "must be a URL"),
        (None, "must be a URL"),
        ("api.example/v1", "must begin with https://"),
        ("ftp://api.example", "must begin with https://"),
        ("file:///etc/passwd", "must begin with https://"),
        ("https://", "names no host"),
        ("https:///v1", "names no host"),
        ("https://api.example:0", "names no host"),
        ("https://api.example:99999", "is not a URL"),
        ("https://[::1", "is not a URL"),
        ("https://user:secret@api.example", "holds a user name or password"),
        ("https://api.example/v1?x=1", "without a query"),
        ("https://api.example/v1#x", "without a query"),
        ("https://api.example/v1?", "without a query"),
        ("https://api.example/\nv1", "characters that no URL has"),
        ("https://api example", "characters that no URL has"),
        ("https://\u202eapi.example", "characters that no URL has"),
    ],
)
def test_what_is_not_the_url_of_an_api_is_refused(url: object, said: str) -> None:
    with pytest.raises(SmeltConfigError, match=said) as caught:
        check_base_url(url, source="base_url")

    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    "host",
    [
        "169.254.169.254",
        "2852039166",
        "0xa9fea9fe",
        "0xa9.254.0xa9.254",
        "0251.0376.0251.0376",
        "169.254.43518",
        "[::ffff:169.254.169.254]",
        "[fe80::1]",
        "[fd00:ec2::254]",
        "100.100.100.200",
        "0.0.0.0",
        "metadata.google.internal",
        "METADATA.google.internal.",
    ],
)
def test_metadata_and_link_local_addresses_are_not_asked(host: str) -> None:
    with pytest.raises(SmeltConfigError, match="link-local or cloud-metadata"):
        check_base_url(f"http://{host}/v1", source="base_url")


@pytest.mark.parametrize("host", ["api.openai.com", "10.0.0.7", "192.168.1.2", "abc.def", "deadbeef", "2001:db8::1"])
def test_other_addresses_are_fine(host: str) -> None:
    assert not is_private_to_cloud(host)


@pytest.mark.parametrize(
    ("url", "origin"),
    [
        ("https://API.example:443/v1", "https://api.example"),
        ("http://api.example:80", "http://api.example"),
        ("http://[::1]:8080/v1", "http://[::1]:8080"),
        ("https://api.example:8443/", "https://api.example:8443"),
    ],
)
def test_an_origin_is_scheme_host_and_port(url: str, origin: str) -> None:
    assert origin_of(url) == origin


@pytest.mark.parametrize(
    ("url", "stays"),
    [
        ("http://localhost:1/v1", True),
        ("http://a.localhost", True),
        ("http://127.9.9.9", True),
        ("http://[::1]", True),
        ("http://2130706433", True),
        ("http://localhost.evil.example", False),
        ("http://127.0.0.1.evil.example", False),
        ("http://10.0.0.1", False),
    ],
)
def test_loopback_is_this_machine_only(url: str, stays: bool) -> None:
    assert is_loopback(url) is stays
