"""A real Jupyter kernel of this environment, for tests: run cells, interrupt them, look at what they show."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import nbformat
from jupyter_client.blocking.client import BlockingKernelClient
from jupyter_client.manager import KernelManager
from nbclient import NotebookClient

from tests.patience import HANGING

_COLOUR = re.compile(r"\x1b\[[\d;]*m")
_PATIENCE = HANGING  # The first completion in a new home parses pandas, on a busy machine for a long while.


@dataclass
class Cell:
    """What a cell shows once it has ended.

    Attributes:
        printed: Its stdout.
        complaints: Its stderr.
        error: The name of the exception that ended it, or None.
        traceback: What IPython shows of it, without colours.
        displays: MIME bundles, each in its last state, as a saved notebook holds them.
    """

    printed: str = ""
    complaints: str = ""
    error: str | None = None
    traceback: str = ""
    displays: list[dict[str, Any]] = field(default_factory=list)


class RunningCell:
    """A cell that has been sent to the kernel."""

    def __init__(self, client: BlockingKernelClient, code: str) -> None:
        self._client = client
        self._sent = client.execute(code)
        self._cell = Cell()
        self._by_id: dict[str, dict[str, Any]] = {}

    def wait_for_output(self) -> None:
        """Return as soon as it has shown something."""
        while self._cell == Cell():
            self._take_message()

    def result(self) -> Cell:
        """Wait for its end.

        Raises:
            queue.Empty: Nothing comes for ten minutes.
        """
        while self._take_message() != "idle":
            pass
        return self._cell

    def _take_message(self) -> str | None:
        """Take what comes next, and return the state that the kernel says it is in."""
        message = self._client.get_iopub_msg(timeout=_PATIENCE)
        if message["parent_header"].get("msg_id") != self._sent:
            return None
        _show(self._cell, self._by_id, message["msg_type"], message["content"])
        state: str | None = message["content"].get("execution_state")
        return state


class Kernel:
    """One kernel; it keeps its variables from cell to cell."""

    def __init__(self, manager: KernelManager, client: BlockingKernelClient) -> None:
        self._manager = manager
        self._client = client

    def start(self, code: str) -> RunningCell:
        """Start a cell."""
        return RunningCell(self._client, code)

    def run(self, code: str) -> Cell:
        """Run a cell to its end."""
        return self.start(code).result()

    def interrupt(self) -> float:
        """Send SIGINT to the kernel, as Jupyter's stop button does; returns `time.monotonic()`."""
        self._manager.interrupt_kernel()
        return time.monotonic()

    def completions(self, code: str) -> list[str]:
        """What Tab offers at the end of *code*."""
        reply = self._client.complete(code, reply=True, timeout=_PATIENCE)
        return list(reply["content"]["matches"])

    def help(self, code: str) -> str:
        """What `?` shows at the end of *code*, without colours."""
        reply = self._client.inspect(code, reply=True, timeout=_PATIENCE)
        return _COLOUR.sub("", reply["content"]["data"].get("text/plain", ""))

    def save(self, *cells: str) -> nbformat.NotebookNode:
        """A notebook of *cells*, executed in this kernel as nbconvert does it, with its outputs."""
        notebook = nbformat.v4.new_notebook(  # type: ignore[no-untyped-call]
            cells=[nbformat.v4.new_code_cell(code) for code in cells]  # type: ignore[no-untyped-call]
        )
        client = NotebookClient(notebook, km=self._manager, timeout=int(_PATIENCE))
        client.kc = self._client
        return client.execute()


@contextmanager
def running_kernel(folder: Path) -> Iterator[Kernel]:
    """Start a kernel that keeps its files in *folder*, and end it."""
    manager = KernelManager(kernel_name="python3", transport="ipc", ip=str(folder / "socket"))
    manager.connection_file = str(folder / "kernel.json")
    manager.start_kernel(extra_arguments=["--HistoryManager.enabled=False", f"--ipython-dir={folder}"])
    client = manager.client()
    try:
        client.start_channels()
        client.wait_for_ready(timeout=_PATIENCE)
        yield Kernel(manager, client)
    finally:
        client.stop_channels()
        manager.shutdown_kernel(now=True)
        manager.cleanup_resources()


def _show(cell: Cell, by_id: dict[str, dict[str, Any]], kind: str, content: dict[str, Any]) -> None:
    match kind:
        case "stream" if content["name"] == "stdout":
            cell.printed += content["text"]
        case "stream":
            cell.complaints += content["text"]
        case "error":
            cell.error = content["ename"]
            cell.traceback = _COLOUR.sub("", "\n".join(content["traceback"]))
        case "display_data" | "execute_result":
            cell.displays.append(content["data"])
            by_id[content.get("transient", {}).get("display_id", "")] = content["data"]
        case "update_display_data":
            shown = by_id[content["transient"]["display_id"]]
            shown.clear()
            shown.update(content["data"])
