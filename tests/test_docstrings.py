"""What the help text of a public name must say, and that its example runs and prints what it says.

Examples go on from the first snippet of docs/reference/verbs.md, which gives `df`, `Company` and `scripted`.
"""

from __future__ import annotations

import doctest
import inspect
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import polars as pl
import pytest

import smelt
import smelt.batch
import smelt.ledger
import smelt.testing
from smelt.api.accessor import FrameAccessor
from smelt.call.options import NAMES, Settings
from tests.test_readme import ROOT, snippets

START = ROOT / "docs" / "reference" / "verbs.md"
NO_HELP = {
    "__version__",
    "batch",
    "dask",
    "ray",
    "spark",
    "ledger",
    "observe",
    "errors",
    "providers",
    "Answer",
}  # A string, modules, and an alias, which has no help text of its own.
SPENDING = re.compile(r"Spends money|Pays for|[Ss]ends nothing|costs? a small part|Nothing here asks", re.MULTILINE)
VERBS = [name for name in smelt.__all__ if name.islower() and name not in NO_HELP]
ERRORS = smelt.errors.__all__


def _named() -> Iterator[tuple[str, Any]]:
    """Everything public that has a help text, by its full name: names, and what the classes among them can do."""
    for room in (smelt, smelt.batch, smelt.errors, smelt.ledger, smelt.testing):
        for name in room.__all__:
            if name not in NO_HELP and (name not in ERRORS or room is smelt.errors):
                yield f"{room.__name__}.{name}", getattr(room, name)
    yield "smelt.call.options.Settings", Settings


def _members(full_name: str, owner: Any) -> Iterator[tuple[str, Any]]:
    parts = [one for one in owner.__mro__ if one.__module__.startswith("smelt.")]  # Its verbs may be in base classes.
    for name, member in {name: one for part in reversed(parts) for name, one in vars(part).items()}.items():
        if not name.startswith("_") and (inspect.isfunction(member) or isinstance(member, classmethod)):
            yield f"{full_name}.{name}", getattr(owner, name)


NAMED = dict(_named())
DOORS = {name: one for name, one in NAMED.items() if inspect.isfunction(one)}
CLASSES: dict[str, Any] = {name: one for name, one in NAMED.items() if inspect.isclass(one)}
# Those whose members users call; an error's class methods are for smelt, and a provider's members for the engine.
USED = [
    "smelt.Job",
    "smelt.AggregateJob",
    "smelt.Pipeline",
    "smelt.Model",
    "smelt.SmeltResult",
    "smelt.Evaluation",
    "smelt.Comparison",
    "smelt.Difference",
    "smelt.ledger.Ledger",
]
METHODS = {name: one for owner in USED for name, one in _members(owner, CLASSES[owner])}
ACCESSOR = dict(_members("df.smelt", FrameAccessor))
LAZY = {
    name: one
    for name, one in _members("lf.smelt", type(pl.LazyFrame().smelt))  # type: ignore[attr-defined]
    if inspect.signature(one).return_annotation != "NoReturn"  # Those of eager frames, which say what to do instead.
}
EXAMPLES = {**NAMED, **METHODS, **LAZY}


@pytest.fixture
def start(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> dict[str, Any]:
    """The names that examples use, in a folder of their own, on a machine without keys."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    names: dict[str, Any] = {"__name__": "__main__"}
    exec(compile(next(snippets(START.read_text(encoding="utf-8"))).code, str(START), "exec", dont_inherit=True), names)
    return names


def help_of(one: Any) -> str:
    return inspect.cleandoc(one.__doc__ or "")


@pytest.mark.slow
@pytest.mark.parametrize("name", EXAMPLES)
def test_the_example_of_a_public_name_prints_what_it_says(name: str, start: dict[str, Any]) -> None:
    text = help_of(EXAMPLES[name])
    example = doctest.DocTestParser().get_doctest(text, start, name, None, None)
    told: list[str] = []

    failures = doctest.DocTestRunner(optionflags=doctest.ELLIPSIS).run(example, out=told.append).failed

    assert example.examples, f"{name} has no example"
    assert not failures, "".join(told)


@pytest.mark.parametrize("name", [*DOORS, *METHODS, *ACCESSOR, *LAZY])
def test_a_function_says_what_it_takes_gives_and_raises(name: str) -> None:
    one = {**DOORS, **METHODS, **ACCESSOR, **LAZY}[name]
    text, signature = help_of(one), inspect.signature(one)
    taken = [parameter for parameter in signature.parameters if parameter not in ("self", "frame")]

    assert [
        parameter for parameter in taken if not re.search(rf"^    (\*\*)?{parameter}: \S", text, re.MULTILINE)
    ] == []
    assert "Returns:" in text or signature.return_annotation in ("None", None)
    assert "Raises:" in text or name == "smelt.ledger.Ledger.close"


@pytest.mark.parametrize("name", ACCESSOR)
def test_a_method_of_the_accessor_does_not_explain_the_frame(name: str) -> None:
    assert re.search(r"^Args:\n    prompt: ", help_of(ACCESSOR[name]), re.MULTILINE)


@pytest.mark.parametrize(
    "name", [*(f"smelt.{verb}" for verb in VERBS), *ACCESSOR, *LAZY, "smelt.ledger.open", "smelt.batch.read"]
)
def test_a_verb_says_whether_it_spends_money(name: str) -> None:
    assert SPENDING.search(help_of({**DOORS, **ACCESSOR, **LAZY}[name]))


@pytest.mark.parametrize("name", [name for name, one in CLASSES.items() if hasattr(one, "__dataclass_fields__")])
def test_a_record_explains_each_of_its_fields(name: str) -> None:
    text = help_of(CLASSES[name])

    assert [one for one in CLASSES[name].__dataclass_fields__ if f"\n    {one}: " not in text] == []


def test_the_help_of_a_verb_explains_every_option() -> None:
    text = help_of(smelt.transform)

    assert [name for name in NAMES if f"\n    {name}: " not in text] == []
    assert text.count("Examples:") == 1


@pytest.mark.parametrize("page", ["errors.md", "reference/exceptions.md"])
def test_a_page_has_every_error(page: str) -> None:
    text = (ROOT / "docs" / page).read_text(encoding="utf-8")

    assert [name for name in ERRORS if not re.search(rf"\b{name}\b", text)] == []


def test_the_reference_has_every_public_name() -> None:
    pages = (ROOT / "docs" / "reference").glob("*.md")
    shown = {line.removeprefix("::: ") for page in pages for line in page.read_text(encoding="utf-8").splitlines()}

    assert set(NAMED) <= shown
