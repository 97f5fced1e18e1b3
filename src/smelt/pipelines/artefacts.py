"""The folder of `artefacts=`: `graph.json`, the rows of each step, and the final rows. Only its owner can read it.

The ledger keeps the answers, so a run that was killed writes its files again without asking. What the folder keeps is
the graph: another pipeline may not write into it.
"""

from __future__ import annotations

import errno
import fcntl
import json
import os
import platform
import re
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from typing import Any, TypeVar

from smelt.errors import SmeltConfigError, StoreFullError, warn
from smelt.frames.adapt import adapt, kind_of
from smelt.frames.partfiles import check_parquet
from smelt.ledger.keys import definition
from smelt.messages import shown_value
from smelt.pipelines.checks import Checked
from smelt.pipelines.codes import code_of
from smelt.pipelines.graph import Node
from smelt.pipelines.partfiles import Parts, Suffix, created
from smelt.pipelines.result import PipelineResult
from smelt.pipelines.rows import Table
from smelt.pipelines.steps import Aggregate, Ask, Filter, Map
from smelt.result import told

GRAPH, FLAT, LOCK = "graph.json", "flat", ".lock"
R = TypeVar("R", PipelineResult, PipelineResult | None)
# What a disk raises, and a library of frames if no file can hold a column; only the files may be lost by it.
_WRITING = (OSError, ValueError, TypeError, NotImplementedError, OverflowError)
FORMAT = 1
"""The version of `graph.json`."""


@contextmanager
def artefacts_in(path: str | None, checked: Checked, name: str, data: Any, suffix: Suffix) -> Iterator[Artefacts]:
    """The folder at *path*, locked and checked; nothing has been sent. None: no files.

    Raises:
        SmeltConfigError: It has the files of another pipeline or of something else, or cannot be written, or another
            process writes it.
        StoreFullError: Its disk is full.
    """
    if suffix not in ("jsonl", "parquet"):
        raise SmeltConfigError.for_value("parts", suffix, "'jsonl' or 'parquet'")
    if path is None:
        yield Artefacts(None, {}, checked, suffix)
        return
    root = Path(path)
    if suffix == "parquet":
        check_parquet(data)
    with _said(root):
        root.mkdir(mode=0o700, parents=True, exist_ok=True)
        lock = os.open(root / LOCK, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        _lock(lock, root)
        graph = _graph(checked, name, kind_of(data))
        _check(root, graph)
        found = Artefacts(root, graph, checked, suffix)
        with _said(root):
            found.note("running")
        try:
            yield found
        except BaseException as problem:
            found.finish(getattr(problem, "partial_result", None), f"ended early: {type(problem).__name__}")
            raise
    finally:
        os.close(lock)


class Artefacts:
    """The files of one run."""

    def __init__(self, root: Path | None, graph: Mapping[str, Any], checked: Checked, suffix: Suffix) -> None:
        """Write into *root*, which exists; None writes nothing."""
        self._root = root
        self._graph = graph
        self._checked = checked
        self._suffix = suffix
        self._parts: dict[str, Parts] = {}
        self._problem: Exception | None = None
        self._started = time.time()
        self._folders = _folders(checked.graph.nodes)

    def watch(self, node: Node, table: Table) -> None:
        """Write the rows of *table*, which *node* has just made. A disk that takes no more costs only the files."""
        if self._root is None or self._problem is not None:
            return
        asks = isinstance(node.step, Ask)
        columns = table.columns if isinstance(node.step, Map) else [made.name for made in node.makes]
        if isinstance(node.step, Filter):
            columns = []
        elif isinstance(node.step, Aggregate):
            columns = [*(node.scope[one] for one in node.step.by), *columns]
        nodes = self._checked.graph.nodes
        own = [one.name for one in nodes if one.of == node.of]
        if node.name != own[-1]:
            return  # The columns of a step with several models are complete with the last one.
        lacking = table.lacking(made.name for made in node.makes)

        def why(at: int) -> str | None:
            reason = table.reasons.get(at)
            return told(reason.failure.kind, reason.failure.message) if reason and reason.step in own else None

        try:
            self._of(node.name).add(
                table, columns, lambda at: at not in lacking or (asks and bool(why(at))), why if asks else None
            )
        except _WRITING as problem:
            self._give_up(problem)

    def finish(self, result: R, state: str = "done") -> R:
        """Write the final rows and what the run did; gives *result* back."""
        if self._root is None:
            return result
        try:
            if self._problem is None:
                self._close(result)
            self.note(state, result)
        except _WRITING as problem:
            self._give_up(problem)
        if self._problem is not None:
            reason = getattr(self._problem, "strerror", None) or str(self._problem).splitlines()[0]
            warn(f"The files in {self._root} are not complete ({reason}). Only they: the result and the ledger are.")
        return result

    def _close(self, result: PipelineResult | None) -> None:
        """Write the final rows, and end all files."""
        if result is not None:
            table = replace(Table.of(result.frame, adapt(result.frame).names), roots=result._table.roots)
            self._of("").add(table, table.columns, lambda at: True, None)
        for parts in self._parts.values():
            parts.close()

    def note(self, state: str, result: PipelineResult | None = None) -> None:
        """Replace `graph.json`: atomically, since the process may end at any time."""
        said = {**self._graph, "state": state, "started": self._started, "changed": time.time()}
        said["steps"] = [{**one, **self._counts(one["name"], result)} for one in self._graph["steps"]]
        if result is not None:
            said["rows"], said["flat"] = len(result._table), FLAT
            said["cost_usd"], said["requests"] = result.metrics.cost_usd, result.metrics.requests
        assert self._root is not None
        beside = self._root / f".{GRAPH}"
        with created(beside) as file:
            file.write(json.dumps(said, indent=1, ensure_ascii=False).encode())
            file.flush()
            os.fsync(file.fileno())
        beside.replace(self._root / GRAPH)

    def _counts(self, step: str, result: PipelineResult | None) -> dict[str, Any]:
        counts: dict[str, Any] = {"folder": self._folders[step]}
        if (parts := self._parts.get(step)) is not None:
            counts |= {"rows": parts.rows, "parts": parts.count, "left_out": parts.left_out}
        if result is not None and (done := result.steps.get(step)) is not None:
            own = done.metrics
            counts |= {"answered": own.successful_rows, "failed": own.failed_rows, "skipped": done.skipped}
            counts |= {"requests": own.requests, "from_ledger": own.ledger_rows, "cost_usd": own.cost_usd}
        return counts

    def _of(self, step: str) -> Parts:
        """The parts of a step; those of the final rows for an empty name."""
        assert self._root is not None
        if step not in self._parts:
            folder = self._root / (self._folders[step] if step else FLAT)
            folder.mkdir(mode=0o700, exist_ok=True)
            self._parts[step] = Parts(folder, self._suffix)
        return self._parts[step]

    def _give_up(self, problem: Exception) -> None:
        self._problem = problem
        for parts in self._parts.values():
            try:
                parts.give_up()
            except OSError:  # The disk again; `finish` says it.
                continue


def _graph(checked: Checked, name: str, kind: str) -> dict[str, Any]:
    """What is said of a pipeline before it runs."""
    graph = checked.graph
    versions = {"smelt": version("dfsmelt"), "python": platform.python_version(), "frame": kind}
    return {
        "format": FORMAT,
        "name": name,
        "versions": versions,
        "inputs": list(graph.inputs),
        "columns": [*graph.columns, graph.error_column],
        "steps": [described(node, checked) for node in graph.nodes],
    }


def described(node: Node, checked: Checked) -> dict[str, Any]:
    """What a step does, as far as it can be written down."""
    step = node.step
    said: dict[str, Any] = {
        "name": node.name,
        "verb": step.verb,
        "reads": None if node.reads is None else list(node.reads),
        "writes": [made.name for made in node.makes],
        "after": list(node.after),
    }
    if code := code_of(step):
        said["code"] = code
    if isinstance(step, Ask):
        call = checked.calls[node.name]
        said |= {
            "model": " then ".join(f"{one.provider.name}:{one.provider.model}" for one in (*call.earlier, call)),
            "prompt": step.prompt,
            "params": json.loads(json.dumps(call.identity, default=str)),
            "fields": {one.key: json.loads(json.dumps(definition(one), default=str)) for one in call.output.fields},
        }
    if isinstance(step, Ask) and step.route is not None:
        said["route"] = [step.route if isinstance(step.route, str) else "a function", str(step.label)]
    if isinstance(step, Aggregate):
        said |= {"by": list(step.by), "strategy": step.strategy, "rows_per_part": step.rows, "fan_in": step.fan_in}
    return said


_SAME = ("verb", "reads", "writes", "model", "prompt", "fields", "route", "by", "strategy", "rows_per_part", "fan_in")
_SAME_IF_SAID = ("params", "code")  # An earlier version does not say them, and code is that of one Python.
_WORDS = {
    "code": "function",
    "params": "params or examples",
    "reads": "columns to read",
    "writes": "columns to write",
    "rows_per_part": "rows=",
}


def _check(root: Path, graph: Mapping[str, Any]) -> None:
    """Refuse a folder that has the files of another pipeline, or of something else."""
    path = root / GRAPH
    if not path.exists():
        if others := [one.name for one in root.iterdir() if not one.name.startswith(".")]:
            raise SmeltConfigError(
                f"{root} has files that are no artefacts, such as {shown_value(others[0])}. Name a new or empty folder."
            )
        return
    try:
        found = json.loads(path.read_bytes())
        before, after = found["steps"], graph["steps"]
        changed = _changed(before, after) if found["format"] == FORMAT else "its format is another one"
    except (OSError, ValueError, RecursionError, KeyError, TypeError, AttributeError):
        raise SmeltConfigError(f"{path} cannot be read as the graph of a pipeline. Name another folder.") from None
    if changed:
        raise SmeltConfigError(
            f"{root} has the artefacts of another pipeline: {changed}. Name another folder, or delete this one. "
            "Nothing was sent."
        )


def _changed(before: list[Any], after: list[Any]) -> str:
    """What differs between two lists of steps, in words; empty if nothing does."""
    old, new = [one["name"] for one in before], [one["name"] for one in after]
    if old != new:
        return f"its steps are {', '.join(map(str, old))} and not {', '.join(new)}"
    for one, other in zip(before, json.loads(json.dumps(after)), strict=True):
        for part in _SAME:
            if one.get(part) != other.get(part):
                return f"step {one['name']!r} has another {_WORDS.get(part, part)}"
        for part in _SAME_IF_SAID:
            said, now = one.get(part), other.get(part)
            is_comparable = part in one and part in other and (part != "code" or set(said) == set(now))
            if is_comparable and said != now:
                return f"step {one['name']!r} has another {_WORDS.get(part, part)}"
    return ""


def _folders(nodes: Sequence[Node]) -> dict[str, str]:
    """The folder of each node: the name of its step without what a path cannot have."""
    folders: dict[str, str] = {}
    for name in dict.fromkeys(node.of for node in nodes):
        wanted = re.sub(r"[^\w.-]+", "_", name).strip(".")[:80] or "step"
        number, folder = 1, wanted
        while folder in folders.values() or folder in (FLAT, GRAPH):
            number += 1
            folder = f"{wanted}_{number}"
        folders[name] = folder
    return {node.name: folders[node.of] for node in nodes}


def _lock(lock: int, root: Path) -> None:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise SmeltConfigError(f"Another run writes into {root}. Wait for it, or name another folder.") from None


@contextmanager
def _said(root: Path) -> Iterator[None]:
    """Turn what a disk does before the run into an error of ours."""
    try:
        yield
    except OSError as problem:
        if problem.errno in (errno.ENOSPC, errno.EDQUOT):
            raise StoreFullError(
                f"The disk of {root} is full, so its files cannot be written. Nothing was sent."
            ) from None
        raise SmeltConfigError(
            f"artefacts= names {root}, where no file can be written: {problem.strerror}. Give another folder, or leave "
            "it out."
        ) from None
