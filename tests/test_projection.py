"""MLflow follows the ledger: what is written, once, again, after a change, after a kill, and by two at a time."""

from __future__ import annotations

import csv
import json
import math
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from statistics import NormalDist
from typing import Any

import filelock
import pytest

from campaigns import Campaign, background, pages, projection, registry
from campaigns.background import sync_in_background
from campaigns.ledger import Ledger
from campaigns.mlflow_place import Place
from campaigns.projection import BusyError, SyncReport, located, sync
from campaigns.store import mlflow_folder
from surrogates.errors import UserError
from surrogates.prior import Prior

from .projecting import (
    CELLS,
    TI,
    VO2,
    advice,
    append,
    cell,
    client_of,
    counts,
    opened,
    picture,
    recorded,
    runs_of,
    suggested,
    written_course,
    written_names,
)

pytestmark = pytest.mark.filterwarnings(
    # mlflow 3.17 maps its tables with a loader that SQLAlchemy 2.1 deprecates
    "ignore:The ``noload`` loader strategy is deprecated:DeprecationWarning"
)


@pytest.fixture(autouse=True)
def quick_figures(monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> None:
    """Files of the right names in place of figures, which take a second each; `real_figures` marks where not."""
    if "real_figures" not in request.fixturenames:
        monkeypatch.setattr("campaigns.figure.write_figures", written_names)
        monkeypatch.setattr("campaigns.course_figure.write_course", written_course)


@pytest.fixture
def real_figures() -> None:
    pass


@pytest.fixture
def two(ledger: Ledger) -> Ledger:
    """A ledger of two campaigns: ti with five cells and one suggestion, both with two conditions and none."""
    opened(ledger, "ti", TI)
    append(ledger, "ti", "cells_added", {"source": "test", "rows": CELLS})
    suggested(ledger, "ti", advice(TI))
    opened(ledger, "both", TI, VO2)
    return ledger


def test_importing_the_projection_imports_nothing_heavy() -> None:
    heavy = "mlflow", "torch", "pandas", "matplotlib"
    code = f"import sys, campaigns.projection; print(*(name for name in {heavy} if name in sys.modules))"
    assert subprocess.run([sys.executable, "-c", code], check=True, stdout=subprocess.PIPE).stdout.split() == []


def test_experiment_is_programme_run_is_campaign_nested_run_is_cell(two: Ledger, folder: Path) -> None:
    said: list[str] = []
    assert sync(two, folder, said.append) == SyncReport(campaigns=2, runs_written=8)
    assert said == ["ti: 7 runs written", "both: 1 runs written"]
    [experiment] = client_of(folder).search_experiments()
    assert experiment.name == "zinc"
    assert experiment.tags["mlflow.experimentKind"] == "custom_model_development"
    assert experiment.artifact_location == str(folder.resolve() / "artifacts" / "zinc")
    assert set(runs_of(folder, "tags.record = 'campaign'")) == {"ti", "both"}
    cells = runs_of(folder, "tags.record = 'cell'")
    assert len(cells) == 5
    curves = runs_of(folder, "tags.record = 'response'")
    assert set(curves) == {"ti response"}
    parent = runs_of(folder)["ti"].info.run_id
    assert {run.data.tags["mlflow.parentRunId"] for run in {**cells, **curves}.values()} == {parent}


def test_a_campaign_run_says_what_is_fixed_and_where_it_stands(two: Ledger, folder: Path) -> None:
    sync(two, folder)
    run, event = runs_of(folder)["ti"], two.events("ti")[0]
    assert run.info.status == "RUNNING"
    assert run.info.start_time == pages.milliseconds(event.time)
    expected = {
        "electrode_pair": "Zn||Ti",
        "electrolyte": "1 M ZnSO4",
        "current_density": "1 mA/cm2",
        "step_kpa": "10.0",
    }
    expected |= {"objective": "cycle_life_h", "pressure_kpa": "10 to 2000", "prior": "default"}
    assert run.data.params == expected | {"prior_hash": Prior.default().content_hash}
    tags = run.data.tags
    assert (tags["phase"], tags["ledger_id"], tags["ledger_revision"]) == ("measure", "uid-of-ti", "3")
    assert (tags["mlflow.user"], tags["mlflow.source.name"]) == (event.actor, "stackpress")
    assert "123.456 kPa" in tags["mlflow.note.content"]
    assert "<b>Zn||Ti in 1 M ZnSO4" in tags["mlflow.note.content"]
    assert "ew cells &lt;b&gt;" in tags["mlflow.note.content"]
    both = runs_of(folder)["both"].data
    assert both.tags["phase"] == "awaiting suggestion"
    assert both.params["electrode_pair"] == "Zn||Ti, Zn||VO2"
    assert both.tags["mlflow.runColor"] != tags["mlflow.runColor"]


def test_a_suggestion_is_logged_at_its_revision_to_four_digits(two: Ledger, folder: Path) -> None:
    sync(two, folder)
    expected = {"pressure_next_kpa": 123.5, "gain": 0.01235, "pressure_opt_kpa": 220, "n_cells_used": 3}
    expected |= {"pressure_opt_low_kpa": 110, "pressure_opt_high_kpa": 530, "best_cycle_life_h": 100.1}
    expected |= {"prior_weight": 0.97, "no_effect": 0.0035, "expected_loss": 0.1, "loo_factor": 1.3}
    metrics = dict(runs_of(folder)["ti"].data.metrics)
    assert metrics.pop("pressure_opt_sd_ln") == pytest.approx(
        math.log(530 / 110) / 2 / NormalDist().inv_cdf(0.95), 1e-3
    )
    assert (metrics.pop("n_cells"), metrics.pop("spent_cell_hours")) == (4, 157)
    assert metrics == expected
    shown = picture(folder)["ti"][4]
    assert {shown[key][0][0] for key in expected} == {3}
    assert {shown[key][0][0] for key in ("n_cells", "spent_cell_hours")} == {2}


def test_the_curve_is_a_run_whose_step_is_the_pressure(two: Ledger, folder: Path) -> None:
    sync(two, folder)
    curve = picture(folder)["ti response"]
    assert (curve[0], curve[2]["electrode_pair"], curve[3]["condition"]) == ("FINISHED", "Zn||Ti", "0")
    medians = [point[:2] for point in curve[4]["response/cycle_life_h"]]
    assert medians == [(20, 40), (60, 80), (200, 100), (600, 70), (2000, 30)]
    assert [value for _, value, _ in curve[4]["response/cycle_life_h_lower"]] == [20, 40, 60, 30, 10]
    other = advice(TI)
    other["curve"] |= {"pressure_kpa": [9.7, 10.2, 10.4, 20.5, 2000.0]}
    suggested(two, "ti", other)
    sync(two, folder)
    steps = [step for step, *_ in picture(folder)["ti response"][4]["response/cycle_life_h_upper"]]
    assert steps == [10, 20, 2000]
    assert len(runs_of(folder, "tags.record = 'response'")) == 1


def test_the_second_condition_has_keys_of_its_own(two: Ledger, folder: Path) -> None:
    suggested(two, "both", advice(TI, 100), {**advice(VO2, 200), "proposals": []})
    recorded(two, "both", cell("both-1", 100, "planned"))
    suggested(two, "both", advice(TI, 100), advice(VO2, 300))
    sync(two, folder)
    metrics = picture(folder)["both"][4]
    assert [point[:2] for point in metrics["pressure_next_kpa"]] == [(2, 100), (4, 100)]
    assert [point[:2] for point in metrics["pressure_next_kpa.1"]] == [(4, 300)]
    assert [point[:2] for point in metrics["n_cells_used.1"]] == [(2, 3), (4, 3)]


def test_cells_show_their_status_and_every_number(two: Ledger, folder: Path) -> None:
    sync(two, folder)
    runs = runs_of(folder, "tags.record = 'cell'")
    status = {name: run.info.status for name, run in runs.items()}
    assert status == {
        "ti-20 20 kPa": "FINISHED",
        "ti-run 150 kPa": "RUNNING",
        "ti-stop 300 kPa": "FINISHED",
        "ti-plan 450 kPa": "SCHEDULED",
        "ti-bad 500 kPa": "FAILED",
    }
    assert runs["ti-20 20 kPa"].data.metrics == {"pressure_kpa": 20, "cycle_life_h": 13.99}
    measured = {"pressure_kpa": 150, "cycle_life_h": 60, "coulombic_efficiency": 0.9912}
    assert runs["ti-run 150 kPa"].data.metrics == measured
    assert runs["ti-stop 300 kPa"].data.metrics["odd_readout"] == 1.5
    tags = {name: (t["cell_status"], t.get("end_reason"), t.get("censored")) for name, t in tags_of(runs).items()}
    assert tags["ti-20 20 kPa"] == ("ended", "short", "false")
    assert tags["ti-stop 300 kPa"] == ("stopped", "operator", "true")
    assert tags["ti-plan 450 kPa"] == ("planned", None, None)
    assert runs["ti-20 20 kPa"].data.params["pressure_kpa"] == "20.0"
    assert {run.info.end_time is None for run in runs.values() if run.info.status in ("RUNNING", "SCHEDULED")} == {True}


def tags_of(runs: dict[str, Any]) -> dict[str, dict[str, str]]:
    return {name: run.data.tags for name, run in runs.items()}


def test_artifacts_are_those_of_the_state(two: Ledger, folder: Path, tmp_path: Path) -> None:
    sync(two, folder)
    client, run_id = client_of(folder), runs_of(folder)["ti"].info.run_id
    names = [item.path for item in client.list_artifacts(run_id)]
    assert names == ["cells.csv", "prior.json", "suggestion.json", "ti-course.png", "ti.png", "ti.svg"]
    files = {name: Path(client.download_artifacts(run_id, name, str(tmp_path))) for name in names}
    assert Prior.load(files["prior.json"]) == Prior.default()
    suggestion = json.loads(files["suggestion.json"].read_text())
    assert (suggestion["seed"], suggestion["revision"], suggestion["cell_ids"]) == (7, 3, [["ti-0"]])
    assert suggestion["advice"][0]["best"]["pressure_kpa"] == 220
    rows = list(csv.DictReader(files["cells.csv"].read_text(encoding="utf-8").splitlines()))
    assert [row["cell_id"] for row in rows] == [row["cell_id"] for row in CELLS]
    assert (rows[2]["odd_readout"], rows[2]["remark"], rows[0]["odd_readout"]) == ("1.5", "dry", "")
    assert "xrd_002_100_ratio" not in rows[0]


def test_figures_are_drawn_for_a_new_suggestion(two: Ledger, folder: Path, real_figures: None, tmp_path: Path) -> None:
    sync(two, folder)
    client, run_id = client_of(folder), runs_of(folder)["ti"].info.run_id
    for name in ("ti.png", "ti-course.png"):
        assert Path(client.download_artifacts(run_id, name, str(tmp_path))).read_bytes().startswith(b"\x89PNG")
    shown = picture(folder)["ti"][-1]
    recorded(two, "ti", cell("ti-late", 900, "running", cycle_life_h=5))
    sync(two, folder)
    sync(two, folder, rebuild=True)
    assert {name: picture(folder)["ti"][-1][name] for name in shown if "ti" in name[:2]} == {
        name: size for name, size in shown.items() if "ti" in name[:2]
    }


def test_a_second_sync_changes_nothing(two: Ledger, folder: Path) -> None:
    sync(two, folder)
    before, rows = picture(folder), counts(folder)
    assert sync(two, folder) == SyncReport()
    assert (picture(folder), counts(folder)) == (before, rows)


def test_a_new_event_writes_what_it_changes_and_no_more(two: Ledger, folder: Path) -> None:
    sync(two, folder)
    ids = {name: run.info.run_id for name, run in runs_of(folder).items()}
    before = counts(folder)
    recorded(two, "ti", cell("ti-run", 150, cycle_life_h=88, coulombic_efficiency=0.99, ce_protocol="reservoir"))
    suggested(two, "ti", advice(TI, 200))
    assert sync(two, folder) == SyncReport(campaigns=1, runs_written=3)
    assert {name for name, run in runs_of(folder).items() if ids[name] != run.info.run_id} == {"ti response"}
    after, run = counts(folder), runs_of(folder)["ti-run 150 kPa"]
    assert after["runs"] == before["runs"] + 1
    assert after["metrics"] == before["metrics"] + 12 + 3 * 5 + 2 + 2
    assert (run.info.status, run.data.tags["censored"], run.data.metrics["cycle_life_h"]) == ("FINISHED", "false", 88)
    shown = picture(folder)
    assert [step for step, *_ in shown["ti"][4]["gain"]] == [3, 5]
    assert [point[:2] for point in shown["ti-run 150 kPa"][4]["cycle_life_h"]] == [(2, 60), (4, 88)]


def test_a_corrected_pressure_makes_the_run_anew_once(two: Ledger, folder: Path) -> None:
    sync(two, folder)
    old = runs_of(folder)["ti-20 20 kPa"].info.run_id
    recorded(two, "ti", {**CELLS[0], "pressure_kpa": 23.0})
    sync(two, folder)
    runs = runs_of(folder)
    assert "ti-20 20 kPa" not in runs
    assert runs["ti-20 23 kPa"].data.params["pressure_kpa"] == "23.0"
    assert client_of(folder).get_run(old).info.lifecycle_stage == "deleted"
    rows = counts(folder)
    recorded(two, "ti", CELLS[1])
    sync(two, folder)
    assert runs_of(folder)["ti-20 23 kPa"].info.run_id == runs["ti-20 23 kPa"].info.run_id
    assert counts(folder)["runs"] == rows["runs"]


@pytest.mark.parametrize(
    "changes",
    [{"cycle_life_h": None, "end_reason": None}, {"status": "running", "end_reason": None}, {"end_reason": None}],
)
def test_what_is_taken_back_is_gone(two: Ledger, folder: Path, changes: dict[str, Any]) -> None:
    sync(two, folder)
    recorded(two, "ti", {key: value for key, value in {**CELLS[0], **changes}.items() if value is not None})
    sync(two, folder)
    run = runs_of(folder)["ti-20 20 kPa"]
    assert "end_reason" not in run.data.tags
    assert ("cycle_life_h" in run.data.metrics) == ("cycle_life_h" not in changes)
    assert (run.info.end_time is None) == (changes.get("status") == "running")


KILLED_IN = [
    *((projection, name) for name in ("_experiment", "_update", "_nested", "_bring_all", "_figures", "_log_artifacts")),
    *(
        (registry, name)
        for name in ("bring_prior", "_registered", "_version_at", "link", "tell_verdict", "_name_version")
    ),
]


@pytest.mark.parametrize(("module", "function"), KILLED_IN)
def test_a_sync_that_is_killed_is_mended_by_the_next(
    two: Ledger,
    folder: Path,
    template: Path,
    tmp_path: Path,
    module: Any,
    function: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    recorded(two, "ti", cell("ti-more", 700, cycle_life_h=9))
    suggested(two, "ti", advice(TI, 200))
    with monkeypatch.context() as patch:
        patch.setattr(
            module,
            function,
            killed_at(getattr(module, function), call=1 if function in ("_registered", "tell_verdict") else 2),
        )
        with pytest.raises(KeyboardInterrupt):
            sync(two, folder)
    sync(two, folder)
    whole = tmp_path / "whole"
    whole.mkdir()
    shutil.copy(template, whole)
    sync(two, whole)
    assert picture(folder) == picture(whole)
    assert counts(folder) == counts(whole)


def killed_at(function: Callable[..., Any], call: int) -> Callable[..., Any]:
    calls = []

    def stand_in(*arguments: Any) -> Any:
        calls.append(1)
        if len(calls) == call:
            raise KeyboardInterrupt
        return function(*arguments)

    return stand_in


def test_two_at_once_in_a_fresh_store_write_everything_once(store: Path) -> None:
    with closing(Ledger.open(store)) as ledger:
        opened(ledger, "ti", TI)
        append(ledger, "ti", "cells_added", {"source": "test", "rows": CELLS})
    code = "import sys; from campaigns.projection import *; print(sync(Ledger.open(sys.argv[1]), sys.argv[1]))"
    both = [
        subprocess.Popen([sys.executable, "-c", code, str(store)], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        for _ in range(2)
    ]
    said = [process.communicate(timeout=60) for process in both]
    assert [process.returncode for process in both] == [0, 0], said
    assert sorted(b"campaigns=1" in output for output, _ in said) == [False, True]
    assert len(runs_of(store)) == 6
    assert counts(store)["runs"] == 6


def test_an_event_that_arrives_meanwhile_is_written_too(two: Ledger, folder: Path) -> None:
    def more(_: str) -> None:
        if two.head() == 4:
            recorded(two, "ti", cell("ti-late", 900, "planned"))

    assert sync(two, folder, more) == SyncReport(campaigns=3, runs_written=10)
    assert "ti-late 900 kPa" in runs_of(folder)


def test_one_campaign_that_fails_keeps_no_other_back(
    two: Ledger, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    suggested(two, "both", advice(TI), advice(VO2))
    with monkeypatch.context() as patch:
        patch.setattr("campaigns.figure.write_figures", lambda state, _: written_names(state, state.name == "ti" or _))
        report = sync(two, folder)
        with pytest.raises(UserError, match=r"every campaign of .* to be written; found campaign ti: AttributeError"):
            Campaign.open("ti", folder).sync()
    assert (report.campaigns, len(report.problems)) == (1, 1)
    assert report.problems[0].startswith("campaign ti: AttributeError")
    assert sync(two, folder).campaigns == 1
    assert runs_of(folder)["ti"].data.tags["ledger_revision"] == "3"


def test_artifacts_are_found_after_the_folder_was_moved(two: Ledger, folder: Path, tmp_path: Path) -> None:
    sync(two, folder)
    two.close()
    moved = folder.rename(tmp_path / "moved, with ü and #1")
    with closing(Ledger.open(moved)) as ledger:
        recorded(ledger, "ti", cell("ti-late", 900, "planned"))
        sync(ledger, moved)
        client, runs = client_of(moved), runs_of(moved)
        assert len(client.list_artifacts(runs["ti"].info.run_id)) == 6
        opened(ledger, "new", TI, programme="other")
        sync(ledger, moved)
    assert len(client.list_artifacts(runs_of(moved)["new"].info.run_id)) == 2


def test_a_folder_that_mlflow_would_misread_is_refused(tmp_path: Path) -> None:
    with closing(Ledger.open(tmp_path)) as ledger, pytest.raises(UserError, match="without % and ?"):
        sync(ledger, tmp_path / "at 100%41")


def test_a_database_that_was_killed_while_it_was_made_is_made_again(store: Path, template: Path) -> None:
    with closing(Ledger.open(store)) as ledger:
        (store / "mlflow.db.part").write_bytes(template.read_bytes()[:5000])
        (store / "mlflow.db.part-journal").write_bytes(b"half")
        sync(ledger, store)
    assert runs_of(store) == {}
    assert not list(store.glob("mlflow.db.part*"))


def test_what_was_deleted_in_mlflow_comes_back(two: Ledger, folder: Path) -> None:
    sync(two, folder)
    before = picture(folder)
    client = client_of(folder)
    client.delete_run(runs_of(folder)["ti"].info.run_id)
    sync(two, folder)
    assert picture(folder) == before
    client.delete_experiment(client.get_experiment_by_name("zinc").experiment_id)
    sync(two, folder)
    assert picture(folder) == before


@pytest.mark.parametrize("told", ["ti-run", "it's"])
def test_a_cells_run_that_was_deleted_comes_back(two: Ledger, folder: Path, told: str) -> None:
    sync(two, folder)
    before = picture(folder)
    client_of(folder).delete_run(runs_of(folder)["ti-stop 300 kPa"].info.run_id)
    recorded(two, "ti", cell(told, 150, "running", cycle_life_h=77))
    sync(two, folder)
    assert picture(folder)["ti-stop 300 kPa"] == before["ti-stop 300 kPa"]
    assert len(runs_of(folder, "tags.record = 'cell'")) == 5 + (told not in ("ti-run",))


@pytest.mark.parametrize("version", ["1", "2"])
def test_only_cells_that_events_spoke_of_are_looked_at_by_the_same_version(
    two: Ledger, folder: Path, version: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[str] = []

    def looked_at(state: Any, cell: Any, *rest: Any) -> pages.Page:
        seen.append(cell.cell_id)
        return pages.cell_page(state, cell, *rest)

    monkeypatch.setattr(projection, "version_of", lambda _: "1")
    sync(two, folder)
    monkeypatch.setattr(projection, "cell_page", looked_at)
    monkeypatch.setattr(projection, "version_of", lambda _: version)
    recorded(two, "ti", cell("new", 30, "planned"))
    append(two, "ti", "withdrawn", {"cell_id": "ti-bad", "reason": "typing error"})
    append(two, "ti", "undone", {"revision": 4})
    sync(two, folder)
    assert seen == ([] if version == "1" else [row["cell_id"] for row in CELLS[:-1]])
    assert len(runs_of(folder, "tags.record = 'cell'")) == 4
    append(two, "ti", "undone", {"revision": 6})
    sync(two, folder)
    assert seen[-1] == "new"
    assert len(runs_of(folder, "tags.record = 'cell'")) == 5


def test_a_run_restored_in_mlflow_is_not_kept_twice(two: Ledger, folder: Path) -> None:
    sync(two, folder)
    old = runs_of(folder)["ti-20 20 kPa"].info.run_id
    recorded(two, "ti", {**CELLS[0], "pressure_kpa": 23.0})
    sync(two, folder)
    client_of(folder).restore_run(old)
    recorded(two, "ti", CELLS[1])
    sync(two, folder)
    names = [name for name in runs_of(folder) if name.startswith("ti-20 ")]
    assert names == ["ti-20 23 kPa"]


def test_located_names_experiment_and_run(two: Ledger, folder: Path) -> None:
    place = Place(folder.resolve())
    assert located(place) == ()
    sync(two, folder)
    runs = runs_of(folder)
    found = [(item.name, item.run_id, item.outcomes) for item in located(place)]
    assert found == [(name, runs[name].info.run_id, ("cycle_life_h",)) for name in ("ti", "both")]


def test_a_held_lock_is_said_and_starts_nothing(two: Ledger, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    started: list[Path] = []
    monkeypatch.setattr(background, "_start", lambda store, place, log: started.append(place))
    monkeypatch.delenv("STACKPRESS_SYNC")
    with filelock.FileLock(folder / ".sync.lock"):
        with pytest.raises(BusyError, match="another sync"):
            sync(two, folder, wait_s=0)
        sync_in_background(folder)
        assert background.main([str(folder)]) == 0
    assert started == []
    sync_in_background(folder)
    assert started == [folder]
    assert (folder / "sync.log").read_text() == ""


def test_the_environment_says_how_to_sync(two: Ledger, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(background, "_start", lambda *_: pytest.fail("nothing is to be started"))
    monkeypatch.setenv("STACKPRESS_SYNC", "off")
    sync_in_background(folder)
    assert runs_of(folder) == {}
    monkeypatch.setenv("STACKPRESS_SYNC", "wait")
    sync_in_background(f"sqlite:///{folder / 'ledger.db'}", folder)
    assert len(runs_of(folder)) == 8
    assert mlflow_folder("postgresql://lab/ledger") == Path("mlruns")


def test_a_failure_in_the_background_is_in_the_log(
    two: Ledger, folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("STACKPRESS_SYNC", "wait")
    (folder / "mlflow.db").write_text("no database")
    sync_in_background(folder)
    [line] = (folder / "sync.log").read_text().splitlines()
    assert line[:2] == "20"
    assert "not a database" in line
    assert background.main([str(folder)]) == 1
    assert "not a database" in capsys.readouterr().err
    monkeypatch.setattr(background, "LOG_BYTES", 10)
    sync_in_background(folder)
    assert len((folder / "sync.log").read_text().splitlines()) == 2


def test_a_process_that_dies_leaves_its_last_words(
    folder: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.delenv("STACKPRESS_SYNC")
    dying = tmp_path / "python"
    dying.write_text("#!/bin/sh\necho no such module >&2\n")
    dying.chmod(0o755)
    for executable in (dying, tmp_path / "nothing"):
        monkeypatch.setattr(sys, "executable", str(executable))
        sync_in_background(folder)
    log, began = folder / "sync.log", time.monotonic()
    while len(log.read_text().splitlines()) < 2 and time.monotonic() - began < 10:
        time.sleep(0.05)
    assert "no such module" in log.read_text()
    assert "could not be started" in log.read_text()


def test_a_folder_that_cannot_be_written_fails_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STACKPRESS_SYNC", "wait")
    (tmp_path / "file").write_text("")
    sync_in_background(tmp_path / "file")


def test_a_background_sync_ends_up_at_the_ledger(
    two: Ledger, folder: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.delenv("STACKPRESS_SYNC")
    (tmp_path / "json.py").write_text("raise SystemExit('the working directory is not searched')")
    monkeypatch.chdir(tmp_path)
    began = time.monotonic()
    sync_in_background(folder)
    assert time.monotonic() - began < 1
    while len(runs_of(folder)) < 8 and time.monotonic() - began < 60:
        time.sleep(0.2)
    with filelock.FileLock(folder / ".sync.lock", timeout=30):
        runs = runs_of(folder, "tags.record = 'campaign'")
    assert (folder / "sync.log").read_text() == ""
    assert {name: run.data.tags["ledger_revision"] for name, run in runs.items()} == {"ti": "3", "both": "1"}
