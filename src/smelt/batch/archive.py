"""Reads the artefacts of jobs: what was asked, and what came back. Damage costs the lines that it is in."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Literal

from smelt.batch.files import FORMAT, MANIFEST
from smelt.batch.liverecord import REPLIES, STATE, read_reply_line
from smelt.errors import SmeltConfigError
from smelt.plan.compact import HEAD, rows_of
from smelt.plan.wire import Codec
from smelt.providers.batching import LINE_CAP, Item
from smelt.providers.jobclient import JobClient
from smelt.providers.transfers import Lines

_JSON = json.JSONDecoder()
_BODIES = ("body", "params", "request")  # Where a line of each provider has its request,
_ROWS = ("input", "messages", "contents")  # and where that has the rows.
_BETWEEN = ("content", "parts")
_ROW = '{"id":"'
_PIECE = 2**18  # Bytes that are read at a time.


class UnreadableError(Exception):
    """The folder of a job cannot be read; the message says why."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SentRow:
    """A row as it was sent.

    Attributes:
        token: Its token in the request.
        key: Equal for equal rows: their cells, and a digest of their media.
        cells: The sent columns. A medium is `{"media": "image/png"}`.
    """

    token: str
    key: str
    cells: dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class JobFiles:
    """The folder of one job.

    Attributes:
        path: The folder.
        tag: smelt's name of the job.
        state: Its last state.
        made: When it was planned, in seconds since 1970.
        model: The model, as `provider:name`.
        prompt: The question.
        fields: The fields of an answer, by their keys in the replies.
        codec: The requested shape of replies.
        naming: The options that name output columns.
    """

    path: Path
    tag: str
    state: str
    made: float
    model: str
    prompt: str
    fields: tuple[str, ...]
    codec: Codec
    naming: Mapping[str, Any]

    @classmethod
    def at(cls, path: Path) -> JobFiles:
        """The folder at *path*.

        Raises:
            UnreadableError: Its manifest cannot be used.
        """
        try:
            told = json.loads((path / MANIFEST).read_bytes())
        except FileNotFoundError:
            raise UnreadableError(f"{MANIFEST} is missing") from None
        except OSError as problem:
            raise UnreadableError(f"{MANIFEST} cannot be read: {problem.strerror}") from None
        except (ValueError, RecursionError):
            raise UnreadableError(f"{MANIFEST} is no JSON, or is cut off") from None
        version = told.get("format") if isinstance(told, dict) else None
        if isinstance(version, int) and version > FORMAT:
            raise UnreadableError(f"{MANIFEST} was written by a newer smelt")
        fields = told.get("fields") if version == FORMAT else None
        texts = [told.get(name) for name in ("tag", "state", "model", "prompt", "codec")] if fields else []
        if not (texts and isinstance(fields, list) and all(isinstance(one, str) for one in [*texts, *fields])):
            raise UnreadableError(f"{MANIFEST} does not say what was asked")
        if told["codec"] not in ("array", "keyed"):
            raise UnreadableError(f"{MANIFEST} does not say in which shape it was asked")
        made, naming = told.get("made"), told.get("naming")
        return cls(
            path=path,
            tag=told["tag"],
            state=told["state"],
            made=made if isinstance(made, int | float) else 0.0,
            model=told["model"],
            prompt=told["prompt"],
            fields=tuple(fields),
            codec=told["codec"],
            naming=naming if isinstance(naming, dict) else {},
        )

    @property
    def question(self) -> tuple[str, str, tuple[str, ...]]:
        """What jobs of one result have in common."""
        return self.model, self.prompt, self.fields

    def requests(self) -> Iterator[tuple[str, list[SentRow]] | None]:
        """The id and the rows of each line that was sent; None for a damaged line.

        Raises:
            UnreadableError: There is no request file.
        """
        try:
            file = (self.path / "requests.jsonl").open("rb")
        except OSError as problem:
            raise UnreadableError(f"requests.jsonl cannot be read: {problem.strerror}") from None
        with file:
            for raw, _ in _lines(file):
                yield _sent(raw)

    def items(self, client: JobClient) -> Iterator[Item]:
        """The results, line by line as from the provider. None of the files has to be there."""
        sources: tuple[Literal["results"], Literal["errors"]] = ("results", "errors")
        for source in sources:
            try:
                file = (self.path / f"{source}.jsonl").open("rb")
            except FileNotFoundError:
                continue
            with file:
                for raw, is_over in _lines(file):
                    yield client.item(raw, source, is_over=is_over)
        if (self.path / REPLIES).exists():
            with (self.path / REPLIES).open("rb") as file:
                for raw, _ in _lines(file):
                    yield read_reply_line(raw)


def jobs_at(root: Path) -> tuple[list[JobFiles], list[str]]:
    """The jobs in a folder that `artefacts=` wrote, oldest first, and why others cannot be read.

    Args:
        root: The folder, or that of a single job in it.

    Raises:
        SmeltConfigError: It holds no job.
    """
    try:
        is_one = (root / MANIFEST).exists()
        insides = [] if is_one else [inside for kind in ("jobs", STATE) if (inside := root / kind).exists()]
        folders = [root] if is_one else [one for inside in insides for one in sorted(inside.iterdir()) if one.is_dir()]
    except OSError:
        folders = []
    if not folders:
        raise SmeltConfigError(
            f'{root} has no jobs to read. Give the folder of artefacts=, in which a call with mode="batch" has '
            "written jobs/."
        )
    jobs, problems = list[JobFiles](), list[str]()
    for folder in folders:
        try:
            jobs.append(JobFiles.at(folder))
        except UnreadableError as problem:
            problems.append(f"{folder.name}: {problem}")
    return sorted(jobs, key=lambda job: job.made), problems


def _lines(file: BinaryIO) -> Iterator[tuple[bytes, bool]]:
    """The lines of a file but empty ones, and whether each is too long to be read, so that it is cut."""
    lines = Lines(LINE_CAP)
    while True:
        piece = file.read(_PIECE)
        for raw, is_over in lines.feed(piece) if piece else lines.end():
            if raw.strip():
                yield raw, is_over
        if not piece:
            return


def _sent(raw: bytes) -> tuple[str, list[SentRow]] | None:
    """The id and the rows of a line of requests; None if it is damaged."""
    try:
        line = json.loads(raw)
        name = line.get("custom_id") or line.get("key")
        body = next(line[one] for one in _BODIES if one in line)
        rows = list(_rows(list(_parts(next(body[one] for one in _ROWS if one in body)))))
    except (ValueError, LookupError, TypeError, AttributeError, StopIteration, RecursionError):
        return None
    return (name, rows) if isinstance(name, str) and rows else None


def _parts(value: Any) -> Iterator[str | Mapping[str, Any]]:
    """The texts and the media of a request in their order."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, list):
        for one in value:
            yield from _parts(one)
    elif isinstance(text := value.get("text"), str):
        yield text
    elif (inner := next((value[one] for one in _BETWEEN if one in value), None)) is not None:
        yield from _parts(inner)
    else:
        yield value


def _rows(parts: list[str | Mapping[str, Any]]) -> Iterator[SentRow]:
    """The rows in the parts of a request."""
    found = list[dict[str, Any]]()
    digests = dict[str, str]()
    name = ""
    for part in parts:
        if not isinstance(part, str):
            digests[name] = hashlib.sha256(json.dumps(part, sort_keys=True).encode()).hexdigest()
        elif part.startswith("["):
            found += _JSON.raw_decode(part)[0]
        elif part.startswith(HEAD):
            found += [{"id": token, "row": row} for token, row in rows_of(part)]
        else:
            lines = part.split("\n")
            found += [_JSON.raw_decode(line)[0] for line in lines if line.startswith(_ROW)]
            name = json.loads(f'"{lines[-1].removesuffix(":")}"') if lines[-1].endswith(":") else ""
    for row in found:
        media = [
            digests[one["as"]] for one in row["row"].values() if isinstance(one, dict) and one.get("as") in digests
        ]
        cells = {
            column: {"media": cell["media"]} if isinstance(cell, dict) and cell.get("as") in digests else cell
            for column, cell in row["row"].items()
        }
        yield SentRow(token=row["id"], key=json.dumps([cells, media], sort_keys=True), cells=cells)
