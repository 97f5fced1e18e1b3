"""A YAML file as plain values, with the line of each of them, for messages. Nothing in it is run."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from smelt.errors import MissingDependencyError, SmeltConfigError

Place = tuple[str | int, ...]
"""The way to a value: names and positions from the top."""

_LARGEST = 2**20  # Bytes. A pipeline has a few kilobytes; a larger file is something else.
_MOST_VALUES = 20_000  # Anchors repeat values; a small file can stand for millions.
_DEEPEST = 30
_PLAIN = "tag:yaml.org,2002:"


@dataclass(frozen=True, kw_only=True)
class Marked:
    """The content of a file.

    Attributes:
        file: Its name, for messages.
        value: The content.
        lines: The line of each value, from 1.
        problems: Lines, and what is wrong there.
    """

    file: str
    value: Any
    lines: dict[Place, int] = field(default_factory=dict)
    problems: list[tuple[int, str]] = field(default_factory=list)

    def wrong(self, place: Place, why: str) -> None:
        """Note that something is wrong at *place*."""
        while place not in self.lines and place:
            place = place[:-1]
        self.problems.append((self.lines.get(place, 1), why))

    def raise_problems(self) -> None:
        """Raise one error about everything that is wrong, if anything is.

        Raises:
            SmeltConfigError: Something is wrong.
        """
        found = [f"line {line}: {why}" for line, why in sorted(dict.fromkeys(self.problems))]
        if len(found) == 1:
            raise SmeltConfigError(f"{self.file}, {found[0]}")
        if found:
            raise SmeltConfigError("\n".join([f"{self.file}: {len(found)} things are wrong.", *found]))


def marked(path: Path) -> Marked:
    """Read the file at *path*.

    Raises:
        SmeltConfigError: It cannot be read, or is no YAML.
        MissingDependencyError: The extra `yaml` is not installed.
    """
    if path.suffix.lower() not in (".yml", ".yaml", ".json"):
        raise SmeltConfigError(f"{path.name} must be a file of a pipeline (.yml, .yaml or .json).")
    try:
        import yaml
    except ModuleNotFoundError:
        raise MissingDependencyError.for_extra("yaml", "yaml") from None
    text = _text(path)
    found = Marked(file=path.name, value=None)
    loader = yaml.SafeLoader(text)
    try:
        top = loader.get_single_node()
        value = None if top is None else _Reader(loader, found).read(top, ())
    except yaml.MarkedYAMLError as problem:
        line = problem.problem_mark.line + 1 if problem.problem_mark is not None else 1
        raise SmeltConfigError(f"{path.name}, line {line}: {problem.problem or problem.context}.") from None
    except (yaml.YAMLError, RecursionError, ValueError) as problem:
        raise SmeltConfigError(f"{path.name} is no YAML: {' '.join(str(problem).split())}") from None
    finally:
        loader.dispose()
    return Marked(file=path.name, value=value, lines=found.lines, problems=found.problems)


def _text(path: Path) -> str:
    try:
        with path.open("rb") as file:
            read = file.read(_LARGEST + 1)
        if len(read) > _LARGEST:
            raise SmeltConfigError(f"{path.name} is larger than {_LARGEST // 2**20} MB, so it is no pipeline.")
        return read.decode("utf-8-sig")
    except OSError as problem:
        raise SmeltConfigError(f"{path} cannot be read: {problem.strerror or problem}.") from None
    except UnicodeDecodeError:
        raise SmeltConfigError(f"{path.name} is not UTF-8.") from None


class _Reader:
    """Makes values of YAML's nodes."""

    def __init__(self, loader: Any, found: Marked) -> None:
        self._loader = loader
        self._found = found
        self._values = 0

    def read(self, node: Any, place: Place) -> Any:
        """The value of *node*."""
        self._values += 1
        if self._values > _MOST_VALUES or len(place) > _DEEPEST:
            raise ValueError("its anchors repeat too much, or it is nested too deeply.")
        self._found.lines[place] = node.start_mark.line + 1
        if not node.tag.startswith(_PLAIN) or node.tag.startswith(f"{_PLAIN}python"):
            self._found.problems.append((node.start_mark.line + 1, f"the tag {node.tag} is not read here."))
            return None
        if node.id == "sequence":
            return [self.read(one, (*place, at)) for at, one in enumerate(node.value)]
        if node.id == "mapping":
            self._loader.flatten_mapping(node)  # What `<<` brings in.
            return dict(self._pairs(node, place))
        return self._loader.construct_object(node)

    def _pairs(self, node: Any, place: Place) -> Iterator[tuple[str, Any]]:
        seen: set[str] = set()
        for key, value in node.value:
            name = str(self._loader.construct_object(key, deep=True))
            if name in seen:
                self._found.problems.append((key.start_mark.line + 1, f"{name!r} is there twice."))
            seen.add(name)
            yield name, self.read(value, (*place, name))
            self._found.lines[(*place, name)] = key.start_mark.line + 1
