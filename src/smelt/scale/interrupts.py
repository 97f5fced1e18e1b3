"""Ctrl-C in the driver of a job: the pacer admits nothing more of it, where the engine lets workers go on.

Ray and Dask only raise `KeyboardInterrupt` in the driver; their workers ask on to the end of their blocks. What is in
flight ends, and its answers are in the ledger.
"""

from __future__ import annotations

import signal
import sys
import threading
from contextlib import suppress
from typing import Any
from weakref import WeakSet

from smelt.errors import SmeltError
from smelt.scale.mapper import Mapper
from smelt.scale.metrics import asked


class Interrupts:
    """The jobs of this process, and who tells it of Ctrl-C: IPython after a cell, or the signal itself."""

    def __init__(self) -> None:
        self._mappers: WeakSet[Mapper] = WeakSet()
        self._shell: Any = None

    def watch(self, mapper: Mapper) -> None:
        """Tell the pacer of Ctrl-C while somebody has a result of *mapper*. Without a pacer, do nothing.

        A SIGINT handler of the program's own is kept, and then Ctrl-C is not told.
        """
        if mapper._place is None:
            return
        self._mappers.add(mapper)
        library = sys.modules.get("IPython")
        shell = None if library is None else library.get_ipython()
        if shell is not None:
            if shell is not self._shell:
                shell.events.register("post_run_cell", self.after_cell)
                self._shell = shell
        elif (
            threading.current_thread() is threading.main_thread()
            and signal.getsignal(signal.SIGINT) is signal.default_int_handler
        ):
            signal.signal(signal.SIGINT, self.handle)

    def after_cell(self, result: Any = None) -> None:
        """A cell of a notebook has ended."""
        if isinstance(getattr(result, "error_in_exec", None), KeyboardInterrupt):
            self.tell()

    def handle(self, signum: int, frame: Any) -> None:
        """The SIGINT handler."""
        self.tell()
        signal.default_int_handler(signum, frame)

    def tell(self) -> None:
        """Tell the pacer."""
        for mapper in [*self._mappers]:
            with suppress(SmeltError):
                halt(mapper)


def halt(mapper: Mapper) -> None:
    """Have the pacer admit nothing more of the blocks of *mapper* that are being asked.

    Raises:
        SmeltConfigError: The pacer does not answer.
    """
    if (place := mapper._place) is not None:
        asked(place, "halt", mapper._name)


interrupts = Interrupts()
