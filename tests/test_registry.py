"""What MLflow's registry holds: each prior once, what campaigns found of it, and the surrogates of closed campaigns."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from campaigns import registry
from campaigns.ledger import Ledger
from campaigns.prior_page import MOST_DESCRIPTION, description
from campaigns.projection import sync
from campaigns.state import fold
from surrogates.prior import Prior

from .projecting import TI, VO2, advice, append, client_of, opened, runs_of, suggested, written_names

pytestmark = pytest.mark.filterwarnings(
    # mlflow 3.17 maps its tables with a loader that SQLAlchemy 2.1 deprecates
    "ignore:The ``noload`` loader strategy is deprecated:DeprecationWarning",
    # mlflow.pyfunc says so of a class of its own when it is first imported
    "ignore:.*Any type hint is inferred as AnyType:UserWarning",
)


@pytest.fixture(autouse=True)
def quick_figures(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("campaigns.figure.write_figures", written_names)


def versions_of(folder: Path, name: str) -> list[Any]:
    client = client_of(folder)
    found = client.search_model_versions(f"name = '{name}'")
    return [client.get_model_version(name, version.version) for version in found]  # a search leaves the aliases out


def test_a_prior_is_registered_once_whatever_uses_it(ledger: Ledger, folder: Path) -> None:
    opened(ledger, "ti", TI)
    opened(ledger, "vo2", VO2)
    opened(ledger, "other", TI, programme="lithium")
    for _ in range(2):
        assert sync(ledger, folder).problems == ()
        suggested(ledger, "ti", advice(TI))
    [version] = versions_of(folder, "prior-default")
    client, prior = client_of(folder), Prior.default()
    assert version.tags["content_hash"] == prior.content_hash
    assert set(version.aliases) == {"current", f"sha-{prior.content_hash}"}
    assert client.get_model_version_by_alias("prior-default", "current").version == version.version
    runs = runs_of(folder, "tags.record = 'campaign'")
    assert {run.data.tags["prior_version"] for run in runs.values()} == {"prior-default 1"}
    models = {client.get_run(run.info.run_id).inputs.model_inputs[0].model_id for run in runs.values()}
    assert len(models) == 2  # a logged model belongs to one programme
    for model_id in models:
        named = client.get_logged_model(model_id).tags["mlflow.modelVersions"]
        assert json.loads(named) == [{"name": "prior-default", "version": 1}]


def test_another_document_of_the_name_is_the_next_version(ledger: Ledger, folder: Path) -> None:
    opened(ledger, "ti", TI)
    assert sync(ledger, folder).problems == ()
    edited = Prior.default().edited(best_pressure="100 kPa, factor 2", source="our press").to_document()
    payload = {**ledger.events("ti")[0].payload, "uid": "second", "prior": {**edited, "name": "default"}}
    append(ledger, "again", "campaign_opened", payload)
    assert sync(ledger, folder).problems == ()
    first, second = sorted(versions_of(folder, "prior-default"), key=lambda version: int(version.version))
    assert first.tags["content_hash"] != second.tags["content_hash"]
    assert "current" in second.aliases
    assert "current" not in first.aliases
    assert second.tags["document_version"] == "2"


def test_the_version_says_what_campaigns_found(ledger: Ledger, folder: Path) -> None:
    opened(ledger, "ti", TI)
    opened(ledger, "both", TI, VO2)
    assert sync(ledger, folder).problems == ()
    assert "No campaign has an answer yet" in versions_of(folder, "prior-default")[0].description
    suggested(ledger, "ti", advice(TI))
    suggested(ledger, "both", advice(TI), advice(VO2))
    assert sync(ledger, folder).problems == ()
    [version] = versions_of(folder, "prior-default")
    assert version.tags["verdict.ti"] == "Zn||Ti in 1 M ZnSO4, 3 cells: weight 0.97, fits"
    assert "Zn||VO2" in version.tags["verdict.both"]
    assert f"- **ti**, {version.tags['verdict.ti']}" in version.description
    model = client_of(folder).get_logged_model(version.source.removeprefix("models:/"))
    found = {(metric.key, metric.value) for metric in model.metrics}
    assert found == {("prior_weight", 0.97), ("loo_factor", 1.3), ("prior_weight.1", 0.97), ("loo_factor.1", 1.3)}
    assert {metric.run_id for metric in model.metrics} == {runs_of(folder)[name].info.run_id for name in ("ti", "both")}


@pytest.mark.parametrize("name", Prior.names())
def test_a_description_names_parameters_units_sources_and_limits_and_fits(name: str) -> None:
    prior = Prior.named(name)
    text = description(prior, {})
    assert len(text) <= MOST_DESCRIPTION
    for key, parameter in prior.parameters.items():
        assert f"| {key} |" in text
        assert getattr(parameter, "unit", "1") in text
    for claim in prior.does_not_claim:
        assert claim in text
    assert "best_pressure: " in text


def test_a_description_that_is_too_long_keeps_its_first_part() -> None:
    learned = Prior.default().model_copy(update={"learned_from": tuple(f"campaign-{i}" for i in range(500))})
    text = description(learned, {f"campaign-{i}": "found much, " * 20 for i in range(500)})
    assert len(text) <= MOST_DESCRIPTION
    assert "and 488 more" in text
    assert "campaign-0" in text


def test_a_closed_campaign_leaves_a_surrogate_that_tells_its_curve(ledger: Ledger, folder: Path) -> None:
    opened(ledger, "ti", TI)
    suggested(ledger, "ti", advice(TI))
    append(ledger, "ti", "closed", {"reason": "done"})
    assert sync(ledger, folder).problems == ()
    run = runs_of(folder)["ti"]
    assert (run.info.status, run.data.tags["phase"]) == ("FINISHED", "closed")
    [version] = versions_of(folder, "surrogate-ti")
    assert version.aliases == ["closed"]
    assert not [path for path in folder.rglob("*") if path.suffix in (".pkl", ".pickle", ".pth", ".joblib")]
    curve = fold(ledger.events("ti")).suggestions[-1].advice[0].curve
    assert predicted(folder, curve.pressure_kpa) == [
        [getattr(curve, name)[i] for name in registry.COLUMNS] for i in range(len(curve.pressure_kpa))
    ]


def predicted(folder: Path, pressure_kpa: tuple[float, ...]) -> list[list[float]]:
    """What the registered surrogate of ti says, by a process that knows nothing of stackpress and reads no pickle."""
    code = f"""
import json, sys
import mlflow, pandas
mlflow.set_tracking_uri({f"sqlite:///{folder.resolve()}/mlflow.db"!r})
model = mlflow.pyfunc.load_model("models:/surrogate-ti@closed")
table = model.predict(pandas.DataFrame({{"pressure_kpa": {list(pressure_kpa)!r}}}))
assert "campaigns" not in sys.modules and "torch" not in sys.modules
print(json.dumps(table[{list(registry.COLUMNS)!r}].to_numpy().tolist()))
"""
    told = {"MLFLOW_ALLOW_PICKLE_DESERIALIZATION": "false", "MLFLOW_DISABLE_TELEMETRY": "true"}
    done = subprocess.run(
        [sys.executable, "-P", "-c", code], env={**os.environ, **told}, capture_output=True, text=True, cwd="/"
    )
    assert done.returncode == 0, done.stderr
    rows: list[list[float]] = json.loads(done.stdout.splitlines()[-1])
    return rows


def test_what_is_opened_again_has_no_surrogate(ledger: Ledger, folder: Path) -> None:
    opened(ledger, "ti", TI)
    suggested(ledger, "ti", advice(TI))
    append(ledger, "ti", "closed", {"reason": None})
    assert sync(ledger, folder).problems == ()
    append(ledger, "ti", "undone", {"revision": 3})
    assert sync(ledger, folder).problems == ()
    assert versions_of(folder, "surrogate-ti") == []
    assert runs_of(folder)["ti"].info.status == "RUNNING"
    append(ledger, "ti", "closed", {"reason": None})
    assert sync(ledger, folder).problems == ()
    [version] = versions_of(folder, "surrogate-ti")
    assert (int(version.version), version.tags["ledger_revision"]) == (1, "5")
