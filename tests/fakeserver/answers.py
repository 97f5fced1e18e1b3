"""What the fake model answers: a pure function of the row, so that a test can check every answer against its own row.

A rule says how a field follows from the row (`answers=` of a scenario):

    {"copy": "name"}                        the cell itself
    {"length": "name"}                      the number of characters of its text, 0 for a null
    {"choice": ["a", "b"], "of": "name"}    one of them, by a stable hash of the cell
    {"parity": "number"}                    whether the number is odd; of a text, whether its length is
    {"const": 3}                            always this
    {"object": {"size": …}}                 an object, by a rule per member
    {"mixed": "number", "by": 3}            a number that only this cell and this "by" have, as good as always
    {"digits": "number"}                    the digits of the text of a cell, as a list of integers
    {"crc": "photo"}                        the checksum of the bytes of a medium (see `media`); null without one
    {"colour": "photo"}                     its colour, if it is a PNG of one: red, green or blue
    {"seen": {"123": 1}, "of": "photo"}     what the table says of a medium with this checksum
    {"lookup": {"a": 1}, "of": "name"}      what the table says of the cell; null where it says nothing
    {"waver": ["a", "b"], "of": "name", "hard": 0.2, "wrong": [0.01, 0.4]}
                                            as "choice", but another value with the first probability of "wrong", and
                                            for the "hard" share of rows with the second; drawn anew, by hashes, every
                                            time that the row is asked

Fields without a rule hold a value that their schema allows. Tests call `expected` for the values of a row they know.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from hashlib import blake2b
from typing import Any, Literal
from zlib import crc32

Rule = Mapping[str, Any]
Schema = Mapping[str, Any]
Codec = Literal["array", "keyed", "packed", "barred", "positional"]


def expected(rules: Mapping[str, Rule], row: Mapping[str, Any]) -> dict[str, Any]:
    """The values that the fake gives for *row* in the fields that have a rule."""
    return {field: value_of(rule, row) for field, rule in rules.items()}


def value_of(rule: Rule, row: Mapping[str, Any]) -> Any:
    """Apply one rule to one row."""
    name = next(iter(rule))
    return RULES[name](rule, row)


TURN = "\0turn"
"""How often a row was asked before, among its cells; only for rules that waver."""


def wavers(rules: Mapping[str, Rule]) -> bool:
    """Whether answers change when a row is asked again."""
    return any("waver" in rule for rule in rules.values())


def check_rules(rules: Mapping[str, Rule]) -> None:
    """Refuse a rule that is not known, when the scenario is made rather than when it is used."""
    for field, rule in rules.items():
        if next(iter(rule), None) not in RULES:
            raise ValueError(f"{field}: unknown rule {rule!r}; there are {sorted(RULES)}")


def _choice(rule: Rule, row: Mapping[str, Any]) -> Any:
    options: Sequence[Any] = rule["choice"]
    return options[crc32(_text(row.get(rule["of"])).encode()) % len(options)]


def _waver(rule: Rule, row: Mapping[str, Any]) -> Any:
    cell = _text(row.get(rule["of"]))
    right = _choice({"choice": rule["waver"], "of": rule["of"]}, row)
    if _chance(f"{cell} {row.get(TURN, 0)}") >= rule["wrong"][is_hard(cell, rule["hard"])]:
        return right
    others = [one for one in rule["waver"] if one != right]
    return others[int(_chance(f"other {cell}") * len(others))]


def is_hard(cell: Any, share: float) -> bool:
    """Whether the row with this cell is one of the *share* of rows that are hard."""
    return _chance(f"hard {_text(cell)}") < share


def _chance(text: str) -> float:
    """A number from 0 to 1 by a hash. Not by a checksum: those of similar texts are alike."""
    return int.from_bytes(blake2b(text.encode(), digest_size=6).digest(), "big") / 2.0**48


def _parity(rule: Rule, row: Mapping[str, Any]) -> bool:
    cell = row.get(rule["parity"])
    number = cell if isinstance(cell, int | float) else len(_text(cell))
    return int(number) % 2 == 1


def _text(cell: Any) -> str:
    if cell is None:
        return ""
    if type(cell) is int:  # Much faster, and a hostile run has millions of them.
        return str(cell)
    return cell if isinstance(cell, str) else json.dumps(cell, ensure_ascii=False, sort_keys=True)


RULES: dict[str, Callable[[Rule, Mapping[str, Any]], Any]] = {
    "copy": lambda rule, row: row.get(rule["copy"]),
    "length": lambda rule, row: len(_text(row.get(rule["length"]))),
    "choice": _choice,
    "waver": _waver,
    "parity": _parity,
    "const": lambda rule, row: rule["const"],
    "object": lambda rule, row: expected(rule["object"], row),
    "digits": lambda rule, row: [int(one) for one in _text(row.get(rule["digits"])) if one.isdecimal()],
    "mixed": lambda rule, row: crc32(f"{rule['by']}:{_text(row.get(rule['mixed']))}".encode()),
    "crc": lambda rule, row: cell.get("crc") if isinstance(cell := row.get(rule["crc"]), dict) else None,
    "colour": lambda rule, row: cell.get("colour") if isinstance(cell := row.get(rule["colour"]), dict) else None,
    "seen": lambda rule, row: (
        rule["seen"].get(str(cell.get("crc"))) if isinstance(cell := row.get(rule["of"]), dict) else None
    ),
    "lookup": lambda rule, row: rule["lookup"].get(_text(row.get(rule["of"]))),
}


def codec_of(schema: Schema, system: str = "") -> Codec:
    """Which of the reply shapes the request asks for; *system* shows whether its words end in a text behind a bar."""
    if "rows" not in schema.get("properties", {}):
        return "keyed"
    codec = _SHAPES[kind_of(_items(schema), schema)[0]]
    return "barred" if codec == "packed" and " | <" in system else codec


_SHAPES: dict[str, Codec] = {"object": "array", "array": "positional", "string": "packed"}


def _items(schema: Schema) -> Schema:
    return resolved(schema["properties"]["rows"]["items"], schema)


def row_schema(schema: Schema, names: Sequence[str] = ()) -> Schema:
    """The schema of one row inside the schema of a reply; of the fields *names*, if the reply has no field names."""
    properties = schema.get("properties", {})
    if codec_of(schema) in ("packed", "barred", "positional"):
        return {"type": "object", "properties": {name: {} for name in names}}
    if "rows" in properties:
        return _items(schema)
    return resolved(next(iter(properties.values()), {}), schema)


def resolved(schema: Schema, root: Schema) -> Schema:
    """Follow a `$ref` of the form `#/$defs/Name` inside *root*."""
    while "$ref" in schema:
        target: Any = root
        for step in schema["$ref"].removeprefix("#/").split("/"):
            target = target[step]
        schema = target
    return schema


def kind_of(schema: Schema, root: Schema) -> tuple[str, Schema]:
    """The JSON type of a schema, looking through references and through what makes it nullable."""
    schema = resolved(schema, root)
    for option in schema.get("anyOf", schema.get("oneOf", ())):
        if option.get("type") != "null":
            return kind_of(option, root)
    kind = schema.get("type", "object" if "properties" in schema else "string")
    if isinstance(kind, list):
        kind = next(one for one in kind if one != "null")
    return str(kind).lower(), schema


def sample(schema: Schema, root: Schema) -> Any:
    """A value that *schema* allows. Patterns are not solved."""
    kind, schema = kind_of(schema, root)
    if "const" in schema:
        return schema["const"]
    if "enum" in schema:
        return next(one for one in schema["enum"] if one is not None)
    return SAMPLES[kind](schema, root)


FORMATS = {
    "date": "2024-02-29",
    "date-time": "2024-02-29T12:30:00Z",
    "time": "12:30:00Z",
    "duration": "PT1H30M",
    "uuid": "8c5a2f0e-6d5b-4c1e-9d3a-2b7f1e4c9a10",
    "email": "someone@example.com",
    "uri": "https://example.com/",
}


def _text_sample(schema: Schema, _: Schema) -> str:
    text = FORMATS.get(schema.get("format", ""), "text")
    return text.ljust(schema.get("minLength", 0), "x")[: schema.get("maxLength", len(text) + 10_000)]


def _number_sample(schema: Schema, _: Schema) -> int | float:
    if "minimum" in schema:
        return schema["minimum"]  # type: ignore[no-any-return]  # JSON
    if "exclusiveMinimum" in schema:
        return schema["exclusiveMinimum"] + 1  # type: ignore[no-any-return]  # JSON
    highest: int | float = schema.get("maximum", schema.get("exclusiveMaximum", 1) - 1)
    return min(0, highest)


def _array_sample(schema: Schema, root: Schema) -> list[Any]:
    return [sample(schema.get("items", {}), root) for _ in range(schema.get("minItems", 0))]


def _object_sample(schema: Schema, root: Schema) -> dict[str, Any]:
    return {name: sample(part, root) for name, part in schema.get("properties", {}).items()}


SAMPLES: dict[str, Callable[[Schema, Schema], Any]] = {
    "string": _text_sample,
    "integer": _number_sample,
    "number": _number_sample,
    "boolean": lambda schema, root: True,
    "array": _array_sample,
    "object": _object_sample,
    "null": lambda schema, root: None,
}
