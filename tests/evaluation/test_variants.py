"""The variants of a comparison: what they may change, what they are called, and which the ledger may answer."""

from __future__ import annotations

from typing import Any

import pytest

from smelt.errors import ConfigTypeError, ConfigValueError, SmeltConfigError
from smelt.evaluation.variants import Variant, read_variants
from smelt.model import Model


@pytest.fixture(autouse=True)
def usual_ledger(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SMELT_LEDGER", raising=False)


def read(variants: Any, **options: Any) -> tuple[Variant, ...]:
    return read_variants(variants, "Say {x}.", str, "openai:gpt-4.1-mini", options)


def ledgers(variants: Any, **options: Any) -> list[Any]:
    return [one.settings.ledger for one in read(variants, **options)]


def test_a_variant_is_the_job_with_its_changes() -> None:
    first, second, third = read(
        {"as it is": {}, "terse": {"prompt": "{x}?"}, "mini": {"model": "openai:gpt-4.1-nano", "params": {"top_p": 1}}},
        timeout=9,
    )

    assert (first.name, first.prompt, first.model) == ("as it is", "Say {x}.", Model("openai", "gpt-4.1-mini"))
    assert (second.prompt, second.model) == ("{x}?", Model("openai", "gpt-4.1-mini"))
    assert (third.model, third.settings.params) == (Model("openai", "gpt-4.1-nano"), {"top_p": 1})
    assert [one.settings.timeout for one in (first, second, third)] == [9, 9, 9]


def test_a_list_of_changes_names_the_variants_after_them() -> None:
    named = read([{}, {"batch_size": 1}, {"prompt": "{x}?", "batch_size": 5}, {"prompt": "x" * 500}])

    assert [one.name for one in named[:3]] == ["as it is", "batch_size=1", "prompt={x}?, batch_size=5"]
    assert len(named[3].name) < 80


def test_a_list_of_models_compares_them() -> None:
    own = Model("vllm", "qwen")

    found = read(["openai:a", own, {"batch_size": 1}])

    assert [one.name for one in found] == ["openai:a", "vllm:qwen", "batch_size=1"]
    assert [one.model for one in found[:2]] == [Model("openai", "a"), own]


@pytest.mark.parametrize(
    ("variants", "kept"),
    [
        ([{"prompt": "a {x}"}, {"prompt": "b {x}"}], [None, None]),
        ([{"model": "openai:a"}, {"model": "openai:b"}], [None, None]),
        ([{"batch_size": 1}, {"batch_size": 20}], [False, False]),
        ([{}, {"batch_size": 20}], [False, False]),
        ([{}, {"isolation": "row"}], [False, False]),
        ([{}, {"shuffle": False}, {"prompt": "b {x}"}], [False, False, None]),
        ([{"model": "openai:a", "batch_size": 1}, {"model": "openai:b", "batch_size": 20}], [False, False]),
        ([{"params": {"top_p": 1}}, {"isolation": "row"}], [None, False]),
        ([{"batch_size": 1, "ledger": "own.sqlite"}, {"batch_size": 20}], ["own.sqlite", False]),
        ([{"timeout": 5}, {"concurrency": 2}], [None, None]),
    ],
    ids=[
        "prompts", "models", "batch sizes", "batch size against none", "isolation", "only among rivals", "said at all",
        "other parameters", "ledger of its own", "what changes no answer",
    ],
)  # fmt: skip
def test_the_ledger_answers_only_what_it_can_tell_apart(variants: Any, kept: list[Any]) -> None:
    assert ledgers(variants) == kept


def test_a_batch_size_for_all_is_no_difference() -> None:
    assert ledgers([{"prompt": "a {x}"}, {"prompt": "b {x}"}], batch_size=1, ledger="mine") == ["mine", "mine"]


def test_models_given_as_objects_are_compared_by_what_they_are() -> None:
    one, other = Model("openai", "a"), Model("openai", "a")

    assert ledgers([{"model": one, "timeout": 5}, {"model": other, "isolation": "row"}]) == [False, False]
    assert ledgers([{"model": one}, {"model": "openai:a", "isolation": "row"}]) == [False, False]
    assert [variant.name for variant in read([{"model": one}, {"timeout": 5}])] == ["model=openai:a", "timeout=5"]


@pytest.mark.parametrize(
    ("variants", "error", "says"),
    [
        (None, ConfigTypeError, "variants must be a dict from names to what is different"),
        ("batch_size", ConfigTypeError, "variants must be a dict from names"),
        ({"only": {}}, ConfigValueError, "variants must be at least two"),
        ([{}], ConfigValueError, "variants must be at least two"),
        ({"a": {}, 1: {}}, ConfigTypeError, "every name of variants must be a string"),
        ({"a": {}, "b": 20}, ConfigTypeError, r"variants\['b'\] must be a dict, like"),
        ([{}, 20], ConfigTypeError, "every one of variants must be a dict"),
        ([{}, {}], SmeltConfigError, "Two variants are as it is. Give them names"),
        ({"a": {}, "b": {"batchsize": 1}}, ConfigTypeError,
         "Variant 'b': There is no option 'batchsize'. Did you mean 'batch_size'"),
        ({"a": {}, "b": {"batch_size": 0}}, ConfigValueError, "Variant 'b': batch_size must be"),
        ({"a": {}, "b": {"output_model": str}}, ConfigTypeError,
         "Variant 'b': output_model is the same for all variants"),
    ],
    ids=["none", "text", "one", "one in a list", "name", "changes", "changes in a list", "twice", "typo", "range",
         "model"],
)  # fmt: skip
def test_what_is_no_variant_is_refused(variants: Any, error: type[SmeltConfigError], says: str) -> None:
    with pytest.raises(error, match=says):
        read(variants)
