"""What a process remembers of how much a model thinks."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from smelt.call import thinking
from smelt.call.thinking import room_of
from smelt.providers.own import complete
from smelt.testing import ScriptedProvider


class Elsewhere(ScriptedProvider):
    def __init__(self, origin: str, model: str = "plain", thinks: int | None = None) -> None:
        super().__init__({}, model=model)
        self.origin = origin
        self.thinking_tokens = thinks


def room(origin: str, params: Mapping[str, Any] | None = None, **about: Any) -> Any:
    return room_of(complete(Elsewhere(origin, **about)), params or {})


def test_runs_of_one_model_at_one_address_share_what_they_learn() -> None:
    first = room("https://a.example")

    assert room("https://a.example") is first
    assert room("https://b.example") is not first
    assert room("https://a.example", model="other") is not first
    assert room("https://a.example", {"reasoning_effort": "high"}) is not first
    assert room("https://a.example", {"temperature": 0}) is first


def test_a_provider_without_an_address_starts_anew_with_each_run() -> None:
    assert room("scripted://") is not room("scripted://")


@pytest.mark.parametrize(
    ("params", "thinks", "tokens"),
    [
        ({}, None, 0),
        ({}, 700, 700),
        ({"thinking": {"budget_tokens": 3_000}}, None, 3_000),
        ({"thinking": {"budget_tokens": 3_000}}, 700, 3_000),
        ({"thinking": {"budget_tokens": 300}}, 700, 700),
    ],
    ids=["nothing known", "set by the caller", "in the parameters", "both", "both, the caller's larger"],
)
def test_a_budget_in_the_parameters_is_never_cut(params: dict[str, Any], thinks: int | None, tokens: int) -> None:
    assert room("https://a.example", params, thinks=thinks).tokens == tokens


def test_only_the_latest_models_are_remembered() -> None:
    first = room("https://0.example")

    for number in range(1, thinking._MOST + 1):
        room(f"https://{number}.example")

    assert len(thinking._rooms) == thinking._MOST
    assert room("https://0.example") is not first
