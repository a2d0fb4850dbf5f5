"""What is taken back on the bench page, and what is told beside a life."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from campaigns.projection import sync
from campaigns.service.tokens import Role

from .browsing import Lab, entered
from .serving import Client, opened

if TYPE_CHECKING:
    from playwright.sync_api import Browser


def send(client: Client, form: str, seen: int = 2, **fields: Any) -> Any:
    return client("POST", f"/bench/a/{form}", data={"key": f"key-of-{form}-{seen}", "seen_revision": seen, **fields})


def test_a_cell_is_withdrawn_for_a_reason_and_comes_back(client: Client) -> None:
    assert "95 h" in client.get("/bench/a/withdrawal?cell_id=c3").text
    refused = send(client, "withdrawal", cell_id="c3", reason=" ")
    assert refused.status_code == 422
    assert "expected a reason" in refused.text
    for _ in range(2):
        answer = send(client, "withdrawal", cell_id="c3", reason="wrong <b>pair</b>")
        assert "Stored: withdrew c3 (wrong &lt;b&gt;pair" in client.get(answer.headers["location"]).text
    assert client.desk.state("a").cell("c3") is None
    assert "/bench/a/undo?revision=3" in client.get("/bench/a/history").text
    assert "withdrew c3" in client.get("/bench/a/undo?revision=3").text
    for _ in range(2):
        assert send(client, "undo", seen=3, revision="3").status_code == 303
    assert client.desk.state("a").cell("c3") is not None
    assert client.desk.state("a").revision == 4
    assert "/bench/a/undo?revision=3" not in client.get("/bench/a/history").text


def test_what_cannot_be_taken_back_says_why(client: Client) -> None:
    client.patch("/campaigns/a/cells/c1", {"cycle_life_h": 33.0})
    moved = send(client, "withdrawal", cell_id="c1", reason="twice")
    assert (moved.status_code, "changed since" in moved.text, 'value="twice"' in moved.text) == (412, True, True)
    built_on = send(client, "undo", revision="2")
    assert built_on.status_code == 422
    assert "later events build on it" in built_on.text
    for path in ("withdrawal?cell_id=none", "undo?revision=99"):
        assert client.get(f"/bench/a/{path}").status_code == 404
    assert send(client, "undo", revision="x").status_code == 404
    assert client.desk.state("a").revision == 3


def test_of_a_closed_campaign_only_the_closing_is_undone(client: Client) -> None:
    client.post("/campaigns/a/close", {"reason": "done"})
    page = client.get("/bench/a/history").text
    revision = client.desk.state("a").revision
    assert page.count("/bench/a/undo?") == 1
    assert f"/bench/a/undo?revision={revision}" in page
    assert "withdrawal" not in client.get("/bench/a").text
    assert send(client, "undo", seen=revision, revision=str(revision)).status_code == 303
    assert client.desk.state("a").closed is None


def test_who_may_only_read_takes_nothing_back(client: Client) -> None:
    client("POST", "/login", data={"token": client.desk.tokens.create("anna", Role.READ)})
    assert "withdrawal" not in client.get("/bench/a").text
    assert "/undo" not in client.get("/bench/a/history").text
    for path in ("/bench/a/withdrawal?cell_id=c1", "/bench/a/undo?revision=2"):
        assert client.get(path).status_code == 403
    assert send(client, "withdrawal", cell_id="c1", reason="x").status_code == 403
    assert send(client, "undo", revision="2").status_code == 403


def test_efficiency_and_retention_are_told_beside_a_life(client: Client) -> None:
    send(client, "built", cell_id="n1", pressure_kpa="320")
    said = {"cell_id": "n1", "cycle_life_h": "40", "coulombic_efficiency": "0.985", "ce_protocol": "per_cycle_mean"}
    alone = send(client, "running", seen=3, **{**said, "ce_protocol": ""})
    assert 'id="running-ce_protocol-problem"' in alone.text
    percent = send(client, "running", seen=3, **{**said, "coulombic_efficiency": "98.5"})
    assert "divide by 100" in percent.text.split('id="running-coulombic_efficiency-problem"')[1].split("</p>")[0]
    assert "<details open>" in percent.text
    answer = send(client, "running", seen=3, **said, capacity_retention="", retention_cycles="100")
    assert answer.status_code == 303, answer.text
    more = {"cycle_life_h": "50", "end_reason": "fade", "capacity_retention": "0.8", "retention_cycles": "100"}
    assert send(client, "died", seen=4, cell_id="n1", **more).status_code == 303
    cell = client.desk.state("a").cell("n1")
    assert cell is not None
    assert (cell.coulombic_efficiency, cell.ce_protocol) == (0.985, "per_cycle_mean")
    assert (cell.capacity_retention, cell.retention_cycles, cell.status) == (0.8, 100, "ended")


@pytest.mark.slow
def test_withdrawn_and_brought_back_by_keyboard_without_javascript(browser: Browser, lab: Lab) -> None:
    page = entered(browser, lab, java_script_enabled=False)
    page.goto("/bench/b")
    page.get_by_role("link", name="Withdraw c2").press("Enter")
    page.get_by_label("Why").fill("never built")
    page.get_by_label("Why").press("Enter")
    assert "withdrew c2 (never built)" in page.get_by_role("status").inner_text()
    page.get_by_role("link", name="history").click()
    page.get_by_role("link", name="Undo event 3").press("Enter")
    page.get_by_role("button", name="Undo it").press("Enter")
    assert page.get_by_role("link", name="Withdraw c2").is_visible()


@pytest.mark.filterwarnings(  # mlflow 3.17 maps its tables so
    "ignore:The ``noload`` loader strategy is deprecated:DeprecationWarning"
)
def test_the_history_leads_to_mlflow(folder: Path) -> None:
    client = Client(folder, mlflow_url="https://lab.org/mlflow/")
    with closing(client.desk):
        opened(client)
        assert 'href="/bench/a/mlflow"' in client.get("/bench/a/history").text
        assert "expected campaign a; found none" in client.get("/bench/a/mlflow").text.replace("\n", " ")
        sync(client.desk.ledger, folder)
        where = client.get("/bench/a/mlflow").headers["location"]
        assert where.startswith("https://lab.org/mlflow/#/experiments/")
        assert "/runs/" in where


def test_without_an_address_of_mlflow_nothing_leads_there(client: Client) -> None:
    assert "mlflow" not in client.get("/bench/a/history").text
    assert client.get("/bench/a/mlflow").status_code == 404
