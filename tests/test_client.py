"""The client beside the local `Campaign`, on a real server; and on a line that loses answers."""

from __future__ import annotations

import os
import shutil
import ssl
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx
import pandas as pd
import pytest

from campaigns import client as module
from campaigns.campaign import Campaign
from campaigns.client import RemoteCampaign, Service, connect
from campaigns.ledger import Ledger
from campaigns.service.tokens import Role, Tokens
from surrogates.errors import ConflictError, MovedError, TableError, UnavailableError, UnknownError, UserError

from .serving import CELLS, CONDITION, served
from .waiting import free_port

TABLE = [{**CONDITION, **cell} for cell in CELLS]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, Path]]:
    """The address of a server, and its store."""
    store = tmp_path_factory.mktemp("lab")
    with served(store) as (client, _):
        yield str(client.base_url), store


@pytest.mark.slow
def test_it_answers_as_the_campaign_itself(place: tuple[str, Path]) -> None:
    url, store = place
    lab = connect(url)
    there = lab.create("a", CONDITION, pressure_kpa=(10, 1500))
    here = Campaign.open("a", store)
    assert there.add(pd.DataFrame(TABLE), "table") == ("c1", "c2", "c3", "c4", "c5")
    assert there.add(TABLE) == ()
    pd.testing.assert_frame_equal(there.suggest(2, seed=1), here.suggest(2, seed=1))
    assert there.advise(2, seed=1) == here.state.latest
    built = str(there.suggest()["cell_id"][0])
    assert there.record(built, status="running", cycle_life_h=2.0) == here.state.cell(built)
    assert there.should_stop(built) == here.should_stop(built)
    assert there.optimum() == here.optimum()
    assert there.correct("c1", cycle_life_h=31.0, reason="typo").cycle_life_h == 31.0
    there.withdraw("c5", "entered twice")
    assert "c5" not in set(there.cells["cell_id"])
    assert there.undo() == here.lines()[-1]
    pd.testing.assert_frame_equal(there.cells, here.cells, check_dtype=False)
    pd.testing.assert_frame_equal(there.history, here.history, check_dtype=False)
    assert there.plan(cells=2, campaigns=3) == here.plan(cells=2, campaigns=3)
    assert there.replay(stop_gain=0.05) == here.replay(stop_gain=0.05)
    assert lab.learn(["a"], name="ours").name == "ours"
    there.close("enough")
    assert here.state.closed is not None
    with pytest.raises(ConflictError, match="closed"):
        there.add([{**TABLE[0], "cell_id": "late"}])


@pytest.mark.slow
def test_what_is_refused_is_told_in_the_service_s_words(place: tuple[str, Path]) -> None:
    url, _ = place
    lab = connect(url)
    campaign = lab.create("b", CONDITION)
    with pytest.raises(ConflictError, match="new name"):
        lab.create("b", CONDITION)
    with pytest.raises(UnknownError, match="campaign c"):
        lab.open("c")
    with pytest.raises(UnknownError):
        campaign.cell("nothing")
    with pytest.raises(TableError, match="pressure_kpa"):
        campaign.add([{**TABLE[0], "pressure_kpa": -1}])
    campaign.record("a/b c", pressure_kpa=100, status="planned")
    campaign.record("a/b c", status="running", cycle_life_h=1.0, seen_revision=2)
    with pytest.raises(MovedError):
        campaign.record("a/b c", cycle_life_h=2.0, seen_revision=2)
    with pytest.raises(UserError, match="cycle_life_h"):
        campaign.record("a/b c", cycle_life_h=-2.0)
    with pytest.raises(UserError, match="subject_to"):
        campaign.replay(subject_to=["nonsense"])
    with pytest.raises(UserError, match="carries out"):
        campaign.verify  # noqa: B018
    assert not hasattr(campaign, "_repr_html_")
    assert isinstance(Campaign.open("b", store=url), RemoteCampaign)


@pytest.mark.slow
def test_a_token_is_shown_and_missed(store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Campaign.create("a", CONDITION, store=store)
    token = Tokens(Ledger.open(store)).create("anna", Role.RECORD)
    with served(store) as (client, _):
        url = str(client.base_url)
        with pytest.raises(UserError, match="stackpress token create"):
            connect(url).names()
        monkeypatch.setenv("STACKPRESS_TOKEN", token)
        assert connect(url).names() == ("a",)
        Campaign.open("a", url).record("x", pressure_kpa=100, status="planned")
        assert connect(url, token).open("a").lines()[-1].actor == "anna"
        with pytest.raises(UserError, match="may manage"):
            connect(url).create("b", CONDITION)


@contextmanager
def losing(target: str, losses: list[int | None]) -> Iterator[str]:
    """A proxy before a server that passes every request on, and of the answers loses one for each None in `losses`, or
    answers with that status instead."""

    class Handler(BaseHTTPRequestHandler):
        def pass_on(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            kept = {name: value for name, value in self.headers.items() if name.lower() not in ("host", "connection")}
            answer = httpx.request(self.command, target + self.path, content=body, headers=kept)
            loss = losses.pop(0) if losses else answer.status_code
            self.close_connection = True
            if loss is None:
                return
            self.send_response(loss)
            for name in ("Content-Type", "Content-Length"):
                self.send_header(name, answer.headers[name])
            self.end_headers()
            self.wfile.write(answer.content)

        do_GET = do_POST = do_PATCH = pass_on  # noqa: N815

        def log_message(self, *_: Any) -> None:
            pass

    with listening(Handler) as port:
        yield f"http://127.0.0.1:{port}"


@contextmanager
def listening(handler: type[BaseHTTPRequestHandler], context: ssl.SSLContext | None = None) -> Iterator[int]:
    """A server of requests, by TLS with a context, on a free port."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    if context:
        server.socket = context.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield server.server_address[1]
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.mark.slow
def test_answers_that_are_lost_leave_each_write_stored_once(
    place: tuple[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    url, store = place
    monkeypatch.setattr(module, "FIRST_WAIT_S", 0.01)
    connect(url).create("lossy", CONDITION)
    losses: list[int | None] = []
    with losing(url, losses) as lossy:
        campaign = connect(lossy).open("lossy")
        for write in (
            lambda: campaign.add(TABLE),
            lambda: campaign.record("r", pressure_kpa=100, status="planned"),
            lambda: campaign.correct("c1", cycle_life_h=33.0),
            lambda: campaign.withdraw("c2", "not ours"),
            lambda: campaign.undo(),
        ):
            before = Ledger.open(store).revision("lossy")
            losses += [None, 503, None, 429]
            write()
            assert not losses
            assert Ledger.open(store).revision("lossy") == before + 1


def test_a_service_that_is_not_there_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "FIRST_WAIT_S", 0.001)
    with pytest.raises(UnavailableError, match="expected a service that answers"):
        connect(f"http://127.0.0.1:{free_port()}").names()
    with pytest.raises(UserError, match="expected an address"):
        Service("bench.lab.org")


@contextmanager
def self_signed(folder: Path) -> Iterator[tuple[str, Path]]:
    """A server with a certificate that nobody else has signed, and the certificate."""
    certificate, key = folder / "certificate.pem", folder / "key.pem"
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=localhost"]
    command += ["-addext", "subjectAltName=IP:127.0.0.1", "-keyout", str(key), "-out", str(certificate)]
    subprocess.run(command, check=True, capture_output=True)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    with listening(BaseHTTPRequestHandler, context) as port:
        yield f"https://127.0.0.1:{port}", certificate


@pytest.mark.skipif(shutil.which("openssl") is None, reason="openssl makes the certificate")
def test_a_certificate_that_nobody_trusts_is_told_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "FIRST_WAIT_S", 60)
    with self_signed(tmp_path) as (url, certificate):
        with pytest.raises(UserError, match="expected a certificate that this machine trusts.*SSL_CERT_FILE"):
            connect(url).names()
        monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
        with pytest.raises(UserError, match="501"):  # trusted, and answered
            connect(url).names()


def test_it_brings_no_server_along() -> None:
    code = (
        "import sys, campaigns.client; print([m for m in ('fastapi', 'torch', 'pandas', 'httpx') if m in sys.modules])"
    )
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env={**os.environ})
    assert told.stdout.strip() == "[]", told.stderr
