"""What other compact wires would cost, counted and not asked: tokens per row, and dollars beside those of the peers.

    python -m tests.bench.wires [ROWS]

Takes the requests that `wire="compact"` sends for the jobs of `tests.economy_jobs` and the right replies, changes them
as each line says, and counts `cl100k_base` tokens (`contenders.shop.vocabulary`; four bytes a token without it). The
peers' counts are those of `tests.bench.economy`. Dollars are those of a batch, for curator's best too; openaivec has
none. Nobody has asked a model in these forms: a line is a bound and no offer. Rewrites its table in docs/benchmarks.md.
"""

from __future__ import annotations

import json
import random
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import pandas as pd

import smelt
from smelt.plan.packed import Layout
from smelt.plan.schema import read_output
from tests.bench.contenders.shop import vocabulary
from tests.bench.economy import head, row
from tests.bench.peers import put
from tests.economy_jobs import JOBS, Job
from tests.fakeserver.till import RATES

MARKS = "<!-- wires: written by python -m tests.bench.wires -->\n", "<!-- end of wires -->\n"
ROWS = 400
# Per row, from the table of `tests.bench.economy`: curator's batch, and openaivec's best, whose input is all written.
CURATOR = {"company": (92.4, 10.0), "review": (186.5, 25.0), "invoice": (306.1, 60.2)}
OPENAIVEC = {"company": (39.1, 16.0), "review": (80.2, 31.0), "invoice": (148.4, 66.2)}
MODELS = ("gpt-4.1-mini", "gpt-6-luna", "gemini-3.8-flash")
_NAMES = "abcdefghijklmnopqrstuvwxyz"


@dataclass(frozen=True, kw_only=True)
class Form:
    """A request and its reply.

    Attributes:
        system: The instructions, and the schema.
        rows: The lines of the rows, by token.
        answers: The rows of the reply as they stand in JSON, by token.
        has_ids: Whether the tokens are a part of the rows.
    """

    system: str
    rows: Mapping[str, str]
    answers: Mapping[str, str]
    has_ids: bool = True

    @property
    def given(self) -> str:
        lines = [f"{token} {text}" if self.has_ids else text for token, text in self.rows.items()]
        return "\n".join([self.system, *lines])

    @property
    def made(self) -> str:
        return f'{{"rows":[{",".join(self.answers[token] for token in self.rows)}]}}'


def main(rows: int = ROWS) -> None:
    """Count, print, and write the page."""
    lines = list(table(rows))
    print("\n".join(lines))
    if rows == ROWS:
        put(lines, *MARKS)


def table(count: int) -> Iterator[str]:
    """The lines of the table."""
    tokens = vocabulary() or (lambda text: len(text.encode()) // 4)
    named = [f"of {peer}, {model}" for peer in ("curator", "openaivec") for model in MODELS]
    yield from head(("job", "form", "in", "out", *named))
    for job in JOBS:
        for name, size, changes in WAYS:
            forms = [changed(form, changes, job) for form in written(job, count, size)]
            given, made = (sum(tokens(text) for text in texts) / count for texts in zip(*pairs(forms), strict=True))
            yield row([job.name, name, f"{given:.1f}", f"{made:.1f}", *shares(job, given, made)])


def pairs(forms: Sequence[Form]) -> list[tuple[str, str]]:
    return [(form.given, form.made) for form in forms]


def shares(job: Job, given: float, made: float) -> Iterator[str]:
    """The dollars as a part of each peer's."""
    for counts, is_batch in ((CURATOR[job.name], True), (OPENAIVEC[job.name], False)):
        for model in MODELS:
            rate = RATES[model]
            theirs = counts[0] * (rate.given if is_batch else rate.written or rate.given) + counts[1] * rate.made
            ours = (given * rate.given + made * rate.made) / 2
            yield f"{ours / (theirs / 2 if is_batch else theirs):.2f}"


def written(job: Job, count: int, size: int) -> list[Form]:
    """The requests of *size* rows that smelt sends, and the replies that answer them."""
    rows, layout = job.rows(count), Layout.of(read_output(job.model).fields)
    assert layout is not None
    shown = pd.DataFrame(rows[:2]).pipe(
        smelt.explain, job.prompt, job.model, model="openai:gpt-4.1-mini", wire="compact"
    )
    lines = [_json(list(one.values())) for one in rows]
    answers = [layout.answer(job.answer(one)) for one in rows]
    system = f"{shown.system}\n{_json(shown.schema)}\n{shown.user.splitlines()[0]}\n{shown.user.splitlines()[-1]}"
    rng, forms = random.Random(1), []
    for start in range(0, count, size):
        tokens = ["".join(rng.choices("bcdfghjkmnpqrstvwxz23456", k=5)) for _ in range(min(size, count - start))]
        places = dict(zip(tokens, range(start, count), strict=False))
        said = {
            token: _json(f"{token} {answers[at]}" if isinstance(answers[at], str) else [token, *answers[at]])
            for token, at in places.items()
        }
        forms.append(Form(system=system, rows={token: lines[at] for token, at in places.items()}, answers=said))
    return forms


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


Change = Callable[[Form, Job], Form]


def changed(form: Form, changes: Sequence[Change], job: Job) -> Form:
    for change in changes:
        form = change(form, job)
    return form


def with_digits(form: Form, job: Job) -> Form:
    """Ids of six digits: two tokens in OpenAI's vocabularies."""
    rng = random.Random(2)
    return with_ids(form, [f"{rng.randrange(10**6):06}" for _ in form.rows])


def with_pairs(form: Form, job: Job) -> Form:
    """Ids of two consonants: nearly each is one token, the least that an id can have."""
    letters = "bcdfghjklmnpqrstvwxz"
    names = [one + other for one in letters for other in letters]
    return with_ids(form, random.Random(3).sample(names, len(form.rows)))


def with_ids(form: Form, names: Sequence[str]) -> Form:
    ids = dict(zip(form.rows, names, strict=True))
    return replace(
        form,
        rows={ids[token]: text for token, text in form.rows.items()},
        answers={ids[token]: text.replace(token, ids[token], 1) for token, text in form.answers.items()},
    )


def without_instructions(form: Form, job: Job) -> Form:
    """The question alone: less than any shorter wording could reach."""
    return replace(form, system=job.prompt)


def with_letters(form: Form, job: Job) -> Form:
    """A letter for each choice, which the instructions list."""
    codes = {
        value: _NAMES[at]
        for one in read_output(job.model).fields
        for at, value in enumerate(getattr(one.kind, "values", ()))
    }
    told = ", ".join(f"{code}={value}" for value, code in codes.items())

    def coded(text: str) -> str:
        for value, code in codes.items():
            text = text.replace(f'"{value}"', f'"{code}"').replace(f" {value} ", f" {code} ")
            text = text.replace(f' {value}"', f' {code}"')
        return text

    answers = {token: coded(text) for token, text in form.answers.items()}
    return replace(form, system=f"{form.system}\n{told}", answers=answers)


def in_strings(form: Form, job: Job) -> Form:
    """Rows with several texts as one string too, each text between bars."""
    kinds = [type(one.kind).__name__ for one in read_output(job.model).fields]

    def barred(text: str) -> str:
        read = json.loads(text)
        if isinstance(read, str):
            return text
        words = read[0]
        for kind, value, last in zip(kinds, read[1:], ["", *kinds], strict=False):
            words += f" | {value}" if "Text" in (kind, last) else f" {value}"
        return _json(words)

    return replace(form, answers={token: barred(text) for token, text in form.answers.items()})


def without_ids(form: Form, job: Job) -> Form:
    """No ids at all, which no form could do without: rows would be told apart by their order."""
    answers = {
        token: text.replace(f"{token} ", "", 1).replace(f'"{token}",', "", 1) for token, text in form.answers.items()
    }
    return replace(form, answers=answers, has_ids=False)


WAYS: Sequence[tuple[str, int, Sequence[Change]]] = (
    ("as smelt sends it, 25 rows", 25, ()),
    ("100 rows", 100, ()),
    ("400 rows", 400, ()),
    ("25 rows, no instructions but the question", 25, (without_instructions,)),
    ("100 rows, a letter for a choice", 100, (with_letters,)),
    ("100 rows, texts between bars in one string", 100, (in_strings,)),
    ("100 rows, ids of six digits", 100, (with_digits,)),
    ("100 rows, ids of one token", 100, (with_pairs,)),
    ("400 rows, digits, bars, no instructions", 400, (in_strings, with_digits, without_instructions)),
    ("the same without any ids", 400, (in_strings, without_ids, without_instructions)),
)

if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
