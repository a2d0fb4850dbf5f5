"""Notices: what is worth one, told once, signed, tried again, and never sent to where only this machine should reach."""

from __future__ import annotations

import hashlib
import hmac
import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sql

from campaigns.campaign import Campaign
from campaigns.ledger import Ledger
from campaigns.service import delivery
from campaigns.service.delivery import SIGNATURE, checked_address, deliver
from campaigns.service.desk import Desk
from campaigns.service.notices import Webhooks, look, told_by_answers
from campaigns.service.tokens import Role, Tokens
from surrogates.errors import UserError

from .serving import CELLS, CONDITION, Client, bearer, opened


class Receiver:
    """A web server that keeps what is posted to it and answers with `statuses` in turn, then 204."""

    def __init__(self) -> None:
        self.got: list[tuple[dict[str, str], bytes]] = []
        self.statuses: list[int] = []
        self.url = ""


@contextmanager
def listening() -> Iterator[Receiver]:
    receiver = Receiver()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            receiver.got.append((dict(self.headers), body))
            self.send_response(receiver.statuses.pop(0) if receiver.statuses else 204)
            self.send_header("Location", f"{receiver.url}/elsewhere")
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    receiver.url = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield receiver
    server.shutdown()
    server.server_close()
    thread.join()


def campaign_that_moves(store: str) -> Campaign:
    """A campaign with an answer, and then cells that say otherwise."""
    campaign = Campaign.create("a", CONDITION, store=store)
    campaign.add([{**CONDITION, **cell} for cell in CELLS])
    campaign.advise()
    return campaign


def contradict(campaign: Campaign) -> None:
    """Cells that died at once where the best was, and lived long far away."""
    rows = [(f"x{number}", 1100 + 30 * number, 900.0) for number in range(6)]
    rows += [(f"y{number}", 280 + 10 * number, 1.0) for number in range(6)]
    cells = [
        {**CONDITION, "cell_id": i, "pressure_kpa": kpa, "status": "ended", "cycle_life_h": h} for i, kpa, h in rows
    ]
    campaign.add(cells)
    campaign.advise()


def test_a_suggestion_that_moved_is_told_once_and_signed(any_store: str) -> None:
    campaign = campaign_that_moves(any_store)
    desk = Desk(any_store)
    with listening() as receiver:
        secret = Webhooks(desk.ledger).put("a", receiver.url)
        look(desk)
        assert not deliver(desk.ledger, private=True)
        contradict(campaign)
        old, new = (answer.advice[0].best for answer in campaign.state.suggestions)
        assert old.window_kpa is not None
        assert not old.window_kpa[0] <= new.pressure_kpa <= old.window_kpa[1]
        for _ in range(2):
            look(desk)
            while deliver(desk.ledger, private=True):
                pass
        [(headers, body)] = receiver.got
    told = json.loads(body)
    assert told["kind"] == "suggestion moved"
    assert told["campaign"] == "a"
    assert told["about"]["best_kpa"] == new.pressure_kpa
    assert tuple(told["about"]["window_before_kpa"]) == old.window_kpa
    assert headers[SIGNATURE] == "sha256=" + hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()
    [notice] = Webhooks(desk.ledger).get("a")["notices"]
    assert (notice["id"], notice["state"]) == (told["id"], "delivered")
    desk.close()


def test_a_verdict_to_stop_is_told_when_it_comes_and_not_while_it_stays(store: Path) -> None:
    state = campaign_that_moves(str(store)).state
    [answer] = state.suggestions

    def said(revision: int, verdict: str) -> Any:
        advice = answer.advice[0]
        best = advice.best.model_copy(update={"verdict": verdict})
        return replace(answer, revision=revision, advice=(advice.model_copy(update={"best": best}),))

    verdicts = ["measure", "stop", "stop", "measure", "stop"]
    state = replace(state, suggestions=tuple(said(number, verdict) for number, verdict in enumerate(verdicts, 1)))
    facts = [notice.fact for notice in told_by_answers(state)]
    assert facts == [f"{state.uid}/2/may-stop", f"{state.uid}/5/may-stop"]
    assert [notice.fact for notice in told_by_answers(state, since=2)] == facts[1:]


def test_a_cell_that_should_be_stopped_is_told_once(store: Path) -> None:
    campaign = campaign_that_moves(str(store))
    running = {"pressure_kpa": 1900, "status": "running", "cycle_life_h": 1.0}
    cell_id = campaign.record("r1", **running).cell_id
    desk = Desk(str(store))
    webhooks = Webhooks(desk.ledger)
    webhooks.put("a", "http://127.0.0.1:9")
    look(desk)
    told = [notice for notice in webhooks.get("a")["notices"] if notice["kind"] == "stop cell"]
    assert bool(told) == campaign.should_stop(cell_id).stop
    campaign.record("c9", pressure_kpa=200, status="planned")
    look(desk)
    assert [notice for notice in webhooks.get("a")["notices"] if notice["kind"] == "stop cell"] == told
    assert told
    desk.close()


def test_a_receiver_that_fails_is_tried_again_and_no_redirect_is_followed(
    store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(delivery, "FIRST_WAIT_S", 0.05)
    monkeypatch.setattr(delivery, "WAIT_FACTOR", 1.0)
    campaign = campaign_that_moves(str(store))
    desk = Desk(str(store))
    with listening() as receiver:
        Webhooks(desk.ledger).put("a", receiver.url)
        contradict(campaign)
        look(desk)
        receiver.statuses = [500, 302]
        for _ in range(3):
            assert deliver(desk.ledger, private=True)
            assert not deliver(desk.ledger, private=True)
            time.sleep(0.06)
    assert len(receiver.got) == 3
    assert len({body for _, body in receiver.got}) == 1
    [notice] = Webhooks(desk.ledger).get("a")["notices"]
    assert (notice["state"], notice["attempts"]) == ("delivered", 3)
    desk.close()


def test_a_receiver_that_never_answers_well_is_given_up(store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(delivery, "FIRST_WAIT_S", 0.0)
    campaign = campaign_that_moves(str(store))
    desk = Desk(str(store))
    Webhooks(desk.ledger).put("a", "http://127.0.0.1:9")
    contradict(campaign)
    look(desk)
    attempts = 0
    while deliver(desk.ledger, private=attempts % 2 == 0):
        attempts += 1
    assert attempts == delivery.MOST_ATTEMPTS
    [notice] = Webhooks(desk.ledger).get("a")["notices"]
    assert notice["state"] == "failed"
    assert "public" in notice["problem"]
    desk.close()


@pytest.mark.parametrize(
    "url",
    [
        "http://127.0.0.1/", "http://localhost:8321/", "http://[::1]/", "http://10.0.0.1/", "http://192.168.1.2/",
        "http://169.254.169.254/latest", "http://[::ffff:127.0.0.1]/", "http://0.0.0.0/", "http://2130706433/",
        "http://[fe80::1]/", "http://[2002:7f00:1::]/", "ftp://1.1.1.1/", "file:///etc/passwd", "http:///", "nonsense",
        "https://anna:secret@1.1.1.1/", "http://224.0.0.1/",
    ],
)  # fmt: skip
def test_a_webhook_reaches_only_the_internet(url: str) -> None:
    with pytest.raises(UserError, match="expected"):
        checked_address(url, private=False)
    assert checked_address("https://1.1.1.1/x", private=False) == "1.1.1.1"
    with pytest.raises(UserError, match="expected"):
        checked_address("http://169.254.169.254/", private=True)


def test_webhooks_over_http(store: Path) -> None:
    client = Client(store, private_webhooks=True)
    opened(client)
    path = "/campaigns/a/webhook"
    assert client.get(path).status_code == 404
    secrets = {client("PUT", path, json={"url": "http://127.0.0.1:9/"}).json()["secret"] for _ in range(2)}
    assert len(secrets) == 2
    assert client.get(path).json()["secret"] is None
    assert client("DELETE", path).status_code == 204
    assert client.get(path).status_code == 404
    assert client("PUT", "/campaigns/b/webhook", json={"url": "http://127.0.0.1:9/"}).status_code == 404
    assert Client(store)("PUT", path, json={"url": "http://127.0.0.1:9/"}).status_code == 422
    recorder = bearer(Tokens(Ledger.open(store)).create("r", Role.RECORD))
    for method in ("PUT", "GET", "DELETE"):
        body = {"json": {"url": "http://127.0.0.1:9/"}} if method == "PUT" else {}
        assert client(method, path, headers=recorder, **body).status_code == 403
        assert client(method, path, **body).status_code == 401


def test_what_was_on_its_way_goes_with_its_webhook(store: Path) -> None:
    campaign = campaign_that_moves(str(store))
    desk = Desk(str(store))
    webhooks = Webhooks(desk.ledger)
    webhooks.put("a", "http://127.0.0.1:9")
    contradict(campaign)
    look(desk)
    webhooks.delete("a")
    assert not deliver(desk.ledger, private=True)
    with desk.ledger.reading() as connection:
        assert connection.execute(sql.text("SELECT count(*) FROM deliveries")).scalar() == 0
    desk.close()
