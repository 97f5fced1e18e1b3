"""A pipeline that is killed goes on: nothing is asked twice but what was in flight, and the rows are the same."""

from __future__ import annotations

from pathlib import Path

from tests.conftest import MakeScenario
from tests.models import RULES
from tests.pipelines.killing import MOST_TWICE, STEPS, kill_and_go_on


def test_a_killed_pipeline_goes_on(scenario: MakeScenario, tmp_path: Path) -> None:
    outs = []
    for name, events in {"never": [], "twice": [150, 100]}.items():
        (tmp_path / name).mkdir()
        steps = [scenario(answers=RULES, count_by="name") for _ in range(STEPS)]
        outs.append(kill_and_go_on(steps, tmp_path / name, events))

    never, again = outs
    assert never.twice == 0
    assert never.events > 250  # So many that each kill comes in the middle.
    assert again.kills == 2
    assert again.text == never.text
    assert again.files == never.files
    assert {name.partition("/")[0] for name in never.files} >= {"flat", "length", "sector", "is_odd"}
    assert again.twice <= 2 * MOST_TWICE
