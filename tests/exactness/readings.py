"""The table that a hostile model reads, and a checker that counts what it got wrong.

Every cell of an answer follows from its own row, and no two rows have the same; texts hold what models spoil in JSON.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Annotated, Any, Literal

import pandas as pd
from pydantic import BaseModel, Field, create_model

import smelt
from smelt.result import SmeltResult
from tests.fakeserver.answers import expected
from tests.fakeserver.oddwire import FIREWALL, QUOTED

PROMPT = "Read {at}, {text}, {sum} and {clue}."
SPOILT = 'is "new"\n\tcosts \\$5, it\'s \\d+\x0b'
Amount = Annotated[Decimal, Field(decimal_places=6, max_digits=24)]


class Detail(BaseModel):
    amount: Amount
    digits: Annotated[list[int], Field(max_length=8)]


class Reading(BaseModel):
    label: Literal["tech", "finance", "health", "other"]
    number: int
    is_odd: bool
    words: Annotated[str, Field(max_length=80)]
    hint: Annotated[str, Field(max_length=20)] | None
    detail: Detail


RULES: dict[str, Any] = {
    "label": {"choice": ["tech", "finance", "health", "other"], "of": "text"},
    "number": {"copy": "at"},
    "is_odd": {"parity": "at"},
    "words": {"copy": "text"},
    "hint": {"copy": "clue"},
    "detail": {"object": {"amount": {"copy": "sum"}, "digits": {"digits": "at"}}},
}


class Words(BaseModel):
    """On the compact wire a string of words, the text last."""

    label: Literal["tech", "finance", "health", "other"]
    number: int
    is_odd: bool
    amount: Amount
    words: Annotated[str, Field(max_length=80)]


class Cells(BaseModel):
    """On the compact wire an array of strings."""

    words: Annotated[str, Field(max_length=80)]
    number: int
    hint: Annotated[str, Field(max_length=20)] | None
    amount: Amount
    label: Literal["tech", "finance", "health", "other"]


NUMBERS: dict[str, Any] = {f"n{by}": {"mixed": "at", "by": by} for by in range(45)}
"""Rules for numbers that no other row and no other field has."""


def _with_numbers(model: type[BaseModel]) -> type[BaseModel]:
    """*model* with 45 numbers in front, so that many cells are asked with few requests."""
    wide: type[BaseModel] = create_model("Wide", **dict.fromkeys(NUMBERS, int))
    return create_model(f"Wide{model.__name__}", __base__=(model, wide))


def _rules_of(model: type[BaseModel]) -> dict[str, Any]:
    rules = {**RULES, **NUMBERS, "amount": {"copy": "sum"}}
    return {field: rules[field] for field in model.model_fields}


_WIDE = {name: _with_numbers(model) for name, model in (("keyed", Reading), ("packed", Words), ("positional", Cells))}
FORMS: dict[str, tuple[type[BaseModel], dict[str, Any]]] = {
    "keyed": (Reading, RULES),
    "packed": (Words, _rules_of(Words)),
    "positional": (Cells, _rules_of(Cells)),
    **{f"{name}-wide": (wide, _rules_of(wide)) for name, wide in _WIDE.items()},
}
"""By the shape of its replies: an output model, and the rules for its answers."""


def readings(count: int, *, first: int = 0, shunned: int = 0) -> pd.DataFrame:
    """*count* rows from the number *first* on; one in *shunned* has a text that a firewall or a provider refuses."""
    numbers = range(first, first + count)
    amiss = (FIREWALL, *QUOTED)

    def words(number: int) -> str:
        odd = f" {amiss[number // shunned % 4]}" if shunned and number % shunned == shunned // 2 else ""
        return f"item {number} {SPOILT}{odd}"

    return pd.DataFrame({
        "at": numbers,
        "text": [words(number) for number in numbers],
        "sum": [f"{1_234_567_890_123 + number}.{number % 1_000_000:06}" for number in numbers],
        "clue": [None if number % 3 else f"hint {number}" for number in numbers],
    })  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Marks:
    """What a run got wrong.

    Attributes:
        rows: Rows asked.
        cells: Cells of the rows with an answer.
        wrong: Cells that hold a value that fits no row.
        misplaced: Cells that hold another row's value.
        failed: Rows without an answer, by the kind of their error.
        sent: Rows in all requests.
    """

    rows: int
    cells: int = field(default=0, compare=False)
    wrong: int
    misplaced: int
    failed: Counter[str]
    sent: int

    @property
    def share(self) -> float:
        """Rows sent per row."""
        return self.sent / self.rows


def read(frame: pd.DataFrame, model: Any, form: str = "keyed", **options: Any) -> SmeltResult[Any]:
    """Read the rows of *frame*, with more attempts than usual: a rare row meets four oddities in a row."""
    wire = "keyed" if form.startswith("keyed") else "compact"
    given = {"progress": False, "batch_size": 20, "max_attempts": 8, "wire": wire} | options
    result: SmeltResult[Any] = smelt.run(frame, PROMPT, FORMS[form][0], model=model, **given)
    return result


def is_refused(text: str) -> bool:
    """Whether the hostile server refuses every request with a row of this *text*."""
    return any(word in text for word in (FIREWALL, *QUOTED))


def marked(
    frame: pd.DataFrame, result: SmeltResult[Any], sent: int, form: str = "keyed", *, but: Collection[int] = ()
) -> Marks:
    """Compare every cell with its own row, and with all others; the failures at the positions *but* are expected."""
    rules = FORMS[form][1]
    rows = records(frame)
    wrong = misplaced = 0
    others: dict[str, set[str]] = {}
    for row, answer in zip(rows, result.data, strict=True):
        if answer is None:
            continue
        want = typed(expected(rules, row))
        said = answer.model_dump()
        if said == want:
            continue
        others = others or _cells(rows, rules)
        for name, value in said.items():
            if value != want[name]:
                is_anothers = name not in ("label", "is_odd", "hint") and repr(value) in others[name]
                misplaced, wrong = misplaced + is_anothers, wrong + (not is_anothers)
    failed = Counter(error.kind for error in result.errors if error.position not in but)
    cells = len(rules) * sum(answer is not None for answer in result.data)
    return Marks(rows=len(frame), cells=cells, wrong=wrong, misplaced=misplaced, failed=failed, sent=sent)


def records(frame: pd.DataFrame) -> list[Any]:
    """The rows of *frame* as dicts, None for what is missing."""
    return frame.astype(object).where(frame.notna(), None).to_dict("records")


def typed(want: dict[str, Any]) -> dict[str, Any]:
    """What the model makes of the values *want*, as they are in JSON."""
    parts = {"amount": Decimal(want["amount"])} if "amount" in want else {}
    return {**want, **parts, **({"detail": typed(want["detail"])} if "detail" in want else {})}


def _cells(rows: list[Any], rules: dict[str, Any]) -> dict[str, set[str]]:
    wants = [typed(expected(rules, row)) for row in rows]
    return {name: {repr(want[name]) for want in wants} for name in rules}
