"""`python -m smelt.demo`: a typed transform of real rows with known answers, with the embedded model. Needs no key."""

from __future__ import annotations

import csv
import sys
import warnings
from importlib.resources import files
from typing import Any, Literal

from pydantic import BaseModel

import smelt
from smelt.errors import MissingDependencyError, SmeltError

# With the mission's name in the prompt and "Both are in", the embedded model gets 97 of 100 rows right; with "copy the
# year and the agency" it gets 36.
PROMPT = "When was {mission} launched, and by which agency? Both are in {note}."
MODEL = "local:smollm2-135m"
_SHOWN = 12


class Launch(BaseModel):
    """The facts to extract from each note."""

    year: int
    agency: Literal["NASA", "ESA", "JAXA", "ISRO", "CNSA", "Soviet Union"]


def missions() -> list[dict[str, str]]:
    """The rows of the demo, all as strings: `mission`, `note`, and the known `year` and `agency`."""
    return _rows("missions.csv")


def packages() -> list[dict[str, str]]:
    """320 packages of Debian 12, 40 from each of 8 sections: `name`, `summary`, and the known `section`."""
    return _rows("packages.csv")


def _rows(file: str) -> list[dict[str, str]]:
    text = (files("smelt") / "data" / file).read_text(encoding="utf-8")
    return list(csv.DictReader(text.splitlines()))


def main() -> int:
    """Run the demo and return its exit code: 1 after an error of smelt, whose message says what to do."""
    try:
        _show(missions())
    except SmeltError as problem:
        print(problem, file=sys.stderr)
        return 1
    return 0


def _show(known: list[dict[str, str]]) -> None:
    frame = _frame([{"mission": row["mission"], "note": row["note"]} for row in known])
    print(f"{PROMPT}\n")
    print(smelt.estimate(frame, PROMPT, Launch, model=MODEL), end="\n\n", flush=True)

    result = smelt.run(frame, PROMPT, Launch, model=MODEL, ledger=False)  # Else a second run sends no request.

    print(f"\n{result.frame.head(_SHOWN).drop(columns='note').to_string()}\n\n{result.frame.dtypes.to_string()}\n")
    print(f"{result!r}\n")
    agreeing = sum(_agrees(answer, row) for answer, row in zip(result.data, known, strict=True))
    print(
        f"{agreeing} of {len(known)} rows agree with the known answers in both columns ({agreeing / len(known):.0%})."
    )


def _agrees(answer: Launch | None, row: dict[str, str]) -> bool:
    return answer is not None and (str(answer.year), answer.agency) == (row["year"], row["agency"])


def _frame(rows: list[dict[str, str]]) -> Any:
    try:
        import pandas as pd
    except ImportError:
        raise MissingDependencyError.for_extra("pandas", "pandas") from None
    return pd.DataFrame(rows)


if __name__ == "__main__":
    warnings.formatwarning = lambda message, *_args, **_rest: f"{message}\n"  # Without this file's source line.
    sys.exit(main())
