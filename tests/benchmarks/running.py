"""How benchmarks are run: settings, one thread a worker, a pool of processes, and what a number belongs to.

STACKPRESS_BENCH_WORLDS    worlds a family (200)
STACKPRESS_BENCH_PEERS     worlds a family for peers (all)
STACKPRESS_BENCH_SLOW      worlds for a peer that takes more than 5 s a fit (a twenty-fifth of the worlds, 2 or more)
STACKPRESS_BENCH_WORKERS   processes (one a core)
"""

from __future__ import annotations

import os
import platform
import subprocess
import sys
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from importlib.metadata import version
from multiprocessing import get_context
from typing import Any, TypeVar

WORLDS = int(os.environ.get("STACKPRESS_BENCH_WORLDS", "200"))
PEER_WORLDS = int(os.environ.get("STACKPRESS_BENCH_PEERS", str(WORLDS)))
SLOW_WORLDS = int(os.environ.get("STACKPRESS_BENCH_SLOW", str(max(2, WORLDS // 25))))
WORKERS = int(os.environ.get("STACKPRESS_BENCH_WORKERS", str(os.cpu_count())))
FIRST_SEED = 50_000
"""Seeds of worlds count from here; tests use small ones."""
PACKAGES = ("stackpress", "torch", "botorch", "gpytorch", "numpy", "scikit-learn")

Task = TypeVar("Task")
Found = TypeVar("Found")


def provenance(name: str, seconds: float) -> dict[str, Any]:
    """Commit, command, seeds, machine and versions that a benchmark's numbers belong to."""
    worlds = {"WORLDS": WORLDS, "PEERS": PEER_WORLDS, "SLOW": SLOW_WORLDS}
    settings = " ".join(f"STACKPRESS_BENCH_{name}={count}" for name, count in worlds.items())
    return {
        "commit": commit(),
        "command": f"{settings} python -m tests.benchmarks {name}",
        "worlds": WORLDS,
        "peer_worlds": PEER_WORLDS,
        "slow_worlds": SLOW_WORLDS,
        "first_seed": FIRST_SEED,
        "workers": WORKERS,
        "minutes": round(seconds / 60, 2),
        "python": platform.python_version(),
        "machine": f"{platform.machine()}, {os.cpu_count()} cores",
        "versions": {package: version(package) for package in PACKAGES},
    }


def commit() -> str:
    """The commit that the working tree is at, and whether it differs from it."""
    found = subprocess.run(["git", "describe", "--always", "--dirty"], capture_output=True, text=True, check=False)
    return found.stdout.strip()


def one_thread_each() -> None:
    """Keep this process on one thread: torch, OpenMP and BLAS; a GP's complaints about its own fit are no news here."""
    import torch
    from threadpoolctl import threadpool_limits

    torch.set_num_threads(1)
    threadpool_limits(1)
    warnings.simplefilter("ignore")


def in_parallel(work: Callable[[Task], Found], tasks: Sequence[Task], what: str) -> list[Found]:
    """`work` on every task, in order, on WORKERS processes."""
    os.environ["OMP_NUM_THREADS"] = "1"
    if WORKERS == 1:
        one_thread_each()
        return list(_told(map(work, tasks), len(tasks), what))
    with ProcessPoolExecutor(WORKERS, mp_context=get_context("spawn"), initializer=one_thread_each) as pool:
        return list(_told(pool.map(work, tasks), len(tasks), what))


def _told(found: Iterator[Found], count: int, what: str) -> Iterator[Found]:
    """The same, with a line to stderr at every tenth."""
    start = time.perf_counter()
    for number, item in enumerate(found, 1):
        yield item
        if number * 10 // count > (number - 1) * 10 // count:
            print(f"{what}: {number} of {count}, {time.perf_counter() - start:.0f} s", file=sys.stderr, flush=True)
