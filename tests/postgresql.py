"""A PostgreSQL server of our own, on a Unix socket in a temporary folder, where its programs are installed."""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
import tempfile
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import sqlalchemy as sql


def programs() -> Path | None:
    """The folder of initdb and pg_ctl, or None."""
    found = [Path(path).resolve().parent for path in filter(None, [shutil.which("initdb")])]
    found += [path.parent for path in sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), reverse=True)]
    return found[0] if found else None


@contextmanager
def server() -> Iterator[str]:
    """The URL of a fresh server, `{database}` to be filled in; it is stopped and removed at the end."""
    folder = programs()
    assert folder is not None
    user = "postgres" if os.geteuid() == 0 else None  # the server refuses to be run by root
    home = Path(tempfile.mkdtemp(prefix="pg"))
    try:
        if user is not None:
            os.chown(home, pwd.getpwnam(user).pw_uid, -1)
        data = home / "data"

        def run(*command: str) -> None:
            # no pipes: the server would hold them open
            subprocess.run(command, user=user, cwd=home, check=True, stdout=subprocess.DEVNULL)

        run(f"{folder}/initdb", "-D", str(data), "-U", "lab", "-A", "trust", "-E", "UTF8")
        options = f"-k {home} -c listen_addresses=''"
        run(f"{folder}/pg_ctl", "-D", str(data), "-o", options, "-l", str(home / "log"), "-w", "start")
        try:
            yield f"postgresql://lab@/{{database}}?host={home}"
        finally:
            run(f"{folder}/pg_ctl", "-D", str(data), "-m", "immediate", "-w", "stop")
    finally:
        shutil.rmtree(home)


def new_database(url: str) -> str:
    """The URL of a new, empty database of the server."""
    name = f"lab_{uuid.uuid4().hex[:12]}"
    engine = sql.create_engine(url.format(database="postgres"), isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        connection.exec_driver_sql(f"CREATE DATABASE {name}")
    engine.dispose()
    return url.format(database=name)
