"""How the embedded models' answers depend on the wire and on the rows per request; rewrites docs/concepts/batching.md.

    python -m tests.bench.agreement [MODEL ROWS] …

Reviews with labels, three fields each, in the order of the table. *Right* are values like the labels; *as keyed, 1* are
values like those of one row per request in the keyed form, which is asked once more to see how often it repeats itself.
The embedded model is held to each row by a grammar with the names of the fields, so that its replies
have them on either wire; the last lines ask it for packed replies all the same. MODEL is one of `smelt local`, and its
weights must be here. Behind each share stands its 95 % interval (Wilson's), for which the rows and not the values count
as independent. The page is rewritten if no model is named. Takes half an hour on an idle machine.
"""

from __future__ import annotations

import math
import os
import platform
import sys
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import date
from typing import Any, Literal

from pydantic import BaseModel

import smelt
from smelt.call.resolve import resolve_model
from tests.bench.contenders.environments import ROOT
from tests.bench.peers import put

MARKS = "<!-- agreement: written by python -m tests.bench.agreement -->\n", "<!-- end of agreement -->\n"
PAGE = ROOT / "docs" / "concepts" / "batching.md"
SIZES = (1, 6)
MODELS = {"smollm2-135m": 24, "qwen2.5-coder-1.5b": 12}  # Rows; the second takes seconds for each.
LONGEST = 600.0  # Seconds; rows without an answer by then have none.
PROMPT = "Read the {review}. What is its sentiment, what is it about, and would the customer buy again?"
_Answers = list[tuple[Any, ...] | None]


class Judged(BaseModel):
    sentiment: Literal["positive", "neutral", "negative"]
    topic: Literal["delivery", "quality", "price", "service"]
    buys_again: bool


LABELLED: Sequence[tuple[str, tuple[str, str, bool]]] = (
    ("Arrived two days early, thank you!", ("positive", "delivery", True)),
    ("The parcel came a week late and the box was torn.", ("negative", "delivery", False)),
    ("Delivered on the day that was promised.", ("neutral", "delivery", True)),
    ("The courier left it in the rain. Never again.", ("negative", "delivery", False)),
    ("Fast shipping, I will order again.", ("positive", "delivery", True)),
    ("Still waiting for the second parcel.", ("negative", "delivery", False)),
    ("Broke after three days.", ("negative", "quality", False)),
    ("Solid, well made, a joy to use every day.", ("positive", "quality", True)),
    ("The stitching came loose in the first week.", ("negative", "quality", False)),
    ("It does what it should, no more and no less.", ("neutral", "quality", True)),
    ("The best headphones that I have ever owned.", ("positive", "quality", True)),
    ("The colour fades with every wash.", ("negative", "quality", False)),
    ("Far too expensive for a piece of plastic.", ("negative", "price", False)),
    ("A bargain. I bought three of them.", ("positive", "price", True)),
    ("It costs about as much as in other shops.", ("neutral", "price", True)),
    ("Great value for so little money.", ("positive", "price", True)),
    ("The price doubled within a month, I am out.", ("negative", "price", False)),
    ("Cheaper than I had feared, and I am happy with it.", ("positive", "price", True)),
    ("Support answered within minutes and sent a new one.", ("positive", "service", True)),
    ("Nobody answers the phone, and mails come back.", ("negative", "service", False)),
    ("The staff were rude when I asked for a refund.", ("negative", "service", False)),
    ("They explained the form to me over the phone.", ("neutral", "service", True)),
    ("A very friendly and patient customer service.", ("positive", "service", True)),
    ("My complaint was closed without a word.", ("negative", "service", False)),
)


def main(models: Mapping[str, int]) -> None:
    """Run, print, and write the page if all models have run."""
    lines = []
    for model, rows in models.items():
        for line in table(model, rows):
            print(line, flush=True)
            lines.append(line)
        lines.append("")
    if models == MODELS:
        put(lines[:-1], *MARKS, page=PAGE)


def table(model: str, rows: int) -> Iterator[str]:
    """The lines of the table, as soon as each is known."""
    yield f"`{model}`, {rows} rows of three values, {date.today()}, {os.cpu_count()} CPUs, {platform.system()}."
    yield ""
    yield "| wire | rows per request | valid | right | as keyed, 1 |"
    yield "| --- | ---: | ---: | ---: | ---: |"
    first: _Answers | None = None
    for wire, codec, name in (
        ("keyed", "keyed", "keyed"),
        ("compact", "keyed", "compact requests, replies with names"),
        ("compact", "array", "compact requests, packed replies"),  # Last, since it may never end a list of strings.
    ):
        for size in SIZES:
            answers = asked(model, rows, wire, codec, size)
            if first is None:
                first = answers
                again = asked(model, rows, wire, codec, size)
                yield row(f"{name}, a second time", size, again, first)
            yield row(name, size, answers, first)


def asked(model: str, rows: int, wire: Any, codec: Any, size: int) -> _Answers:
    """The answers of a run without a ledger."""
    provider: Any = resolve_model(f"local:{model}")
    shaped: Any = Shaped(provider, codec)
    given = [{"review": text} for text, _ in sample(rows)]
    options: dict[str, Any] = {"shuffle": False, "ledger": False, "progress": False, "deadline": LONGEST}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        result = smelt.run(given, PROMPT, Judged, model=shaped, wire=wire, batch_size=size, **options)
    return [None if one is None else (one.sentiment, one.topic, one.buys_again) for one in result.data]


def sample(rows: int) -> Sequence[tuple[str, tuple[str, str, bool]]]:
    """Rows from all parts of the table."""
    return LABELLED[:: len(LABELLED) // rows][:rows]


class Shaped:
    """A provider whose replies have the shape *codec*."""

    def __init__(self, provider: Any, codec: Any) -> None:
        self._provider = provider
        self.capabilities = replace(provider.capabilities, codec=codec)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._provider, name)


def row(name: str, size: int, answers: _Answers, first: _Answers) -> str:
    """A line of the table."""
    labels = [label for _, label in sample(len(answers))]
    valid = sum(one is not None for one in answers) / len(answers)
    shares = (valid, _share(answers, labels), _share(answers, first))
    return f"| {name} | {size} | {' | '.join(shown(one, len(answers)) for one in shares)} |"


def shown(share: float, count: int) -> str:
    """A share of *count* rows with its interval, in percent."""
    lowest, highest = interval(share, count)
    return f"{share:.0%} ({lowest:.0%} to {highest:.0%})".replace("%", " %")


def interval(share: float, count: int) -> tuple[float, float]:
    """The 95 % interval of Wilson (1927) for a *share* of *count*."""
    z = 1.96
    middle = share + z * z / (2 * count)
    half = z * math.sqrt(share * (1 - share) / count + z * z / (4 * count * count))
    return (middle - half) / (1 + z * z / count), (middle + half) / (1 + z * z / count)


def _share(answers: Sequence[tuple[Any, ...] | None], others: Sequence[tuple[Any, ...] | None]) -> float:
    """The share of values that are the same; a row without an answer has none."""
    pairs = [(one, other) for one, other in zip(answers, others, strict=True) if one is not None and other is not None]
    same = [a for one, other in pairs for a, b in zip(one, other, strict=True) if a == b]
    return len(same) / (3 * len(answers))


if __name__ == "__main__":
    given = iter(sys.argv[1:])
    main({model: int(next(given)) for model in given} or MODELS)
