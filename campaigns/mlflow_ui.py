"""MLflow's web page of a folder: start its server on this machine, say where to look, stop it with Ctrl-C.

The server is asked for one worker and no job queues: 0.5 GB and about 8 s instead of 2.3 GB and 12 s. It listens to this
machine only. A link must say `workflowType=machine_learning`, or MLflow shows an empty page for another kind of work.
"""

from __future__ import annotations

import contextlib
import http.client
import os
import signal
import socket
import subprocess
import sys
import threading
import time
import webbrowser
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NoReturn

from campaigns.mlflow_place import ARTIFACTS, DATABASE, ENVIRONMENT, Place, database_uri
from campaigns.projection import located, save_view
from campaigns.views import compare_view, link
from surrogates.errors import UserError

HOST, PORT, PORTS_TRIED = "127.0.0.1", 5000, 50
START_S, STOP_S, LOG = 90.0, 10.0, "ui.log"
QUIET = {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false", **ENVIRONMENT}


def serve_ui(place: Place, port: int = PORT, open_browser: bool = True, names: Sequence[str] = ()) -> None:
    """Say where to look at campaigns, and serve the folder until Ctrl-C; a server of its own needs no serving.

    `names`: one campaign opens its own page, several the comparison of them, none that of the first programme.
    Raises `UserError` where there is nothing to show, no port is free, or the server does not come up.
    """
    path = ui_link(place, names)
    if place.server:
        _say(f"{place.server}/{path}", open_browser)
        return
    with contextlib.suppress(KeyboardInterrupt), _signals_interrupt(), running_server(place.folder, port) as address:
        _say(f"{address}/{path}", open_browser)
        print("Ctrl-C stops the server.", flush=True)
        while True:  # an endless wait would sleep through a signal that reached another thread
            time.sleep(0.5)


def _say(link: str, open_browser: bool) -> None:
    print(link, flush=True)
    if open_browser:
        webbrowser.open(link)


def ui_link(place: Place, names: Sequence[str] = ()) -> str:
    """What follows the server's address in a link to campaigns; the view that it opens is saved in MLflow."""
    there = located(place)
    known = {found.name: found for found in there}
    missing = [name for name in names if name not in known]
    if missing or not there:
        what = f"campaign {missing[0]}" if missing else "a campaign"
        raise UserError(f"{place}: expected {what}; found none. Check the name, then sync.")
    wanted = [known[name] for name in dict.fromkeys(names)]
    if len(wanted) == 1:
        [found] = wanted
        return f"#/experiments/{found.experiment_id}/runs/{found.run_id}?workflowType=machine_learning"
    first = (wanted or there)[0]
    if strangers := [found.name for found in wanted if found.experiment_id != first.experiment_id]:
        raise UserError(
            f"ui: expected campaigns of one programme, which MLflow shows on one page; found {first.name} and "
            f"{', '.join(strangers)} in different ones. stackpress compare has no such limit."
        )
    view = compare_view(first.outcomes, [found.name for found in wanted], [found.run_id for found in wanted])
    save_view(place, first.experiment_id, view)
    return link(first.experiment_id, view)


@contextlib.contextmanager
def running_server(folder: str | Path, port: int = PORT) -> Iterator[str]:
    """A server of `folder` that answers, as its address; it is stopped with all its processes at the end."""
    folder = Path(folder).resolve()
    port = free_port(port)
    with open(folder / LOG, "w", encoding="utf-8") as log:
        server = subprocess.Popen(
            _command(folder, port),
            env={**os.environ, **QUIET},
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        _wait_for(server, port, folder / LOG)
        yield f"http://{HOST}:{port}"
    finally:
        _stop(server)


def free_port(port: int) -> int:
    """`port`, or the next one that nobody listens to."""
    for candidate in range(port, min(port + PORTS_TRIED, 65536)):
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind((HOST, candidate))
            return candidate
    raise UserError(
        f"port {port}: expected it or one of the next {PORTS_TRIED} to be free; found none. Choose another."
    )


def _command(folder: Path, port: int) -> list[str]:
    places = [f"--backend-store-uri={database_uri(folder / DATABASE)}", f"--artifacts-destination={folder / ARTIFACTS}"]
    return [sys.executable, "-m", "mlflow", "server", *places, f"--host={HOST}", f"--port={port}", "--workers=1"]


def _wait_for(server: subprocess.Popen[bytes], port: int, log: Path) -> None:
    deadline = time.monotonic() + START_S
    while time.monotonic() < deadline:
        if server.poll() is not None:
            _fail(f"it ended with code {server.returncode}", log)
        if _is_healthy(port):
            return
        time.sleep(0.2)
    _fail(f"no answer on port {port} after {START_S:.0f} s", log)


def _is_healthy(port: int) -> bool:
    connection = http.client.HTTPConnection(HOST, port, timeout=2)
    with contextlib.closing(connection), contextlib.suppress(OSError, http.client.HTTPException):
        connection.request("GET", "/health")
        return connection.getresponse().status == http.client.OK
    return False


def _fail(cause: str, log: Path) -> NoReturn:
    last = "\n".join(log.read_text(encoding="utf-8", errors="replace").splitlines()[-5:])
    raise UserError(f"MLflow's server: expected it to come up; found {cause}. Its last words, more in {log}:\n{last}")


def _stop(server: subprocess.Popen[bytes]) -> None:
    """End the server and its workers, by force where they do not go in `STOP_S`."""
    for order in (signal.SIGTERM, signal.SIGKILL):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(server.pid, order)
        with contextlib.suppress(subprocess.TimeoutExpired):
            server.wait(STOP_S)
            break
    with contextlib.suppress(ProcessLookupError):
        os.killpg(server.pid, signal.SIGKILL)


@contextlib.contextmanager
def _signals_interrupt() -> Iterator[None]:
    """Let a closed terminal and `kill` end the wait as Ctrl-C does, so that no server is left behind."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    kinds = (signal.SIGTERM, signal.SIGHUP)
    before = [signal.signal(kind, signal.default_int_handler) for kind in kinds]
    try:
        yield
    finally:
        for kind, handler in zip(kinds, before, strict=True):
            signal.signal(kind, handler)
