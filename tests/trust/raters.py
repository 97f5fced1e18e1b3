"""The marks of people who judged 4,200 tweets: what a model's votes are like if it disagrees with itself as people do.

`tweets.txt.xz` has a line for each tweet: `+`, `0` or `-`, the sign that most of its 15 to 99 raters gave, and then the
signs of fifteen of them in random order. Made of the data set that Hutto and Gilbert (2014), "VADER", published under
the MIT licence in the source distribution of vaderSentiment 3.3.2 (`tweets_anonDataRatings.txt`); without the texts.
"""

from __future__ import annotations

import lzma
from collections import Counter
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

NAMES = {"+": "positive", "0": "neutral", "-": "negative"}


@cache
def tweets() -> list[tuple[str, tuple[str, ...]]]:
    """For each tweet the sign that most raters gave, and the signs of fifteen raters."""
    lines = lzma.decompress((Path(__file__).parent / "tweets.txt.xz").read_bytes()).decode().split("\n")
    return [(NAMES[line[0]], tuple(NAMES[mark] for mark in line[1:])) for line in lines]


class Raters:
    """Answers a row `{"tweet": number}` with the mark of the next rater."""

    def __init__(self) -> None:
        """Nobody was asked."""
        self.asked: Counter[int] = Counter()

    def __call__(self, row: Mapping[str, Any]) -> dict[str, str]:
        """The next mark."""
        number = int(row["tweet"])
        self.asked[number] += 1
        return {"mood": tweets()[number][1][self.asked[number] - 1]}
