from __future__ import annotations

from contextlib import AbstractAsyncContextManager
from datetime import timedelta

import pytest

from smelt.errors import SmeltConfigError
from smelt.providers.batching import BatchConnection, BatchLimits, batching_of
from smelt.testing import ScriptedProvider

LIMITS = BatchLimits(lines=10, bytes=1_000, can_tag=True, kept=timedelta(days=30))


class Overnight(ScriptedProvider):
    """A provider with a Batch API, at some addresses."""

    batching: BatchLimits | None = LIMITS

    def connect_batches(self) -> AbstractAsyncContextManager[BatchConnection]:
        raise NotImplementedError


def test_a_provider_with_a_batch_api_has_limits() -> None:
    provider = Overnight({})

    assert batching_of(provider) == (provider, LIMITS)


def test_a_provider_without_one_is_refused_and_others_are_named() -> None:
    with pytest.raises(SmeltConfigError, match=r"knows none of scripted:.* of openai, anthropic and google"):
        batching_of(ScriptedProvider({}))


def test_an_address_without_one_is_refused() -> None:
    provider = Overnight({})
    provider.batching = None

    with pytest.raises(SmeltConfigError, match=r"Leave out\s+mode="):
        batching_of(provider)
