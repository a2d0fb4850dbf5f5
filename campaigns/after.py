"""What can wait until the answer has been printed."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

_waiting: dict[str, Callable[[], None]] | None = None


def afterwards(name: str, work: Callable[[], None]) -> None:
    """Do `work` now, or once at the end of `postponed`, however often it is asked for under this name."""
    if _waiting is None:
        work()
    else:
        _waiting[name] = work


@contextmanager
def postponed() -> Iterator[None]:
    """Inside, what is asked for `afterwards` waits; it is done at the end, however that is reached."""
    global _waiting
    _waiting = {}
    try:
        yield
    finally:
        waiting, _waiting = _waiting, None
        for work in waiting.values():
            work()
