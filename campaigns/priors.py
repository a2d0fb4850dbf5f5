"""Which prior is meant: a named one, or the file of a saved one; and what a new one is learned from, and by whom."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from surrogates.cells import Cell
from surrogates.errors import UserError
from surrogates.prior import Prior


def find_prior(prior: Prior | str | Path) -> Prior:
    """The prior itself, the named one, or the one saved at a path; raises `UserError` with the names there are.

    A file wins over a name only where it is written as a path: with its ending, or with a slash.
    """
    if isinstance(prior, Prior):
        return prior
    try:
        return Prior.named(str(prior))
    except UserError:
        if Path(prior).is_file():
            return Prior.load(prior)
    names = ", ".join(Prior.names())
    raise UserError(f"prior: expected {names}, or the path of a saved prior; found {str(prior)!r}.")


def tables_of(sources: Sequence[str], store: str) -> dict[str, tuple[Cell, ...]]:
    """The cells of each source, by its name: a campaign of the store, or the file of a table.

    Raises `UserError` where a source is neither, or named twice.
    """
    from campaigns.campaign import Campaign
    from campaigns.tables import read_table

    twice = sorted({source for source in sources if list(sources).count(source) > 1})
    if twice:
        raise UserError(f"learn: expected each campaign once; found {', '.join(twice)} several times.")
    return {
        source: read_table(source).cells if Path(source).is_file() else Campaign.open(source, store).state.cells
        for source in sources
    }


def counting(mapper: Callable[..., Iterable[Any]], done: Callable[[], None]) -> Callable[..., Iterator[Any]]:
    """A `mapper` that calls `done` as each result comes in."""

    def counted(task: Callable[..., Any], *arguments: Sequence[Any]) -> Iterator[Any]:
        for result in mapper(task, *arguments):
            done()
            yield result

    return counted


@contextmanager
def workers(processes: int, scheduler: str | None) -> Iterator[Callable[..., Any]]:
    """What runs one task a campaign: this process, several, or a Dask cluster. Raises `UserError` where that is missing."""
    if scheduler is not None:
        from surrogates.learning import dask_map

        with _dask_client(scheduler) as client:
            yield dask_map(client)
    elif processes > 1:
        from concurrent.futures import ProcessPoolExecutor
        from multiprocessing import get_context

        with ProcessPoolExecutor(processes, mp_context=get_context("spawn")) as pool:
            yield pool.map
    else:
        yield map


def _dask_client(scheduler: str) -> Any:
    try:
        from distributed import Client
    except ImportError:
        raise UserError(
            "--scheduler: expected Dask; found none. Install it: pip install 'stackpress[cluster]'."
        ) from None
    try:
        return Client(scheduler, timeout="10s")
    except (OSError, ValueError) as error:
        raise UserError(f"--scheduler: expected a Dask scheduler at {scheduler}; found none ({error}).") from None
