"""How good the votes and the cascade of the embedded models are; rewrites docs/howto/confidence.md.

    python -m tests.bench.judges ask MODEL FILE [ROWS]
    python -m tests.bench.judges show CHEAP_FILE STRONG_FILE

The labelled reviews of `agreement` are asked five times at a temperature of 0.7, and once at 0, with 1 and with 6 rows
per request: `ask` appends the answers of each such run to FILE, and leaves out the runs that it has, so it can be ended
and goes on. MODEL is one of `smelt local`, and its weights must be here. `show` asks nothing: it gives the answers to
the library once more, vote by vote, and so has the tables in seconds. The 95 % intervals (Wilson's) are those of 24
independent rows. `ask` takes a minute for the small model and a quarter of an hour for the other on an idle machine.
"""

from __future__ import annotations

import json
import os
import platform
import random
import sys
import time
import warnings
from collections.abc import Iterator, Sequence
from datetime import date
from pathlib import Path
from typing import Any

import smelt
from smelt.evaluation.scores import Share
from smelt.testing import ScriptedProvider
from tests.bench.agreement import LABELLED, PROMPT, Judged, sample
from tests.bench.contenders.environments import ROOT
from tests.bench.peers import put

MARKS = "<!-- judges: written by python -m tests.bench.judges -->\n", "<!-- end of judges -->\n"
PAGE = ROOT / "docs" / "howto" / "confidence.md"
SIZES = (1, 6)
ROUNDS = 5
WARM = 0.7  # The temperature of votes. At 0 a row that is alone in its request gets the same answer each time.
COLD = -1  # The round that is asked at temperature 0.
LONGEST = 7200.0  # Seconds, also for one request: the machine may be busy with other things.
FIELDS = ("sentiment", "topic", "buys_again")
COPIES = 100  # Of each row, for the cascade.
TARGETS = (0.95, 0.9, 0.8)

Answer = tuple[Any, ...] | None
_SAME: dict[str, Any] = {"ledger": False, "progress": False}


class Runs:
    """The answers of one model, from a file with a line for each run."""

    def __init__(self, path: Path) -> None:
        """Read *path*, which may be missing or end in half a line."""
        self.model = ""
        self.rows = 0
        self.answers: dict[tuple[int, int], list[Answer]] = {}
        for line in path.read_text(encoding="utf-8").splitlines() if path.exists() else ():
            try:
                found = json.loads(line)
            except ValueError:
                continue
            self.model, self.rows = found["model"], len(found["answers"])
            given = [None if one is None else tuple(one) for one in found["answers"]]
            self.answers[found["size"], found["round"]] = given

    def votes(self, row: int, size: int) -> list[Answer]:
        """The answers to a *row*, in the order in which they were given."""
        return [self.answers[size, number][row] for number in range(ROUNDS) if (size, number) in self.answers]

    def has(self, size: int, votes: int) -> bool:
        """Whether all rows were asked so many *votes*; 0 is the run at temperature 0."""
        return all((size, number) in self.answers for number in (range(votes) if votes else [COLD]))


def ask(model: str, path: Path, rows: int = len(LABELLED)) -> None:
    """Ask for all that *path* has not yet."""
    known = Runs(path).answers
    for number in (COLD, *range(ROUNDS)):
        for size in SIZES:
            if (size, number) in known:
                continue
            began = time.perf_counter()
            answers = asked(model, rows, size, number)
            line = {"model": model, "size": size, "round": number, "seconds": time.perf_counter() - began}
            with path.open("a", encoding="utf-8") as file:
                file.write(json.dumps({**line, "answers": answers}) + "\n")
            print(line, flush=True)


def asked(model: str, rows: int, size: int, number: int) -> list[Answer]:
    """The answers of one run, whose rows share requests as those of a vote of that *number* do."""
    given = [{"review": text} for text, _ in sample(rows)]
    params = {"temperature": 0.0 if number == COLD else WARM}
    limits: dict[str, Any] = {"deadline": LONGEST, "timeout": LONGEST, "batch_size": size, "wire": "keyed"}
    result = smelt.run(
        given, PROMPT, Judged, model=f"local:{model}", params=params, seed=max(number, 0), **limits, **_SAME
    )
    return [None if one is None else (one.sentiment, one.topic, one.buys_again) for one in result.data]


def show(cheap: Runs, strong: Runs) -> None:
    """Print the tables, and write the page if all rows were asked."""
    lines = []
    for line in (*votes_table((cheap, strong)), "", *cascade_table(cheap, strong)):
        print(line, flush=True)
        lines.append(line)
    if cheap.rows == strong.rows == len(LABELLED):
        put(lines, *MARKS, page=PAGE)


def votes_table(models: Sequence[Runs]) -> Iterator[str]:
    """How many answers are right after one, three and five votes."""
    yield f"{models[0].rows} labelled reviews, {date.today()}, {os.cpu_count()} CPUs, {platform.system()}."
    yield ""
    yield "| model | rows per request | asked | votes a row | sentiment right | topic right | buys again right |"
    yield "| --- | ---: | --- | ---: | ---: | ---: | ---: |"
    for one in models:
        for size in SIZES:
            for votes in (0, 1, 3, ROUNDS):
                if not one.has(size, votes):
                    continue
                found = evaluated(one, size, votes)
                used = 1.0 if votes < 2 else found.result.votes["votes"].fillna(0).mean()
                how = f"temperature {WARM if votes else 0}" if votes < 2 else f"{votes} votes"
                shares = [shown(found.fields[name].accuracy) for name in FIELDS]
                yield f"| {one.model} | {size} | {how} | {used:.2f} | {' | '.join(shares)} |"


def evaluated(runs: Runs, size: int, votes: int) -> Any:
    """The evaluation of so many *votes*; 0 is the run at temperature 0."""
    import pandas as pd

    frame = pd.DataFrame(
        [{"review": text, **dict(zip(FIELDS, known, strict=True))} for text, known in sample(runs.rows)]
    )
    frame.columns = ["review", *(f"known_{name}" for name in FIELDS)]
    script = [runs.votes(row, size) if votes else [runs.answers[size, COLD][row]] for row in range(runs.rows)]
    model = replayed(runs.model, {text: given for (text, _), given in zip(sample(runs.rows), script, strict=True)})
    truth = {name: f"known_{name}" for name in FIELDS}
    return smelt.evaluate(frame, PROMPT, Judged, truth, model=model, votes=max(votes, 1), max_attempts=1, **_SAME)


def replayed(model: str, script: dict[str, list[Answer]]) -> ScriptedProvider:
    """A provider that answers each review with the next of its answers."""
    turn = dict.fromkeys(script, 0)

    def answer(row: Any) -> dict[str, Any] | None:
        text = row["review"]
        turn[text] += 1
        given = script[text][turn[text] - 1]
        return None if given is None else dict(zip(FIELDS, given, strict=True))

    return ScriptedProvider(answer, name="local", model=model, keep=False)


def cascade_table(cheap: Runs, strong: Runs) -> Iterator[str]:
    """What the cascade of the two does with these rows, and with frames of many rows like these."""
    import pandas as pd

    texts = [text for text, _ in sample(cheap.rows)]
    few = pd.DataFrame({"review": texts})
    asked_alone = cascaded(cheap, strong, few, texts, size=1, target=0.95)
    yield f"What `result.cascade` says of these {len(texts)} rows: “{asked_alone.cascade.promise}”."
    yield ""
    yield f"| rows per request | all 5 votes for the sentiment agree | of these as {strong.model} |"
    yield "| ---: | ---: | ---: |"
    for size in SIZES:
        same = [cheap.votes(row, size) for row in range(cheap.rows)]
        sure = [row for row, votes in enumerate(same) if len({vote and vote[0] for vote in votes}) == 1]
        agree = sum(_value(same[row][0]) == _value(strong.answers[1, COLD][row]) for row in sure)
        yield f"| {size} | {len(sure)} of {cheap.rows} rows | {shown(Share(count=agree, of=len(sure)))} |"
    yield ""
    many = [f"{text} ({copy})" for copy in range(COPIES) for text in texts]
    yield "| rows per request | promised | strong calls saved | as the strong model | right | it alone |"
    yield "| ---: | ---: | ---: | ---: | ---: | ---: |"
    for size in SIZES:
        for target in TARGETS:
            result = cascaded(cheap, strong, pd.DataFrame({"review": many}), many, size=size, target=target)
            yield _cascade_row(result, strong, size, target)


def cascaded(cheap: Runs, strong: Runs, frame: Any, texts: Sequence[str], *, size: int, target: float) -> Any:
    """The result of a cascade about *texts*, each one of the rows in their order, over and over."""
    rng = random.Random(0)
    answers = {text: rng.sample(cheap.votes(at % cheap.rows, size), ROUNDS) for at, text in enumerate(texts)}
    last = {text: [strong.answers[1, COLD][at % strong.rows]] * 2 for at, text in enumerate(texts)}
    models = [replayed(cheap.model, answers), replayed(strong.model, last)]
    options: dict[str, Any] = {"cascade_fields": ["sentiment"], "votes": ROUNDS, "max_attempts": 1, **_SAME}
    return smelt.run(frame, PROMPT, Judged, model=models, target_accuracy=target, **options)


def _cascade_row(result: Any, strong: Runs, size: int, target: float) -> str:
    known = [label[0] for _, label in sample(strong.rows)]
    alone = [_value(one) for one in strong.answers[1, COLD]]
    given = list(result.frame["sentiment"])
    rows = len(given)
    same = sum(one == alone[at % strong.rows] for at, one in enumerate(given))
    right = sum(one == known[at % strong.rows] for at, one in enumerate(given))
    saved = result.cascade.answered[result.cascade.models[0]]
    strong_right = sum(one == label for one, label in zip(alone, known, strict=True)) / strong.rows
    shares = (saved / rows, same / rows, right / rows, strong_right)
    return f"| {size} | {target:.0%} | {' | '.join(f'{one:.0%}' for one in shares)} |".replace("%", " %")


def _value(answer: Answer) -> Any:
    return None if answer is None else answer[0]


def shown(share: Share) -> str:
    """A share with its interval, in percent."""
    if share.interval is None:
        return ""
    lowest, highest = share.interval
    return f"{share.value:.0%} ({lowest:.0%} to {highest:.0%})".replace("%", " %")


def main(what: str, *given: str) -> None:
    """Ask, or show."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # That these models are for trying out.
        if what == "ask":
            ask(given[0], Path(given[1]), *map(int, given[2:]))
        else:
            show(Runs(Path(given[0])), Runs(Path(given[1])))


if __name__ == "__main__":
    main(*sys.argv[1:])
