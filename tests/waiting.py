"""What tests of processes wait for, and where they listen."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable


def free_port() -> int:
    """A port that nobody listens to."""
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


def until(there: Callable[[], bool], timeout_s: float = 60.0) -> None:
    """Look again until it is there."""
    deadline = time.monotonic() + timeout_s
    while not there():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def is_listened_to(port: int) -> bool:
    """Whether somebody answers at a port of this machine."""
    with socket.socket() as asking:
        return asking.connect_ex(("127.0.0.1", port)) == 0
