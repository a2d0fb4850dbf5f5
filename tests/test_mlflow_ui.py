"""The link to a campaign's page, and a real server that shows it and goes away with Ctrl-C."""

from __future__ import annotations

import base64
import json
import os
import signal
import subprocess
import sys
import zlib
from pathlib import Path
from typing import Any
from urllib.request import ProxyHandler, build_opener

import pytest

from campaigns import mlflow_ui
from campaigns.ledger import Ledger
from campaigns.mlflow_place import Place
from campaigns.mlflow_ui import free_port, running_server, serve_ui, ui_link
from campaigns.projection import located, sync
from surrogates.errors import UserError
from surrogates.prior import Prior

pytestmark = pytest.mark.filterwarnings(
    # mlflow 3.17 maps its tables with a loader that SQLAlchemy 2.1 deprecates
    "ignore:The ``noload`` loader strategy is deprecated:DeprecationWarning"
)

TI = {"electrode_pair": "Zn||Ti", "electrolyte": "1 M ZnSO4", "current_density": 1.0, "current_density_unit": "mA/cm2"}
VIEW = "#/experiments/{}/runs?workflowType=machine_learning&compareRunsMode=CHART&viewStateShareKey={}"
RUN = "#/experiments/{}/runs/{}?workflowType=machine_learning"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A projected store with a campaign in each of two programmes."""
    folder = tmp_path_factory.mktemp("ui") / "mlruns"
    ledger = Ledger.open(folder)
    for name, programme in (("ti", "zinc"), ("ti-2", "zinc"), ("li", "lithium")):
        payload = {"uid": name, "programme": programme, "objective": "cycle_life_h", "conditions": [TI], "rig": {}}
        with ledger.writing(name) as transaction:
            transaction.append(
                "campaign_opened", {**payload, "history": "none", "prior": Prior.default().to_document()}
            )
    sync(ledger, folder)
    ledger.close()
    return folder


def test_a_link_leads_to_the_campaign_or_to_its_comparison(folder: Path) -> None:
    place = Place(folder)
    found = {item.name: item for item in located(place)}
    assert list(found) == ["ti", "ti-2", "li"]
    assert ui_link(place, ["li"]) == RUN.format(found["li"].experiment_id, found["li"].run_id)
    zinc = found["ti"].experiment_id
    assert ui_link(place) == VIEW.format(zinc, "compare-campaigns")
    assert ui_link(place, ["ti", "ti-2"]).startswith(VIEW.format(zinc, "compare-campaigns-"))
    assert ui_link(place, ["ti", "ti-2"]) != ui_link(place, ["ti-2", "ti"])
    assert ui_link(place, ["ti", "ti"]) == ui_link(place, ["ti"])
    with pytest.raises(UserError, match="expected campaigns of one programme"):
        ui_link(place, ["ti", "li"])


def test_the_comparison_of_some_names_their_runs(folder: Path) -> None:
    place = Place(folder)
    key = ui_link(place, ["ti", "ti-2"]).split("=")[-1]
    found = {item.name: item for item in located(place)}
    tags = place.client().get_experiment(found["ti"].experiment_id).tags
    state = state_of(tags[f"mlflow.sharedViewState.{key}"])
    for name, item in found.items():
        assert (item.run_id in state["searchFilter"]) == (name != "li")


def state_of(tag: str) -> dict[str, Any]:
    """The state in a saved view's tag, by the other way round than it is written."""
    method, _, packed = json.loads(tag)["state"].partition(";")
    assert method == "deflate"
    return dict(json.loads(zlib.decompress(base64.b64decode(packed))))


@pytest.mark.slow
def test_a_server_that_is_there_is_not_started(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with running_server(folder) as address:
        place = Place(folder, address)
        serve_ui(place, open_browser=False, names=["ti"])
        assert capsys.readouterr().out == f"{address}/{ui_link(place, ['ti'])}\n"


def test_what_is_not_there_has_no_link(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"mlflow.db: expected campaign nothing; found none"):
        ui_link(Place(folder), ["nothing"])
    with pytest.raises(UserError, match=r"mlflow.db: expected a campaign; found none"):
        serve_ui(Place(tmp_path))
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
    imports = "from pathlib import Path; from campaigns.mlflow_ui import Place, serve_ui"
    code = f"{heard}; {imports}; serve_ui(Place(Path({str(folder)!r})), {taken}, False, ['ti'])"
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) as command:
        assert command.stdout is not None
        link = command.stdout.readline().strip()
        address, _, page = link.partition("/#")
        assert f"#{page}" == ui_link(Place(folder), ["ti"])
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
