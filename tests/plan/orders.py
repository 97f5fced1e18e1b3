"""An output model with numbers at every depth, and what becomes of an answer to it."""

from __future__ import annotations

from decimal import Decimal
from typing import Annotated

from pydantic import BaseModel, Field

from smelt.plan.chunks import Pending
from smelt.plan.replies import read_reply
from smelt.plan.schema import read_output
from smelt.plan.validate import Accepted, InvalidRow, Validator

Money = Annotated[Decimal, Field(decimal_places=2)]


class Item(BaseModel):
    count: int = Field(alias="howMany")
    price: Money


class Order(BaseModel):
    number: Annotated[int, Field(ge=-5)]
    maybe: int | None
    many: list[list[int]]
    item: Item
    items: list[Item] | None
    total: Money
    share: float


def answer(number: str = "5", price: str = '"1.00"', share: str = "0.5") -> str:
    item = f'{{"howMany":{number},"price":{price}}}'
    return (
        f'{{"number":{number},"maybe":{number},"many":[[{number}],[]],"item":{item},"items":[{item},{item}],'
        f'"total":{price},"share":{share}}}'
    )


def judged(model: type[BaseModel], text: str) -> Accepted | InvalidRow:
    """What becomes of a row that is answered with this JSON, read as a reply is."""
    rows = read_reply(f'{{"rows":[{{"id":"bbbbb",{text[1:]}]}}', ["bbbbb"], "array")
    row = Pending(position=0, text="{}")
    (outcome,) = Validator(read_output(model)).accept([row], [rows.found["bbbbb"]])
    return outcome
