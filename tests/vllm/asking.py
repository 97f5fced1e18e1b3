"""A managed vLLM with the tiny model, and questions for it."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any, Literal

import pandas as pd
from pydantic import BaseModel

import smelt
from smelt.local.keeper import processes
from smelt.providers.server import Server
from tests.vllm.room import MODEL, environment, room


class Company(BaseModel):
    sector: Literal["tech", "other"]
    is_public: bool


def server(*, idle: float = 600, args: Mapping[str, Any] | None = None) -> Server:
    """The server as tests want it; *args* makes it another one."""
    usual = {"served-model-name": MODEL, "max-model-len": 4096, "max-num-seqs": 8, "enforce-eager": True}
    env = {name: value for name, value in environment().items() if os.environ.get(name) != value}
    return Server("vllm", str(room().model), idle=idle, args={**usual, **(args or {})}, env=env)


def ask(one: Server, *, rows: int, start: int = 0, **options: Any) -> pd.DataFrame:
    """Answers about rows that differ."""
    df = pd.DataFrame({"name": [f"company {start}-{number}" for number in range(rows)]})
    usual: dict[str, Any] = {"progress": False, "ledger": False}
    return smelt.transform(df, "Classify {name}.", Company, model=one, **usual | options)


def session_of(pid: int) -> dict[int, str]:
    """The living processes of a server, by id, with their names."""
    return {one.pid: one.state for one in processes() if one.is_alive and one.session == pid}
