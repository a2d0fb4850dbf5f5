"""Work in a process of its own, so that whoever only reads need not wait for it.

The process ends with the server, however that ends; a signal to both leaves it to finish what is under way.
"""

from __future__ import annotations

import importlib
import multiprocessing
import os
import signal
import threading
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from typing import ParamSpec, TypeVar

from surrogates.errors import UnavailableError

P = ParamSpec("P")
T = TypeVar("T")


class OwnProcess:
    """A process; several threads may ask, and it does one thing at a time. `needs`: a module that is imported before it is
    asked; `niceness`: how far others come first (man 2 nice)."""

    def __init__(self, needs: str, niceness: int = 0) -> None:
        self._needs, self._niceness = needs, niceness
        self._pool = self._started()

    def do(self, what: str, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """`work` of the arguments; where the process is killed meanwhile, raises `UnavailableError` about `what`, and
        starts another."""
        pool = self._pool
        try:
            return pool.submit(work, *args, **kwargs).result()
        except BrokenProcessPool:
            if pool is self._pool:
                self._pool = self._started()
            raise UnavailableError(
                f"{what}: expected a process that computes it; found it killed. Ask again."
            ) from None

    def close(self) -> None:
        """End the process after what is under way."""
        self._pool.shutdown()

    def _started(self) -> ProcessPoolExecutor:
        pool = ProcessPoolExecutor(1, multiprocessing.get_context("spawn"), _begin, (self._niceness,))
        pool.submit(importlib.import_module, self._needs)
        return pool


def _begin(niceness: int) -> None:
    os.environ["OMP_NUM_THREADS"] = "1"
    os.nice(niceness)
    for each in (signal.SIGINT, signal.SIGTERM):
        signal.signal(each, signal.SIG_IGN)
    threading.Thread(target=_end_with_the_server, daemon=True).start()


def _end_with_the_server() -> None:
    server = multiprocessing.parent_process()
    assert server is not None
    server.join()
    os._exit(1)
