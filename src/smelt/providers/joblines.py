"""Reads lines of a job's results that are on disk, without a network and without a key."""

from __future__ import annotations

from smelt.providers.adapter import Adapter
from smelt.providers.jobclient import JobClient


def line_reader(provider: object) -> JobClient | None:
    """A client whose only use is `item`, for the lines that *provider* answers; None if it has no Batch API of ours."""
    if not isinstance(provider, Adapter) or provider.vendor.batching is None:
        return None
    kind: type[JobClient] = provider.job_client()
    return kind.offline(provider)
