"""Every help text is in the documentation, and every terminal session of it is run."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.cli.sessions import REFERENCE, reference, runs, says, sessions
from tests.fakeserver import FakeServer
from tests.test_readme import PAGES, name_of, surroundings

SHOWN = [page for page in PAGES if page != REFERENCE and list(sessions(page))]


def test_the_reference_has_the_help_of_every_command() -> None:
    # Written by `python -m tests.cli.sessions`. Each Python aligns its help a little differently.
    assert REFERENCE.read_text(encoding="utf-8").split() == reference().split()


@pytest.mark.parametrize("page", SHOWN, ids=name_of)
def test_the_commands_of_a_page_print_what_it_says(
    page: Path, fake: FakeServer, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("SMELT_LEDGER", "off")  # `runs` sets another one: this brings it back.
    for name, value in surroundings(fake, tmp_path).items():
        monkeypatch.setenv(name, value)

    for command, said, printed, _ in runs(page):
        assert says(said, printed), f"{command}\nprints\n{printed}"
