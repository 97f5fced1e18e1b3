from __future__ import annotations

from contextlib import AbstractAsyncContextManager

import pytest

from smelt.errors import SmeltConfigError
from smelt.providers.base import BatchLimits
from smelt.providers.batching import BatchConnection, batching_of
from smelt.providers.vendors import VENDORS
from smelt.testing import ScriptedProvider
from tests.providers.asking import adapter

OTHERS = ["azure", "foundry", "vertex", "vertex-claude", "bedrock", "vllm"]
LIMITS = BatchLimits(lines=10, bytes=1_000, can_tag=True)


class Overnight(ScriptedProvider):
    """A provider with a Batch API, at some addresses."""

    batching: BatchLimits | None = LIMITS

    def connect_batches(self) -> AbstractAsyncContextManager[BatchConnection]:
        raise NotImplementedError


def test_a_provider_with_a_batch_api_has_limits() -> None:
    provider = Overnight({})

    assert batching_of(provider) == (provider, LIMITS)


def test_a_provider_without_one_is_refused_and_others_are_named() -> None:
    with pytest.raises(SmeltConfigError, match=r"knows none of scripted:.* of openai, anthropic or google"):
        batching_of(ScriptedProvider({}))


@pytest.mark.parametrize("name", OTHERS)
def test_clouds_and_other_hosts_have_none(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GOOGLE_CLOUD_PROJECT", "acme")

    with pytest.raises(SmeltConfigError, match=r'mode="batch" needs a Batch API'):
        batching_of(adapter(name, "http://127.0.0.1:9"))


@pytest.mark.parametrize(
    ("address", "is_own"),
    [
        ("https://api.openai.com/v1", True),
        ("https://eu.api.openai.com/v1", True),
        ("http://localhost:4000/v1", True),
        ("https://notapi.openai.com.example/v1", False),
        ("https://models.example.com/v1", False),
    ],
)
def test_only_the_own_address_of_a_vendor_has_one(address: str, is_own: bool) -> None:
    provider = adapter("openai", address)

    if is_own:
        assert batching_of(provider)[1].can_tag
    else:
        with pytest.raises(SmeltConfigError, match=f"none of openai:.* at {address[:-3]}.*at its own address"):
            batching_of(provider)


def test_the_sentence_names_all_that_have_one() -> None:
    known = [name for name, vendor in VENDORS.items() if vendor.batching is not None]

    with pytest.raises(SmeltConfigError, match=f"of {known[0]}, {known[1]} or {known[2]}"):
        batching_of(ScriptedProvider({}))
    assert len(known) == 3


def test_an_address_without_one_is_refused() -> None:
    provider = Overnight({})
    provider.batching = None

    with pytest.raises(SmeltConfigError, match=r"Leave out\s+mode="):
        batching_of(provider)
