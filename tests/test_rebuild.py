"""MLflow is away, damaged, deleted or elsewhere: nothing is lost, and what is made anew is what was there."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from campaigns import Campaign, mlflow_place
from campaigns.cli import main
from campaigns.ledger import Ledger
from campaigns.mlflow_place import AwayError, Place
from campaigns.mlflow_ui import free_port, running_server
from campaigns.pages import colours
from campaigns.projection import sync
from campaigns.store import mlflow_server
from surrogates import Condition
from surrogates.errors import UserError

from .projecting import (
    CELLS,
    TI,
    VO2,
    advice,
    append,
    cell,
    client_of,
    opened,
    picture,
    recorded,
    suggested,
    written_course,
    written_names,
)

pytestmark = pytest.mark.filterwarnings(
    # mlflow 3.17 maps its tables with a loader that SQLAlchemy 2.1 deprecates
    "ignore:The ``noload`` loader strategy is deprecated:DeprecationWarning",
    # mlflow.pyfunc says so of a class of its own when it is first imported
    "ignore:.*Any type hint is inferred as AnyType:UserWarning",
)


@pytest.fixture(autouse=True)
def quick_figures(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("campaigns.figure.write_figures", written_names)
    monkeypatch.setattr("campaigns.course_figure.write_course", written_course)


def story(ledger: Ledger) -> Iterator[None]:
    """What may happen to campaigns; it stops after each event."""
    yield opened(ledger, "ti", TI)
    yield append(ledger, "ti", "cells_added", {"source": "test", "rows": CELLS})
    yield suggested(ledger, "ti", advice(TI))
    yield recorded(ledger, "ti", cell("ti-run", 150, "running", cycle_life_h=88))
    yield opened(ledger, "both", TI, VO2)
    yield recorded(ledger, "ti", {**CELLS[0], "pressure_kpa": 23.0})
    yield append(ledger, "ti", "undone", {"revision": 5})
    yield suggested(ledger, "ti", {**advice(TI, 300), "foretold_better": None})
    yield append(ledger, "ti", "withdrawn", {"cell_id": "ti-bad", "reason": "typing error"})
    yield recorded(ledger, "ti", cell("ti-run", 150, "ended", cycle_life_h=99, end_reason="short"))
    yield suggested(ledger, "both", advice(TI, 100), advice(VO2, 200))
    yield append(ledger, "ti", "undone", {"revision": 8})
    yield suggested(ledger, "ti", advice(TI, 310))
    yield append(ledger, "ti", "closed", {"reason": "paper is out"})
    yield append(ledger, "ti", "undone", {"revision": 12})
    yield append(ledger, "ti", "closed", {"reason": "paper is out at last"})


def registered(folder: Path) -> dict[str, Any]:
    """All that the registry shows, whatever the ids and times."""
    client, seen = client_of(folder), {}
    for model in client.search_registered_models():
        for version in client.search_model_versions(f"name = '{model.name}'"):
            full = client.get_model_version(model.name, version.version)
            said = (full.description, full.tags, sorted(full.aliases), model.description)
            seen[f"{model.name} {full.version}"] = said
    return seen


def views(folder: Path) -> dict[str, Any]:
    return {item.name: item.tags for item in client_of(folder).search_experiments()}


def test_what_is_made_anew_is_what_grew_event_by_event(ledger: Ledger, folder: Path) -> None:
    for _ in story(ledger):
        assert sync(ledger, folder).problems == ()
    grown = picture(folder), registered(folder), views(folder)
    old = {path for path in (folder / "artifacts" / "zinc").iterdir() if path.name != "models"}
    assert sync(ledger, folder, rebuild=True).problems == ()
    assert picture(folder) == grown[0]
    assert registered(folder) == grown[1]
    assert views(folder) == grown[2]
    assert "surrogate-ti 1" in grown[1]
    assert not [path for path in old if path.exists()]
    assert (folder / "mlflow.before-rebuild.db").exists()


@pytest.mark.parametrize("damage", ["no database", "page", "empty"])
def test_a_damaged_database_is_said_once_and_mended(
    ledger: Ledger, folder: Path, damage: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for _ in story(ledger):
        pass
    sync(ledger, folder)
    shown, database = picture(folder), folder / "mlflow.db"
    content = database.read_bytes()
    if damage == "page":
        database.write_bytes(content[:4096] + b"\xff" * (len(content) - 8192) + content[-4096:])
    else:
        database.write_bytes(b"no database" if damage == "no database" else content[: len(content) // 2])
    recorded(ledger, "both", cell("late", 10, "planned"))
    monkeypatch.setenv("STACKPRESS_STORE", str(folder))
    with pytest.raises(SystemExit) as ended:
        main(["sync"])
    assert ended.value.code == 2
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert "mlflow.db: expected MLflow's database; found: " in said
    assert "stackpress sync --rebuild makes it anew" in said
    with pytest.raises(SystemExit) as ended:
        main(["sync", "--rebuild"])
    assert ended.value.code == 0
    now = picture(folder)
    assert set(now) == {*shown, "late 10 kPa"}
    assert {name: now[name] for name in shown if name != "both"} == {n: v for n, v in shown.items() if n != "both"}


def test_a_colour_is_the_campaigns_own() -> None:
    uids = [f"uid-{number}" for number in range(30)]
    for count in range(1, 30):
        assert colours(uids[:count]) == {uid: colours(uids)[uid] for uid in uids[:count]}
    assert len(set(colours(uids[:10]).values())) == 10


@pytest.mark.parametrize("address", ["labserver", "ftp://labserver", "sqlite:///x.db"])
def test_an_address_that_is_none_is_refused(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STACKPRESS_MLFLOW", address)
    with pytest.raises(UserError, match="expected an address, as in http://labserver:5000; found"):
        mlflow_server()


def test_the_option_wins_over_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    assert mlflow_server() is None
    monkeypatch.setenv("STACKPRESS_MLFLOW", "http://one:5000/")
    assert mlflow_server() == "http://one:5000"
    assert mlflow_server("https://two") == "https://two"


def test_a_server_that_is_not_there_is_said_at_once(
    ledger: Ledger, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened(ledger, "ti", TI)
    nobody = f"http://127.0.0.1:{free_port(5900)}"
    began = time.monotonic()
    with pytest.raises(AwayError, match=r"MLflow server http.*: expected an answer within 5 s; found: .*refused"):
        sync(ledger, folder, server=nobody)
    assert time.monotonic() - began < 3


def test_a_server_that_does_not_answer_is_waited_for_shortly(
    taken: int, ledger: Ledger, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mlflow_place, "ANSWER_S", 0.3)
    with pytest.raises(AwayError, match="found: .*timed out"):
        sync(ledger, folder, server=f"http://127.0.0.1:{taken}")


@pytest.mark.slow
def test_a_server_that_was_stopped_during_50_records_has_each_once(
    tmp_path: Path, zn_ti: Condition, monkeypatch: pytest.MonkeyPatch
) -> None:
    store, served = tmp_path / "store", tmp_path / "served"
    made(served)
    port = free_port(5950)
    monkeypatch.setenv("STACKPRESS_MLFLOW", f"http://127.0.0.1:{port}")
    monkeypatch.setenv("STACKPRESS_SYNC", "wait")
    with running_server(served, port) as address:
        campaign = Campaign.create("ti", zn_ti, history="none", store=store)
        campaign.record("before", pressure_kpa=10.0)
        assert (store / "sync.log").read_text() == ""
    for number in range(50):
        campaign.record(f"cell-{number}", pressure_kpa=20.0 + number)
    lines = (store / "sync.log").read_text().splitlines()
    assert len(lines) == 50
    assert {line.partition(" ")[2] for line in lines} == {lines[0].partition(" ")[2]}
    assert "expected an answer within 5 s" in lines[0]
    with running_server(served, port) as address, closing(Ledger.open(store)) as ledger:
        assert sync(ledger, store, server=address).problems == ()
        client = Place(store, address).client()
        [experiment] = client.search_experiments()
        assert experiment.artifact_location.startswith("mlflow-artifacts:")
        names = [run.info.run_name for run in client.search_runs([experiment.experiment_id])]
        assert sorted(names) == sorted(["ti", "before 10 kPa", *(f"cell-{i} {20 + i} kPa" for i in range(50))])
        before = {run.info.run_name: run.data for run in client.search_runs([experiment.experiment_id])}
        twice(client, experiment.experiment_id, before["ti"].tags)
        campaign.record("after", pressure_kpa=90.0)
        assert sync(ledger, store, server=address, rebuild=True).problems == ()
        again = client.search_runs([experiment.experiment_id])
        assert sorted(run.info.run_name for run in again) == sorted([*before, "after 90 kPa"])
    assert not (store / "mlflow.db").exists()


def twice(client: Any, experiment_id: str, tags: dict[str, str]) -> None:
    """A campaign's run that was made again because the answer to its making was lost."""
    client.create_run(experiment_id, tags=tags, run_name="ti")


@pytest.mark.slow
def test_two_that_make_a_projection_on_one_server_leave_it_whole(tmp_path: Path, zn_ti: Condition) -> None:
    with contextlib.ExitStack() as stack:
        address = stack.enter_context(running_server(made(tmp_path / "served"), free_port(5970)))
        for name in ("one", "two"):
            campaign = Campaign.create(name, zn_ti, history="none", store=tmp_path / name)
            campaign.record(f"{name}-1", pressure_kpa=10.0)
            assert sync(campaign._ledger, tmp_path / name, server=address).problems == ()
        client = Place(tmp_path, address).client()
        [experiment] = client.search_experiments()
        assert len(client.search_runs([experiment.experiment_id])) == 4
        [version] = client.search_model_versions("name = 'prior-default'")
        assert int(version.version) == 1


def made(folder: Path) -> Path:
    folder.mkdir()
    Place(folder).client()
    return folder
