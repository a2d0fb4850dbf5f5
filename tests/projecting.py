"""Campaigns written straight into a ledger, with answers made up, and what MLflow then shows of them."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

from campaigns.ledger import Ledger
from campaigns.state import fold
from surrogates.prior import Prior

VO2 = {"electrode_pair": "Zn||VO2", "electrolyte": "1 M ZnSO4", "current_density": 1.0, "current_density_unit": "A/g"}
TI = {"electrode_pair": "Zn||Ti", "electrolyte": "1 M ZnSO4", "current_density": 1.0, "current_density_unit": "mA/cm2"}
TABLES = ("experiments", "runs", "metrics", "latest_metrics", "params", "tags")


def written_names(state: Any, figures: Path) -> list[Path]:
    figures.mkdir(parents=True, exist_ok=True)
    paths = [figures / f"{state.name}.{kind}" for kind in ("png", "svg")]
    for path in paths:
        path.write_text(str(state.latest.revision))
    return paths


def written_course(events: Any, figures: Path) -> list[Path]:
    path = figures / f"{events[0].campaign}-course.png"
    path.write_text(str(len(events)))
    return [path]


def cell(cell_id: str, pressure_kpa: float, status: str = "ended", **columns: Any) -> dict[str, Any]:
    return {**TI, "cell_id": cell_id, "pressure_kpa": pressure_kpa, "status": status, **columns}


CELLS = [
    cell("ti-20", 20, cycle_life_h=13.98765, end_reason="short"),
    cell("ti-run", 150, "running", cycle_life_h=60, coulombic_efficiency=0.9912345, ce_protocol="reservoir"),
    cell("ti-stop", 300, "stopped", cycle_life_h=80, end_reason="operator", odd_readout=1.5, remark="dry"),
    cell("ti-plan", 450, "planned"),
    cell("ti-bad", 500, "invalid", cycle_life_h=3, end_reason="assembly_fault"),
]


def advice(condition: dict[str, Any], pressure: float = 123.456, outcome: str = "cycle_life_h") -> dict[str, Any]:
    values = {"median": 100.06, "lower": 60.0, "upper": 170.0}
    grid = [20.0, 60.0, 200.0, 600.0, 2000.0]
    curve = {name: [40.0, 80.0, 100.0, 70.0, 30.0] for name in ("median", "prior_median", "contact_mode", "short_mode")}
    curve |= {name: [20.0, 40.0, 60.0, 30.0, 10.0] for name in ("lower", "cell_lower", "prior_lower")}
    curve |= {name: [80.0, 160.0, 200.0, 140.0, 60.0] for name in ("upper", "cell_upper", "prior_upper")}
    proposal = {"pressure_kpa": pressure, **values, "cell_lower": 30.0, "cell_upper": 300.0, "gain": 0.0123456}
    best = {"pressure_kpa": 220.0, "interval_kpa": [110.0, 530.0], "window_kpa": None, **values}
    best |= {"expected_loss": 0.1, "no_effect": 0.0035, "prior_weight": 0.97, "verdict": "measure"}
    words = {"agreement": "fits", "would_change": "a long life", "caution": "few cells <b>"}
    return {
        **words,
        "condition": condition,
        "outcome": outcome,
        "retention_cycles": 100,
        "cells_used": 3,
        "censored": 1,
        "proposals": [{**proposal, "verdict": "measure", "reason": "it tells most"}],
        "best": best,
        "candidates": [{"pressure_kpa": pressure, "gain": 0.01}],
        "curve": {"pressure_kpa": grid, **curve},
        "foretold_better": 1.3,
    }


def opened(ledger: Ledger, name: str, *conditions: dict[str, Any], programme: str = "zinc") -> None:
    payload = {"uid": f"uid-of-{name}", "programme": programme, "objective": "cycle_life_h", "history": "none"}
    payload |= {"conditions": list(conditions), "rig": {"pressure_kpa": [10, 2000], "step_kpa": 10}}
    append(ledger, name, "campaign_opened", payload | {"prior": Prior.default().to_document()})


def suggested(ledger: Ledger, name: str, *advices: dict[str, Any]) -> None:
    payload = {"data_revision": len(ledger.events(name)), "seed": 7, "data_hash": "d" * 16, "prior_hash": "p" * 16}
    ids = [[f"{name}-{number}"] for number in range(len(advices))]
    append(ledger, name, "suggested", {**payload, "versions": {"stackpress": "0"}, "advice": advices, "cell_ids": ids})


def recorded(ledger: Ledger, name: str, row: dict[str, Any]) -> None:
    """The cell is as `row` says, whatever was there."""
    known = fold(ledger.events(name)).cell(row["cell_id"])
    after = {**(dict.fromkeys(known.row()) if known else {}), **row}
    after.pop("cell_id")
    change = {"cell_id": row["cell_id"], "before": {} if known else None, "after": after}
    append(ledger, name, "recorded", {"changes": [change]})


def append(ledger: Ledger, name: str, kind: str, payload: dict[str, Any]) -> None:
    with ledger.writing(name) as transaction:
        transaction.append(kind, payload)


def client_of(folder: Path) -> Any:
    from mlflow import MlflowClient

    uri = f"sqlite:///{folder.resolve() / 'mlflow.db'}"
    return MlflowClient(tracking_uri=uri, registry_uri=uri)


def runs_of(folder: Path, query: str = "") -> dict[str, Any]:
    """The active runs by name; a name that is there twice is an error."""
    client = client_of(folder)
    ids = [experiment.experiment_id for experiment in client.search_experiments()]
    runs = client.search_runs(ids, query) if ids else []
    found = {run.info.run_name: run for run in runs}
    assert len(found) == len(runs)
    return found


def picture(folder: Path) -> dict[str, Any]:
    """All that the runs show, whatever their ids."""
    client, runs = client_of(folder), runs_of(folder)
    names = {run.info.run_id: name for name, run in runs.items()}
    seen = {}
    for name, run in runs.items():
        tags = {**run.data.tags, "mlflow.parentRunId": names.get(run.data.tags.get("mlflow.parentRunId"))}
        histories = {
            key: [(m.step, m.value, m.timestamp) for m in client.get_metric_history(run.info.run_id, key)]
            for key in run.data.metrics
        }
        files = {item.path: item.file_size for item in client.list_artifacts(run.info.run_id)}
        span = (run.info.start_time, run.info.end_time)
        seen[name] = (run.info.status, span, run.data.params, tags, histories, files)
    return seen


def counts(folder: Path) -> dict[str, int]:
    with closing(sqlite3.connect(folder / "mlflow.db")) as database:
        return {name: database.execute(f"SELECT count(*) FROM {name}").fetchone()[0] for name in TABLES}
