"""A scripted provider gives what it is asked for, like one that enforces its schema."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import polars as pl
import pytest
from pydantic import BaseModel

from smelt.plan.wire import Codec
from smelt.providers.base import Capabilities
from smelt.testing import ScriptedProvider


class Sized(BaseModel):
    size: int
    is_big: bool


@pytest.mark.parametrize("codec", ["array", "keyed"])
def test_a_field_that_a_plan_does_not_ask_for_is_left_out_of_the_script(codec: Codec) -> None:
    provider = ScriptedProvider({"size": 1, "is_big": False}, capabilities=replace(Capabilities(), codec=codec))
    lazy: Any = pl.LazyFrame({"name": ["a", "b"]})
    step = lazy.smelt.transform("{name}?", Sized, model=provider, progress=False)

    found = step.select("size").collect()

    assert found["size"].to_list() == [1, 1]
    assert len(provider.requests) == 1
    assert "is_big" not in provider.requests[0].system
