"""Calls as type checkers see them. Never run: `python3 dev.py types` reads them with mypy --strict and with pyright.

The accessor is not here. Type checkers know nothing of names registered at run time, so typed code calls the functions.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, assert_type

import pandas as pd
import polars as pl
from pydantic import BaseModel

import smelt
from smelt.providers.base import Capabilities, Connection
from smelt.testing import ScriptedProvider


class Company(BaseModel):
    sector: Literal["tech", "finance"]
    is_public: bool


@dataclass
class Place:
    city: str


def functions(pandas: pd.DataFrame, polars: pl.DataFrame, records: list[dict[str, Any]]) -> None:
    assert_type(smelt.transform(pandas, "Classify {name}.", Company), pd.DataFrame)
    assert_type(smelt.transform(polars, "Classify {name}.", Company, model="openai:gpt-4.1-mini"), pl.DataFrame)
    assert_type(smelt.transform(records, "Classify {name}.", Company, batch_size=20), list[dict[str, Any]])
    assert_type(smelt.transform(pandas, "Say.", str, output="said"), pd.DataFrame)
    assert_type(smelt.preview(polars, "Classify {name}.", Company, 3), pl.DataFrame)
    assert_type(smelt.estimate(polars, "Classify {name}.", Company), smelt.Estimate)
    assert_type(smelt.estimate(polars, "Classify {name}.", Company).cost_usd, float | None)
    assert_type(smelt.explain(pandas, "Classify {name}.", Company), smelt.Explanation)


def media(pandas: pd.DataFrame, polars: pl.DataFrame, folder: Path) -> None:
    photo = smelt.Image(detail="low", max_side=1024, root=folder)
    assert_type(smelt.transform(pandas, "Look at {photo}.", Company, media={"photo": photo}), pd.DataFrame)
    scan, call = smelt.Document(root="scans/", urls=True), smelt.Audio()
    assert_type(smelt.transform(polars, "{scan}, {call}.", Company, media={"scan": scan, "call": call}), pl.DataFrame)
    assert_type(smelt.transform(polars, "Look at {photo}.", Company, media=["photo"]), pl.DataFrame)
    smelt.transform(polars, "Look at {photo}.", Company, media={"photo": "image"})  # type: ignore[dict-item]
    smelt.Image(detail="tiny")  # type: ignore[arg-type]
    smelt.Audio(urls=True)  # type: ignore[call-arg]


def lazily(lazy: pl.LazyFrame) -> None:
    assert_type(smelt.transform(lazy, "Classify {name}.", Company, max_cost=5.0), pl.LazyFrame)
    assert_type(lazy.pipe(smelt.transform, "Classify {name}.", Company), pl.LazyFrame)
    assert_type(lazy.pipe(smelt.transform, "Classify {name}.", Company).filter(pl.col("is_public")), pl.LazyFrame)
    smelt.estimate(lazy.collect(), "Classify {name}.", Company)
    smelt.preview(lazy, "Classify {name}.", Company)  # type: ignore[type-var]


def pipes(pandas: pd.DataFrame, polars: pl.DataFrame) -> None:
    assert_type(pandas.pipe(smelt.transform, "Classify {name}.", Company), pd.DataFrame)
    assert_type(polars.pipe(smelt.transform, "Classify {name}.", Company), pl.DataFrame)


async def awaited(pandas: pd.DataFrame, polars: pl.DataFrame) -> None:
    assert_type(await smelt.atransform(pandas, "Classify {name}.", Company), pd.DataFrame)
    assert_type(await smelt.atransform(polars, "Classify {name}.", Company), pl.DataFrame)
    assert_type(await smelt.arun(pandas, "Classify {name}.", Company), smelt.SmeltResult[Company])


def results(pandas: pd.DataFrame) -> None:
    result = smelt.run(pandas, "Classify {name}.", Company, on_error="mark", progress=False)
    assert_type(result, smelt.SmeltResult[Company])
    assert_type(result.data, list[Company | None])
    assert_type(result.errors, list[smelt.RowError])
    assert_type(result.metrics.cost_usd, float | None)
    assert_type(result.success, bool)
    assert_type(result.report("run.html", first_request=False, overwrite=True), Path)
    assert_type(smelt.run(pandas, "Say.", str).data, list[str | None])
    assert_type(smelt.run(pandas, "Place {name}.", Place).data, list[Place | None])
    assert_type(smelt.run(pandas, "Score {name}.", int, output="score").data, list[int | None])
    assert_type(smelt.run(pandas, "Place {name}.", {"city": str, "zip": int}).data, list[Any | None])
    assert_type(smelt.run(pandas, "Tone of {name}.", Literal["pos", "neg"], output="tone").data, list[Any | None])


async def rows(pandas: pd.DataFrame) -> None:
    for one in smelt.as_completed(pandas, "Classify {name}.", Company, max_cost=1.0):
        assert_type(one, smelt.RowAnswer[Company])
        assert_type(one.value, Company | None)
        assert_type(one.error, smelt.RowError | None)
    async with smelt.as_completed(pandas, "Say.", str) as said:
        async for text in said:
            assert_type(text.value, str | None)
    assert_type(smelt.map_prompts(["Classify Arm."], Company), smelt.SmeltResult[Company])


async def streams(pandas: Iterator[pd.DataFrame], later: AsyncIterator[pl.DataFrame]) -> None:
    with smelt.stream(pandas, "Classify {name}.", Company, model="openai:gpt-4.1-mini", max_cost=1.0) as frames:
        for frame in frames:
            assert_type(frame, pd.DataFrame)
        assert_type(frames.metrics, smelt.SmeltMetrics | None)
    async with smelt.astream(later, "Say.", str, output="said") as said:
        async for one in said:
            assert_type(one, pl.DataFrame)


async def jobs(records: list[dict[str, Any]], pandas: pd.DataFrame) -> None:
    job = smelt.Job("Classify {name}.", Company, batch_size=20, max_retries=2, stop_on_exhaustion=True)
    assert_type(job, smelt.Job[Company])
    model = smelt.Model("openai", "gpt-4.1-mini", api_key="…", params={"temperature": 0})
    assert_type(job.run(model, data=records).data, list[Company | None])
    assert_type(await job.arun("openai:gpt-4.1-mini", data=pandas), smelt.SmeltResult[Company])
    assert_type(job.test(model, data=records), smelt.SmeltResult[Company])
    assert_type(smelt.Job("Say.", str), smelt.Job[str])


def evaluations(pandas: pd.DataFrame, polars: pl.DataFrame) -> None:
    truth = {"sector": "known_sector"}
    found = smelt.evaluate(pandas, "Classify {name}.", Company, truth, n=200, seed=1, batch_size=5)
    assert_type(found, smelt.Evaluation)
    assert_type(found.fields["sector"].accuracy.interval, tuple[float, float] | None)
    assert_type(found.metrics, smelt.SmeltMetrics)
    assert_type(smelt.evaluate(polars, "Classify {name}.", Company, truth, dry_run=True), smelt.Estimate)
    assert_type(smelt.Job("Say.", Company).evaluate(data=pandas, truth=truth), smelt.Evaluation)
    sizes = {"one by one": {"batch_size": 1}, "twenty": {"batch_size": 20}}
    compared = smelt.compare(pandas, "Classify {name}.", Company, sizes, truth=truth, n=200)
    assert_type(compared, smelt.Comparison)
    assert_type(compared.results["twenty"].success, bool)
    smelt.compare(polars, "Classify {name}.", Company, [{"model": "openai:a"}, {"prompt": "{name}?"}])
    assert_type(smelt.compare(pandas, "Say {name}.", Company, sizes, dry_run=True), dict[str, smelt.Estimate])
    assert_type(smelt.doctor(live=True, models=["openai:gpt-4.1-mini"]).is_healthy, bool)


def models(pandas: pd.DataFrame) -> None:
    scripted: smelt.Provider = ScriptedProvider({"sector": "tech", "is_public": True})
    own: smelt.Provider = OwnProvider()
    smelt.transform(pandas, "Classify {name}.", Company, model=scripted)
    smelt.transform(pandas, "Classify {name}.", Company, model=own)
    smelt.configure(model="openai:gpt-4.1-mini", batch_size=20)


class OwnProvider:
    """What a user writes to plug in a client of their own."""

    name = "own"
    model = "of-mine"
    origin = "https://example.com"
    capabilities = Capabilities()

    def check_params(self, params: Mapping[str, Any]) -> None: ...
    def connect(self, *, connections: int) -> AbstractAsyncContextManager[Connection]:
        raise NotImplementedError


def mistakes(pandas: pd.DataFrame) -> None:
    smelt.transform(pandas, "Classify {name}.", Company, batchsize=20)  # type: ignore[call-arg]
    smelt.transform(pandas, "Classify {name}.", Company, on_error="ignore")  # type: ignore[arg-type]


def named_models() -> None:
    server = smelt.Server("vllm", "Qwen/Qwen3-8B", devices=[0], idle=600, args={"max-model-len": 8192})
    smelt.register_model("fast", server, params={"temperature": 0})
    assert_type(smelt.load_models(Path("engines.toml")), list[str])
    smelt.transform(pd.DataFrame(), "Classify {name}.", Company, model=server)
