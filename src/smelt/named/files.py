"""Engine files: `.yml`, `.toml` or `.json` with a table of models, or with chainette's list of them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from smelt.errors import MissingDependencyError, SmeltConfigError
from smelt.named.entries import Entry, entry_of

_LARGEST = 2**20  # Bytes. An engine file has a few kilobytes; a larger one is something else.
_WANTED = "a file of models (.yml, .toml or .json)"


def entries_in(path: Path) -> dict[str, Entry]:
    """The models that the file *path* names.

    Raises:
        SmeltConfigError: The file cannot be read, or an entry is wrong; names file, entry and field.
        MissingDependencyError: It is YAML, and the extra `yaml` is not installed.
    """
    found: dict[str, Entry] = {}
    for name, fields in _named(_table(path), path.name):
        source = f"{path.name}, entry {name!r}"
        if not isinstance(fields, Mapping):
            raise SmeltConfigError(f"{source}: this must be a table of fields, such as 'model' and 'backend'.")
        given = {str(one): value for one, value in fields.items() if one != "name"}
        entry = entry_of(given, source=source)
        if found.setdefault(name, entry) != entry:
            raise SmeltConfigError(f"{source}: the name is there twice, with different fields.")
    return found


def _named(table: Any, file: str) -> Iterator[tuple[str, Any]]:
    """Names and fields, from each of the shapes that a file may have."""
    if isinstance(table, Mapping) and "engines" in table:
        beside = [str(one) for one in table if one != "engines"]
        if beside:
            raise SmeltConfigError(f"{file}: there is {beside[0]!r} beside 'engines'. A file of models has only that.")
        table = table["engines"]
    if isinstance(table, Mapping):
        yield from ((str(name), fields) for name, fields in table.items())
    elif isinstance(table, list):
        for at, fields in enumerate(table, start=1):
            name = fields.get("name") if isinstance(fields, Mapping) else None
            if not isinstance(name, str) or not name:
                raise SmeltConfigError(f"{file}, entry {at}: the field 'name' is missing.")
            yield name, fields
    else:
        raise SmeltConfigError(f"{file} has no models: it needs a table 'engines', with a name for each.")


def _table(path: Path) -> Any:
    """The content of the file."""
    reader = _READERS.get(path.suffix.lower())
    if reader is None:
        raise SmeltConfigError(f"{path.name} must be {_WANTED}.")
    try:
        with path.open("rb") as file:
            read = file.read(_LARGEST + 1)
        if len(read) > _LARGEST:
            raise SmeltConfigError(f"{path.name} is larger than {_LARGEST // 2**20} MB, so it is not {_WANTED}.")
        return reader(read.decode("utf-8-sig"))
    except OSError as problem:
        raise SmeltConfigError(f"{path} cannot be read: {problem.strerror or problem}.") from None
    except UnicodeDecodeError:
        raise SmeltConfigError(f"{path.name} is not UTF-8.") from None
    except (ValueError, RecursionError) as problem:
        raise SmeltConfigError(f"{path.name} cannot be read: {problem}") from None


def _json(text: str) -> Any:
    import json  # Imported late, like the readers of the other kinds of file.

    return json.loads(text, object_pairs_hook=_once)


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """A table whose names are all different: JSON and YAML themselves let the last one win."""
    table: dict[str, Any] = {}
    for name, value in pairs:
        if name in table and table[name] != value:
            raise ValueError(f"{name!r} is there twice.")
        table[name] = value
    return table


def _toml(text: str) -> Any:
    import tomllib

    return tomllib.loads(text)


_MERGE = "tag:yaml.org,2002:merge"


def _yaml(text: str) -> Any:
    try:
        import yaml
    except ModuleNotFoundError:
        raise MissingDependencyError.for_extra("yaml", "yaml") from None

    class Loader(yaml.SafeLoader):  # type: ignore[misc]  # PyYAML ships no types.
        """Refuses a name that is there twice."""

    def table(loader: yaml.SafeLoader, node: yaml.MappingNode) -> dict[str, Any]:
        def pairs() -> list[tuple[str, Any]]:
            read = loader.construct_object
            return [(str(read(key)), read(value, deep=True)) for key, value in node.value if key.tag != _MERGE]

        own = _once(pairs())
        loader.flatten_mapping(node)  # What `<<` brings in comes first, so what is written here wins.
        return {**dict(pairs()), **own}

    Loader.add_constructor(yaml.resolver.BaseResolver.DEFAULT_MAPPING_TAG, table)
    try:
        return yaml.load(text, Loader)  # A subclass of the safe loader.
    except yaml.YAMLError as problem:
        raise ValueError(" ".join(str(problem).split())) from None


_READERS = {".json": _json, ".toml": _toml, ".yml": _yaml, ".yaml": _yaml}
