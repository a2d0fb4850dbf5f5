"""The service in this process, asked as over HTTP; and in processes of its own, asked over TCP."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import IO, Any

import httpx

from campaigns.service.app import create_app
from campaigns.service.settings import Settings

from .waiting import free_port

CONDITION = {
    "electrode_pair": "Zn||Ti", "electrolyte": "1 M ZnSO4", "current_density": 1.0, "current_density_unit": "mA/cm2",
}  # fmt: skip
CELLS = [
    {"cell_id": f"c{number}", "pressure_kpa": kpa, "status": "ended", "cycle_life_h": life}
    for number, (kpa, life) in enumerate([(50, 30.0), (150, 60.0), (300, 95.0), (600, 70.0), (1200, 20.0)], start=1)
]


class Client:
    """Asks an application; each request runs to its end."""

    def __init__(self, store: Path | str, base_url: str = "http://localhost", **settings: Any) -> None:
        self.app = create_app(Settings(store=str(store), **settings))
        self.desk = self.app.state.desk
        transport = httpx.ASGITransport(self.app, raise_app_exceptions=False)
        self._client = httpx.AsyncClient(transport=transport, base_url=base_url)

    def __call__(self, method: str, path: str, **request: Any) -> httpx.Response:
        with ThreadPoolExecutor(1) as apart:  # where a browser is open, this thread has a loop of Playwright's running
            return apart.submit(asyncio.run, self._client.request(method, path, **request)).result()

    def get(self, path: str, **request: Any) -> httpx.Response:
        return self("GET", path, **request)

    def post(self, path: str, json: Any = None, **request: Any) -> httpx.Response:
        return self("POST", path, json=json, **request)

    def patch(self, path: str, json: Any, **request: Any) -> httpx.Response:
        return self("PATCH", path, json=json, **request)


def bearer(token: str) -> dict[str, str]:
    """The header that shows a token."""
    return {"Authorization": f"Bearer {token}"}


def opened(client: Client, name: str = "a") -> None:
    """A campaign with five cells."""
    assert client.post("/campaigns", {"name": name, "condition": CONDITION}).status_code == 201
    assert client.post(f"/campaigns/{name}/cells", {"cells": CELLS}).status_code == 201


@contextlib.contextmanager
def served(
    store: Path | str, *options: str, port: int | None = None, log: IO[bytes] | None = None
) -> Iterator[tuple[httpx.Client, subprocess.Popen[bytes]]]:
    """A service of the store, and a client of it; what it tells goes to `log`."""
    port = port or free_port()
    command = [sys.executable, "-m", "campaigns.cli", "serve", "--store", str(store), "--port", str(port), *options]
    process = subprocess.Popen(
        command, env={**os.environ, "OMP_NUM_THREADS": "1"}, stdout=log, stderr=log, start_new_session=True
    )
    try:
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=60) as client:
            for _ in range(300):
                with contextlib.suppress(httpx.TransportError):
                    client.get("/openapi.json")
                    break
                assert process.poll() is None
                time.sleep(0.1)
            yield client, process
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGTERM)
        process.wait(timeout=60)
