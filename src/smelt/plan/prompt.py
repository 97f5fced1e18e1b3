"""Parses the user's prompt: its placeholders select the columns to send. Cell values are never formatted into it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from string import Formatter

from smelt.errors import ConfigTypeError, PromptError, SmeltConfigError
from smelt.messages import nearest

_MOST_NAMED = 8  # Columns listed by name in a message.
_LONGEST_NAME = 40  # Characters of a column's name in a message.
_LONGEST_SHOWN = 80  # Characters of a placeholder in a message; a JSON example in a prompt may be longer.


@dataclass(frozen=True, kw_only=True)
class Prompt:
    """A parsed prompt.

    Attributes:
        text: The prompt as the model sees it: `{name}` becomes `` `name` ``, and `{{` becomes a brace.
        columns: The columns that it names, in order of first use; empty if it names none.
    """

    text: str
    columns: tuple[str, ...]


def read_prompt(prompt: str, names: Sequence[str] | None) -> Prompt:
    """Parse *prompt* for rows with the columns *names*; *names* is None if they are unknown, as for an empty list.

    Raises:
        PromptError: The prompt is blank or unbalanced, or names a column that does not exist.
        SmeltConfigError: It is not a string.
    """
    _require_text(prompt)
    known = None if names is None else frozenset(names)
    text: list[str] = []
    columns: dict[str, None] = {}
    for literal, field, spec, conversion in _pieces(prompt):
        text.append(literal)
        if field is None:
            continue
        name = _whole_name(field, spec, conversion)
        if not name and (known is None or name not in known):
            raise PromptError("The prompt has an empty placeholder {}. Name a column in it, or write {{}} for braces.")
        if known is not None and name not in known:
            raise _unknown(name, names or ())
        columns[name] = None
        text.append(f"`{name}`")
    return Prompt(text="".join(text), columns=tuple(columns))


def filled(prompt: str, name: str) -> str:
    """*prompt* with the column *name* in each empty placeholder.

    Raises:
        PromptError: The prompt is blank or unbalanced.
        SmeltConfigError: It is not a string.
    """
    _require_text(prompt)
    text: list[str] = []
    for literal, field, spec, conversion in _pieces(prompt):
        text.append(literal.replace("{", "{{").replace("}", "}}"))
        if field is not None:
            text.append(f"{{{_whole_name(field, spec, conversion) or name}}}")
    return "".join(text)


def sent_columns(names: Sequence[str]) -> str:
    """The columns of a request in words, such as `2 columns: name, about`."""
    shown = [name if len(name) <= _LONGEST_NAME else f"{name[:_LONGEST_NAME]}…" for name in names[:_MOST_NAMED]]
    more = f" and {len(names) - _MOST_NAMED:,} more" if len(names) > _MOST_NAMED else ""
    return f"{len(names):,} column{'s' * (len(names) != 1)}: {', '.join(shown)}{more}"


def _require_text(prompt: object) -> None:
    if isinstance(prompt, type):
        raise ConfigTypeError(
            f"prompt must be a string, not the class {prompt.__name__}. The prompt comes first, then the output model."
        )
    if not isinstance(prompt, str):
        raise SmeltConfigError.for_type("prompt", prompt, "a string")
    if not prompt.strip():
        raise PromptError("The prompt is empty. Say in it what to find out about each row.")
    try:
        prompt.encode()
    except UnicodeEncodeError as problem:
        raise PromptError(
            f"The prompt has half of a surrogate pair at position {problem.start}, which cannot be sent. Remove it."
        ) from None


def _pieces(prompt: str) -> list[tuple[str, str | None, str | None, str | None]]:
    try:
        return list(Formatter().parse(prompt))
    except ValueError as problem:
        raise PromptError(
            f"The prompt's braces do not balance ({problem}). Write {{{{ and }}}} for braces that are text."
        ) from None


def _whole_name(field: str, spec: str | None, conversion: str | None) -> str:
    """The placeholder as it was written: a column's name may contain a colon or an exclamation mark."""
    return field + (f"!{conversion}" if conversion else "") + (f":{spec}" if spec else "")


def _unknown(name: str, names: Sequence[str]) -> PromptError:
    base = name.split("!")[0].split(":")[0].split(".")[0].split("[")[0]
    if base != name and base in names:
        return PromptError(
            f"The prompt uses {{{name}}}; a placeholder is a plain column name, so write {{{base}}}. "
            "Values are sent to the model as data and never formatted."
        )
    shown = name if len(name) <= _LONGEST_SHOWN else f"{name[:_LONGEST_SHOWN]}…"
    return PromptError(
        f"The prompt uses {{{shown}}}, which is not a column of the data.{nearest(name, names)} "
        "For braces that are text, write {{ and }}."
    )
