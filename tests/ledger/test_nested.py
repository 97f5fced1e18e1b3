"""A blocking call beside an awaited one, on one thread and over the same rows: nobody waits for who cannot move."""

from __future__ import annotations

import asyncio
import dataclasses
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from pydantic import BaseModel

import smelt
from smelt.errors import SmeltExhaustionError, SmeltWarning
from smelt.providers.base import Reply, Request
from smelt.testing import ScriptedProvider, asked

pytestmark = pytest.mark.filterwarnings("ignore:This call blocks the event loop")

FRAME = pd.DataFrame({"x": range(40)})


class Out(BaseModel):
    y: str


class Gated(ScriptedProvider):
    """Answers once *gate* is open."""

    def __init__(self, paid: Counter[int], gate: asyncio.Event | None = None) -> None:
        super().__init__(lambda row: {"y": "v"}, keep=False)
        self.capabilities = dataclasses.replace(self.capabilities, is_worth_keeping=True)
        self._paid, self._gate = paid, gate

    async def send(self, request: Request) -> Reply:
        self._paid.update(row["x"] for _, row in asked(request))
        if self._gate is not None:
            await self._gate.wait()
        return await super().send(request)


@pytest.fixture
def options(path: Path) -> dict[str, Any]:
    return {"ledger": path, "progress": False, "batch_size": 10}


async def test_rows_of_an_awaited_call_are_marked_and_not_paid_twice(options: dict[str, Any]) -> None:
    paid, gate = Counter[int](), asyncio.Event()
    awaited = asyncio.create_task(smelt.atransform(FRAME, "t {x}", Out, model=Gated(paid, gate), **options))
    while not paid:
        await asyncio.sleep(0)

    with pytest.warns(SmeltWarning, match=r"`await atransform\(\)` here"):
        out = smelt.transform(FRAME, "t {x}", Out, model=Gated(paid), **options)
    gate.set()

    assert out["y"].isna().sum() == 10
    assert out["smelt_error"].dropna().str.contains("cannot continue until this call is done").all()
    assert (await awaited)["y"].notna().all()
    assert set(paid.values()) == {1}


async def test_a_call_that_is_to_raise_says_why(options: dict[str, Any]) -> None:
    paid, gate = Counter[int](), asyncio.Event()
    awaited = asyncio.create_task(smelt.atransform(FRAME, "t {x}", Out, model=Gated(paid, gate), **options))
    while not paid:
        await asyncio.sleep(0)

    with pytest.raises(SmeltExhaustionError, match="cannot continue until this call is done"):
        smelt.transform(FRAME, "t {x}", Out, model=Gated(paid), on_error="raise", **options)
    gate.set()

    await awaited
    assert set(paid.values()) == {1}


async def test_a_stream_beside_an_awaited_call_ends(options: dict[str, Any]) -> None:
    paid, gate = Counter[int](), asyncio.Event()
    awaited = asyncio.create_task(smelt.atransform(FRAME, "t {x}", Out, model=Gated(paid, gate), **options))
    while not paid:
        await asyncio.sleep(0)

    with pytest.warns(SmeltWarning, match=r"`await atransform\(\)` here"):
        out = pd.concat(smelt.stream(_frames(), "t {x}", Out, model=Gated(paid), **options))
    gate.set()

    assert out["y"].isna().sum() == 10
    await awaited
    assert set(paid.values()) == {1}


def test_a_blocking_call_of_a_validator_inside_a_blocking_one_ends(options: dict[str, Any]) -> None:
    paid = Counter[int]()
    inner: list[int] = []

    class Nesting(Gated):
        async def send(self, request: Request) -> Reply:
            reply = await super().send(request)
            if not inner:
                inner.append(0)
                out = smelt.transform(FRAME, "t {x}", Out, model=Gated(paid), **options)
                inner.append(int(out["y"].isna().sum()))
            return reply

    with pytest.warns(SmeltWarning, match=r"`await atransform\(\)` here"):
        out = smelt.transform(FRAME, "t {x}", Out, model=Nesting(paid), **options)

    assert out["y"].notna().all()
    assert inner == [0, 10]
    assert set(paid.values()) == {1}


def _frames() -> Iterator[pd.DataFrame]:
    yield FRAME[:20]
    yield FRAME[20:]
