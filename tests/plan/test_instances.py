"""Instances of output models from values that were validated before."""

from __future__ import annotations

import pickle
from typing import Any

from pydantic import BaseModel, Field, PrivateAttr, field_validator

from smelt.plan.instances import copied, instance


class Answer(BaseModel):
    word: str = Field(alias="Word")
    count: int = 0
    _seen: list[str] = PrivateAttr(default_factory=list)
    _never: str = PrivateAttr()

    @field_validator("word")
    @classmethod
    def only_once(cls, word: str) -> str:
        return word + "!"


def test_values_are_taken_as_they_are_by_the_names_of_their_fields() -> None:
    made: Any = instance(Answer, {"word": "a", "count": 3})

    assert (made.word, made.count) == ("a", 3)
    assert made == Answer.model_construct(word="a", count=3)
    assert made.model_fields_set == {"word", "count"}
    assert pickle.loads(pickle.dumps(made)) == made


def test_each_instance_has_private_attributes_of_its_own() -> None:
    first: Any = instance(Answer, {"word": "a", "count": 1})
    second: Any = instance(Answer, {"word": "b", "count": 1})

    first._seen.append("x")

    assert second._seen == []


def test_a_copy_has_the_new_fields_and_leaves_the_first_as_it_was() -> None:
    one: Any = instance(Answer, {"word": "a", "count": 1})
    one._seen.append("x")

    made: Any = copied(one, {"count": 2})

    assert (made.word, made.count, one.count) == ("a", 2, 1)
    assert made._seen == ["x"]
