"""Files that were sent for a look and wait for the word to record them: `STORE/uploads/USER/TICKET/NAME`.

All workers of a store share them. A ticket is a secret of 128 bits, and opens a file for the user who sent it alone. Each
user has the last few; every look clears away what is older than an hour.
"""

from __future__ import annotations

import hashlib
import re
import secrets
import shutil
import time
from pathlib import Path
from typing import BinaryIO

from campaigns.service.uploads import file_name
from campaigns.store import mlflow_folder
from surrogates.errors import UserError

MOST, KEPT_S = 3, 3600.0
TICKET = re.compile(r"[0-9a-f]{32}")


class Shelf:
    """The files of one user of a store."""

    def __init__(self, store: str | Path, user: str) -> None:
        self._all = mlflow_folder(store) / "uploads"
        self._own = self._all / hashlib.sha256(user.encode()).hexdigest()[:32]

    def put(self, file: BinaryIO, name: str | None) -> str:
        """Keep a file; returns its ticket."""
        self.clear()
        for old in sorted(self._own.glob("*"), key=_age_s)[MOST - 1 :]:
            shutil.rmtree(old, ignore_errors=True)
        ticket = secrets.token_hex(16)
        folder = self._own / ticket
        folder.mkdir(parents=True, mode=0o700)
        with (folder / file_name(name)).open("xb") as copy:
            shutil.copyfileobj(file, copy)
        return ticket

    def find(self, ticket: str) -> Path | None:
        """The file of a ticket, while it is kept."""
        self.clear()
        return next((self._own / ticket).glob("*"), None) if TICKET.fullmatch(ticket) else None

    def get(self, ticket: str) -> Path:
        """As `find`; raises `UserError` where there is none."""
        path = self.find(ticket)
        if path is None:
            raise UserError("file: expected one that was sent within the hour; found none. Choose it here.")
        return path

    def clear(self) -> None:
        """Take away what nobody has come back for, of all users."""
        for folder in self._all.glob("*/*"):
            if _age_s(folder) > KEPT_S:
                shutil.rmtree(folder, ignore_errors=True)


def _age_s(folder: Path) -> float:
    """Seconds since a folder was made; what another worker has just taken away is as old as can be."""
    try:
        return time.time() - folder.stat().st_mtime
    except FileNotFoundError:
        return float("inf")
