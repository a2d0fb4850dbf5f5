"""MLflow's registry of models: each prior once, by its content, with what campaigns found of it; and the surrogate of
each closed campaign, as code with its state in JSON, without a pickle.

A prior is a logged model of each programme that uses it, so that metrics of campaigns can be linked to it, and one
version of the registered model `prior-NAME`. Its version is found again by the alias `sha-` and its content hash.
"""

from __future__ import annotations

import contextlib
import json
import re
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

from campaigns.mlflow_place import as_default
from campaigns.pages import json_text
from campaigns.prior_page import description, verdict
from campaigns.state import CampaignState
from surrogates.prior import Prior

CURRENT, VERDICT = "current", "verdict."
VERSIONS = "mlflow.modelVersions"  # which MLflow's pages read
ABOUT_PRIOR = ("prior_weight", "loo_factor")
MODEL_CODE = Path(__file__).with_name("closed_model.py")
NEEDS = ("mlflow", "numpy", "pandas")
COLUMNS = ("median", "lower", "upper", "cell_lower", "cell_upper")


@dataclass(frozen=True)
class PriorEntry:
    """Where MLflow has a prior: its registered model, the version of it, and the programme's logged model."""

    name: str
    version: str
    model_id: str
    prior: Prior


def is_about_prior(key: str) -> bool:
    """Whether a campaign's metric is a verdict on its prior."""
    return key.split(".")[0] in ABOUT_PRIOR


def bring_prior(client: Any, experiment_id: str, state: CampaignState) -> PriorEntry:
    """The prior of a campaign in MLflow, registered where its content is new there."""
    prior = state.prior
    name, alias = f"prior-{_name(prior.name)}", f"sha-{prior.content_hash}"
    model_id = _prior_model(client, experiment_id, prior)
    found = _version_at(client, name, alias)
    if found is None:
        found = _registered(client, name, prior, model_id)
        client.set_registered_model_alias(name, alias, found.version)
        client.set_registered_model_alias(name, CURRENT, found.version)
    _name_version(client, model_id, name, found.version)
    return PriorEntry(name, str(found.version), model_id, prior)


def _prior_model(client: Any, experiment_id: str, prior: Prior) -> str:
    """The programme's logged model of a prior; one that was left half-made is finished."""
    query = f"tags.record = 'prior' AND tags.prior_hash = '{prior.content_hash}'"
    found = client.search_logged_models([experiment_id], query)
    tags = {"record": "prior", "prior_hash": prior.content_hash, "prior": prior.name}
    params = {"prior": prior.name, "version": str(prior.version), "prior_hash": prior.content_hash}
    name = f"prior-{_name(prior.name).replace('.', '_')}"
    model = (
        found[0]
        if found
        else client.create_logged_model(experiment_id, name, tags=tags, params=params, model_type="physics prior")
    )
    if str(model.status) != "READY":
        with _folder({"prior.json": json_text(prior)}) as folder:
            client.log_model_artifacts(model.model_id, str(folder))
        client.finalize_logged_model(model.model_id, "READY")
    return str(model.model_id)


def _registered(client: Any, name: str, prior: Prior, model_id: str) -> Any:
    """The version of the registered model that holds this content: one that an earlier sync left without alias, or new."""
    about = (
        "What is believed of stacking pressure before any cell is built. A version is a document, told by its content."
    )
    _make_registered_model(client, name, about)
    for found in client.search_model_versions(f"name = '{name}'"):
        if found.tags.get("content_hash") == prior.content_hash:
            return found
    tags = {"content_hash": prior.content_hash, "document_version": str(prior.version), "summary": prior.summary}
    tags |= {"learned_from": ", ".join(prior.learned_from)[:5000]} if prior.learned_from else {}
    with as_default(client):
        return client.create_model_version(
            name, f"models:/{model_id}", model_id=model_id, tags=tags, description=description(prior, {})
        )


def link(client: Any, run: Any, entry: PriorEntry) -> None:
    """Say on a campaign's run which version of which prior it uses."""
    from mlflow.entities import LoggedModelInput

    said = f"{entry.name} {entry.version}"
    if run.data.tags.get("prior_version") != said:
        client.log_inputs(run.info.run_id, models=[LoggedModelInput(entry.model_id)])
        client.set_tag(run.info.run_id, "prior_version", said)


def tell_verdict(client: Any, entry: PriorEntry, state: CampaignState) -> None:
    """Say on a prior's version what a campaign found of it; the description lists what all did."""
    text = verdict(state)
    if text is None:
        return
    client.set_model_version_tag(entry.name, entry.version, VERDICT + state.name, text)
    tags = client.get_model_version(entry.name, entry.version).tags
    verdicts = {key.removeprefix(VERDICT): value for key, value in tags.items() if key.startswith(VERDICT)}
    client.update_model_version(entry.name, entry.version, description(entry.prior, verdicts))


def bring_surrogate(client: Any, experiment_id: str, run_id: str, state: CampaignState) -> None:
    """Register the surrogate of a closed campaign; take back that of one that is open again."""
    name = f"surrogate-{state.name}"
    wanted = str(state.closed.revision) if state.closed else None
    there = [
        found for found in client.search_model_versions(f"name = '{name}'") if found.tags.get("ledger_id") == state.uid
    ]
    kept = [found for found in there if found.tags.get("ledger_revision") == wanted]
    for found in there:
        if found not in kept:
            _take_back(client, experiment_id, found)
    if wanted is not None and not kept:
        tags = {"ledger_id": state.uid, "ledger_revision": wanted, "campaign": state.name, "outcome": state.objective}
        model_id = _log_surrogate(client, experiment_id, run_id, state, tags)
        _make_registered_model(client, name, f"The surrogate of campaign {state.name}, as it was closed.")
        with as_default(client):
            found = client.create_model_version(
                name, f"models:/{model_id}", run_id, tags, description=_about(state), model_id=model_id
            )
        client.set_registered_model_alias(name, "closed", found.version)
        _name_version(client, model_id, name, found.version)


def _take_back(client: Any, experiment_id: str, found: Any) -> None:
    client.delete_model_version(found.name, found.version)
    for model in client.search_logged_models([experiment_id], f"tags.ledger_id = '{found.tags['ledger_id']}'"):
        client.delete_logged_model(model.model_id)
    if not client.search_model_versions(f"name = '{found.name}'"):
        client.delete_registered_model(found.name)


def _log_surrogate(client: Any, experiment_id: str, run_id: str, state: CampaignState, tags: dict[str, str]) -> str:
    """Log the surrogate as models-from-code: `closed_model.py`, and its state as JSON."""
    from mlflow.entities import LoggedModelOutput
    from mlflow.models import Model
    from mlflow.pyfunc import save_model

    name, params = f"surrogate-{state.name.replace('.', '_')}", {"outcome": state.objective, "prior": state.prior.name}
    marked = {**tags, "record": "surrogate"}
    model = client.create_logged_model(experiment_id, name, run_id, marked, params, "closed campaign")
    with _folder({"state.json": json.dumps(surrogate_state(state), ensure_ascii=False)}) as folder:
        saved = folder / "model"
        save_model(
            str(saved),
            mlflow_model=Model(run_id=run_id, model_id=model.model_id),
            python_model=str(MODEL_CODE),
            artifacts={"state": str(folder / "state.json")},
            signature=_signature(),
            input_example={"pressure_kpa": [100.0]},  # without one MLflow warns that it has not checked the signature
            pip_requirements=[f"{package}=={version(package)}" for package in NEEDS],
        )
        client.log_model_artifacts(model.model_id, str(saved))
    client.finalize_logged_model(model.model_id, "READY")
    client.log_outputs(run_id, [LoggedModelOutput(model.model_id, 0)])
    return str(model.model_id)


def surrogate_state(state: CampaignState) -> dict[str, Any]:
    """A closed campaign's surrogate as JSON-ready values: the curve of each condition, which `predict` reads, and what
    it was computed from, by which it can be fitted again."""
    suggestion = state.suggestions[-1]
    return {
        "schema_version": 1,
        "campaign": state.name,
        "outcome": state.objective,
        "conditions": [advice.condition.model_dump(mode="json") for advice in suggestion.advice],
        "curves": [advice.curve.model_dump(mode="json") for advice in suggestion.advice],
        "cells": [cell.row() for cell in state.cells],
        "prior": state.prior.to_document(),
        "seed": suggestion.seed,
        "data_hash": suggestion.data_hash,
        "versions": suggestion.versions,
    }


def _signature() -> Any:
    from mlflow.models import ModelSignature
    from mlflow.types import ColSpec, Schema

    pressure = ColSpec("double", "pressure_kpa")
    inputs: list[Any] = [pressure, ColSpec("long", "condition", required=False)]
    outputs: list[Any] = [pressure, *(ColSpec("double", name) for name in COLUMNS)]
    return ModelSignature(Schema(inputs), Schema(outputs))


def _about(state: CampaignState) -> str:
    lines = [f"Campaign {state.name}, closed at revision {state.closed.revision if state.closed else '-'}.", ""]
    for number, advice in enumerate(state.suggestions[-1].advice):
        best = advice.best
        lines.append(
            f"- condition {number}, {advice.condition}: {best.pressure_kpa:.0f} kPa is best (90 % {best.interval_kpa[0]:.0f} "
            f"to {best.interval_kpa[1]:.0f} kPa) with {advice.outcome} {best.median:.4g}, by {advice.cells_used} cells; "
            f"verdict: {best.verdict}"
        )
    lines += [
        "",
        "`predict` takes `pressure_kpa` (and `condition`, 0 by default) and gives the curve of the last answer:",
    ]
    lines += ["median and 90 % interval of the curve and of one new cell, linear between its points over ln(pressure)."]
    return "\n".join(lines)


def _name_version(client: Any, model_id: str, name: str, number: Any) -> None:
    """Let MLflow's pages of a logged model, and of the runs that use it, link to its registered version."""
    said = json.dumps([{"name": name, "version": int(number)}])
    if client.get_logged_model(model_id).tags.get(VERSIONS) != said:
        client.set_logged_model_tags(model_id, {VERSIONS: said})


def _make_registered_model(client: Any, name: str, about: str) -> None:
    from mlflow.exceptions import MlflowException

    try:
        client.create_registered_model(name, description=about)
    except MlflowException as error:
        if error.error_code != "RESOURCE_ALREADY_EXISTS":
            raise


def _version_at(client: Any, name: str, alias: str) -> Any:
    from mlflow.exceptions import MlflowException

    try:
        return client.get_model_version_by_alias(name, alias)
    except MlflowException as error:
        if error.error_code not in ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"):
            raise
        return None


def _name(name: str) -> str:
    return re.sub(r"[^\w.-]+", "_", name).strip(".") or "_"


@contextlib.contextmanager
def _folder(files: dict[str, str]) -> Iterator[Path]:
    """A folder that holds these files, for a moment."""
    with tempfile.TemporaryDirectory() as folder:
        for name, text in files.items():
            (Path(folder) / name).write_text(text, encoding="utf-8")
        yield Path(folder)
