"""The service's verbs over HTTP: they are those of `Campaign`, answered alike when asked alike."""

from __future__ import annotations

import statistics
import threading
import time
from contextlib import closing
from pathlib import Path

import pytest

from campaigns import Campaign

from .serving import CELLS, CONDITION, Client, bearer, opened


def test_the_api_and_python_tell_the_same(client: Client, store: Path) -> None:
    told = client.post("/campaigns/a/suggestions", {"n": 2}).json()
    state = Campaign.open("a", store).state
    document = client.get("/campaigns/a").json()
    assert document["revision"] == told["revision"] == state.revision == 3
    assert [cell["cell_id"] for cell in document["cells"]] == [cell.cell_id for cell in state.cells]
    assert state.latest is not None
    [advice] = state.latest.advice
    [answer] = told["answers"]
    assert [item["pressure_kpa"] for item in answer["proposals"]] == [item.pressure_kpa for item in advice.proposals]
    assert tuple(answer["cell_ids"]) == state.latest.cell_ids[0]
    assert answer["curve"] is None
    assert client.get("/campaigns/a/suggestions/latest?curve=true").json()["answers"][0]["curve"]["pressure_kpa"]
    surrogate = client.get("/campaigns/a/surrogate", params={"pressure_kpa": [100, 300]}).json()["surrogates"][0]
    expected = Campaign.open("a", store).surrogate.curve(state.conditions[0], [100, 300])
    assert surrogate["median"] == pytest.approx(expected["median"].tolist())
    assert surrogate["best"]["pressure_kpa"] == pytest.approx(Campaign.open("a", store).optimum().pressure_kpa)


def test_a_new_cell_makes_a_new_answer_and_none_the_same(client: Client) -> None:
    first = client.post("/campaigns/a/suggestions", {}).json()
    assert client.post("/campaigns/a/suggestions", {}).json() == first
    new = first["answers"][0]["cell_ids"][0]
    recorded = client.patch(f"/campaigns/a/cells/{new}", {"status": "ended", "cycle_life_h": 88})
    assert recorded.json()["pressure_kpa"] == first["answers"][0]["proposals"][0]["pressure_kpa"]
    assert client.get("/campaigns/a").json()["suggestion_is_current"] is False
    second = client.post("/campaigns/a/suggestions", {}).json()
    assert second["revision"] > first["revision"]
    assert second["answers"][0]["cells_used"] == first["answers"][0]["cells_used"] + 1


def test_a_cell_of_a_campaign_that_informs_makes_a_new_answer(client: Client) -> None:
    opened(client, "b")
    first = client.post("/campaigns/a/suggestions", {}).json()
    assert client.post("/campaigns/b/cells", {"cells": [{**CELLS[0], "cell_id": "x"}]}).status_code == 201
    again = client.post("/campaigns/a/suggestions", {}).json()
    assert again["informed_by"]["b"] == first["informed_by"]["b"] + 1


def test_two_editors_do_not_overwrite_each_other(client: Client) -> None:
    etag = client.get("/campaigns/a/cells/c1").headers["ETag"]
    told = client.patch("/campaigns/a/cells/c1", {"cycle_life_h": 31}, headers={"If-Match": etag})
    assert (told.status_code, told.headers["ETag"]) == (200, '"3"')
    late = client.patch("/campaigns/a/cells/c1", {"cycle_life_h": 29}, headers={"If-Match": etag})
    assert late.status_code == 412
    assert client.get("/campaigns/a/cells/c1").json()["cycle_life_h"] == 31
    assert client.patch("/campaigns/a/cells/c2", {"note": "x"}, headers={"If-Match": etag}).status_code == 200
    assert client.patch("/campaigns/a/cells/c2", {"note": "x"}, headers={"If-Match": "new"}).status_code == 422


WRITES = [
    ("POST", "/campaigns", {"name": "n", "condition": CONDITION}, {"name": "m", "condition": CONDITION}),
    (
        "POST",
        "/campaigns/a/cells",
        {"cells": [{**CELLS[0], "cell_id": "x"}]},
        {"cells": [{**CELLS[0], "cell_id": "y"}]},
    ),
    ("PATCH", "/campaigns/a/cells/c1", {"cycle_life_h": 33}, {"cycle_life_h": 34}),
    ("POST", "/campaigns/a/cells/c1/corrections", {"changes": {"pressure_kpa": 55}}, {"changes": {"pressure_kpa": 56}}),
    ("POST", "/campaigns/a/cells/c1/withdrawal", {"reason": "twice"}, {"reason": "other"}),
    ("POST", "/campaigns/a/suggestions", {"n": 1}, {"n": 2}),
    ("POST", "/campaigns/a/undo", {"revision": 2}, {"revision": 1}),
    ("POST", "/campaigns/a/close", {"reason": "done"}, {"reason": "other"}),
]


@pytest.mark.parametrize(("method", "path", "body", "other"), WRITES)
def test_a_request_sent_again_under_its_key_is_carried_out_once(
    client: Client, method: str, path: str, body: object, other: object
) -> None:
    headers = {"Idempotency-Key": "k-1"}
    first = client(method, path, json=body, headers=headers)
    assert first.status_code in (200, 201), first.text
    revisions = client.desk.ledger.revisions()
    again = client(method, path, json=body, headers=headers)
    assert (again.status_code, again.json()) == (first.status_code, first.json())
    assert client.desk.ledger.revisions() == revisions
    assert client(method, path, json=other, headers=headers).status_code in (409, 422)
    assert client.desk.ledger.revisions() == revisions


def test_cells_are_created_only_where_one_was_added(client: Client) -> None:
    def add(*cells: dict[str, object], correct: bool = False) -> int:
        return client.post("/campaigns/a/cells", {"cells": cells, "correct": correct}).status_code

    client.post("/campaigns/a/cells/c2/withdrawal", {"reason": "twice"})
    assert [add(CELLS[0]), add(CELLS[1]), add({**CELLS[0], "cycle_life_h": 31}, correct=True)] == [200, 200, 200]
    assert add(CELLS[2], {**CELLS[2], "cell_id": "x"}) == 201
    declared = client.get("/openapi.json").json()["paths"]["/campaigns/{name}/cells"]["post"]["responses"]
    assert declared["200"]["content"] == declared["201"]["content"]


def test_what_is_not_there_and_what_stands_otherwise(client: Client) -> None:
    for path in ("/campaigns/none", "/campaigns/a/cells/none", "/campaigns/a/suggestions/latest", "/campaigns/../a"):
        answer = client.get(path)
        assert (answer.status_code, answer.headers["content-type"]) == (404, "application/problem+json")
    assert client.post("/campaigns", {"name": "a", "condition": CONDITION}).status_code == 409
    assert client.post("/campaigns/a/close", {}).status_code == 200
    assert client.patch("/campaigns/a/cells/c1", {"note": "x"}).status_code == 409
    assert client("DELETE", "/campaigns").headers["Allow"] == "GET, POST"


def test_a_problem_says_where_what_and_what_to_do(client: Client) -> None:
    rows = [{**CELLS[0], "cell_id": "x", "coulombic_efficiency": 98.4, "ce_protocol": "reservoir"}, {"cell_id": "y"}]
    document = client.post("/campaigns/a/cells", {"cells": rows}).json()
    fields = {item["field"]: item for item in document["problems"]}
    assert fields["row 1, coulombic_efficiency"]["expected"] == "a fraction between 0 and 1"
    assert fields["row 1, coulombic_efficiency"]["found"] == "98.4"
    assert "percentage" in fields["row 1, coulombic_efficiency"]["remedy"]
    assert "row 2, pressure_kpa" in fields
    assert len(client.get("/campaigns/a").json()["cells"]) == len(CELLS)
    [one] = client.patch("/campaigns/a/cells/new", {"status": "planned"}).json()["problems"]
    assert one["remedy"] == "Give pressure_kpa to add it."


@pytest.mark.parametrize(
    "value",
    ["Infinity", "1e999", "NaN", "true", '"30"', '"\\ud800"', '"a\\u0000b"', "[1]", "1" + "0" * 400, "1" * 5000],
)
def test_values_that_no_cell_can_hold_are_refused(client: Client, value: str) -> None:
    for column in ("cycle_life_h", "my_column"):
        if (column, value) in (("my_column", "true"), ("my_column", '"30"')):
            continue
        text = f'{{"cells": [{{"cell_id": "x", "pressure_kpa": 30, "status": "running", "{column}": {value}}}]}}'
        answer = client("POST", "/campaigns/a/cells", content=text, headers={"Content-Type": "application/json"})
        assert answer.status_code in (400, 422), answer.text


def test_lists_come_in_pages(client: Client) -> None:
    page = client.get("/campaigns/a/cells?limit=2").json()
    seen = [cell["cell_id"] for cell in page["cells"]]
    while page["next"]:
        page = client.get(page["next"]).json()
        seen += [cell["cell_id"] for cell in page["cells"]]
    assert seen == [cell["cell_id"] for cell in CELLS]
    assert client.get("/campaigns?limit=0").status_code == 422
    assert client.get("/campaigns/a/history?cell_id=c1").json()["total"] == 1


def test_ids_with_slashes_and_odd_letters_are_found(client: Client) -> None:
    from urllib.parse import quote

    for cell_id in ("cell 1/2", "ä%2F?#", "a/stopping/b"):
        row = {**CELLS[0], "cell_id": cell_id}
        assert client.post("/campaigns/a/cells", {"cells": [row]}).status_code == 201
        assert client.get(f"/campaigns/a/cells/{quote(cell_id, safe='/')}").json()["cell_id"] == cell_id


def test_a_running_cell_and_whether_it_goes_on(client: Client) -> None:
    client.patch("/campaigns/a/cells/r", {"pressure_kpa": 300, "status": "running", "cycle_life_h": 40})
    told = client.get("/campaigns/a/cells/r/stopping").json()
    assert told["cell_id"] == "r"
    assert isinstance(told["stop"], bool)
    assert client.get("/campaigns/a/cells/c1/stopping").status_code == 422


def test_campaigns_side_by_side(client: Client) -> None:
    opened(client, "b")
    for name in ("a", "b"):
        client.post(f"/campaigns/{name}/suggestions", {})
    told = client.get("/comparison?name=a&name=b").json()
    assert [entry["campaign"] for entry in told["campaigns"]] == ["a", "b"]
    assert told["sentences"]
    assert client.get("/comparison?name=a").status_code == 422
    assert client.get("/comparison?name=a&name=a").status_code == 422


def test_readers_do_not_wait_for_a_fit(client: Client) -> None:
    with client.desk._fitting:
        for path in ("/campaigns", "/campaigns/a", "/campaigns/a/cells", "/campaigns/a/history"):
            assert client.get(path).status_code == 200
        assert client.patch("/campaigns/a/cells/c1", {"note": "x"}).status_code == 200


def test_many_at_once_lose_and_double_nothing(client: Client) -> None:
    failed = []

    def record(worker: int) -> None:
        for number in range(5):
            row = {"pressure_kpa": 100 + number, "status": "planned"}
            answer = client.patch(f"/campaigns/a/cells/w{worker}-{number}", row)
            if answer.status_code != 200:
                failed.append(answer.text)

    threads = [threading.Thread(target=record, args=[worker]) for worker in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failed
    state = client.desk.state("a")
    assert len(state.cells) == len({cell.cell_id for cell in state.cells}) == len(CELLS) + 40


def test_a_warm_suggestion_is_quick(client: Client) -> None:
    more = [{**CELLS[number % 5], "cell_id": f"m{number}"} for number in range(25)]
    client.post("/campaigns/a/cells", {"cells": more})
    client.post("/campaigns/a/suggestions", {})
    seconds = []
    for _ in range(20):
        start = time.perf_counter()
        client.post("/campaigns/a/suggestions", {})
        seconds.append(time.perf_counter() - start)
    assert statistics.median(seconds) < 0.08


def test_what_others_write_is_seen(client: Client, store: Path) -> None:
    Campaign.open("a", store).record("c1", cycle_life_h=35)
    assert client.get("/campaigns/a/cells/c1").json()["cycle_life_h"] == 35
    assert client.get("/campaigns/a/history").json()["total"] == 3


def test_every_operation_tells_how_it_fails(client: Client) -> None:
    document = client.get("/openapi.json").json()
    assert document["openapi"].startswith("3.1")
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            declared = set(operation["responses"])
            assert {"401", "403", "422", "429", "500", "503"} <= declared, (path, method)
            if method in ("post", "patch"):  # PUT and DELETE come to the same when they come twice
                headers = {item["name"].lower() for item in operation["parameters"] if item["in"] == "header"}
                assert "idempotency-key" in headers, path


def test_a_group_on_either_database(any_store: str) -> None:
    client = Client(any_store)
    with closing(client.desk):
        opened(client)
        token = client.desk.tokens.create("anna", "record")
        shown = {"headers": bearer(token)}
        assert client.post("/campaigns/a/suggestions", {}, **shown).status_code == 200
        assert client.patch("/campaigns/a/cells/c1", {"note": "ä"}, **shown).headers["ETag"] == '"4"'
        assert client("POST", "/login", data={"token": token}).headers["location"] == "/bench"
        assert client.get("/campaigns/a/history").json()["events"][-1]["actor"] == "anna"
        client.desk.tokens.revoke("anna")
        assert client.get("/campaigns/a", **shown).status_code == 401
