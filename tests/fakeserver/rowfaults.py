"""Faults of single rows and of the list of rows: what a model gets wrong while its JSON is still JSON."""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from tests.fakeserver.answers import Schema, kind_of

Options = Mapping[str, Any]
OVERFLOW = "@1e999@"  # Becomes the bare number 1e999 in the text of the reply.


@dataclass(frozen=True)
class Entry:
    """One row's answer before it is written: its id and its fields."""

    id: Any
    fields: dict[str, Any]


@dataclass(frozen=True)
class Scene:
    """What a fault may look at.

    Attributes:
        schema: The schema of one row; `root` is the whole one, for its references.
        earlier_ids: The ids of the request before this one.
    """

    rng: random.Random
    schema: Schema
    root: Schema
    max_tokens: int | None
    earlier_ids: tuple[Any, ...]


class Twin(str):
    """A key that equals no other, so that one dict can hold a name twice."""

    __hash__ = object.__hash__

    def __eq__(self, other: object) -> bool:
        return self is other


# --- ROWS: (entry, options, scene) -> entries -------------------------------------------------------------------------


def drop(entry: Entry, options: Options, scene: Scene) -> list[Entry]:
    """The row is missing from the reply."""
    return []


def duplicate(entry: Entry, options: Options, scene: Scene) -> list[Entry]:
    """The row comes twice. `copy`: "equal", "different", or by chance."""
    if options.get("copy", scene.rng.choice(("equal", "different"))) == "equal":
        return [entry, entry]
    return [entry, Entry(entry.id, {name: _other(value, name, scene) for name, value in entry.fields.items()})]


def split(entry: Entry, options: Options, scene: Scene) -> list[Entry]:
    """The row comes as two halves of its fields."""
    items = list(entry.fields.items())
    half = len(items) // 2
    return [Entry(entry.id, dict(items[:half])), Entry(entry.id, dict(items[half:]))]


def stranger(entry: Entry, options: Options, scene: Scene) -> list[Entry]:
    """A row follows that nobody asked for."""
    return [entry, Entry(f"zz{scene.rng.randrange(36**4):x}", entry.fields)]


def invalid(entry: Entry, options: Options, scene: Scene) -> list[Entry]:
    """One value breaks the schema: an unknown enum value where there is an enum, else another type."""
    name = _pick(entry, options, scene, prefer=lambda schema: "enum" in schema)
    kind, schema = _kind(name, scene)
    return [_set(entry, name, "none-of-these" if "enum" in schema else WRONG[kind])]


def wrong_type(entry: Entry, options: Options, scene: Scene) -> list[Entry]:
    """One value has the right digits and the wrong type: "5" for 5, 5 for a text."""
    name = _pick(entry, options, scene)
    value = entry.fields.get(name)
    return [_set(entry, name, 5 if isinstance(value, str) else json.dumps(value))]


def set_value(entry: Entry, options: Options, scene: Scene) -> list[Entry]:
    """One field holds `value`, whatever the schema says."""
    return [_set(entry, _pick(entry, options, scene), options["value"])]


def null_field(entry: Entry, options: Options, scene: Scene) -> list[Entry]:
    """One field is null."""
    return [_set(entry, _pick(entry, options, scene), None)]


def missing_field(entry: Entry, options: Options, scene: Scene) -> list[Entry]:
    """One field is absent."""
    name = _pick(entry, options, scene)
    return [Entry(entry.id, {key: value for key, value in entry.fields.items() if key != name})]


def extra_fields(entry: Entry, options: Options, scene: Scene) -> list[Entry]:
    """A field that the schema does not have."""
    return [_set(entry, "confidence_note", "high")]


def duplicate_keys(entry: Entry, options: Options, scene: Scene) -> list[Entry]:
    """One field is there twice, with different values."""
    name = _pick(entry, options, scene)
    return [_set(entry, Twin(name), _other(entry.fields.get(name), name, scene))]


def nan(entry: Entry, options: Options, scene: Scene) -> list[Entry]:
    """A bare NaN."""
    return [_set(entry, _pick(entry, options, scene, prefer=_is_number), float("nan"))]


def infinity(entry: Entry, options: Options, scene: Scene) -> list[Entry]:
    """A bare Infinity."""
    return [_set(entry, _pick(entry, options, scene, prefer=_is_number), float("inf"))]


def overflow(entry: Entry, options: Options, scene: Scene) -> list[Entry]:
    """The number 1e999."""
    return [_set(entry, _pick(entry, options, scene, prefer=_is_number), OVERFLOW)]


def huge_int(entry: Entry, options: Options, scene: Scene) -> list[Entry]:
    """An integer of `digits` digits; 5,000 is above CPython's limit for parsing one."""
    number = int("7" * int(options.get("digits", 5_000)))
    return [_set(entry, _pick(entry, options, scene, prefer=_is_number), number)]


def surrogate(entry: Entry, options: Options, scene: Scene) -> list[Entry]:
    """A text with a lone surrogate, written as the escape that a model would write."""
    name = _pick(entry, options, scene, prefer=lambda schema: schema.get("type") == "string" and "enum" not in schema)
    return [_set(entry, name, f"{entry.fields.get(name)}\ud800")]


def padded_id(entry: Entry, options: Options, scene: Scene) -> list[Entry]:
    """The id with spaces around it."""
    return [Entry(f" {entry.id} ", entry.fields)]


def upper_id(entry: Entry, options: Options, scene: Scene) -> list[Entry]:
    """The id in capitals."""
    return [Entry(str(entry.id).upper(), entry.fields)]


WRONG: dict[str, Any] = {
    "string": 17,
    "integer": "many",
    "number": "much",
    "boolean": "perhaps",
    "array": "several",
    "object": "it",
    "null": "something",
}


def _pick(entry: Entry, options: Options, scene: Scene, prefer: Callable[[Schema], bool] | None = None) -> str:
    """The field to strike: the one named, else the first that is preferred, else the first."""
    if "field" in options:
        return str(options["field"])
    names = list(entry.fields)
    liked = (name for name in names if prefer is not None and prefer(_kind(name, scene)[1]))
    return next(liked, names[0] if names else "value")


def _kind(name: str, scene: Scene) -> tuple[str, Schema]:
    return kind_of(scene.schema.get("properties", {}).get(name, {}), scene.root)


def _is_number(schema: Schema) -> bool:
    return schema.get("type") in ("number", "integer")


def _set(entry: Entry, name: str, value: Any) -> Entry:
    return Entry(entry.id, {**entry.fields, name: value})


def _other(value: Any, name: str, scene: Scene) -> Any:
    """Another value that the schema allows as well, where there is one."""
    options = [one for one in _kind(name, scene)[1].get("enum", ()) if one != value]
    if options:
        return options[0]
    if isinstance(value, bool):
        return not value
    if isinstance(value, int | float):
        return value + 1
    return f"{value} too" if isinstance(value, str) else value


# --- LISTS: (entries, options, scene) -> entries ----------------------------------------------------------------------


def shuffle(entries: list[Entry], options: Options, scene: Scene) -> list[Entry]:
    """All rows, in another order; copies of a row stay in theirs, so that a cut never leaves only a false copy."""
    copies = {one.id: iter([other for other in entries if other.id == one.id]) for one in entries}
    return [next(copies[one.id]) for one in scene.rng.sample(entries, len(entries))]


def empty_list(entries: list[Entry], options: Options, scene: Scene) -> list[Entry]:
    """No row at all."""
    return []


def shift_ids(entries: list[Entry], options: Options, scene: Scene) -> list[Entry]:
    """Every id is the next one up, as a model writes that counts instead of copying."""
    return [Entry(f"{entry.id[:-1]}{chr(ord(entry.id[-1]) + 1)}", entry.fields) for entry in entries]


def numeric_ids(entries: list[Entry], options: Options, scene: Scene) -> list[Entry]:
    """The ids are 1, 2, 3, …"""
    return [Entry(number, entry.fields) for number, entry in enumerate(entries, start=1)]


def swap_ids(entries: list[Entry], options: Options, scene: Scene) -> list[Entry]:
    """The first two rows bear each other's ids. No reader can see it; an audit of repeated rows can."""
    if len(entries) < 2:
        return entries
    first, second, *rest = entries
    return [Entry(second.id, first.fields), Entry(first.id, second.fields), *rest]


def merge_rows(entries: list[Entry], options: Options, scene: Scene) -> list[Entry]:
    """The first two rows come as one."""
    return entries if len(entries) < 2 else [entries[0], *entries[2:]]


def other_request(entries: list[Entry], options: Options, scene: Scene) -> list[Entry]:
    """The reply to the request before, as from a mixed-up proxy cache; to an invented one if this is the first."""
    ids = scene.earlier_ids or tuple(f"zz{number:02}" for number in range(len(entries)))
    return [Entry(one, entry.fields) for one, entry in zip(ids, entries, strict=False)]


# --- the tables -------------------------------------------------------------------------------------------------------

ROWS: dict[str, Callable[[Entry, Options, Scene], list[Entry]]] = {
    "drop": drop,
    "duplicate": duplicate,
    "split": split,
    "stranger": stranger,
    "invalid": invalid,
    "wrong_type": wrong_type,
    "set": set_value,
    "null_field": null_field,
    "missing_field": missing_field,
    "extra_fields": extra_fields,
    "duplicate_keys": duplicate_keys,
    "nan": nan,
    "infinity": infinity,
    "overflow": overflow,
    "huge_int": huge_int,
    "surrogate": surrogate,
    "padded_ids": padded_id,
    "upper_ids": upper_id,
}
LISTS: dict[str, Callable[[list[Entry], Options, Scene], list[Entry]]] = {
    "shuffle": shuffle,
    "empty_list": empty_list,
    "shift_ids": shift_ids,
    "numeric_ids": numeric_ids,
    "swap_ids": swap_ids,
    "merge_rows": merge_rows,
    "other_request": other_request,
}
