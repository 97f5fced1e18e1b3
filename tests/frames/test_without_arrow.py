"""pandas without pyarrow, as `pip install dfsmelt[pandas]` leaves it: flat models work, others are refused early."""

from __future__ import annotations

import json
import subprocess
import sys
from functools import cache
from pathlib import Path
from typing import Any

import pytest

# What both processes run. The one whose first argument is "hidden" cannot import pyarrow.
_SCRIPT = """
import json, sys
from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import Annotated, Literal

class Hidden:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] == "pyarrow":
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

if sys.argv[1] == "hidden":
    sys.meta_path.insert(0, Hidden())

import pandas as pd
import polars as pl
from pydantic import BaseModel, Field, create_model

import smelt
from smelt.testing import ScriptedProvider

class Town(BaseModel):
    town: str

FLAT = {
    "text": (str, "ü"), "maybe": (str | None, None), "whole": (int, 5), "real": (float, 0.5), "yes": (bool, True),
    "choice": (Literal["b", "a"], "a"), "moment": (datetime, "2026-01-02T03:04:05Z"), "span": (timedelta, "PT1S"),
}
ARROW = {
    "day": (date, "2026-01-02"), "sum": (Annotated[Decimal, Field(decimal_places=2)], "1.50"),
    "words": (list[str], ["a"]), "place": (Town, {"town": "Wien"}),
}

def model(fields):
    return create_model("Model", **{name: (kind, ...) for name, (kind, _) in fields.items()})

def answer(fields):
    return {name: value for name, (_, value) in fields.items()}

def outcome(frame, fields, **options):
    provider = ScriptedProvider(answer(fields))
    try:
        out = smelt.transform(frame, "Read {name}.", model(fields), model=provider, progress=False, **options)
    except Exception as error:
        return {"error": type(error).__name__, "text": str(error), "requests": len(provider.requests)}
    values = out.to_dict("records") if isinstance(out, pd.DataFrame) else out.to_dicts()
    dtypes = out.dtypes if isinstance(out, pd.DataFrame) else out.schema
    return {"dtypes": {name: str(dtype) for name, dtype in dtypes.items()}, "values": [str(row) for row in values]}

names = ["Arm", "Ü", None]
frame = pd.DataFrame({
    "name": names, "kind": pd.Categorical(["x", None, "y"]), "at": pd.to_datetime(["2026-01-02", None, "2026-01-03"]),
    "count": pd.array([1, None, 3], dtype="Int64"), "mixed": pd.Series(["a", 1, None], dtype=object),
})
polars = pl.DataFrame({"name": names})
found = {
    "flat": outcome(frame, FLAT),
    "all columns": outcome(frame, FLAT, columns=list(frame.columns)),
    "flattened": outcome(frame, {"place": ARROW["place"]}, flatten=True),
    **{name: outcome(frame, {name: field}) for name, field in ARROW.items()},
    "polars": outcome(polars, FLAT | ARROW),
    "streamed": [len(part) for part in smelt.stream(
        iter([frame[:2], frame[2:]]), "Read {name}.", model(FLAT), model=ScriptedProvider(answer(FLAT)), progress=False
    )],
}
store, target = sys.argv[2] + "/answers.sqlite", sys.argv[2] + "/answers.parquet"
outcome(frame, FLAT, ledger=store)
with smelt.ledger.open(store) as ledger:
    rows = ledger.rows(library="pandas").drop(columns=["smelt_key"])
    found["ledger"] = [list(map(str, rows.dtypes)), sorted(str(row) for row in rows.to_dict("records"))]
    try:
        found["export"] = ledger.export(target)
    except Exception as error:
        found["export"] = [type(error).__name__, str(error)]
print(json.dumps(found))
"""


@cache
def _found(how: str, folder: Path) -> dict[str, Any]:
    ran = subprocess.run([sys.executable, "-c", _SCRIPT, how, str(folder)], capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr
    found: dict[str, Any] = json.loads(ran.stdout)
    return found


@pytest.fixture(scope="module")
def hidden(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    return _found("hidden", tmp_path_factory.mktemp("hidden"))


@pytest.fixture(scope="module")
def there(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    return _found("there", tmp_path_factory.mktemp("there"))


@pytest.mark.parametrize("call", ["flat", "all columns", "flattened", "polars", "streamed", "ledger"])
def test_what_needs_no_pyarrow_is_the_same_without_it(call: str, hidden: dict[str, Any], there: dict[str, Any]) -> None:
    assert hidden[call] == there[call]
    assert "error" not in hidden[call]


@pytest.mark.parametrize("field", ["day", "sum", "words", "place"])
def test_a_field_that_needs_pyarrow_is_refused_before_the_first_request(field: str, hidden: dict[str, Any]) -> None:
    refused = hidden[field]

    assert (refused["error"], refused["requests"]) == ("MissingDependencyError", 0)
    assert f"Field '{field}' needs pyarrow" in refused["text"]
    assert "pip install 'dfsmelt[arrow]'" in refused["text"]


def test_an_export_to_parquet_names_the_extra(hidden: dict[str, Any], there: dict[str, Any]) -> None:
    error, text = hidden["export"]

    assert error == "MissingDependencyError"
    assert "pip install 'dfsmelt[arrow]'" in text
    assert there["export"] == 3
