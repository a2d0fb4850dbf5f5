"""What whoever runs the service looks at: health, measures, one line a request; and an end that loses no request."""

from __future__ import annotations

import json
import os
import signal
import threading
from contextlib import closing
from pathlib import Path

import pytest

from campaigns.service.tokens import Role

from .serving import CELLS, CONDITION, Client, bearer, opened, served


def test_health_is_told_to_everybody_and_measures_to_readers(store: Path, capfd: pytest.CaptureFixture[str]) -> None:
    client = Client(store)
    with closing(client.desk):
        opened(client)
        token = client.desk.tokens.create("anna", Role.READ)
        assert client.get("/healthz").json() == {"status": "alive"}
        assert client.get("/readyz").json() == {"status": "ready", "events": 2}
        assert client.get("/metrics").status_code == 401
        assert client.get("/campaigns/none", headers=bearer(token)).status_code == 404
        told = client.get("/metrics", headers=bearer(token)).text
    assert 'stackpress_requests_total{method="POST",route="/campaigns/{name}/cells",status="201"} 1.0' in told
    assert 'stackpress_requests_total{method="GET",route="/campaigns/{name}",status="404"} 1.0' in told
    assert 'stackpress_request_seconds_count{method="GET",route="/healthz"} 1.0' in told
    assert 'stackpress_jobs{state="queued"} 0' in told
    lines = [json.loads(line) for line in capfd.readouterr().err.splitlines() if line.startswith("{")]
    [missing] = [line for line in lines if line["status"] == 404]
    assert (missing["route"], missing["user"], missing["level"]) == ("/campaigns/{name}", "anna", "info")
    assert len({line["request_id"] for line in lines}) == len(lines) == 7
    assert token not in json.dumps(lines)


def test_a_database_that_is_away_is_told(store: Path) -> None:
    client = Client(store)
    opened(client)
    client.desk.close()
    (store / "ledger.db").write_bytes(b"no database" * 100)
    assert client.get("/healthz").status_code == 200
    answer = client.get("/readyz")
    assert answer.status_code == 503
    assert answer.headers["content-type"] == "application/problem+json"


@pytest.mark.slow
def test_requests_under_way_are_finished_and_workers_measure_together(store: Path) -> None:
    with served(store, "--workers", "2") as (client, process):
        client.post("/campaigns", json={"name": "a", "condition": CONDITION})
        client.post("/campaigns/a/cells", json={"cells": CELLS})
        for _ in range(20):
            client.get("/campaigns", headers={"Connection": "close"})
        route = 'stackpress_requests_total{method="GET",route="/campaigns",status="200"}'
        assert f"{route} 20.0" in client.get("/metrics").text
        answers: list[int] = []
        asking = threading.Thread(
            target=lambda: answers.append(client.post("/campaigns/a/suggestions", json={"n": 8}).status_code)
        )
        asking.start()
        asking.join(timeout=0.15)
        assert asking.is_alive()
        os.kill(process.pid, signal.SIGTERM)
        asking.join(timeout=60)
        assert answers == [200]
        assert process.wait(timeout=60) in (0, -signal.SIGTERM)
