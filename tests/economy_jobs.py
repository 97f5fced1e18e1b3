"""The three jobs on which tokens and dollars are compared: company names, reviews, invoices.

They have the shapes of the usual tables: 3, 5 and 6 columns sent, 2, 5 and 8 fields asked. At four bytes a token, a row
in a request takes about 31, 76 and 135 tokens, its answer 13, 25 and 54. The fake server answers by `rules`, and
`Job.answer` says what is right.
"""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any, Literal

from pydantic import BaseModel, Field

from tests.fakeserver.answers import Rule, expected

_CITIES = ("Oslo, Norway", "Lima, Peru", "Pune, India", "Graz, Austria", "Kobe, Japan", "Cork, Ireland")
_MAKERS = ("Nordic", "Andes", "Deccan", "Styria", "Harbour", "Lough", "Delta", "Summit")
_TRADES = ("Instruments", "Foods", "Textiles", "Optics", "Logistics", "Software", "Clinics", "Insurance")
_PRODUCTS = ("kettle K7", "desk lamp L2", "running shoes R9", "phone case C4", "backpack B3", "headset H5")
_OPENINGS = ("It arrived two days late,", "The box was torn,", "Set up in five minutes,", "My second one so far,")
_MIDDLES = (
    "but support answered within the hour and sent another one",
    "and after three weeks of daily use it still works as on the first day",
    "and the colour is not the one shown on the page that I ordered from",
    "yet for this price I had expected a cable that fits the socket",
)
_ENDINGS = ("Would buy again.", "I sent it back.", "Good value.", "Not for me.")
_ITEMS = (
    "12 ring binders A4 at 3.10, 4 boxes of copy paper at 21.50, express delivery to the third floor",
    "monthly hosting of two virtual machines, 500 GB of backup storage, support within four hours",
    "replacement of the pump in building C, eleven hours of work, travel of two technicians from the depot",
    "translation of a manual of 84 pages from German into Polish, review by a second translator included",
)
_TERMS = ("net 30 days, 2 % discount within 10 days", "due on receipt", "net 14 days, late fee of 1.5 % a month")


class Company(BaseModel):
    """What a company does."""

    sector: Literal["tech", "finance", "health", "industry", "other"]
    is_public: bool


class Review(BaseModel):
    """What a review says: closed fields only."""

    sentiment: Literal["positive", "neutral", "negative"]
    stars: int = Field(ge=1, le=5)
    topic: Literal["delivery", "quality", "price", "service"]
    is_repeat: bool
    recommends: bool


class Invoice(BaseModel):
    """What an invoice says: texts, a date and an amount among closed fields."""

    supplier: str = Field(max_length=60)
    reference: str = Field(max_length=20)
    issued_on: date
    amount: float
    currency: Literal["EUR", "USD", "NOK"]
    category: Literal["office", "hosting", "repair", "translation"]
    is_overdue: bool
    note: str = Field(max_length=120)


@dataclass(frozen=True, kw_only=True)
class Job:
    """A table and what is asked of it.

    Attributes:
        name: Its name.
        prompt: The question.
        model: The output model.
        rules: How the fake server derives the answer from a row.
    """

    name: str
    prompt: str
    model: type[BaseModel]
    rules: Mapping[str, Rule]

    def rows(self, count: int) -> list[dict[str, Any]]:
        """The first *count* rows, all different. The same in every process."""
        return [_ROWS[self.name](at, random.Random(f"{self.name} {at}")) for at in range(count)]

    def answer(self, row: Mapping[str, Any]) -> dict[str, Any]:
        """The right answer to *row*."""
        return expected(self.rules, row)


def _company(at: int, rng: random.Random) -> dict[str, Any]:
    trades = rng.sample(_TRADES, 2)
    name = f"{rng.choice(_MAKERS)} {trades[0]} and {trades[1]} Holding {at:05}"
    return {"name": name, "headquarters": rng.choice(_CITIES), "founded_in": rng.randint(1850, 2020)}


def _review(at: int, rng: random.Random) -> dict[str, Any]:
    middles = rng.sample(_MIDDLES, 2)
    text = f"{rng.choice(_OPENINGS)} {middles[0]}, {middles[1]}. {rng.choice(_ENDINGS)} Order {at:06}."
    return {
        "product": rng.choice(_PRODUCTS),
        "title": rng.choice(("Mixed feelings", "Better than it looks", "Read this first", "As described")),
        "text": text,
        "country": rng.choice(_CITIES).rpartition(" ")[2],
        "verified": rng.random() < 0.7,
    }


def _invoice(at: int, rng: random.Random) -> dict[str, Any]:
    issued = date(2026, 1, 1) + timedelta(days=rng.randrange(300))
    items = "; ".join(rng.sample(_ITEMS, 3))
    return {
        "sender": f"{rng.choice(_MAKERS)} {rng.choice(_TRADES)}, {rng.choice(_CITIES)}",
        "number": f"RE-2026-{at:06}",
        "issued": issued.isoformat(),
        "total": round(rng.uniform(40, 9_000), 2),
        "items": items,
        "terms": f"{rng.choice(_TERMS)}; please quote the number with your transfer to account {rng.randrange(10**10)}",
    }


_ROWS = {"company": _company, "review": _review, "invoice": _invoice}

COMPANY = Job(
    name="company",
    prompt="Which sector is {name} of {headquarters}, founded in {founded_in}, and is it listed on a stock exchange?",
    model=Company,
    rules={
        "sector": {"choice": ["tech", "finance", "health", "industry", "other"], "of": "name"},
        "is_public": {"parity": "founded_in"},
    },
)
REVIEW = Job(
    name="review",
    prompt="Read the review {title}, {text} of {product} from {country} (bought here: {verified}).",
    model=Review,
    rules={
        "sentiment": {"choice": ["positive", "neutral", "negative"], "of": "text"},
        "stars": {"choice": [1, 2, 3, 4, 5], "of": "text"},
        "topic": {"choice": ["delivery", "quality", "price", "service"], "of": "text"},
        "is_repeat": {"parity": "text"},
        "recommends": {"parity": "title"},
    },
)
INVOICE = Job(
    name="invoice",
    prompt="Book the invoice {number} of {sender}, issued {issued}: {items}. Total {total}. Terms: {terms}.",
    model=Invoice,
    rules={
        "supplier": {"copy": "sender"},
        "reference": {"copy": "number"},
        "issued_on": {"copy": "issued"},
        "amount": {"copy": "total"},
        "currency": {"choice": ["EUR", "USD", "NOK"], "of": "sender"},
        "category": {"choice": ["office", "hosting", "repair", "translation"], "of": "items"},
        "is_overdue": {"parity": "number"},
        "note": {"choice": ["Discount if paid early.", "Late fee applies.", "Nothing unusual."], "of": "terms"},
    },
)
JOBS = (COMPANY, REVIEW, INVOICE)
