"""A file on the bench page: what is shown of it, what is stored, who may see it, and how it goes away again."""

from __future__ import annotations

import os
import re
import time
from contextlib import closing
from io import BytesIO
from pathlib import Path
from typing import Any

import httpx
import pytest

from campaigns.service.shelf import MOST, Shelf
from campaigns.service.tokens import Role
from surrogates.errors import UserError

from .browsing import Lab, entered
from .serving import CONDITION, Client, bearer
from .test_service_access import LANDT

TABLE = b"cell_id,Pressure (MPa),status,cycle_life_h\nt1,0.03,ended,20\nc1,0.05,ended,31\nc2,0.15,ended,60\n"


def look(client: Client, name: str, content: bytes, **said: str) -> httpx.Response:
    form = {"kind": "table", "kept": "", "seen_revision": "2", "key": "key-of-upload", **said}
    return client("POST", "/bench/a/upload", data=form, files={"file": (name, content)})


def fields_of(page: str) -> dict[str, str]:
    """The hidden fields of the form that records."""
    form = page.split('action="/bench/a/upload/record"')[1].split("</form>")[0]
    return dict(re.findall(r'name="(\w+)" value="([^"]*)"', form))


def test_a_table_is_shown_then_recorded_once(client: Client) -> None:
    page = look(client, "../../t.csv", TABLE)
    assert page.status_code == 200
    assert "<h1>t.csv</h1>" in page.text
    text = " ".join(re.sub("<[^>]*>", " ", page.text).split())
    for said in (
        "t1 new pressure_kpa 30, status ended, cycle_life_h 20",
        "c1 changed cycle_life_h 30 -&gt; 31",
        "c2 as it is",
        "Pressure (MPa) converted to pressure_kpa",
        "Record 1 new cell and 1 changed cell",
    ):
        assert said in text, text
    assert client.desk.state("a").revision == 2
    for _ in range(2):
        answer = client("POST", "/bench/a/upload/record", data=fields_of(page.text))
        assert answer.status_code == 303
        assert "Stored: added 1 cell from t.csv" in client.get(answer.headers["location"]).text
    state = client.desk.state("a")
    assert (state.revision, len(state.cells)) == (4, 6)
    assert (state.cell("c1"), state.cell("t1")) != (None, None)
    again = look(client, "t.csv", TABLE)
    assert "Nothing new" in again.text
    assert "/upload/record" not in again.text


def test_a_cell_that_was_changed_since_the_look_is_not_overwritten(client: Client) -> None:
    page = look(client, "t.csv", TABLE)
    client.patch("/campaigns/a/cells/c1", {"cycle_life_h": 33.0})
    answer = client("POST", "/bench/a/upload/record", data=fields_of(page.text))
    assert answer.status_code == 412
    assert "changed since" in answer.text
    assert "t.csv is here" in answer.text
    assert client.desk.state("a").cell("t1") is None


def test_an_export_is_shown_then_recorded(client: Client, store: Path) -> None:
    asked = look(client, "l.csv", LANDT.read_bytes(), kind="")
    assert asked.status_code == 422
    assert 'id="upload-kind-problem"' in asked.text
    [kept] = re.findall(r'name="kept" value="(\w+)"', asked.text)
    said = {"kind": "full", "cell_id": "L1", "pressure_kpa": "100 psi", "kept": kept}
    wrong = client("POST", "/bench/a/upload", data=said)
    assert wrong.status_code == 422
    assert 'id="upload-pressure_kpa-problem"' in wrong.text
    assert 'value="100 psi"' in wrong.text
    page = client("POST", "/bench/a/upload", data=said | {"pressure_kpa": "100"})
    assert page.status_code == 200, page.text
    for told in ("LANDT table", "Half-cycles", "pressure_kpa 100, status running", "Record 1 new cell"):
        assert told in page.text or told.replace(", ", "") in page.text, told
    assert client.desk.state("a").revision == 2
    for _ in range(2):
        assert client("POST", "/bench/a/upload/record", data=fields_of(page.text)).status_code == 303
    cell = client.desk.state("a").cell("L1")
    assert cell is not None
    assert (cell.pressure_kpa, cell.status, client.desk.state("a").revision) == (100, "running", 3)
    assert list(store.rglob("L1.parquet"))


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("photo.png", b"\x89PNG\r\n\x1a\n" + bytes(99), "photo.png"),
        ("t.pickle", b"cos\nsystem\n(S'touch /tmp/x'\ntR.", "t.pickle"),
        ("t.csv", b"cell_id,pressure,status\nt2,30,planned\n", "row 1, column pressure: expected a name that tells"),
        ("t.csv", b"cell_id,pressure_kpa,status,coulombic_efficiency\nt,30,ended,98\n", "row 2, column coulombic_eff"),
        ("t.xlsx", b"PK\x03\x04 no workbook", "t.xlsx"),
        ("t.csv", b"", "t.csv"),
    ],
)
def test_a_wrong_file_gets_one_clear_message(client: Client, name: str, content: bytes, said: str) -> None:
    answer = look(client, name, content)
    assert answer.status_code == 422
    [problem] = re.findall(r'id="upload-file-problem">(.*?)</p>', answer.text, re.DOTALL)
    assert said in problem
    assert "expected" in problem
    assert "/tmp" not in answer.text
    assert "/upload/record" not in answer.text


def test_a_file_is_of_who_sent_it(client: Client) -> None:
    tokens = {
        name: client.desk.tokens.create(name, role) for name, role in (("anna", Role.RECORD), ("eve", Role.RECORD))
    }
    csrf: dict[str, Any] = {}
    for name, token in tokens.items():
        client("POST", "/login", data={"token": token})
        page = client.get("/bench/a/upload").text
        csrf["csrf_token"] = page.split('name="csrf_token" value="')[1].split('"')[0]
        assert look(client, "t.csv", TABLE).status_code == 403  # no form of this session
        if name == "anna":
            fields = fields_of(look(client, "t.csv", TABLE, **csrf).text)
    assert client("POST", "/bench/a/upload/record", data=fields | csrf).status_code == 422
    assert client.desk.state("a").revision == 2


def test_who_may_only_read_sees_no_form(client: Client) -> None:
    client("POST", "/login", data={"token": client.desk.tokens.create("anna", Role.READ)})
    assert "/upload" not in client.get("/bench/a").text
    assert client.get("/bench/a/upload").status_code == 403
    assert look(client, "t.csv", TABLE).status_code == 403


def test_files_do_not_pile_up(store: Path) -> None:
    shelf = Shelf(store, "anna")
    tickets = [shelf.put(BytesIO(b"x"), f"../{number}.csv") for number in range(MOST + 2)]
    kept = [ticket for ticket in tickets if shelf.find(ticket)]
    assert len(kept) == MOST
    assert tickets[-1] in kept
    for ticket in ("../..", "", "*", f"{tickets[-1]}/../{tickets[-1]}", "0" * 32):
        with pytest.raises(UserError, match="Choose it here"):
            shelf.get(ticket)
    assert Shelf(store, "eve").find(tickets[-1]) is None
    path = shelf.get(tickets[-1])
    assert (path.name, path.parent.stat().st_mode & 0o077) == (f"{MOST + 1}.csv", 0)
    long_ago = time.time() - 7200
    os.utime(path.parent, (long_ago, long_ago))
    Shelf(store, "eve").clear()
    assert not path.exists()


@pytest.mark.slow
def test_a_file_from_a_phone_without_javascript(browser: Any, lab: Lab, tmp_path: Path) -> None:
    page = entered(browser, lab, java_script_enabled=False, viewport={"width": 390, "height": 844})
    page.goto("/bench/a")
    page.get_by_role("link", name="Add a file").click()
    page.get_by_label("File").set_input_files({"name": "t.csv", "mimeType": "text/csv", "buffer": TABLE})
    page.get_by_label("What it is").select_option("table")
    page.get_by_role("button", name="Look what is in it").click()
    page.screenshot(path=tmp_path / "looked.png", full_page=True)
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    page.get_by_role("button", name="Record 1 new cell and 1 changed cell").click()
    assert "added 1 cell from t.csv" in page.get_by_role("status").inner_text()
    page.get_by_role("link", name="Add a file").click()
    large = {"name": "large.csv", "mimeType": "text/csv", "buffer": b"x" * 3_000_000}
    page.get_by_label("File").set_input_files(large)
    page.get_by_role("button", name="Look what is in it").click()
    assert "at most 1.1 MB" in page.get_by_role("alert").inner_text()


def test_behind_a_proxy_a_file_comes_in_from_the_public_address_alone(store: Path) -> None:
    client = Client(store, "https://bench.lab.org", public_url="https://bench.lab.org")
    with closing(client.desk):
        manager = bearer(client.desk.tokens.create("anna", Role.MANAGE))
        assert client.post("/campaigns", {"name": "a", "condition": CONDITION}, headers=manager).status_code == 201
        client("POST", "/login", data={"token": client.desk.tokens.create("bob", Role.RECORD)})
        form = {"csrf_token": client.get("/bench/a/upload").text.split('name="csrf_token" value="')[1].split('"')[0]}
        form |= {"kind": "table", "key": "key-of-upload", "seen_revision": "1"}
        for origin, status in (("https://bench.lab.org", 200), ("https://evil.example", 403)):
            sent = {"files": {"file": ("t.csv", TABLE)}, "headers": {"Origin": origin}}
            assert client("POST", "/bench/a/upload", data=form, **sent).status_code == status
