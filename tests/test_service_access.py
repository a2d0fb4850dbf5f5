"""Who may ask the service, from where, how often and how much; and that files are read and nothing else."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Annotated

import pytest
from fastapi import Depends

from campaigns.service.access import User, checked_form, form_token
from campaigns.service.settings import Settings, is_loopback
from campaigns.service.tokens import Role, Tokens
from surrogates.errors import ConflictError, UnknownError, UserError

from .serving import CELLS, CONDITION, Client, bearer, opened

LANDT = Path(__file__).parent / "instruments" / "data" / "landt_excerpt.csv"


@pytest.fixture
def client(store: Path) -> Iterator[Client]:
    client = Client(store, max_upload_mb=0.2, max_body_kb=20, failures_per_minute=3)
    with closing(client.desk):
        opened(client)
        yield client


def operations(client: Client) -> list[tuple[str, str]]:
    paths = client.app.openapi()["paths"]
    return [
        (method.upper(), path.format(name="a", cell_id="c1", job_id="0" * 32))
        for path in paths
        for method in paths[path]
    ]


def test_without_a_token_this_machine_may_do_everything_until_there_is_one(client: Client) -> None:
    assert client.get("/campaigns").status_code == 200
    client.desk.tokens.create("anna", Role.READ)
    assert client.get("/campaigns").status_code == 401
    client.desk.tokens.revoke("anna")
    assert client.get("/campaigns").status_code == 401


def test_nothing_is_told_without_a_token_or_with_a_wrong_one(store: Path) -> None:
    client = Client(store, failures_per_minute=10_000)
    with closing(client.desk):
        opened(client)
        client.desk.tokens.create("anna", Role.MANAGE)
        asked = [*operations(client), ("GET", "/openapi.json")]
        assert len(asked) > 20
        for method, path in asked:
            for headers in ({}, bearer("sp_wrong"), {"Cookie": "stackpress_session=wrong"}):
                assert client(method, path, headers=headers).status_code == 401, (method, path)


def test_a_role_allows_what_it_says_and_what_comes_before(client: Client) -> None:
    tokens = {role: client.desk.tokens.create(role.value, role) for role in Role}
    opening = {"name": "new", "condition": CONDITION}
    asked = [
        ("GET", "/campaigns/a", None, Role.READ),
        ("PATCH", "/campaigns/a/cells/c1", {"note": "x"}, Role.RECORD),
        ("POST", "/campaigns", opening, Role.MANAGE),
    ]
    for method, path, body, needed in asked:
        for role, token in tokens.items():
            answer = client(method, path, json=body, headers=bearer(token))
            assert (answer.status_code == 403) == (not role.includes(needed)), (path, role)


def test_the_history_names_whose_token_it_was(client: Client) -> None:
    token = client.desk.tokens.create("anna", Role.RECORD)
    client.patch("/campaigns/a/cells/c1", {"note": "x"}, headers=bearer(token))
    assert client.desk.lines("a")[-1].actor == "anna"
    assert client.desk.lines("a")[0].actor != "anna"


def test_a_token_is_kept_as_a_digest_only(client: Client, store: Path) -> None:
    secret = client.desk.tokens.create("anna", Role.RECORD)
    client.desk.ledger.close()
    for path in store.rglob("*"):
        assert not path.is_file() or secret.encode() not in path.read_bytes()
    tokens = Tokens(client.desk.ledger)
    with pytest.raises(ConflictError, match="revoke anna"):
        tokens.create("anna", Role.READ)
    tokens.revoke("anna")
    with pytest.raises(UnknownError, match="found none"):
        tokens.revoke("anna")
    for name, role in (("", "read"), ("a\n", "read"), ("bob", "boss")):
        with pytest.raises(UserError, match="expected"):
            tokens.create(name, role)


def log_in(client: Client, token: str, **more: str) -> str:
    answer = client("POST", "/login", data={"token": token, **more})
    assert answer.status_code == 303
    return str(answer.headers["location"])


def test_a_session_begins_with_a_token_and_ends_with_it(client: Client) -> None:
    token = client.desk.tokens.create("anna", Role.RECORD)
    assert log_in(client, "sp_wrong") == "/login?failed=1&then=%2Fbench"
    assert client.get("/campaigns").status_code == 401
    answer = client("POST", "/login", data={"token": token})
    cookie = answer.headers["set-cookie"]
    assert "HttpOnly" in cookie
    assert "SameSite=strict" in cookie
    assert client.get("/campaigns").status_code == 200
    assert client.patch("/campaigns/a/cells/c1", {"note": "x"}).status_code == 200
    assert client("POST", "/logout").status_code == 303
    client._client.cookies.clear()
    log_in(client, token)
    client.desk.tokens.revoke("anna")
    assert client.get("/campaigns").status_code == 401


def test_a_cookie_of_a_session_that_was_ended_opens_nothing(client: Client) -> None:
    token = client.desk.tokens.create("anna", Role.RECORD)
    session = client.desk.tokens.log_in(token, hours=1)
    expired = client.desk.tokens.log_in(token, hours=-1)
    assert session is not None
    assert expired is not None
    assert client.desk.tokens.in_session(session) == ("anna", Role.RECORD)
    assert client.desk.tokens.in_session(expired) is None
    client.desk.tokens.log_out(session)
    assert client.desk.tokens.in_session(session) is None


@pytest.mark.parametrize("then", ["//evil.example", "https://evil.example", "/\\evil.example", "/a\r\nSet-Cookie: x"])
def test_nobody_is_sent_elsewhere_after_the_log_in(client: Client, then: str) -> None:
    token = client.desk.tokens.create("anna", Role.READ)
    assert log_in(client, token, then=then) == "/bench"
    assert log_in(client, token, then="/bench/a?x=1") == "/bench/a?x=1"


def test_over_https_the_cookie_stays_there(store: Path) -> None:
    client = Client(store, "https://bench.lab.org", public_url="https://bench.lab.org")
    with closing(client.desk):
        token = client.desk.tokens.create("anna", Role.READ)
        answer = client("POST", "/login", data={"token": token})
        assert "Secure" in answer.headers["set-cookie"]
        assert "max-age" in answer.headers["Strict-Transport-Security"]


def test_a_form_must_be_of_this_session(client: Client) -> None:
    def form(user: Annotated[User, Depends(checked_form)]) -> dict[str, str]:
        return {"name": user.name, "token": form_token(user)}

    client.app.add_api_route("/form", form, methods=["POST"])
    token = client.desk.tokens.create("anna", Role.RECORD)
    log_in(client, token)
    assert client("POST", "/form", data={"csrf_token": "wrong"}).status_code == 403
    assert client("POST", "/form").status_code == 403
    session = client._client.cookies["stackpress_session"]
    right = form_token(User("anna", Role.RECORD, session))
    assert client("POST", "/form", data={"csrf_token": right}).json() == {"name": "anna", "token": right}


def test_other_sites_pages_cannot_write(client: Client) -> None:
    for headers in ({"Origin": "http://evil.example"}, {"Origin": "null"}, {"Sec-Fetch-Site": "cross-site"}):
        assert client.patch("/campaigns/a/cells/c1", {"note": "x"}, headers=headers).status_code == 403
    own = {"Origin": "http://localhost", "Sec-Fetch-Site": "same-origin"}
    assert client.patch("/campaigns/a/cells/c1", {"note": "x"}, headers=own).status_code == 200
    text = client("POST", "/campaigns/a/undo", content=b"{}", headers={"Content-Type": "text/plain"})
    assert text.status_code == 422


def test_only_by_its_own_name(client: Client) -> None:
    for host in ("evil.example", "localhost.evil.example", ""):
        assert client.get("/campaigns", headers={"Host": host}).status_code == 421
    for host in ("localhost:8321", "127.0.0.1", "[::1]:80"):
        assert client.get("/campaigns", headers={"Host": host}).status_code == 200


def test_answers_keep_to_themselves(client: Client) -> None:
    for path in ("/campaigns", "/nothing", "/campaigns/none"):
        headers = client.get(path).headers
        assert "default-src 'none'" in headers["Content-Security-Policy"]
        assert "unsafe" not in headers["Content-Security-Policy"]
        assert headers["X-Content-Type-Options"] == "nosniff"
        assert re.fullmatch("[0-9a-f]{16}", headers["X-Request-ID"])
        assert "access-control-allow-origin" not in headers
    assert (
        client.get("/campaigns", headers={"X-Request-ID": "from-a-proxy-1"}).headers["X-Request-ID"] == "from-a-proxy-1"
    )


def test_too_many_requests_are_told_when_to_come_again(store: Path) -> None:
    client = Client(store, requests_per_minute=5, failures_per_minute=2)
    with closing(client.desk):
        anna, bob = (client.desk.tokens.create(name, Role.READ) for name in ("anna", "bob"))
        answers = [client.get("/campaigns", headers=bearer(anna)) for _ in range(6)]
        assert [answer.status_code for answer in answers] == [200] * 5 + [429]
        assert 1 <= int(answers[-1].headers["Retry-After"]) <= 60
        assert client.get("/campaigns", headers=bearer(bob)).status_code == 200
        wrong = [client.get("/campaigns", headers=bearer("sp_wrong")).status_code for _ in range(3)]
        assert wrong == [401, 401, 429]
        assert client("POST", "/login", data={"token": anna}).status_code == 429


def test_bodies_have_a_limit(client: Client) -> None:
    big = {"cells": [{**CELLS[0], "cell_id": "x", "note": "n" * 30_000}]}
    assert client.post("/campaigns/a/cells", big).status_code == 413
    headers = {"Content-Type": "application/json"}

    async def trickle():  # without a length: counted as it comes
        for _ in range(30):
            yield b" " * 1000

    answer = client("POST", "/campaigns/a/cells", content=trickle(), headers=headers)
    assert (answer.status_code, answer.headers["content-type"]) == (413, "application/problem+json")
    table = {"file": ("t.csv", b"x" * 400_000)}
    assert client("POST", "/campaigns/a/tables", files=table).status_code == 413


def test_a_fault_tells_its_number_and_nothing_else(
    client: Client, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Optuna's migrations, tested in this process too, silence every logger that is there already
    monkeypatch.setattr(logging.getLogger("stackpress.service"), "disabled", False)

    def broken() -> None:
        raise RuntimeError("secret of the house")

    client.app.add_api_route("/broken", broken)
    answer = client.get("/broken")
    assert answer.status_code == 500
    assert "secret" not in answer.text
    assert answer.json()["request_id"] == answer.headers["X-Request-ID"]
    assert answer.json()["request_id"] in caplog.text
    assert "secret of the house" in caplog.text


def test_a_table_is_looked_at_then_added(client: Client) -> None:
    table = {"file": ("../../t.csv", b"cell_id,pressure_psi,status,cycle_life_h\nt1,30,ended,20\n")}
    seen = client("POST", "/campaigns/a/tables?preview=true", files=table).json()
    assert seen["cells"][0]["pressure_kpa"] == pytest.approx(206.84, abs=0.01)
    assert client.desk.state("a").revision == 2
    assert client("POST", "/campaigns/a/tables", files=table).json()["added"] == ["t1"]
    assert client("POST", "/campaigns/a/tables", files=table).json()["unchanged"] == ["t1"]
    bare = {"file": ("t.csv", b"cell_id,pressure,status\nt2,30,planned\n")}
    [problem] = client("POST", "/campaigns/a/tables", files=bare).json()["problems"]
    assert problem["field"] == "row 1, pressure"
    assert client("POST", "/campaigns/a/tables", files={"file": ("t.pickle", b"x")}).status_code == 422


def test_a_cyclers_export_is_looked_at_then_recorded(client: Client, store: Path) -> None:
    sent = {"file": ("../../l.csv", LANDT.read_bytes())}
    seen = client("POST", "/campaigns/a/exports?preview=true", files=sent, data={"cell_id": "L1"}).json()
    assert (seen["file"], seen["format"], seen["row"]) == ("l.csv", "LANDT table", None)
    said = {"cell_id": "L1", "kind": "full", "pressure_kpa": "100"}
    assert (
        client("POST", "/campaigns/a/exports?preview=true", files=sent, data=said).json()["row"]["status"] == "running"
    )
    assert client.desk.state("a").revision == 2
    added = client("POST", "/campaigns/a/exports", files=sent, data=said).json()
    assert (added["what"], added["cell"]["pressure_kpa"]) == ("added", 100)
    assert client("POST", "/campaigns/a/exports", files=sent, data=said).json()["what"] == "unchanged"
    assert list(store.rglob("L1.parquet"))
    rubbish = client("POST", "/campaigns/a/exports", files={"file": ("l.csv", b"rubbish")}, data=said)
    assert rubbish.status_code == 422
    assert "/tmp" not in rubbish.text
    assert client("POST", "/campaigns/a/exports", files=sent, data={"cell_id": "L2"}).status_code == 422


def test_figures(client: Client) -> None:
    assert client.get("/campaigns/a/figure.png").status_code == 404
    client.post("/campaigns/a/suggestions", {})
    png, svg = (client.get(f"/campaigns/a/figure.{kind}") for kind in ("png", "svg"))
    assert (png.headers["content-type"], png.content[:4]) == ("image/png", b"\x89PNG")
    assert (svg.headers["content-type"], svg.content[:5]) == ("image/svg+xml", b"<?xml")
    assert "script-src" not in svg.headers["Content-Security-Policy"]
    assert client.get("/campaigns/a/figure.png?condition=2").status_code == 404


def test_a_prior_is_named_not_a_path(client: Client, tmp_path: Path) -> None:
    for prior in (str(tmp_path / "x.json"), "../x"):
        answer = client.post("/campaigns", {"name": "p", "condition": CONDITION, "prior": prior})
        assert answer.status_code == 422


def test_who_can_reach_an_address() -> None:
    for host in ("127.0.0.1", "localhost", "::1", "127.0.0.5"):
        assert is_loopback(host)
    for host in ("0.0.0.0", "::", "192.168.1.4", "bench.lab.org"):
        assert not is_loopback(host)
    assert Settings().is_private
    assert not Settings(public_url="https://bench.lab.org").is_private
    with pytest.raises(UserError, match="expected an address"):
        Settings(public_url="bench.lab.org")


def test_a_taken_port_is_told(store: Path, taken: int) -> None:
    from campaigns.serve_cli import serve

    with pytest.raises(UserError, match=f"127.0.0.1:{taken}: expected an address that is free"):
        serve(port=taken, store=str(store))
