"""Progress bars: on a terminal, on stderr, and nowhere else."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager


@contextmanager
def progress(what: str, total: int | None, as_json: bool = False) -> Iterator[Callable[..., None]]:
    """A bar while the block runs, gone at its end; call what is yielded (with anything) after each of `total` steps.

    `total` None: a bar that only shows that there is work. Without a terminal, for machines (`as_json`), and for a
    single step nothing is shown.
    """
    if as_json or total in (0, 1) or not sys.stderr.isatty():
        yield lambda *_: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(what, total=total)
        yield lambda *_: bar.advance(task)
