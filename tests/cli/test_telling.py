"""Options of Python are said as flags."""

from __future__ import annotations

import pytest

from smelt.cli.telling import in_flags


@pytest.mark.parametrize(
    ("said", "shown"),
    [
        ("Pass restart=True to delete them.", "Pass --restart to delete them."),
        ("Raise max_cost=5 or leave it.", "Raise --max-cost 5 or leave it."),
        ("any_key=True collects them.", "--any-key collects them."),
        ("ledger=False keeps none.", "--no-ledger keeps none."),
        ("or pass on_conflict='suffix'.", "or pass --set on_conflict=suffix."),
        ("shuffle=False", "--set shuffle=false"),
        ('mode="batch" answers within hours', "--mode batch answers within hours"),
        ('via="decisions" asks only for bool', "--set via=decisions asks only for bool"),
        ("progress=False shows none", "progress=False shows none"),
        ("a=5 in a text", "a=5 in a text"),
    ],
)
def test_an_option_is_said_as_a_flag(said: str, shown: str) -> None:
    assert in_flags(said) == shown
