"""What was bought with one API key is not given out under another, unless the caller says so."""

from __future__ import annotations

from pathlib import Path

import pytest

import smelt
from smelt.providers.secrets import Secret
from tests.ledger.test_runs import NAMES, Label, Longer, Model, frame, run

ANN, BOB = "sk-canary-ann", "sk-canary-bob"


class Keyed(Model):
    """A model with a key."""

    def __init__(self, key: str | None) -> None:
        super().__init__()
        self.key = key and Secret(key)


@pytest.mark.parametrize("later", [BOB, None], ids=["another key", "no key"])
def test_another_key_reuses_nothing_and_is_told_how_it_could(path: Path, later: str | None) -> None:
    run(path, model=Keyed(ANN))
    other = Keyed(later)

    with pytest.warns(smelt.SmeltWarning, match=r"the API key changed since the run of .* any_key=True reuses them\."):
        result = smelt.run(frame(), "What is {name}?", Label, model=other, ledger=path, progress=False)

    assert sorted(other.sent) == sorted(NAMES)
    assert result.metrics.ledger_rows == 0


def test_the_same_key_reuses_everything(path: Path) -> None:
    run(path, model=Keyed(ANN))
    run(path, model=Keyed(BOB))
    again = Keyed(ANN)

    run(path, model=again)

    assert again.sent == []


def test_any_key_reuses_the_answers_of_all_keys(path: Path) -> None:
    run(path, NAMES[:20], model=Keyed(ANN))
    run(path, NAMES[20:], model=Keyed(None))
    other, later = Keyed(BOB), Keyed(BOB)

    result = run(path, [*NAMES, "new"], model=other, any_key=True)
    run(path, ["new"], model=later)

    assert other.sent == ["new"]
    assert (result.success, result.metrics.ledger_rows) == (True, 40)
    assert later.sent == []  # What was bought with this key is known under it.


def test_a_refresh_asks_again_whatever_the_key(path: Path) -> None:
    run(path, model=Keyed(ANN))
    other = Keyed(BOB)

    run(path, model=other, any_key=True, refresh=True)

    assert sorted(other.sent) == sorted(NAMES)


@pytest.mark.parametrize("any_key", [True, False])
def test_answers_of_another_key_are_extended_only_on_request(path: Path, any_key: bool) -> None:
    run(path, model=Keyed(ANN))
    other = Keyed(BOB)

    result = run(path, model=other, output=Longer, extend=True, any_key=any_key)

    assert result.success
    assert {tuple(fields) for fields in other.fields} == {("first",) if any_key else ("length", "kind", "first")}


def test_a_provider_of_the_callers_own_may_hold_its_key_as_text(path: Path) -> None:
    class Plain(Model):
        key = ANN

    run(path, model=Plain())
    same = Keyed(ANN)

    run(path, model=same)

    assert same.sent == []


def test_no_key_is_in_any_file(path: Path) -> None:
    written = b""

    def look(event: object) -> None:
        nonlocal written
        written += b"".join(one.read_bytes() for one in path.parent.iterdir())

    smelt.run(frame(), "What is {name}?", Label, model=Keyed(ANN), ledger=path, progress=look, store_inputs=True)

    assert b"company 7" in written
    assert b"canary" not in written
