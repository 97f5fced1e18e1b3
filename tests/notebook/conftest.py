"""One kernel per module: a start costs a second."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.notebook.kernel import Kernel, running_kernel


@pytest.fixture(scope="module")
def kernel(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kernel]:
    """A kernel for the tests of one module."""
    with running_kernel(tmp_path_factory.mktemp("kernel")) as running:
        yield running
