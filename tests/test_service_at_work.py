"""The service as it runs: `stackpress serve` in processes of its own, asked over TCP; and asked by schemathesis."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from campaigns import Campaign
from campaigns.ledger import Ledger
from campaigns.service.desk import Desk
from campaigns.service.processes import OwnProcess
from campaigns.service.tokens import Role, Tokens
from surrogates.errors import UnavailableError

from .benchmarks import fuzzing, killing, load
from .serving import CELLS, CONDITION, bearer, served

pytestmark = pytest.mark.slow


def test_two_workers_share_the_store_and_end_in_peace(store: Path) -> None:
    with served(store, "--workers", "2", "--requests-per-minute", "100000") as (client, process):
        assert client.post("/campaigns", json={"name": "a", "condition": CONDITION}).status_code == 201
        assert client.post("/campaigns/a/cells", json={"cells": CELLS}).status_code == 201
        answers = [client.post("/campaigns/a/suggestions", json={}).json() for _ in range(6)]
        assert len({answer["revision"] for answer in answers}) == 1
        stored: list[str] = []

        def write(worker: int) -> None:
            for number in range(20):
                cell_id = f"w{worker}-{number}"
                row = {"pressure_kpa": 100, "status": "planned"}
                if client.patch(f"/campaigns/a/cells/{cell_id}", json=row).status_code == 200:
                    stored.append(cell_id)
                    assert client.get(f"/campaigns/a/cells/{cell_id}").status_code == 200

        writers = [threading.Thread(target=write, args=[worker]) for worker in range(4)]
        for writer in writers:
            writer.start()
        for writer in writers:
            writer.join()
        os.kill(process.pid, signal.SIGTERM)
        assert process.wait(timeout=60) in (0, -signal.SIGTERM)
    assert len(stored) == 80
    events = Ledger.open(store).events("a")
    assert sum(event.kind == "recorded" for event in events) == 80


def test_answers_and_figures_come_from_processes_that_may_be_killed(store: Path) -> None:
    with contextlib.closing(Desk(str(store))) as desk:
        campaign = Campaign.create("a", CONDITION, store=desk)
        campaign.add([{**CONDITION, **cell} for cell in CELLS])
        here = [campaign.advise(seed=seed).advice for seed in (1, 2)]
        desk.fitter = OwnProcess("optimizer.suggestion")
        assert desk.advise("a", seed=1).advice == here[0]
        for process in multiprocessing.active_children():
            process.kill()
        with pytest.raises(UnavailableError, match="Ask again"):
            desk.advise("a", seed=2)
        assert desk.advise("a", seed=2).advice == here[1]
        here_drawn = desk.figure("a", "svg")
    with contextlib.closing(Desk(str(store))) as desk:
        desk.drawer = OwnProcess("campaigns.figure")
        assert desk.figure("a", "svg") == here_drawn
    assert not multiprocessing.active_children()


def test_many_clients_at_once(store: Path) -> None:
    rows = load.loaded(str(store), seconds=8, workers=2, thinking_s=0.2, campaigns=4, clients=6)
    assert {row["what"] for row in rows} >= set(load.SHARES)
    assert rows[-1]["holds"], rows


def test_killed_in_the_middle_of_writes(store: Path) -> None:
    found = killing.killed(str(store), kills=3)
    assert found["holds"], found


def test_others_are_let_in_only_where_there_is_a_token(store: Path) -> None:
    command = [sys.executable, "-m", "campaigns.cli", "serve", "--store", str(store), "--host", "0.0.0.0"]
    refused = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert refused.returncode == 2
    assert "stackpress token create" in refused.stderr
    token = Tokens(Ledger.open(store)).create("anna", Role.READ)
    with served(store, "--host", "0.0.0.0") as (client, _):
        assert client.get("/campaigns").status_code == 401
        assert client.get("/campaigns", headers=bearer(token)).status_code == 200


def test_schemathesis_finds_nothing(store: Path) -> None:
    found = fuzzing.asked(str(store), examples=8, seed=1)
    assert found["holds"], found
    assert found["cases"] > 300
