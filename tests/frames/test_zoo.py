"""A validator may return anything: its row is marked or right, in every library, and the same out of the ledger."""

from __future__ import annotations

import enum
import math
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta, timezone, tzinfo
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Any, Literal
from unittest.mock import ANY, MagicMock, Mock

import numpy as np
import pandas as pd
import polars as pl
import pytest
from pydantic import BaseModel, Field, NaiveDatetime, create_model, model_validator

import smelt
from smelt.testing import ScriptedProvider


class Tag(enum.StrEnum):
    A = "a"
    Z = "z"


class Old(str, enum.Enum):  # noqa: UP042  # Both spellings of a text enum are in use.
    A = "a"


class Level(enum.IntEnum):
    ONE = 1


class Number(int):
    def __int__(self) -> int:
        raise RuntimeError

    __index__ = __int__


class Share(float):
    pass


class Word(str):
    __slots__ = ()

    def encode(self, *given: Any, **more: Any) -> bytes:
        raise RuntimeError

    def isascii(self) -> bool:
        return True


class Words(list[Any]):
    def __iter__(self) -> Any:
        raise RuntimeError


class Money(Decimal):
    pass


class Moment(datetime):
    def astimezone(self, tz: tzinfo | None = None) -> Any:
        raise RuntimeError


class Day(date):
    def isoformat(self) -> str:
        raise RuntimeError


class BrokenZone(tzinfo):
    def utcoffset(self, moment: datetime | None) -> timedelta:
        raise RuntimeError

    def dst(self, moment: datetime | None) -> None:
        return None

    def tzname(self, moment: datetime | None) -> str:
        return "broken"


class Rude:
    def __getattribute__(self, name: str) -> Any:
        raise RuntimeError

    def __eq__(self, other: object) -> bool:
        raise RuntimeError

    __hash__ = None  # type: ignore[assignment]  # As of many a mutable thing.


class Part(BaseModel):
    word: str
    count: int | None = None


class Wider(Part):
    more: str = ""


class Odd(Part):
    @property
    def nothing(self) -> str:
        raise RuntimeError


def coroutine() -> Any:
    async def nobody_awaits_this() -> None: ...

    return nobody_awaits_this()


# Made anew for every row: a coroutine can be closed once.
ZOO: list[Callable[[], Any]] = [
    lambda: None, lambda: True, lambda: 5, lambda: -(2**63), lambda: 2**63, lambda: 2**200, lambda: Level.ONE,
    lambda: Number(7),
    lambda: 0.5, lambda: -0.0, lambda: math.nan, lambda: math.inf, lambda: Share(0.25), lambda: 1j,
    lambda: "a", lambda: "", lambda: "\x00é😀", lambda: "\ud800", lambda: Word("a"), lambda: Word("\udfff"),
    lambda: Tag.A, lambda: Tag.Z, lambda: Old.A,
    lambda: b"a", lambda: np.str_("a"), lambda: np.int64(5), lambda: np.uint64(2**64 - 1), lambda: np.float64(0.5),
    lambda: np.float32(0.5),
    lambda: np.bool_(True), lambda: np.datetime64("2026-01-01"), lambda: np.datetime64("NaT"),
    lambda: np.timedelta64(1, "s"),
    lambda: np.array(["a"]), lambda: np.array(5), lambda: pd.NA, lambda: pd.NaT,
    lambda: pd.Timestamp("2026-01-01T00:00:00.123456789"),
    lambda: pd.Timestamp("2026-01-01", tz="Europe/Berlin"), lambda: pd.Timedelta("1D"), lambda: pd.Series(["a"]),
    lambda: pl.Series(["a"]),
    lambda: pd.Period("2026-01"), lambda: pl.lit(1), lambda: pl.col("a"),
    lambda: Decimal("1.50"), lambda: Decimal("1.555"), lambda: Decimal("NaN"), lambda: Decimal("sNaN"),
    lambda: Decimal("-Infinity"),
    lambda: Decimal("1E+30"), lambda: Decimal("1E+300"), lambda: Decimal("0E-100"), lambda: Decimal("0E+50"),
    lambda: Decimal("-0.00"), lambda: Money("2.5"),
    lambda: datetime(2026, 1, 1), lambda: datetime(2026, 1, 1, tzinfo=UTC), lambda: datetime.min, lambda: datetime.max,
    lambda: datetime.min.replace(tzinfo=timezone(timedelta(hours=1))),
    lambda: datetime(2026, 1, 1, tzinfo=BrokenZone()),
    lambda: Moment(2026, 1, 1, tzinfo=UTC), lambda: Moment(2026, 1, 1), lambda: date(2026, 1, 1), lambda: date.min,
    lambda: date.max, lambda: Day(2026, 1, 1),
    lambda: timedelta(1), lambda: timedelta.min, lambda: timedelta.max, lambda: timedelta(microseconds=-(2**63)),
    list, lambda: ["a"], lambda: [None], lambda: [1], lambda: [["a"]], lambda: Words(["a"]), lambda: ("a",),
    lambda: {"a"}, dict,
    lambda: {"word": "a"}, lambda: iter(["a"]), lambda: [coroutine()], coroutine,
    lambda: Part(word="a"), lambda: Wider(word="a"), lambda: Odd(word="a"), Part.model_construct,
    lambda: Part.model_construct(word=5),
    lambda: Part.model_construct(word="a", count=2**70), lambda: [Part(word="a")], lambda: Part,
    object, Rude, Mock, lambda: MagicMock(spec=str), lambda: MagicMock(spec=Part), lambda: MagicMock(spec=datetime),
    lambda: MagicMock(spec=list), lambda: ANY,
    lambda: Ellipsis, lambda: NotImplemented, lambda: len,
]  # fmt: skip

KINDS: dict[str, tuple[Any, Any]] = {
    "text": (str, "a"),
    "integer": (int, 1),
    "float": (float, 0.5),
    "float with nan": (Annotated[float, Field(allow_inf_nan=True)], 0.5),
    "boolean": (bool, True),
    "choice": (Literal["a", "b"], "a"),
    "enum": (Tag, "a"),
    "decimal": (Annotated[Decimal, Field(decimal_places=2)], "1.00"),
    "instant": (datetime, "2026-01-01T00:00:00Z"),
    "wall clock": (NaiveDatetime, "2026-01-01T00:00:00"),
    "date": (date, "2026-01-01"),
    "duration": (timedelta, "P1D"),
    "list": (list[str], ["a"]),
    "list of decimals": (list[Annotated[Decimal, Field(decimal_places=2)]], ["1.00"]),
    "model": (Part, {"word": "a", "count": 1}),
    "nullable text": (str | None, "a"),
    "nullable instant": (datetime | None, None),
    "nullable model": (Part | None, {"word": "a", "count": 1}),
    "models": (list[Part | None], [{"word": "a", "count": 1}]),
}
LIBRARIES: dict[str, Callable[[list[int]], Any]] = {
    "records": lambda rows: [{"row": row} for row in rows],
    "pandas": lambda rows: pd.DataFrame({"row": rows}),
    "polars": lambda rows: pl.DataFrame({"row": rows}),
}


class Swapping(BaseModel):
    row: int

    @model_validator(mode="after")
    def _swap(self) -> Any:
        if self.row < len(ZOO):
            self.x = ZOO[self.row]()  # As `validate_assignment` does not ask for: anything at all.
        return self


PLAIN = {type(None), str, int, float, bool, Decimal, datetime, date, timedelta, list, dict}


def columns_of(frame: Any) -> tuple[list[Any], list[bool]]:
    """The answers, None where there is none, and which rows have failed."""
    if isinstance(frame, list):
        return [one["x"] for one in frame], [one["smelt_error"] is not None for one in frame]
    if isinstance(frame, pd.DataFrame):
        values = frame["x"].astype(object).tolist()
        absent = frame["x"].isna().tolist()
        return [None if gone else one for one, gone in zip(values, absent)], frame["smelt_error"].notna().tolist()
    return frame["x"].to_list(), frame["smelt_error"].is_not_null().to_list()


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:Validating a reply takes over")  # On a busy machine; it is about values, not time.
@pytest.mark.parametrize("kind", KINDS)
def test_whatever_a_validator_returns_costs_its_row_at_most(kind: str, tmp_path: Path) -> None:
    annotation, answer = KINDS[kind]
    model = create_model("Answer", __base__=Swapping, x=(annotation, ...))
    rows = list(range(len(ZOO) + 1))  # The last one is left alone.
    seen = []

    for library in LIBRARIES.values():
        provider = ScriptedProvider(lambda row: {"row": row["row"], "x": answer})
        options: Any = {"ledger": tmp_path / "ledger.sqlite", "progress": False, "on_conflict": "replace"}
        result = smelt.run(library(rows), "Of {row}.", model, model=provider, batch_size=40, **options)
        seen.append((result, provider.rows_sent, *columns_of(result.frame)))

    (first, sent, values, failed), *others = seen
    assert failed[-1] is False
    assert {one.kind for one in first.errors} == {"validator"}
    assert [one is None for one in first.data] == failed
    assert sent == len(rows)
    taken = [value for value, has_failed in zip(values, failed, strict=True) if not has_failed]
    assert {type(one) for one in taken} <= PLAIN
    assert None not in taken or "nullable" in kind
    for result, sent_again, same_values, same_failed in others:  # Out of the ledger.
        assert sent_again == sum(failed)
        assert same_failed == failed
        assert [one is None for one in same_values] == [one is None for one in values]
        assert {one.kind for one in result.errors} == {"validator"}
