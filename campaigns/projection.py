"""MLflow as a projection of the ledger, for people: experiment = programme, run = campaign, nested runs = its cells and
the curve of its last answer.

Everything in MLflow follows from the ledger: delete it, and `sync` makes it again. A campaign's run carries the ledger's
revision in a tag that is written last, so a sync that was cut short is mended by the next. A run holds points (metrics)
that only grow in number; where what it holds is not the beginning of what it should, it is made anew.
Only this module, `mlflow_place`, `registry` and `closed_model` import mlflow (1.5 s), and only inside functions.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from campaigns.events import Event
from campaigns.ledger import Ledger
from campaigns.mlflow_place import ARTIFACTS, OURS, AwayError, Place
from campaigns.pages import Page, campaign_page, cell_page, colours, csv_text, json_text, response_page
from campaigns.state import CampaignState, fold
from campaigns.timeline import RowsOverTime, rows_over_time
from campaigns.versions import version_of
from campaigns.views import TAG, View, views_of
from surrogates.errors import UserError
from surrogates.outcomes import OUTCOMES

FIGURES = "figures"
LOCK, WAIT_S = ".sync.lock", 600.0
MOST_RUNS, MOST_METRICS = 50_000, 900  # of one search; of one batch
ATTEMPTS = 2  # at a campaign, where the server answers again after a failure
OPTIONAL_TAGS = ("end_reason", "censored")
MARK, NO_MARK = "mlflow.stackpress.points", "0:"  # mlflow.: not among the tags on its pages
WRITER = "mlflow.stackpress.version"
REPLACED = "replaced"  # the `record` of a run that is deleted because another says it now, or nothing is to be said
MOST_LOOKED_UP, PLAIN_ID = 20, re.compile(r"[\w .,:+/#()-]+")  # cells looked for one by one; ids that need no quoting


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


@dataclass(frozen=True)
class _Desk:
    """What a sync works with: MLflow's client, what it has of the ledger's campaigns, and their colours, by uid."""

    place: Place
    client: Any
    runs: Mapping[str, Any]
    colours: Mapping[str, str] = field(default_factory=dict)


def sync(
    ledger: Ledger,
    folder: str | Path,
    progress: Callable[[str], None] | None = None,
    wait_s: float = WAIT_S,
    *,
    server: str | None = None,
    rebuild: bool = False,
) -> SyncReport:
    """Bring MLflow (`folder`/mlflow.db and `folder`/artifacts, or the `server` at that address) up to the ledger; what
    is up to it already is left alone, or made anew with `rebuild`.

    `progress` is told each campaign that was written. Raises `AwayError` where MLflow does not answer or is damaged,
    `BusyError` where another sync holds the folder for longer than `wait_s`. Events that arrive meanwhile are projected
    too: whoever finds the lock held may go, because its holder looks at the ledger once more after giving it back.
    """
    import filelock

    place = Place(Path(folder).resolve(), server)
    place.folder.mkdir(parents=True, exist_ok=True)
    report, seen = SyncReport(), -1
    while ledger.head() != seen:
        try:
            with filelock.FileLock(place.folder / LOCK, timeout=wait_s if seen < 0 else 0):
                anew = rebuild and seen < 0
                seen = ledger.head()
                report = _sum(report, _project(ledger, place, progress, anew))
        except filelock.Timeout:
            if seen >= 0:
                break
            raise BusyError(
                f"{place.folder}: expected to write; found another sync at work. Try again later."
            ) from None
    return report


def _sum(one: SyncReport, two: SyncReport) -> SyncReport:
    return SyncReport(one.campaigns + two.campaigns, one.runs_written + two.runs_written, two.problems)


def _project(ledger: Ledger, place: Place, progress: Callable[[str], None] | None, rebuild: bool) -> SyncReport:
    if rebuild and not place.server:
        place.put_aside()
    if place.server:
        place.check()
    told = {name: ledger.events(name) for name in ledger.campaigns()}
    uids = {name: str(events[0].payload["uid"]) for name, events in told.items()}
    client = place.client()
    if rebuild and place.server:
        _delete(client, place, uids.values())
    desk = _Desk(place, client, _campaign_runs(client, place), colours(list(uids.values())))
    count, written, problems = 0, 0, []
    for name, events in told.items():
        try:
            runs = _campaign_again(desk, events)
        except AwayError:
            raise
        except Exception as error:  # one campaign that cannot be drawn or read keeps no other from being written
            problems.append(f"campaign {name}: {type(error).__name__}: {error}")
            continue
        if runs:
            count, written = count + 1, written + runs
            if progress is not None:
                progress(f"{name}: {runs} runs written")
    return SyncReport(count, written, tuple(problems))


def _campaign_again(desk: _Desk, events: Sequence[Event]) -> int:
    """`_campaign`; after a failure MLflow is looked at, and a server that answers is tried once more."""
    for attempt in range(1, ATTEMPTS + 1):
        try:
            return _campaign(desk, events)
        except Exception:
            desk.place.check()
            if attempt == ATTEMPTS or not desk.place.server:
                raise
            desk = _Desk(desk.place, desk.client, _campaign_runs(desk.client, desk.place), desk.colours)
    raise AssertionError("the last attempt returns or raises")


def _campaign_runs(client: Any, place: Place) -> dict[str, Any]:
    """The run of every campaign by the campaign's uid; of two (an answer was lost, so it was made again) one is deleted."""
    ids = [experiment.experiment_id for experiment in place.experiments(client)]
    found: dict[str, Any] = {}
    for run in client.search_runs(ids, "tags.record = 'campaign'", max_results=MOST_RUNS) if ids else []:
        if run.data.tags["ledger_id"] in found:
            client.delete_run(run.info.run_id)
        else:
            found[run.data.tags["ledger_id"]] = run
    return found


def _delete(client: Any, place: Place, uids: Iterable[str]) -> None:
    """Delete the runs of these campaigns, their cells and curves."""
    ids = [experiment.experiment_id for experiment in place.experiments(client)]
    for uid in uids if ids else ():
        for run in client.search_runs(ids, f"tags.ledger_id = '{uid}'", max_results=MOST_RUNS):
            client.delete_run(run.info.run_id)


def _campaign(desk: _Desk, events: Sequence[Event]) -> int:
    """Write one campaign and its cells; returns the number of runs written, 0 where it was up to the ledger."""
    from campaigns import registry

    client, uid = desk.client, events[0].payload["uid"]
    run, revision = desk.runs.get(uid), str(events[-1].revision)
    if run is not None and run.data.tags.get("ledger_revision") == revision:
        return 0
    state, past, colour = fold(events), rows_over_time(events), desk.colours[uid]
    experiment_id = _experiment(client, desk.place, state, past)
    prior = registry.bring_prior(client, experiment_id, state)
    page = campaign_page(state, events, colour)
    run, _ = _bring(client, experiment_id, run, page, prior.model_id)
    drawn = int(run.data.tags.get("suggestion_revision", 0))
    registry.link(client, run, prior)
    written = 1 + _nested(client, run, state, past, colour)
    if state.latest is not None and state.latest.revision > drawn:
        registry.tell_verdict(client, prior, state)
    registry.bring_surrogate(client, experiment_id, run.info.run_id, state)
    _log_artifacts(client, run.info.run_id, state, _figures(desk.place.folder, state, events, drawn))
    last = {"suggestion_revision": state.latest.revision if state.latest else 0, WRITER: version_of("stackpress")}
    last["ledger_revision"] = revision
    for key, value in last.items():
        client.set_tag(run.info.run_id, key, value)
    return written


def _experiment(client: Any, place: Place, state: CampaignState, past: RowsOverTime) -> str:
    """The experiment of the campaign's programme, with its saved views; its tags say what its campaigns improve and what
    their cells were measured for."""
    found = client.get_experiment_by_name(state.programme)
    if found is None:
        home = place.artifact_location(state.programme)
        experiment_id = str(client.create_experiment(state.programme, artifact_location=home, tags=OURS))
        found = client.get_experiment(experiment_id)
    if found.lifecycle_stage == "deleted":  # someone deleted it; restoring it brings every run back, old ones too
        client.restore_experiment(found.experiment_id)
        for run in client.search_runs([found.experiment_id], max_results=MOST_RUNS):
            client.delete_run(run.info.run_id)
    ever = {name for rows in past.values() for _, row in rows for name in row}
    said = {key: set(found.tags.get(key, "").split()) for key in ("outcomes", "measured")}
    improved = [name for name in OUTCOMES if name in said["outcomes"] | {state.objective}]
    measured = [name for name in OUTCOMES if name in said["measured"] | ever]
    tags = {**OURS, "outcomes": " ".join(improved), "measured": " ".join(measured)}
    for key, value in {**tags, **dict(view.tag for view in views_of(improved, measured))}.items():
        if found.tags.get(key) != value:
            client.set_experiment_tag(found.experiment_id, key, value)
    return str(found.experiment_id)


def _bring(client: Any, experiment_id: str, run: Any, page: Page, model_id: str | None = None) -> tuple[Any, bool]:
    """The run that shows `page`, made or changed where needed, and whether it was; `model_id`: of the prior that the
    points about it are linked to."""
    is_new = run is None or _is_stale(run, page)
    if is_new:
        if run is not None:
            _replace(client, run)
        tags = {key: value for key, value in page.tags.items() if value}
        run = client.create_run(experiment_id, start_time=page.start, tags=tags, run_name=page.name)
    return run, _update(client, run, page, model_id) or is_new


def _replace(client: Any, run: Any) -> None:
    """Delete a run, and say so on it: others that are deleted, or this one where it is restored, were touched by hand."""
    client.set_tag(run.info.run_id, "record", REPLACED)
    client.delete_run(run.info.run_id)


def _is_stale(run: Any, page: Page) -> bool:
    """Whether a run says what MLflow cannot take back: another param or point, an end."""
    params_differ = any(page.params.get(key) != value for key, value in run.data.params.items())
    mark = run.data.tags.get(MARK, NO_MARK)
    other = bool(run.data.metrics) if mark == NO_MARK else mark != page.mark(int(mark.split(":")[0]))
    return bool(params_differ or other or (run.info.end_time and page.end is None))


def _update(client: Any, run: Any, page: Page, model_id: str | None) -> bool:
    from mlflow.entities import Param, RunTag

    data, run_id = run.data, run.info.run_id
    held = int(data.tags.get(MARK, NO_MARK).split(":")[0])
    params = [Param(key, value) for key, value in page.params.items() if key not in data.params]
    wanted = page.tags | {MARK: page.mark()}
    tags = [RunTag(key, value) for key, value in wanted.items() if data.tags.get(key) != value]
    cleared = [key for key in OPTIONAL_TAGS if key in data.tags and key not in page.tags]
    metrics = _metrics(page, held, model_id)
    batches = [metrics[start : start + MOST_METRICS] for start in range(0, len(metrics), MOST_METRICS)] or [[]]
    for batch in batches[:-1]:
        client.log_batch(run_id, metrics=batch)
    if metrics or params or tags:  # stored in this order: a mark that is there says that its points are
        client.log_batch(run_id, metrics=batches[-1], params=params, tags=tags)
    for key in cleared:
        client.delete_tag(run_id, key)
    if run.info.status != page.status and page.end is None:
        client.update_run(run_id, status=page.status)
    elif run.info.status != page.status:
        client.set_terminated(run_id, page.status, page.end)
    return bool(metrics or params or tags or cleared or run.info.status != page.status)


def _metrics(page: Page, held: int, model_id: str | None) -> list[Any]:
    """The points that a run does not hold yet; the same point logged twice is stored once."""
    from mlflow.entities import Metric

    from campaigns.registry import is_about_prior

    return [
        Metric(p.key, p.value, p.time, p.step, model_id=model_id if model_id and is_about_prior(p.key) else None)
        for p in page.points[held:]
    ]


def _nested(client: Any, parent: Any, state: CampaignState, past: RowsOverTime, colour: str) -> int:
    """Bring the runs of the cells and of the last curves up to the state; returns how many were made, changed or
    deleted."""
    parent_id = parent.info.run_id
    touched = _touched(client, parent, state, past)
    cells = [cell for cell in state.cells if touched is None or cell.cell_id in touched]
    pages = {cell.cell_id: cell_page(state, cell, past[cell.cell_id], colour, parent_id) for cell in cells}
    curves = len(state.latest.advice) if state.latest else 0
    responses = {str(number): response_page(state, number, colour, parent_id) for number in range(curves)}
    written = _bring_all(client, parent, state, "cell", "cell_id", pages, touched)
    return written + _bring_all(client, parent, state, "response", "condition", responses)


def _touched(client: Any, parent: Any, state: CampaignState, past: RowsOverTime) -> set[str] | None:
    """The ids of the cells whose runs may be behind: events spoke of them since the last sync, or someone deleted their
    run; None where all have to be looked at. Runs that were replaced, and that someone restored, go again."""
    from mlflow.entities import ViewType

    experiment_id, tags = parent.info.experiment_id, parent.data.tags
    query = f"tags.record = '{REPLACED}' and tags.ledger_id = '{state.uid}'"
    for run in client.search_runs([experiment_id], query, max_results=MOST_RUNS):
        client.delete_run(run.info.run_id)
    if "ledger_revision" not in tags or tags.get(WRITER) != version_of("stackpress"):
        return None
    told = {cell_id for cell_id, rows in past.items() if rows[-1][0].revision > int(tags["ledger_revision"])}
    query = f"tags.record = 'cell' and tags.`mlflow.parentRunId` = '{parent.info.run_id}'"
    deleted = client.search_runs([experiment_id], query, ViewType.DELETED_ONLY, MOST_RUNS)
    touched = told | {run.data.tags["cell_id"] for run in deleted}
    return touched if len(touched) <= MOST_LOOKED_UP and all(map(PLAIN_ID.fullmatch, touched)) else None


def _bring_all(
    client: Any,
    parent: Any,
    state: CampaignState,
    record: str,
    tag: str,
    pages: Mapping[str, Page],
    only: Collection[str] | None = None,
) -> int:
    """Bring all runs of one kind of a campaign up to `pages`, which go by their `tag`; or those where it is one of
    `only`."""
    experiment_id = parent.info.experiment_id
    of_kind = f"tags.record = '{record}' and tags.ledger_id = '{state.uid}'"
    queries = [of_kind] if only is None else [f"{of_kind} and tags.{tag} = '{key}'" for key in sorted(only)]
    found = [run for query in queries for run in client.search_runs([experiment_id], query, max_results=MOST_RUNS)]
    runs = {run.data.tags[tag]: run for run in found}
    written = sum(_bring(client, experiment_id, runs.get(key), page)[1] for key, page in pages.items())
    extra = [run for run in found if run.data.tags[tag] not in pages or run is not runs[run.data.tags[tag]]]
    for run in extra:
        _replace(client, run)
    return written + len(extra)


def _figures(folder: Path, state: CampaignState, events: Sequence[Event], drawn: int) -> list[Path]:
    """The figures of the latest suggestion and of the course up to it, drawn where it is newer than revision `drawn`;
    else the run has them. They show what was known then, so that they are the same whenever they are drawn."""
    if state.latest is None or state.latest.revision <= drawn:
        return []
    from campaigns.course_figure import write_course
    from campaigns.figure import write_figures

    known, home = events[: state.latest.revision], folder / ARTIFACTS / FIGURES
    return [*write_figures(fold(known), home), *write_course(known, home)]


def _log_artifacts(client: Any, run_id: str, state: CampaignState, figures: Iterable[Path]) -> None:
    client.log_text(run_id, json_text(state.prior), "prior.json")
    client.log_text(run_id, csv_text(state.cells), "cells.csv")
    if state.latest is not None:
        client.log_text(run_id, json_text(vars(state.latest)), "suggestion.json")
    for path in figures:
        client.log_artifact(run_id, str(path))


@dataclass(frozen=True)
class Located:
    """Where MLflow has a campaign: its experiment, its run, and the outcomes that campaigns of the experiment improve."""

    name: str
    experiment_id: str
    run_id: str
    outcomes: tuple[str, ...]


def located(place: Place) -> tuple[Located, ...]:
    """The campaigns that MLflow has, oldest first."""
    if not place.server and not place.database.exists():
        return ()
    client = place.client()
    outcomes = {e.experiment_id: tuple(e.tags.get("outcomes", "").split()) for e in place.experiments(client)}
    query, order = "tags.record = 'campaign'", ["attributes.start_time ASC"]
    runs = client.search_runs(list(outcomes), query, max_results=MOST_RUNS, order_by=order) if outcomes else []
    return tuple(
        Located(run.data.tags["campaign"], run.info.experiment_id, run.info.run_id, outcomes[run.info.experiment_id])
        for run in runs
    )


def save_view(place: Place, experiment_id: str, view: View) -> None:
    """Write a saved view into an experiment."""
    key, value = view.tag
    assert key.startswith(TAG)
    place.client().set_experiment_tag(experiment_id, key, value)
