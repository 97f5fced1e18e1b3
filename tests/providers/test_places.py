"""Addresses with places in them, such as an account, and the hosts that a key of the environment may go to."""

from __future__ import annotations

import re

import pytest

from smelt.errors import AuthConfigError, SmeltConfigError
from smelt.providers.access import Access, find_access
from smelt.providers.places import address_of, is_own_host
from smelt.providers.secrets import Secret
from smelt.providers.vendor import Vendor

HOST = Vendor(
    name="stack",
    base_url="https://{host}/serving",
    places={"host": ("STACK_HOST", "STACK_WORKSPACE")},
    own_hosts=("*.stack.example", "stack.example"),
    key_variables=("STACK_TOKEN",),
    url_variables=("STACK_BASE_URL",),
    hosted=True,
)
TWO = Vendor(
    name="cloud",
    base_url="https://{region}.cloud.example/projects/{project}/v1",
    places={"region": ("CLOUD_REGION",), "project": ("CLOUD_PROJECT", "CLOUD_PROJECT_ID")},
    own_hosts=("*.cloud.example",),
    key_variables=("CLOUD_KEY",),
    hosted=True,
)
BARE = Vendor(name="bare", base_url=None)


def find(vendor: Vendor, *, api_key: str | None = None, base_url: str | None = None, **environ: str) -> Access:
    key = None if api_key is None else Secret(api_key)
    return find_access(vendor, api_key=key, base_url=base_url, allow_http=False, environ=environ)


@pytest.mark.parametrize(
    "host", ["a1.stack.example", "https://a1.stack.example", "https://a1.stack.example/", " a1.stack.example "]
)
def test_a_place_is_filled_from_its_variable(host: str) -> None:
    access = find(HOST, STACK_TOKEN="key", STACK_HOST=host)

    assert access.base_url == "https://a1.stack.example/serving"
    assert access.deployment == "https://a1.stack.example"


def test_several_places_are_filled_each_from_the_first_variable_that_is_set() -> None:
    environ = {"CLOUD_REGION": "eu-1", "CLOUD_PROJECT": " ", "CLOUD_PROJECT_ID": "p-7"}

    assert address_of(TWO, None, environ) == ("https://eu-1.cloud.example/projects/p-7/v1", "CLOUD_PROJECT_ID")


def test_a_missing_place_names_its_variables_and_the_other_way() -> None:
    said = (
        "cloud needs its project: set CLOUD_PROJECT or CLOUD_PROJECT_ID, or pass the whole address, as "
        "smelt.Model('cloud', …, base_url=…)."
    )

    with pytest.raises(SmeltConfigError, match=re.escape(said)):
        find(TWO, CLOUD_KEY="key", CLOUD_REGION="eu-1")


def test_what_sends_nothing_needs_no_place() -> None:
    access = find_access(TWO, api_key=None, base_url=None, allow_http=False, environ={}, needs_key=False)

    assert access.base_url == "https://unknown.cloud.example/projects/unknown/v1"


@pytest.mark.parametrize(
    "value",
    ["evil.example/x", "evil.example#", "a@evil.example", "a b", "http://a.stack.example", "..", "é", "a?", "a:1"],
)
def test_a_value_that_would_change_the_address_is_refused(value: str) -> None:
    with pytest.raises(SmeltConfigError, match="CLOUD_REGION must be a plain name") as caught:
        find(TWO, CLOUD_KEY="key", CLOUD_REGION=value)

    assert "evil" not in str(caught.value)


def test_a_whole_address_comes_before_the_places() -> None:
    assert find(HOST, STACK_TOKEN="key", STACK_BASE_URL="https://gate.example/v1").origin == "https://gate.example"
    assert find(HOST, api_key="key", base_url="https://gate.example/v1").origin == "https://gate.example"


def test_a_key_of_the_environment_goes_to_the_own_hosts_of_its_vendor_only() -> None:
    assert find(HOST, base_url="https://b2.stack.example/serving", STACK_TOKEN="key").key == Secret("key")
    for url in ("https://b2.stack.example.evil/", "https://evilstack.example", "https://b2.stack.example:8443"):
        with pytest.raises(AuthConfigError, match="STACK_TOKEN is not sent to .* given as base_url"):
            find(HOST, base_url=url, STACK_TOKEN="key")


def test_a_key_of_the_environment_does_not_follow_a_place_to_another_host() -> None:
    with pytest.raises(AuthConfigError, match="STACK_TOKEN is not sent to https://evil.*given as STACK_HOST"):
        find(HOST, STACK_TOKEN="key", STACK_HOST="evil.example")


@pytest.mark.parametrize(
    ("url", "is_own"),
    [
        ("https://a.stack.example/x", True),
        ("https://A.STACK.example", True),
        ("https://stack.example", True),
        ("https://a.stack.example:443", True),
        ("http://a.stack.example", False),
        ("https://.evil", False),
        ("https://a.stack.example.evil", False),
        ("https://{host}/serving", False),
    ],
)
def test_an_own_host_is_told_by_its_end(url: str, is_own: bool) -> None:
    assert is_own_host(HOST, url) is is_own


def test_a_server_without_a_usual_address_must_be_given_one() -> None:
    with pytest.raises(SmeltConfigError, match=r"bare needs the address of a server: pass .*\('bare', …, base_url"):
        find(BARE)

    assert find(BARE, base_url="https://gpu.example/v1").origin == "https://gpu.example"
