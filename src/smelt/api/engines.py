"""The servers of this machine, for the command line: `smelt engines list`, `start`, `stop`, and `smelt kill --all`."""

from __future__ import annotations

import os
import select
import signal
import time
from collections.abc import Callable, Iterator, Sequence

from smelt.errors import SmeltConfigError
from smelt.local import keeper
from smelt.local.managed import Managed
from smelt.local.runs import Run, runs
from smelt.loop.bridge import run_blocking
from smelt.messages import counted, duration, nearest
from smelt.model import called, read_model
from smelt.named import registry
from smelt.providers.server import Server

Say = Callable[[str], None]

_STOP_SECONDS = 60.0
_APART = 10.0  # Seconds between two lines about a start that lasts.


def listed() -> Iterator[str]:
    """A line per registered name, then one per server that runs without a name of this process."""
    running = runs()
    shown: set[str] = set()
    for name in registry.names():
        try:
            model = read_model(name)
        except SmeltConfigError as problem:
            yield f"{name:16} {problem}"
            continue
        state = ""
        if isinstance(model, Server):
            mine = [run for run in running if run.spec == model.spec.digest]
            shown |= {run.spec for run in mine}
            state = "; ".join(_state(run) for run in mine) or "not running"
        yield f"{name:16} {called(model):40} {state}".rstrip()
    for run in running:
        if run.spec not in shown:
            yield f"{'-':16} {f'{run.kind}:{run.model}':40} {_state(run)}"


def start(name: str, say: Say, *, clock: Callable[[], float] = time.monotonic) -> None:
    """Start the server of a registered name and wait until it is healthy. Only idleness, or `stop`, ends it.

    Raises:
        SmeltConfigError: The name is no server of ours, or the server does not start.
    """
    server = _server(name)
    if any(run.spec == server.spec.digest and run.owner is None for run in runs()):
        say(f"{name} runs already.")
        return
    one = Managed(server.spec, server.idle, has_owner=False)
    began, told = clock(), float("-inf")

    def tell(text: str) -> None:
        nonlocal told
        if text and clock() - told >= _APART:
            told = clock()
            say(f"waiting for {text}")

    try:
        run_blocking(one.ready(tell))
    except BaseException:
        one.kill()
        raise
    one.end()
    say(f"{name} is ready after {duration(clock() - began)}. It ends after {duration(server.idle)} without a request.")


def stop(target: str, say: Say) -> None:
    """End the servers that *target* names: a registered name, a model, `kind:model` or a process id.

    Raises:
        SmeltConfigError: No such server runs, or it does not end.
    """
    running = runs()
    found = [run for run in running if target in _names(run)]
    if not found:
        known = sorted({name for run in running for name in _names(run)})
        raise SmeltConfigError(f"No server {target!r} runs.{nearest(target, known)}")
    for run in found:
        run.stop()
    _wait(found)
    say(f"Ended {counted(len(found), 'server')}.")


def kill(say: Say) -> None:
    """Kill all servers at once, without asking them to end.

    Raises:
        SmeltConfigError: One does not end.
    """
    found = runs()
    for run in found:
        keeper.killed(keeper.belonging(run.server[0]), signal.SIGKILL)
    _wait(found)
    say(f"Killed {counted(len(found), 'server')}.")


def _server(name: str) -> Server:
    model = read_model(name)
    if not isinstance(model, Server):
        raise SmeltConfigError(f"{name} is {called(model)}, which smelt does not start.")
    return model


def _names(run: Run) -> set[str]:
    """What a user may call a server."""
    names = {run.model, f"{run.kind}:{run.model}", str(run.server[0])}
    for name in registry.names():
        try:
            model = read_model(name)
        except SmeltConfigError:  # Another entry, whose key is missing, for example.
            continue
        if isinstance(model, Server) and model.spec.digest == run.spec:
            names.add(name)
    return names


def _state(run: Run) -> str:
    owner = "no owner" if run.owner is None else f"of process {run.owner}"
    devices = f", device {', '.join(map(str, run.devices))}" if run.devices else ""
    return f"process {run.server[0]}, {owner}, for {duration(time.time() - run.since)}{devices}"


def _wait(found: Sequence[Run]) -> None:
    """Wait for the keepers, which end last."""
    until = time.monotonic() + _STOP_SECONDS
    for run in found:
        while run.is_kept:
            if time.monotonic() > until:
                raise SmeltConfigError(f"{run.kind}:{run.model}, process {run.server[0]}, does not end.")
            _sleep(run.keeper[0])


def _sleep(pid: int) -> None:
    """Until the process ends, or for a moment."""
    try:
        handle = os.pidfd_open(pid)
    except (AttributeError, ProcessLookupError):
        select.select([], [], [], 0.05)
        return
    try:
        select.select([handle], [], [], 1.0)
    finally:
        os.close(handle)
