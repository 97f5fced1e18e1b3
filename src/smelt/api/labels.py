"""The labels of `classify`, as the type of an answer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from enum import Enum
from typing import Annotated, Any, Literal

from smelt.errors import SmeltConfigError
from smelt.messages import shown_value

_LABEL_COLUMN = "label"
_WANTED = 'a list of labels, like ["pos", "neg"], a dict from labels to what they mean, or an Enum of strings'


def with_column(options: Mapping[str, Any]) -> Any:
    """The options of a call, with a name for the column of the label if they have none."""
    return {"output": _LABEL_COLUMN, **{name: value for name, value in options.items() if value is not None}}


def field_of(labels: Any, *, multi: bool) -> Any:
    """The type of an answer that is one of *labels*, or with *multi* a list of them.

    Raises:
        SmeltConfigError: There are fewer than two labels, or one is no text or is there twice.
    """
    if not isinstance(multi, bool):
        raise SmeltConfigError.for_type("multi", multi, "True or False")
    if isinstance(labels, type) and issubclass(labels, Enum):
        _check([one.value for one in labels])
        choice: Any = labels
    else:
        # Strings of other classes, such as NumPy's and those of an Enum, become plain ones.
        names = [str.__str__(name) if isinstance(name, str) else name for name in _listed(labels)]
        _check(names)
        choice = Literal[tuple(names)]
    answer = list[choice] if multi else choice
    if not isinstance(labels, Mapping):
        return answer
    from pydantic import Field  # Imported late: `import smelt` does not load pydantic.

    meanings = [f"{name}: {_meaning(name, meaning)}" for name, meaning in labels.items()]
    return Annotated[answer, Field(description="; ".join(meanings))]


def _listed(labels: Any) -> list[Any]:
    if hasattr(labels, "tolist"):  # An array, a Series or the categories of one.
        labels = labels.tolist()
    elif hasattr(labels, "to_list"):  # Of Polars.
        labels = labels.to_list()
    if isinstance(labels, str | bytes) or not isinstance(labels, Sequence | Mapping):
        raise SmeltConfigError.for_type("labels", labels, _WANTED)
    return list(labels)


def _check(names: Sequence[Any]) -> None:
    for name in names:
        if not isinstance(name, str):
            raise SmeltConfigError.for_type("every label", name, "a string")
        try:
            name.encode()
        except UnicodeEncodeError:
            raise SmeltConfigError(f"The label {name!r} has half of a surrogate pair, which cannot be sent.") from None
        if not name.strip():
            raise SmeltConfigError.for_value("every label", name, "a word, and not blank")
        if names.count(name) > 1:
            raise SmeltConfigError(f"labels has {shown_value(name)} twice. Name every label once.")
    if len(names) < 2:
        raise SmeltConfigError(f"labels has {len(names)} label. Give two or more to choose from.")


def _meaning(name: str, meaning: object) -> str:
    if not isinstance(meaning, str) or not meaning.strip():
        raise SmeltConfigError.for_type(f"the meaning of {shown_value(name)}", meaning, "a string that says it")
    return " ".join(meaning.split())
