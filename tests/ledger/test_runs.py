"""Runs with a ledger, through the front door: what is reused, what is paid again, and what is said of it."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any, Literal

import pandas as pd
import polars as pl
import pytest
from pydantic import BaseModel, Field, create_model

import smelt
from smelt.errors import SmeltWarning
from smelt.providers.base import CallFailed, Reply, Request
from smelt.testing import ScriptedProvider, answered, asked

NAMES = [f"company {at}" for at in range(40)]


class Label(BaseModel):
    length: int
    kind: Literal["even", "odd"]


class Longer(BaseModel):
    length: int
    kind: Literal["even", "odd"]
    first: str


def described(length: str | None = None, choices: tuple[str, ...] = ("even", "odd"), *, turned: bool = False) -> Any:
    """`Label` with a little change."""
    fields: list[tuple[str, Any]] = [
        ("length", (int, Field(description=length))),
        ("kind", (Literal[choices], ...)),
    ]
    return create_model("Label", **dict(reversed(fields) if turned else fields))


LABEL = {"length": 9, "kind": "odd"}


def about(row: Any) -> dict[str, Any]:
    length = len(str(row["name"]))
    return {"length": length, "kind": ("even", "odd")[length % 2], "first": str(row["name"])[0]}


class Model(ScriptedProvider):
    """Answers what it is asked for, and counts."""

    def __init__(self, **options: Any) -> None:
        super().__init__({}, **options)
        self.sent: list[str] = []
        self.fields: list[list[str]] = []

    async def send(self, request: Request) -> Reply:
        fields = list(request.schema["properties"]["rows"]["items"]["properties"])[1:]
        self.fields.append(fields)
        self.sent += [row["name"] for _, row in asked(request)]
        return answered(request, lambda row: {field: about(row)[field] for field in fields}, counter=self)


def frame(names: list[Any] = NAMES, library: Any = pd) -> Any:
    return library.DataFrame({"name": names})


def run(
    path: Path, names: list[Any] | Any = NAMES, model: Any = None, prompt: str = "What is {name}?", **options: Any
) -> Any:
    data = frame(names) if isinstance(names, list) and isinstance(names[0], str) else names
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", SmeltWarning)
        return smelt.run(
            data, prompt, options.pop("output", Label), model=model, ledger=path, progress=False, **options
        )


def test_a_second_run_asks_nothing_and_gives_the_same_frame(path: Path) -> None:
    first = run(path, model=Model())
    again = Model()

    second = run(path, model=again)

    assert again.requests == []
    assert again.sent == []
    pd.testing.assert_frame_equal(first.frame, second.frame)
    assert (second.metrics.requests, second.metrics.ledger_rows, second.metrics.cost_usd) == (0, 40, 0.0)
    assert "40 known from the ledger" in repr(second)


CHANGES: dict[str, tuple[Any, list[str]]] = {
    "reordered": (list(reversed(NAMES)), []),
    "some": (NAMES[10:20], []),
    "one more": ([*NAMES[:5], "new one", *NAMES[5:]], ["new one"]),
    "one edited": (["edited", *NAMES[1:]], ["edited"]),
    "doubled": (NAMES * 2, []),
    "polars": (frame(library=pl), []),
    "other labels": (frame().set_index(pd.Index(range(7, 47))), []),
    "list of dicts": ([{"name": name} for name in NAMES], []),
}


@pytest.mark.parametrize("change", list(CHANGES))
def test_only_rows_whose_content_is_new_are_asked(path: Path, change: str) -> None:
    run(path, model=Model())
    data, new = CHANGES[change]
    again = Model()

    result = run(path, data, model=again)

    assert again.sent == new
    assert all(answer is not None for answer in result.data)


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (pd.Series([1, 2, 3], dtype="int64"), pd.Series([1, 2, 3], dtype="Int64")),
        (pd.Series([1, 2, 3], dtype="int64"), pl.Series([1, 2, 3])),
        (pd.Series(["a", None, "b"]), pl.Series(["a", None, "b"])),
        (pd.Series([1.5, None, 2.0]), pl.Series([1.5, None, 2.0])),
        (
            pd.Series(pd.to_datetime(["2026-01-31", "2026-02-01"])),
            pl.Series(["2026-01-31", "2026-02-01"]).str.to_datetime(),
        ),
        (pd.Series(["a", None, "b"]), pd.Series(["a", None, "b"], dtype="category")),
        (pd.Series(["a", None, "b"]), pd.Series(["a", pd.NA, "b"], dtype="object")),
        (pd.Series([True, None], dtype="boolean"), pl.Series([True, None])),
        (pd.Series([1.5, float("nan")]), pl.Series([1.5, None])),
        (pd.Series([[1, 2], None]), pl.Series([[1, 2], None])),
    ],
    ids=["int64-Int64", "int64-polars", "text", "float", "datetime", "category", "NA", "boolean", "NaN", "list"],
)
def test_the_same_values_of_another_library_or_dtype_are_the_same_rows(path: Path, before: Any, after: Any) -> None:
    run(path, pd.DataFrame({"name": before}), model=Model())
    again = Model()

    run(path, after.to_frame("name"), model=again)

    assert again.sent == []


def test_a_whole_number_and_a_float_are_different_values(path: Path) -> None:
    run(path, pd.DataFrame({"name": [1, 2]}), model=Model())
    again = Model()

    run(path, pd.DataFrame({"name": [1.0, 2.0]}), model=again)

    assert len(again.sent) == 2


@pytest.mark.parametrize(
    "options",
    [{"batch_size": 3}, {"concurrency": 1}, {"seed": 9}, {"shuffle": False}, {"isolation": "row"}, {"max_attempts": 2}],
    ids=str,
)
def test_how_rows_are_asked_does_not_matter(path: Path, options: dict[str, Any]) -> None:
    run(path, model=Model())
    again = Model()

    run(path, model=again, **options)

    assert again.sent == []


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"prompt": "Who is {name}?"}, "the prompt changed"),
        ({"model": Model(model="other")}, r"the model \(scripted:script to scripted:other\) changed"),
        ({"params": {"temperature": 1}}, r"params \('temperature' added\) changed"),
        ({"output": Longer}, r"the output model \('first' added\) changed"),
        ({"output": described(length="in letters")}, r"the output model \('length' changed\) changed"),
        ({"output": described(choices=("even", "odd", "none"))}, r"the output model \('kind' changed\) changed"),
        ({"output": described(turned=True)}, r"the output model \(its order\) changed"),
    ],
    ids=["prompt", "model", "params", "a field", "a description", "a choice", "the order"],
)
def test_another_job_reuses_nothing_and_says_what_changed(path: Path, options: dict[str, Any], sentence: str) -> None:
    run(path, model=Model())
    options = {"model": Model(), "prompt": "What is {name}?", "output": Label, **options}

    with pytest.warns(SmeltWarning, match=f"None of the 40 rows answered before is reused: {sentence} since") as warned:
        result = smelt.run(
            frame(), options.pop("prompt"), options.pop("output"), ledger=str(path), progress=False, **options
        )

    assert warned[0].filename == __file__
    assert result.metrics.ledger_rows == 0


class Local(Model):
    """A provider that sets a parameter by itself, as the embedded model does."""

    def __init__(self, **params: Any) -> None:
        super().__init__(name="local", model="small")
        self.params = {"temperature": 0, **params}


def said(
    path: Path,
    model: Any,
    prompt: str = "What is {name}?",
    output: Any = Label,
    names: list[str] = NAMES,
    **options: Any,
) -> list[str]:
    """What a run warns of."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        smelt.run(frame(names), prompt, output, model=model, ledger=path, progress=False, **options)
    return [str(one.message).partition(" since ")[0] for one in caught]


NOT_REUSED = "None of the 40 rows answered before is reused"


def test_a_parameter_that_the_provider_sets_by_itself_is_not_named(path: Path) -> None:
    assert said(path, Local()) == []
    assert said(path, Model()) == [f"{NOT_REUSED}: the model (local:small to scripted:script) changed"]
    assert said(path, Local(temperature=1)) == [f"{NOT_REUSED}: params ('temperature' added) changed"]


def test_a_change_is_told_against_the_nearest_job(path: Path) -> None:
    said(path, Model(), params={"top_p": 1, "seed": 1})
    said(path, Model(), params={"top_p": 1})
    said(path, Model(), params={"top_p": 1, "seed": 1, "stop": "x"})

    changed = said(path, Model(), params={"top_p": 1, "temperature": 1})

    assert changed == [f"{NOT_REUSED}: params ('temperature' added) changed"]


def test_a_change_is_told_once(path: Path) -> None:
    said(path, Model())

    told = [said(path, Model(), prompt="Who is {name}?", names=names) for names in (NAMES[:10], NAMES[10:])]

    assert told == [[f"{NOT_REUSED}: the prompt changed"], []]


def test_a_changed_docstring_may_be_what_changed_the_question(path: Path) -> None:
    class Documented(Label):
        """How long a name is."""

    said(path, Model())

    assert said(path, Model(), output=Documented) == [
        f"{NOT_REUSED}: the prompt or the docstring of the output model changed"
    ]


def test_nothing_is_said_of_a_job_on_other_rows(path: Path) -> None:
    run(path, model=Model())

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        smelt.run(frame(["elsewhere"]), "Who is {name}?", Label, model=Model(), ledger=path, progress=False)


def test_nothing_is_said_of_another_question_for_other_fields(path: Path) -> None:
    run(path, model=Model())

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        smelt.run(frame(), "How long is {name}?", Longer, model=Model(), ledger=path, progress=False)


def test_a_refresh_asks_again_and_replaces(path: Path) -> None:
    class Newer(Model):
        async def send(self, request: Request) -> Reply:
            self.sent += [row["name"] for _, row in asked(request)]
            return answered(request, lambda row: {"length": 1, "kind": "odd"})

    run(path, model=Model())
    newer, again = Newer(), Model()

    refreshed = run(path, model=newer, refresh=True)
    after = run(path, model=again)

    assert sorted(newer.sent) == sorted(NAMES)
    assert again.sent == []
    assert set(after.frame["length"]) == set(refreshed.frame["length"]) == {1}


def test_added_fields_are_asked_for_alone_and_merged(path: Path) -> None:
    run(path, model=Model())
    growing, again = Model(), Model()

    result = run(path, [*NAMES, "late"], model=growing, output=Longer, extend=True, batch_size=10)
    after = run(path, [*NAMES, "late"], model=again, output=Longer)

    assert [len(fields) for fields in growing.fields] == [1, 1, 1, 1, 3]
    assert growing.fields[0] == ["first"]
    assert sorted(growing.sent) == sorted([*NAMES, "late"])
    assert [answer.model_dump() for answer in result.data] == [about({"name": name}) for name in [*NAMES, "late"]]
    assert again.sent == []
    assert after.metrics.ledger_rows == 41


def test_a_job_that_changed_otherwise_cannot_be_extended(path: Path) -> None:
    run(path, model=Model())
    other = Model()

    run(path, model=other, output=Longer, extend=True, prompt="Who is {name}?")

    assert {len(fields) for fields in other.fields} == {3}


def test_a_validator_sees_the_whole_of_an_extended_answer(path: Path) -> None:
    from pydantic import model_validator

    class Checked(Longer):
        @model_validator(mode="after")
        def _agree(self) -> Any:
            if self.kind != ("even", "odd")[self.length % 2]:
                raise ValueError("they do not agree")
            return self

    run(path, model=Model())

    result = run(path, model=Model(), output=Checked, extend=True)

    assert result.success


def test_failed_rows_are_asked_again_and_answered_ones_are_not(path: Path) -> None:
    class Choosy(Model):
        async def send(self, request: Request) -> Reply:
            return answered(request, lambda row: None if row["name"].endswith("7") else LABEL, counter=self)

    choosy, again = Choosy(), Model()
    first = run(path, model=choosy, max_attempts=2)

    second = run(path, model=again)

    assert first.metrics.failed_rows == 4
    assert set(again.sent) == {name for name in NAMES if name.endswith("7")}
    assert second.success


def test_a_failing_account_keeps_what_was_answered(path: Path) -> None:
    from smelt.providers.base import Billing

    stopping = [None, None, CallFailed("quota", Billing.REJECTED, "Nothing is left.")]

    class Stopping(Model):
        async def send(self, request: Request) -> Reply:
            step = stopping.pop(0)
            if step is not None:
                raise step
            return await super().send(request)

    run(path, model=Stopping(), batch_size=10, concurrency=1)
    again = Model()

    result = run(path, model=again, batch_size=10)

    assert len(again.sent) == 20
    assert result.metrics.ledger_rows == 20
    with smelt.ledger.open(path) as ledger:
        assert [one["state"] for one in ledger.runs()] == ["stopped", "done"]


@pytest.mark.parametrize("chosen", [False, None], ids=str)
def test_without_a_ledger_nothing_is_written(
    chosen: bool | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.delenv("SMELT_LEDGER")

    smelt.run(
        frame(), "What is {name}?", Label, model=Model(), ledger=chosen, progress=False
    )  # A script's answers are not kept.

    assert list(tmp_path.iterdir()) == []


def test_the_default_is_the_users_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.delenv("SMELT_LEDGER")

    smelt.run(frame(), "What is {name}?", Label, model=Model(), ledger=True, progress=False)

    assert (tmp_path / "smelt" / "ledger.sqlite").exists()


def test_free_text_is_kept_too(path: Path) -> None:
    provider = ScriptedProvider({"text": "said"})
    smelt.run(frame(), "Say {name}.", str, model=provider, ledger=path, progress=False)

    result = smelt.run(frame(), "Say {name}.", str, model=(again := ScriptedProvider({})), ledger=path, progress=False)

    assert again.requests == []
    assert result.data == ["said"] * 40


def test_the_progress_line_tells_of_rows_from_the_ledger(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run(path, model=Model())

    smelt.run(frame(), "What is {name}?", Label, model=Model(), ledger=path)

    assert "40 rows in" in (said := capsys.readouterr().err)
    assert "40 from the ledger" in said


def test_events_tell_of_them_too(path: Path) -> None:
    run(path, model=Model())
    events: list[Any] = []

    smelt.run(frame([*NAMES, "new"]), "What is {name}?", Label, model=Model(), ledger=path, progress=events.append)

    settled = [one for one in events if isinstance(one, smelt.engine.events.RowsSettled)]
    assert (settled[0].answered, settled[0].reused) == (40, 40)
    assert (settled[-1].answered, settled[-1].reused) == (41, 40)


def test_many_models_share_a_ledger(path: Path) -> None:
    for at in range(3):
        run(path, model=Model(model=f"m{at}"))

    with smelt.ledger.open(path) as ledger:
        assert [one["model"] for one in ledger.spend(by="model")] == ["scripted:m0", "scripted:m1", "scripted:m2"]
        assert len(ledger.rows()) == 120


def test_nothing_is_opened_where_there_is_nothing_to_ask(path: Path) -> None:
    run(path, pd.DataFrame({"name": pd.Series([], dtype="str")}), model=Model())

    assert not path.exists()


def test_defaults_of_a_field_may_be_missing_from_what_is_stored(path: Path) -> None:
    model = create_model("Optional", length=(int, ...), note=(str, "none"))
    provider = ScriptedProvider({"length": 1})
    first = smelt.run(frame(), "Say {name}.", model, model=provider, ledger=path, progress=False)

    second = smelt.run(frame(), "Say {name}.", model, model=provider, ledger=path, progress=False)

    assert second.metrics.ledger_rows == 40
    assert second.frame["note"].tolist() == first.frame["note"].tolist() == ["none"] * 40
