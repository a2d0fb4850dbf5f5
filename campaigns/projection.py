"""MLflow as a projection of the ledger, for people: experiment = programme, run = campaign, nested run = cell.

Everything in `mlflow.db` and `artifacts/` follows from the ledger: delete both, and `sync` makes them again. A campaign's
run carries the ledger's revision in a tag that is written last, so a sync that was cut short is mended by the next.
Only this module imports mlflow (1.5 s), and only inside functions.
"""

from __future__ import annotations

import contextlib
import logging
import os
import re
import sqlite3
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from campaigns.events import Event
from campaigns.ledger import Ledger
from campaigns.pages import Page, campaign_page, cell_page, csv_text, json_text, milliseconds, points_of, spans_of
from campaigns.state import CampaignState, Suggestion, fold
from surrogates.errors import UserError

DATABASE, ARTIFACTS, FIGURES = "mlflow.db", "artifacts", "figures"
LOCK, WAIT_S = ".sync.lock", 600.0
MOST_RUNS, MOST_METRICS = 50_000, 900  # of one search; of one batch
OURS = {"mlflow.experimentKind": "custom_model_development"}
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#7F3C8D", "#8C564B", "#7F7F7F", "#B8B000")
OPTIONAL_TAGS = ("end_reason", "censored")
ENVIRONMENT = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "DO_NOT_TRACK": "true",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "5",
    "GIT_PYTHON_REFRESH": "quiet",
}


class BusyError(UserError):
    """Another sync holds the folder."""


@dataclass(frozen=True)
class SyncReport:
    """What a sync did: campaigns that were behind the ledger, runs made or changed for them, and what went wrong.

    A campaign with a problem is tried again by the next sync.
    """

    campaigns: int = 0
    runs_written: int = 0
    problems: tuple[str, ...] = ()


def sync(
    ledger: Ledger, folder: str | Path, progress: Callable[[str], None] | None = None, wait_s: float = WAIT_S
) -> SyncReport:
    """Bring `folder`/mlflow.db and `folder`/artifacts up to the ledger; what is up to it already is left alone.

    `progress` is told each campaign that was written. Raises `UserError` where another sync holds the folder for
    longer than `wait_s`. Events that arrive meanwhile are projected too: whoever finds the lock held may go, because
    its holder looks at the ledger once more after giving it back.
    """
    import filelock

    folder = Path(folder).resolve()
    folder.mkdir(parents=True, exist_ok=True)
    report, seen = SyncReport(), -1
    while ledger.head() != seen:
        try:
            with filelock.FileLock(folder / LOCK, timeout=wait_s if seen < 0 else 0):
                seen = ledger.head()
                report = _sum(report, _project(ledger, folder, progress))
        except filelock.Timeout:
            if seen >= 0:
                break
            raise BusyError(f"{folder}: expected to write; found another sync at work. Try again later.") from None
    return report


def _sum(one: SyncReport, two: SyncReport) -> SyncReport:
    return SyncReport(one.campaigns + two.campaigns, one.runs_written + two.runs_written, two.problems)


def _project(ledger: Ledger, folder: Path, progress: Callable[[str], None] | None) -> SyncReport:
    client = _client(folder)
    known = _campaign_runs(client, folder)
    names, count, written, problems = ledger.campaigns(), 0, 0, []
    for name in names:
        try:
            runs = _campaign(client, folder, names, ledger.events(name), known)
        except Exception as error:  # one campaign that cannot be drawn or read keeps no other from being written
            problems.append(f"campaign {name}: {type(error).__name__}: {error}")
            continue
        if runs:
            count, written = count + 1, written + runs
            if progress is not None:
                progress(f"{name}: {runs} runs written")
    return SyncReport(count, written, tuple(problems))


def _client(folder: Path) -> Any:
    for variable, value in ENVIRONMENT.items():
        os.environ.setdefault(variable, value)
    from mlflow import MlflowClient

    for logger in ("mlflow", "alembic"):
        logging.getLogger(logger).setLevel(logging.WARNING)
    if not (folder / DATABASE).exists():  # made aside: a database that was killed while it was made stays broken
        part = folder / f"{DATABASE}.part"
        for left in folder.glob(f"{part.name}*"):
            left.unlink()
        MlflowClient(database_uri(part), database_uri(part)).delete_experiment("0")  # MLflow's own, empty "Default"
        part.replace(folder / DATABASE)
    uri = database_uri(folder / DATABASE)
    return MlflowClient(tracking_uri=uri, registry_uri=uri)


def database_uri(path: Path) -> str:
    """The URI of an SQLite database for MLflow, which would decode % and ? in a path in some places and not in others."""
    if re.search("[%?]", str(path)):
        raise UserError(
            f"{path.parent}: expected a path without % and ?, which MLflow misreads. Choose another folder."
        )
    return f"sqlite:///{path}"


def _campaign_runs(client: Any, folder: Path) -> dict[str, Any]:
    """The run of every campaign by the campaign's uid."""
    experiments = [item for item in client.search_experiments() if OURS.items() <= item.tags.items()]
    for experiment in experiments:
        _rehome(folder, experiment)
    ids = [experiment.experiment_id for experiment in experiments]
    runs = client.search_runs(ids, "tags.record = 'campaign'", max_results=MOST_RUNS) if ids else []
    return {run.data.tags["ledger_id"]: run for run in runs}


def _rehome(folder: Path, experiment: Any) -> None:
    """Point an experiment at its artifacts after the folder was moved: MLflow keeps absolute paths and lists nothing."""
    old = experiment.artifact_location
    new = str(folder / ARTIFACTS / Path(old).name)
    if old == new:
        return
    with contextlib.closing(sqlite3.connect(folder / DATABASE)) as database, database:
        key = (experiment.experiment_id,)
        database.execute("UPDATE experiments SET artifact_location = ? WHERE experiment_id = ?", (new, *key))
        change = "UPDATE runs SET artifact_uri = ? || substr(artifact_uri, ?) WHERE experiment_id = ?"
        database.execute(f"{change} AND substr(artifact_uri, 1, ?) = ?", (new, len(old) + 1, *key, len(old), old))


def _campaign(
    client: Any, folder: Path, names: Sequence[str], events: Sequence[Event], known: Mapping[str, Any]
) -> int:
    """Write one campaign and its cells; returns the number of runs written, 0 where it was up to the ledger."""
    run, revision = known.get(events[0].payload["uid"]), str(events[-1].revision)
    if run is not None and run.data.tags.get("ledger_revision") == revision:
        return 0
    state = fold(events)
    experiment_id = _experiment(client, folder, state.programme)
    colour = COLOURS[names.index(state.name) % len(COLOURS)]
    run, _ = _bring(client, experiment_id, run, campaign_page(state, colour))
    written = _cells(client, run, state, events, colour)
    drawn = int(run.data.tags.get("suggestion_revision", 0))
    _log_metrics(client, run.info.run_id, [s for s in state.suggestions if s.revision > drawn])
    _log_artifacts(client, run.info.run_id, state, _figures(folder, state, drawn))
    last = {"suggestion_revision": state.latest.revision if state.latest else 0, "ledger_revision": revision}
    for key, value in last.items():
        client.set_tag(run.info.run_id, key, value)
    return written + 1


def _experiment(client: Any, folder: Path, programme: str) -> str:
    found = client.get_experiment_by_name(programme)
    if found is None:
        home = folder / ARTIFACTS / (re.sub(r"[^\w.-]+", "_", programme).strip(".") or "_")
        return str(client.create_experiment(programme, artifact_location=str(home), tags=OURS))
    if found.lifecycle_stage == "deleted":  # someone deleted it; restoring it brings every run back, old ones too
        client.restore_experiment(found.experiment_id)
        for run in client.search_runs([found.experiment_id], max_results=MOST_RUNS):
            client.delete_run(run.info.run_id)
    return str(found.experiment_id)


def _bring(client: Any, experiment_id: str, run: Any, page: Page) -> tuple[Any, bool]:
    """The run that shows `page`, made or changed where needed, and whether it was."""
    is_new = run is None or _is_stale(run, page)
    if is_new:
        if run is not None:
            client.delete_run(run.info.run_id)
        run = client.create_run(experiment_id, start_time=page.start, tags=page.tags, run_name=page.name)
    return run, _update(client, run, page) or is_new


def _is_stale(run: Any, page: Page) -> bool:
    """Whether a run says what MLflow cannot take back: another param, a metric that is gone, an end."""
    params_differ = any(page.params.get(key) != value for key, value in run.data.params.items())
    gone = page.metrics and set(run.data.metrics) - set(page.metrics)
    return bool(params_differ or gone or (run.info.end_time and page.end is None))


def _update(client: Any, run: Any, page: Page) -> bool:
    from mlflow.entities import Metric, Param, RunTag

    data, run_id = run.data, run.info.run_id
    metrics = [Metric(k, v, page.time, page.step) for k, v in page.metrics.items() if data.metrics.get(k) != v]
    params = [Param(key, value) for key, value in page.params.items() if key not in data.params]
    tags = [RunTag(key, value) for key, value in page.tags.items() if data.tags.get(key) != value]
    cleared = [key for key in OPTIONAL_TAGS if key in data.tags and key not in page.tags]
    if metrics or params or tags:
        client.log_batch(run_id, metrics=metrics, params=params, tags=tags)
    for key in cleared:
        client.delete_tag(run_id, key)
    if run.info.status != page.status and page.end is None:
        client.update_run(run_id, status=page.status)
    elif run.info.status != page.status:
        client.set_terminated(run_id, page.status, page.end)
    return bool(metrics or params or tags or cleared or run.info.status != page.status)


def _cells(client: Any, parent: Any, state: CampaignState, events: Sequence[Event], colour: str) -> int:
    """Bring the runs of the cells up to the state; returns how many were made, changed or deleted."""
    query = f"tags.record = 'cell' and tags.ledger_id = '{state.uid}'"
    found = client.search_runs([parent.info.experiment_id], query, max_results=MOST_RUNS)
    runs = {run.data.tags["cell_id"]: run for run in found}
    spans, written, wanted = spans_of(events), 0, {cell.cell_id for cell in state.cells}
    for cell in state.cells:
        page = cell_page(state, cell, spans[cell.cell_id], colour, parent.info.run_id)
        written += _bring(client, parent.info.experiment_id, runs.get(cell.cell_id), page)[1]
    kept = [run for cell_id, run in runs.items() if cell_id in wanted]
    extra = [run for run in found if run not in kept]
    for run in extra:
        client.delete_run(run.info.run_id)
    return written + len(extra)


def _log_metrics(client: Any, run_id: str, suggestions: Iterable[Suggestion]) -> None:
    """Log each suggestion at its revision and time: the same point logged twice is stored once."""
    from mlflow.entities import Metric

    metrics = [
        Metric(key, value, milliseconds(suggestion.time), suggestion.revision)
        for suggestion in suggestions
        for key, value in points_of(suggestion).items()
    ]
    for start in range(0, len(metrics), MOST_METRICS):
        client.log_batch(run_id, metrics=metrics[start : start + MOST_METRICS])


def _figures(folder: Path, state: CampaignState, drawn: int) -> list[Path]:
    """The figures of the latest suggestion, drawn where it is newer than revision `drawn`; else the run has them."""
    if state.latest is None or state.latest.revision <= drawn:
        return []
    try:
        from campaigns.figure import write_figures
    except ModuleNotFoundError as error:
        if error.name != "campaigns.figure":
            raise
        return []
    return write_figures(state, folder / ARTIFACTS / FIGURES)


def _log_artifacts(client: Any, run_id: str, state: CampaignState, figures: Iterable[Path]) -> None:
    client.log_text(run_id, json_text(state.prior), "prior.json")
    client.log_text(run_id, csv_text(state.cells), "cells.csv")
    if state.latest is not None:
        client.log_text(run_id, json_text(vars(state.latest)), "suggestion.json")
    for path in figures:
        client.log_artifact(run_id, str(path))


def located(folder: str | Path, name: str | None = None) -> tuple[str, str] | None:
    """Experiment and run id of a campaign (default: the first there is) as MLflow knows them, or None."""
    if not (Path(folder) / DATABASE).exists():
        return None
    client = _client(Path(folder).resolve())
    ids = [item.experiment_id for item in client.search_experiments() if OURS.items() <= item.tags.items()]
    query = "tags.record = 'campaign'" + (f" and tags.campaign = '{name}'" if name else "")
    runs = client.search_runs(ids, query, max_results=1, order_by=["attributes.start_time ASC"]) if ids else []
    return (runs[0].info.experiment_id, runs[0].info.run_id) if runs else None
