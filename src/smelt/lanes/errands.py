"""What a process tells or asks a pacer about a job, beside the lanes of its runs: one line, one answer, blocking."""

from __future__ import annotations

import socket
from typing import Any

from pydantic_core import from_json, to_json

from smelt.errors import SmeltConfigError
from smelt.lanes.lines import VERSION, address_of, proof_of
from smelt.lanes.places import door_of

PATIENCE = 5.0  # Seconds to connect, and for each answer: what a block cost is told once.
_MOST = 1 << 20  # Bytes of an answer.


def ask_pacer(place: str, token: str, what: str, job: str, *rest: Any) -> Any:
    """Say one line to the pacer at *place*, and return its answer.

    Args:
        place: As `places.pacer_place`.
        token: As `places.door_of`.
        what: The kind of line.
        job: The job that it is about.
        *rest: The rest of the line.

    Raises:
        SmeltConfigError: The pacer refuses this process.
        OSError: It does not answer.
    """
    where = door_of(place, token, PATIENCE)
    with _connected(where.place) as sock, sock.makefile("rb") as heard:
        version, _, nonce = _line(heard)
        if version != VERSION:
            raise SmeltConfigError(f"The pacer {place} has another version of smelt.")
        sock.sendall(to_json([what, proof_of(where.token, nonce, job), job, *rest]) + b"\n")
        kind, answer, *_ = _line(heard)
        if kind == "x":
            raise SmeltConfigError(f"The pacer {place} refuses this process: {answer}.")
        return answer


def _connected(place: str) -> socket.socket:
    if (address := address_of(place)) is not None:
        return socket.create_connection(address, PATIENCE)
    sock = socket.socket(socket.AF_UNIX)
    try:
        sock.settimeout(PATIENCE)
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
