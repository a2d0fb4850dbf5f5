"""The link to a campaign's page, and a real server that shows it and goes away with Ctrl-C."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from urllib.request import ProxyHandler, build_opener

import pytest

from campaigns import mlflow_ui
from campaigns.ledger import Ledger
from campaigns.mlflow_ui import free_port, running_server, serve_ui, ui_link
from campaigns.projection import located, sync
from surrogates.errors import UserError
from surrogates.prior import Prior

pytestmark = pytest.mark.filterwarnings(
    # mlflow 3.17 maps its tables with a loader that SQLAlchemy 2.1 deprecates
    "ignore:The ``noload`` loader strategy is deprecated:DeprecationWarning"
)

TI = {"electrode_pair": "Zn||Ti", "electrolyte": "1 M ZnSO4", "current_density": 1.0, "current_density_unit": "mA/cm2"}
RUNS = "#/experiments/{}/runs?workflowType=machine_learning"
RUN = "#/experiments/{}/runs/{}?workflowType=machine_learning"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A projected store with a campaign in each of two programmes."""
    folder = tmp_path_factory.mktemp("ui") / "mlruns"
    ledger = Ledger.open(folder)
    for name, programme in (("ti", "zinc"), ("li", "lithium")):
        payload = {"uid": name, "programme": programme, "objective": "cycle_life_h", "conditions": [TI], "rig": {}}
        with ledger.writing(name) as transaction:
            transaction.append(
                "campaign_opened", {**payload, "history": "none", "prior": Prior.default().to_document()}
            )
    sync(ledger, folder)
    ledger.close()
    return folder


@pytest.fixture
def taken() -> Iterator[int]:
    """A port that somebody listens to."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        yield listener.getsockname()[1]


def test_a_link_leads_to_the_campaign_or_to_its_programme(folder: Path) -> None:
    zinc, lithium = located(folder, "ti"), located(folder, "li")
    assert zinc is not None
    assert lithium is not None
    assert ui_link(folder, "li") == RUN.format(*lithium)
    assert ui_link(folder, "li", alone=False) == RUNS.format(lithium[0])
    assert ui_link(folder) == RUNS.format(zinc[0])


def test_what_is_not_there_has_no_link(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="expected campaign nothing in its mlflow.db; found none"):
        ui_link(folder, "nothing")
    with pytest.raises(UserError, match="expected a campaign in its mlflow.db; found none"):
        serve_ui(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_port_that_is_taken_gives_the_next_free_one(taken: int, monkeypatch: pytest.MonkeyPatch) -> None:
    assert taken < free_port(taken) < taken + mlflow_ui.PORTS_TRIED
    monkeypatch.setattr(mlflow_ui, "PORTS_TRIED", 1)
    with pytest.raises(UserError, match="Choose another"):
        free_port(taken)


@pytest.mark.parametrize(
    ("code", "cause"), [("print('no luck'); exit(3)", "code 3"), ("import time; time.sleep(60)", "after 1 s")]
)
def test_a_server_that_does_not_come_up_says_why(
    folder: Path, monkeypatch: pytest.MonkeyPatch, code: str, cause: str
) -> None:
    monkeypatch.setattr(mlflow_ui, "START_S", 1.0)
    monkeypatch.setattr(mlflow_ui, "_command", lambda *_: [sys.executable, "-c", code])
    with pytest.raises(UserError, match=cause) as raised, running_server(folder):
        pass
    assert ("no luck" in str(raised.value)) == ("luck" in code)


@pytest.mark.slow
def test_the_server_shows_pages_and_artifacts_until_ctrl_c(folder: Path, taken: int) -> None:
    heard = (
        "import signal; signal.signal(signal.SIGINT, signal.default_int_handler)"  # ignored where tests run behind a &
    )
    code = f"{heard}; from campaigns.mlflow_ui import serve_ui; serve_ui({str(folder)!r}, {taken}, False, ['ti'])"
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) as command:
        assert command.stdout is not None
        link = command.stdout.readline().strip()
        address, _, page = link.partition("/#")
        assert f"#{page}" == ui_link(folder, "ti")
        assert address != f"http://127.0.0.1:{taken}"
        opener = build_opener(ProxyHandler({}))
        assert "MLflow" in opener.open(f"{address}/").read().decode()
        run_id = page.split("/")[-1].split("?")[0]
        for name in ("prior.json", "cells.csv"):
            with opener.open(f"{address}/get-artifact?path={name}&run_uuid={run_id}") as answer:
                assert len(answer.read()) > 50
        command.send_signal(signal.SIGINT)
        assert command.wait(30) == 0
    with pytest.raises(OSError, match="refused"):
        opener.open(f"{address}/health")
    assert not _processes_naming(folder)


def _processes_naming(folder: Path) -> list[str]:
    found = []
    for process in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            text = process.read_bytes().decode(errors="replace")
        except OSError:
            continue
        if str(folder) in text and int(process.parent.name) != os.getpid():
            found.append(text)
    return found
