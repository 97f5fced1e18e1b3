"""Everything that can be wrong with a call is said before the first request, in words that name it and the way out."""

from __future__ import annotations

import copy
import dataclasses
import enum
import pickle
from collections.abc import Callable
from decimal import Decimal
from typing import Any, Literal, NamedTuple, Optional

import numpy as np
import pandas as pd
import polars as pl
import pytest
from pydantic import BaseModel, Field, RootModel, create_model

import smelt
from smelt.errors import (
    CollisionError,
    ColumnError,
    ConfigTypeError,
    ConfigValueError,
    PromptError,
    SchemaError,
    SmeltConfigError,
    SmeltError,
    SmeltInterrupt,
)
from smelt.plan.dialect import Dialect
from smelt.providers.base import Capabilities
from smelt.testing import ScriptedProvider


class Answer(BaseModel):
    label: str


class Nested(BaseModel):
    label: Answer


class Node(BaseModel):
    children: list[Node]


@dataclasses.dataclass
class NeedsMore:
    label: str
    place: dataclasses.InitVar[int]


@dataclasses.dataclass
class Circular:
    label: str
    more: list[Circular]


class Level(enum.IntEnum):
    LOW = 1


def field(annotation: Any, **info: Any) -> type[BaseModel]:
    return create_model("Answer", x=(annotation, Field(**info)))


def deep(levels: int) -> type[BaseModel]:
    model = create_model("Level0", x=(int, ...))
    for level in range(levels):
        model = create_model(f"Level{level + 1}", x=(model, ...))
    return model


SMELT: Any = smelt  # Whose types would refuse most of these calls before they are made.
PROMPT = "Label {name}."
COLUMNS: dict[str, list[Any]] = {"name": ["a", "b"], "n": [1, None]}
MAKERS: dict[str, Any] = {
    "pandas": pd.DataFrame,
    "polars": pl.DataFrame,
    "records": lambda columns: [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)],
}
MANY = Capabilities(dialect=Dialect(max_properties=5, max_depth=4, max_enum_values=3))


class Case(NamedTuple):
    """One bad call: the arguments that are not the usual ones, and what must come of it."""

    id: str
    given: dict[str, Any]
    error: type[SmeltError]
    also: type[Exception]
    says: str


PROMPTS = [
    Case("none", {"prompt": None}, SmeltConfigError, TypeError, "prompt must be a string, not None"),
    Case("number", {"prompt": 3}, SmeltConfigError, TypeError, "prompt must be a string, not 3"),
    Case("bytes", {"prompt": b"x"}, SmeltConfigError, TypeError, "prompt must be a string, not a bytes"),
    Case("swapped", {"prompt": Answer, "output_model": "Label."}, SmeltConfigError, TypeError, "prompt comes first"),
    Case("empty", {"prompt": ""}, PromptError, ValueError, "prompt is empty. Say in it"),
    Case("blank", {"prompt": " \n\t"}, PromptError, ValueError, "prompt is empty"),
    Case("missing column", {"prompt": "{nmae}"}, PromptError, ValueError, "{nmae}.*Did you mean 'name'"),
    Case("no such column", {"prompt": "{zzz}"}, PromptError, ValueError, "There are 'name', 'n'.*write {{ and }}"),
    Case("json example", {"prompt": 'Like {"label": "a"}.'}, PromptError, ValueError, "For braces that are text"),
    Case("long placeholder", {"prompt": "{" + "x" * 9_000 + "}"}, PromptError, ValueError, "^.{,250}$"),
    Case("open brace", {"prompt": "{name"}, PromptError, ValueError, "do not balance"),
    Case("closed brace", {"prompt": "name}"}, PromptError, ValueError, "do not balance"),
    Case("attribute", {"prompt": "{name.upper}"}, PromptError, ValueError, "write {name}"),
    Case("index", {"prompt": "{name[0]}"}, PromptError, ValueError, "write {name}"),
    Case("format", {"prompt": "{n:.2f}"}, PromptError, ValueError, "write {n}"),
    Case("conversion", {"prompt": "{name!r}"}, PromptError, ValueError, "write {name}"),
    Case("no name", {"prompt": "Label {}."}, PromptError, ValueError, "empty placeholder"),
    Case("surrogate", {"prompt": "Label \ud800."}, PromptError, ValueError, "surrogate pair at position 6"),
]
MODELS = [
    Case("none", {"output_model": None}, SchemaError, TypeError, "output_model must be.*not None"),
    Case("instance", {"output_model": Answer(label="a")}, SchemaError, TypeError, "instance of Answer. Pass the class"),
    Case("no type", {"output_model": {"label": "str"}}, SchemaError, TypeError, "has 'str' as the type of 'label'"),
    Case("no word", {"output_model": {"a label": str}}, SchemaError, TypeError, "a field 'a label'. Use letters"),
    Case("empty dict", {"output_model": {}}, SchemaError, TypeError, "has no fields"),
    Case("more to make", {"output_model": NeedsMore}, SchemaError, TypeError, "NeedsMore needs 'place'"),
    Case("of pydantic", {"output_model": {"model_extra": str}}, SchemaError, TypeError,
         "'model_extra', which pydantic"),
    Case("itself", {"output_model": Circular}, SchemaError, TypeError, "Circular contains itself"),
    Case("bare decimal", {"output_model": Decimal, "output": "price"}, SchemaError, TypeError,
         "number of decimal places"),
    Case("name", {"output_model": "Answer"}, SchemaError, TypeError, "not a str. Pass the class itself, not its name"),
    Case("other class", {"output_model": bytes}, SchemaError, TypeError, "not the class bytes"),
    Case("no column", {"output_model": int}, SchemaError, TypeError, 'of the type int. Name its column: output="name"'),
    Case("no column of a list", {"output_model": list[Answer]}, SchemaError, TypeError, r"of the type list\[.*output="),
    Case("no column of a model", {"output_model": Optional[Answer]}, SchemaError, TypeError, "Name its column"),
    Case("base model", {"output_model": BaseModel}, SchemaError, TypeError, "BaseModel itself has no fields"),
    Case("no fields", {"output_model": create_model("Empty")}, SchemaError, TypeError, "Empty has no fields"),
    Case("root model", {"output_model": RootModel[list[int]]}, SchemaError, TypeError, "RootModel"),
    Case("forward", {"output_model": field("Unknown")}, SchemaError, TypeError, "model_rebuild"),
    Case("recursive", {"output_model": Node}, SchemaError, TypeError, "Node contains itself"),
    Case("too deep", {"output_model": deep(40)}, SchemaError, TypeError, "more than 20 levels deep"),
    Case("dict field", {"output_model": field(dict[str, int])}, SchemaError, TypeError, r"Answer\.x.*nested model"),
    Case("any field", {"output_model": field(Any)}, SchemaError, TypeError, r"Answer\.x.*concrete type"),
    Case("set field", {"output_model": field(set[int])}, SchemaError, TypeError, r"Answer\.x.*list\[...\]"),
    Case("tuple field", {"output_model": field(tuple[int, str])}, SchemaError, TypeError, r"Answer\.x.*nested model"),
    Case("union field", {"output_model": field(int | str)}, SchemaError, TypeError, r"Answer\.x.*one nullable field"),
    Case("int enum", {"output_model": field(Level)}, SchemaError, TypeError, r"Answer\.x.*str Enum"),
    Case("one alias twice", {"output_model": create_model("A", x=(int, Field(alias="a")), y=(int, Field(alias="a")))},
         SchemaError, TypeError, "two fields with the alias 'a'"),
    Case("protocol name", {"output_model": create_model("A", id=(int, ...))}, SchemaError, TypeError,
         "field 'id'.*alias"),
    Case("protocol alias", {"output_model": field(int, alias="id")}, SchemaError, TypeError, "field 'id'"),
    Case("empty alias", {"output_model": field(int, alias="")}, SchemaError, TypeError, r"Answer\.x.*alias ''"),
    Case("alias with quotes", {"output_model": field(int, alias='a"b')}, SchemaError, TypeError, "letters and digits"),
    Case("surrogate", {"output_model": field(str, description="a\ud800")}, SchemaError, TypeError,
         "surrogate pair in a desc"),
    Case("too many fields", {"output_model": create_model("A", **dict.fromkeys("abcd", (int, ...)))},
         SchemaError, TypeError, "6 properties; scripted takes 5 at most"),
    Case("too many choices", {"output_model": field(Literal["a", "b", "c", "d"])}, SchemaError, TypeError,
         "4 enum values"),
    Case("over the provider's depth", {"output_model": deep(2)}, SchemaError, TypeError,
         "5 levels of nesting; scripted takes 4"),
    Case("output and a model", {"output": "text"}, SmeltConfigError, SmeltConfigError,
         "output= names the column of a single"),
    Case("flattened twice",
         {"output_model": create_model("A", **{"x": (Answer, ...), "x.label": (int, ...)}), "flatten": True},
         SchemaError, TypeError, "two columns are called 'x.label'"),
]  # fmt: skip
NAMES = [
    Case("field", {"data": {"label": ["a"]}, "prompt": "x"}, CollisionError, ValueError,
         "already has 'label'.*on_conflict"),
    Case("error column", {"error_column": "name"}, CollisionError, ValueError, "already has 'name'"),
    Case("error column and field", {"error_column": "label"}, CollisionError, ValueError, "error_column='...'"),
    Case("text column", {"output_model": str, "output": "name"}, CollisionError, ValueError, "already has 'name'"),
    Case("text and error column", {"output_model": str, "output": "smelt_error"}, CollisionError, ValueError,
         "error column"),
    Case("columns missing", {"columns": ["nam"]}, ColumnError, KeyError, "columns has 'nam'.*Did you mean 'name'"),
    Case("columns twice", {"columns": ["name", "name"]}, ColumnError, KeyError, "columns has 'name' twice"),
    Case("columns empty", {"columns": []}, ColumnError, KeyError, "columns is an empty list"),
    Case("columns string", {"columns": "name"}, ColumnError, TypeError, r"Write columns=\['name'\]"),
    Case("columns number", {"columns": 3}, ColumnError, TypeError, "columns must be a list of column names, not 3"),
    Case("columns set", {"columns": {"name"}}, ColumnError, TypeError,
         "columns must be a list of column names, not a set"),
    Case("columns of numbers", {"columns": [1]}, ColumnError, TypeError, "list of strings, but 1 is of type int"),
    Case("columns without the prompt's", {"columns": ["n"]}, ColumnError, KeyError, "prompt names 'name'.*Add it"),
]  # fmt: skip
TARGETS = [
    Case("class", {"model": ScriptedProvider}, SmeltConfigError, TypeError, "not the class ScriptedProvider"),
    Case("number", {"model": 3}, SmeltConfigError, TypeError, "model must be a string like"),
    Case("dict", {"model": {"provider": "openai"}}, SmeltConfigError, TypeError, "smelt.Model.*not a dict"),
    Case("output model", {"model": Answer}, SmeltConfigError, TypeError, "not the class Answer"),
    Case("empty", {"model": ""}, SmeltConfigError, SmeltConfigError, 'model must be "provider:name"'),
    Case("no provider", {"model": "gpt-4.1"}, SmeltConfigError, SmeltConfigError, 'like "openai:gpt-4.1-mini"'),
    Case("unknown provider", {"model": "opnai:x"}, SmeltConfigError, SmeltConfigError, "Did you mean 'openai'"),
    Case("no name", {"model": "openai:"}, SmeltConfigError, SmeltConfigError, 'Write it as "openai:name"'),
]


@pytest.mark.parametrize("library", MAKERS)
@pytest.mark.parametrize("case", [*PROMPTS, *MODELS, *NAMES, *TARGETS], ids=lambda case: case.id)
def test_a_bad_argument_is_refused_before_any_request(case: Case, library: str) -> None:
    given = dict(case.given)
    data = MAKERS[library](given.pop("data", COLUMNS))
    before = copy.deepcopy(data)
    provider = ScriptedProvider({"label": "a"}, capabilities=MANY)
    prompt, output_model = given.pop("prompt", PROMPT), given.pop("output_model", Answer)

    with pytest.raises(case.error, match=case.says) as caught:
        smelt.transform(data, prompt, output_model, **({"model": provider} | given))

    assert isinstance(caught.value, case.also)
    assert provider.requests == []
    assert_equal(data, before)


@pytest.mark.parametrize("library", MAKERS)
@pytest.mark.parametrize("verb", ["transform", "run", "preview", "explain", "estimate"])
def test_every_door_refuses_alike(verb: str, library: str) -> None:
    provider = ScriptedProvider({"label": "a"})

    with pytest.raises(PromptError, match="{nmae}"):
        getattr(smelt, verb)(MAKERS[library](COLUMNS), "{nmae}", Answer, model=provider)

    assert provider.requests == []


FRAME = pd.DataFrame(COLUMNS)
ACCESSOR: Any = FRAME.smelt
NO_FRAMES = [
    (None, "not None"),
    (3, "not 3"),
    ("a.csv", "not a str"),
    (FRAME["name"], r"call .to_frame\(\) on the Series"),
    (FRAME.index, r"call .to_frame\(\) on the Index"),
    (FRAME.groupby("name"), "on the frame before groupby"),
    (FRAME.groupby("name")["n"], "on the frame before groupby"),
    (pd.DataFrame, "not the class DataFrame"),
    (pl.Series([1]), r"call .to_frame\(\) on the Series"),
    (pl.DataFrame(COLUMNS).group_by("name"), "on the frame before group_by"),
    (COLUMNS, "put the dict of one row into a list"),
    (["a", "b"], "not a list with a str in it. Make every row a dict"),
    (np.zeros((2, 2)), "not a.*ndarray"),
    ((row for row in [{"name": "a"}]), "not a generator"),
]


@pytest.mark.parametrize(("data", "says"), NO_FRAMES, ids=lambda one: type(one).__name__)
def test_what_is_no_frame_is_refused_with_the_call_that_is_meant(data: Any, says: str) -> None:
    provider = ScriptedProvider({"label": "a"})

    with pytest.raises(
        SmeltConfigError, match=f"a pandas or Polars DataFrame, an Arrow table or a list of dicts.*{says}"
    ) as caught:
        smelt.transform(data, "Label.", Answer, model=provider)

    assert isinstance(caught.value, TypeError)
    assert provider.requests == []


UNREADABLE = [
    (pd.DataFrame([[1, 2]], columns=["a", "a"]), "More than one column is called 'a'"),
    (pd.DataFrame([[1, 2]], columns=[1, "1"]), "More than one column is called '1'"),
    (pd.DataFrame([[1]], columns=pd.MultiIndex.from_tuples([("a", "b")])), "Flatten them first"),
    (pd.DataFrame([[1]], columns=pd.Index(["\ud800"], dtype=object)), "half of a surrogate pair. Rename it"),
    (pd.DataFrame(index=[1, 2]), "rows but no columns"),
    (pd.DataFrame({"a": [b"x"]}), "Column 'a' holds.*Leave it out with columns"),
    (pd.DataFrame({"a": [object()]}), "Column 'a' holds.*type object"),
    (pl.DataFrame({"a": [b"x"]}), "Column 'a' holds binary"),
    (pl.DataFrame({"a": [object()]}), "Column 'a' holds.*type object"),
    ([{"a": object()}], "Column 'a' holds.*type object"),
    ([{1: "x", "1": "y"}], "More than one column is called '1'"),
    ([{}, {}], "rows but no columns"),
]


@pytest.mark.parametrize(("data", "says"), UNREADABLE, ids=[str(number) for number in range(len(UNREADABLE))])
def test_a_frame_that_cannot_be_sent_is_refused_with_its_column(data: Any, says: str) -> None:
    provider = ScriptedProvider({"label": "a"})

    with pytest.raises(ColumnError, match=says) as caught:
        smelt.transform(data, "Label it.", Answer, model=provider)

    assert isinstance(caught.value, KeyError)
    assert isinstance(caught.value, TypeError) == ("holds" in says)
    assert provider.requests == []


CALLS: list[tuple[str, Callable[[Any], Any], str]] = [
    (
        "no model class",
        lambda model: SMELT.run(FRAME, PROMPT, model=model),
        r"run\(\) needs output_model: a class whose fields",
    ),
    (
        "no prompt",
        lambda model: ACCESSOR.transform(output_model=Answer, model=model),
        r"needs prompt: what to find out",
    ),
    (
        "no frame",
        lambda model: SMELT.transform(prompt=PROMPT, output_model=Answer, model=model),
        r"needs frame: the data",
    ),
    ("nothing", lambda model: SMELT.Job(), r"Job\(\) needs prompt"),
    ("model by position", lambda model: ACCESSOR.transform(PROMPT, Answer, model), "everything else by name.*model="),
    ("twice", lambda model: SMELT.run(FRAME, PROMPT, Answer, prompt="x", model=model), "multiple values.*prompt"),
    ("slip", lambda model: SMELT.run(FRAME, PROMPT, Answer, modle=model), "no option 'modle'. Did you mean 'model'"),
    (
        "of a lazy step",
        lambda model: SMELT.transform(FRAME, PROMPT, Answer, fields="all"),
        "fields is an option only of lf.sm",
    ),
    ("slip of an option", lambda model: ACCESSOR.run(PROMPT, Answer, batchsize=3), "Did you mean 'batch_size'"),
    (
        "provider's parameter",
        lambda model: SMELT.run(FRAME, PROMPT, Answer, temperature=0),
        r"go into params=\{...\}",
    ),
    (
        "key",
        lambda model: SMELT.run(FRAME, PROMPT, Answer, api_key="x"),
        r"a key or an address into smelt.Model\(...\)",
    ),
    ("python's own names", lambda model: SMELT.run(FRAME, PROMPT, Answer, cls=1), "no option 'cls'"),
    (
        "both names of one thing",
        lambda model: smelt.Job(PROMPT, Answer, max_retries=1, max_attempts=2),
        "Give one of them",
    ),
]


@pytest.mark.parametrize(("call", "says"), [case[1:] for case in CALLS], ids=[case[0] for case in CALLS])
def test_a_call_that_does_not_fit_is_a_type_error_in_plain_words(call: Callable[[Any], Any], says: str) -> None:
    provider = ScriptedProvider({"label": "a"})

    with pytest.raises(ConfigTypeError, match=says) as caught:
        call(provider)

    assert isinstance(caught.value, TypeError)
    assert provider.requests == []


async def test_an_awaited_call_is_refused_alike() -> None:
    with pytest.raises(ConfigTypeError, match=r"arun\(\) needs output_model"):
        await SMELT.arun(FRAME, PROMPT)


@pytest.mark.parametrize("frame", [FRAME, pl.DataFrame(COLUMNS)], ids=["pandas", "polars"])
def test_the_same_transform_on_its_own_result_is_a_collision(frame: Any) -> None:
    provider = ScriptedProvider({"label": "a"})
    once = frame.smelt.transform(PROMPT, Answer, model=provider, progress=False)
    sent = len(provider.requests)

    with pytest.raises(CollisionError, match="already has 'label', 'smelt_error'.*'suffix'.*'replace'"):
        once.smelt.transform(PROMPT, Answer, model=provider)

    assert len(provider.requests) == sent


@pytest.mark.parametrize("n", [0, -1, 1.5, "3", None, True, 10**9], ids=repr)
def test_a_preview_has_a_number_of_rows(n: Any) -> None:
    provider = ScriptedProvider({"label": "a"})

    with pytest.raises(SmeltConfigError, match="n must be an integer from 1 to 100,000, not"):
        ACCESSOR.preview(PROMPT, Answer, n, model=provider)

    assert provider.requests == []


def test_a_job_cannot_be_tested_on_nothing() -> None:
    with pytest.raises(SmeltConfigError, match="data is empty.*Give at least one row"):
        smelt.Job(PROMPT, Answer).test(ScriptedProvider({}), data=FRAME.head(0))


class Rude:
    def __repr__(self) -> str:
        raise RuntimeError("no repr")


@pytest.mark.parametrize("value", [Rude(), "x" * 100_000, 10**5_000, FRAME], ids=["rude", "long", "digits", "frame"])
@pytest.mark.parametrize("option", ["batch_size", "timeout", "isolation", "on_error", "columns", "params", "seed"])
def test_a_message_survives_any_value_and_stays_short(option: str, value: Any) -> None:
    with pytest.raises(SmeltConfigError, match=f"^{option} (must|is|has).{{,250}}$"):
        SMELT.Job(PROMPT, Answer, **{option: value})


@pytest.mark.parametrize("error", [ConfigTypeError("a"), ConfigValueError("b"), ColumnError("c"), CollisionError("d")])
def test_errors_pickle_and_show_their_own_words(error: SmeltError) -> None:
    assert str(pickle.loads(pickle.dumps(error))) == str(error)
    assert "'" not in str(error)


def test_an_interrupt_pickles_though_what_it_carries_does_not() -> None:
    stop = SmeltInterrupt("Interrupted.", smelt.run(FRAME.head(0), PROMPT, Answer, model=ScriptedProvider({})))

    again = pickle.loads(pickle.dumps(stop))

    assert (str(again), again.partial_result) == ("Interrupted.", None)


def assert_equal(frame: Any, expected: Any) -> None:
    if isinstance(frame, pd.DataFrame):
        pd.testing.assert_frame_equal(frame, expected)
    else:
        assert frame.equals(expected) if isinstance(frame, pl.DataFrame) else frame == expected
