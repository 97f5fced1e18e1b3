"""What a process tells or asks a pacer about a job, beside the lanes of its runs: one line, one answer, blocking."""

from __future__ import annotations

import socket
from collections.abc import Sequence
from typing import Any

from pydantic_core import from_json, to_json

from smelt.errors import SmeltConfigError
from smelt.lanes.lines import VERSION, address_of, proof_of
from smelt.lanes.places import Door, came_back, door_of, is_away, went_away

PATIENCE = 5.0  # Seconds to connect, and for each answer: what a block cost is told once.
_HASTE = 0.2  # The same, if the pacer did not answer last and nobody must wait for it.
_MOST = 1 << 20  # Bytes of an answer.


def ask_pacer(
    place: str, token: str, what: str, job: str, *rest: Any, must_wait: bool = True, start: float = 0.0
) -> Any:
    """Say one line to the pacer at *place*, and return its answer.

    Args:
        place: As `places.pacer_place`.
        token: As `places.door_of`.
        what: The kind of line.
        job: The job that it is about.
        *rest: The rest of the line.
        must_wait: Whether to wait for an answer also if there was none last.
        start: Seconds that an engine has at least to say where the pacer is, which it may have to start.

    Raises:
        SmeltConfigError: The pacer refuses this process.
        OSError: It does not answer.
    """
    patience = _HASTE if is_away(place) and not must_wait else PATIENCE
    try:
        answer = _asked(door_of(place, token, max(start, patience)), place, what, job, rest, patience)
    except OSError:
        went_away(place, is_told=False)
        raise
    came_back(place)
    return answer


def _asked(where: Door, place: str, what: str, job: str, rest: Sequence[Any], patience: float) -> Any:
    with _connected(where.place, patience) as sock, sock.makefile("rb") as heard:
        version, _, nonce = _line(heard)
        if version != VERSION:
            raise SmeltConfigError(f"The pacer {place} has another version of smelt.")
        sock.sendall(to_json([what, proof_of(where.token, nonce, job), job, *rest]) + b"\n")
        kind, answer, *_ = _line(heard)
        if kind == "x":
            raise SmeltConfigError(f"The pacer {place} refuses this process: {answer}.")
        return answer


def _connected(place: str, patience: float) -> socket.socket:
    if (address := address_of(place)) is not None:
        return socket.create_connection(address, patience)
    sock = socket.socket(socket.AF_UNIX)
    try:
        sock.settimeout(patience)
        sock.connect(place)
    except BaseException:
        sock.close()
        raise
    return sock


def _line(heard: Any) -> list[Any]:
    line = heard.readline(_MOST)
    if not line.endswith(b"\n"):
        raise ConnectionError("it ended the connection")
    try:
        found = from_json(line)
    except ValueError:
        found = None
    if not isinstance(found, list) or not found:
        raise ConnectionError("what answers there is no pacer")
    return [*found, *[""] * (3 - len(found))]
