"""The notebook on Ray runs from top to bottom, in a cluster of its own."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests import test_notebook as notebooks

pytest.importorskip("ray", reason="the dependency group `scale` is not installed")

pytestmark = [pytest.mark.scale, pytest.mark.filterwarnings("ignore")]


def test_the_notebook_shows_what_it_is_saved_with(tmp_path: Path) -> None:
    [saved] = [notebooks.saved(path) for path in notebooks.NOTEBOOKS if path.stem == "ray"]
    wanted = notebooks.shown(saved)

    ran = notebooks.lasting(notebooks.executed(saved, tmp_path))

    assert notebooks.faults(ran) == []
    assert notebooks.shown(ran) == wanted
