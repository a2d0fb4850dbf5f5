"""Answers computed in a process of their own, at low priority: each takes a core for a second, and readers come first.

The process ends with the server, however that ends; a signal to both leaves it to finish what is under way.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from typing import TYPE_CHECKING

from campaigns.background import NICENESS
from campaigns.source import advice
from campaigns.state import CampaignState
from surrogates.cells import Cell
from surrogates.errors import UnavailableError

if TYPE_CHECKING:
    from optimizer.advice import Advice


class Fitting:
    """The process; several threads may ask, and it answers one at a time."""

    def __init__(self) -> None:
        self._pool = _started()

    def advice(self, state: CampaignState, cells: Sequence[Cell], n: int, seed: int) -> tuple[Advice, ...]:
        """`Source.advice`; where the process is killed meanwhile, raises `UnavailableError`, and starts another."""
        pool = self._pool
        try:
            return pool.submit(_advice, state, cells, n, seed).result()
        except BrokenProcessPool:
            if pool is self._pool:
                self._pool = _started()
            raise UnavailableError(
                f"campaign {state.name}: expected a process that computes the answer; found it killed. Ask again."
            ) from None

    def close(self) -> None:
        """End the process after the answer under way."""
        self._pool.shutdown()


def _started() -> ProcessPoolExecutor:
    pool = ProcessPoolExecutor(1, multiprocessing.get_context("spawn"), _begin)
    pool.submit(_import)
    return pool


def _begin() -> None:
    import torch

    torch.set_num_threads(1)
    os.nice(NICENESS)
    for each in (signal.SIGINT, signal.SIGTERM):
        signal.signal(each, signal.SIG_IGN)
    threading.Thread(target=_end_with_the_server, daemon=True).start()


def _end_with_the_server() -> None:
    server = multiprocessing.parent_process()
    assert server is not None
    server.join()
    os._exit(1)


def _import() -> None:
    import optimizer.suggestion  # noqa: F401  the first answer need not wait for it


def _advice(state: CampaignState, cells: Sequence[Cell], n: int, seed: int) -> tuple[Advice, ...]:
    from surrogates.surrogate import fit

    return advice(fit(cells, state.goal.outcomes, state.prior, seed), state, n, seed)
