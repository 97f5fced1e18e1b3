"""One real vLLM for all tests that are marked `vllm`."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.vllm.room import Room, room
from tests.vllm.server import served


@pytest.fixture(scope="session")
def vllm_room() -> Room:
    """The folder with vLLM and the tiny model."""
    found = room()
    if not found.is_ready:
        pytest.fail(f"There is no vLLM in {found.folder}. Make it with: python3 dev.py vllm")
    return found


@pytest.fixture(scope="session")
def vllm_url(vllm_room: Room, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The base URL of the server."""
    with served(vllm_room, tmp_path_factory.mktemp("vllm") / "serve.log") as url:
        yield url
