"""Saved views of MLflow's page of a programme: which runs, columns and charts it opens with.

MLflow keeps a view as a tag of the experiment, its state as deflated JSON. That is an inner format of MLflow 3.17
(state: `ExperimentPageUIState` of its front end): it is written here and nowhere else, and looked at in a browser by
tests/test_mlflow_ui_browser.py.
"""

from __future__ import annotations

import base64
import hashlib
import json
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from surrogates.outcomes import Outcome, check_outcome

TAG = "mlflow.sharedViewState."
WRITTEN = 1_767_225_600_000  # the same at every sync, so that a view that has not changed is not written again
COMPARE, CELLS, RESPONSE, TABLE = "compare-campaigns", "all-cells", "response-curves", "campaign-table"
OVER_REVISION = {
    "pressure_opt_kpa": "Best pressure (kPa)",
    "pressure_opt_sd_ln": "Its uncertainty (sd of ln P)",
    "gain": "Expected gain (0.05: 5 %)",
    "expected_loss": "Expected regret (0.05: 5 %)",
    "prior_weight": "Weight of the prior, 0 to 1",
    "loo_factor": "Physics foretells better (x)",
    "n_cells": "Cells built",
    "spent_cell_hours": "Hours on channels",
}
"""Metrics of a campaign that are drawn over the revision of the ledger, and what their charts are called."""
REST = "Model metrics"  # MLflow's name of the section in which it draws, of itself, every metric that no chart shows
COLUMN_WIDTHS = {
    "params.electrode_pair": 120,
    "tags.phase": 110,
    "metrics.pressure_opt_kpa": 135,
    "metrics.pressure_opt_low_kpa": 170,
    "metrics.pressure_opt_high_kpa": 170,
    "metrics.n_cells": 75,
    "metrics.gain": 90,
    "params.prior": 150,
    "metrics.prior_weight": 110,
    "metrics.loo_factor": 95,
    "metrics.spent_cell_hours": 135,
    "params.electrolyte": 120,
}
"""Columns of the table of campaigns beside their best outcome, in pixels."""


@dataclass(frozen=True)
class View:
    """A saved view: the `key` in its link, the `name` in MLflow's menu, whether it opens as charts, and its state."""

    key: str
    name: str
    as_charts: bool
    state: dict[str, Any]

    @property
    def tag(self) -> tuple[str, str]:
        """Key and value of the experiment's tag that holds it."""
        packed = base64.b64encode(zlib.compress(json.dumps(self.state, separators=(",", ":")).encode())).decode()
        document = {"name": self.name, "createdAt": WRITTEN, "updatedAt": WRITTEN, "state": f"deflate;{packed}"}
        return TAG + self.key, json.dumps(document)


@dataclass(frozen=True)
class Section:
    """Charts under one heading, so many in a row; those of a section that is `folded` show when it is clicked."""

    name: str
    charts: Sequence[dict[str, Any]] = ()
    columns: int = 3
    height: int = 360
    folded: bool = False


def link(experiment_id: str, view: View) -> str:
    """What follows a server's address in the link to a view."""
    mode = "CHART" if view.as_charts else "TABLE"
    query = f"workflowType=machine_learning&compareRunsMode={mode}&viewStateShareKey={quote(view.key)}"
    return f"#/experiments/{experiment_id}/runs?{query}"


def views_of(outcomes: Sequence[str], measured: Sequence[str]) -> tuple[View, ...]:
    """The views of a programme whose campaigns improve `outcomes` and whose cells were `measured` for these: compare
    campaigns, cells, curves, table."""
    return compare_view(outcomes), _cells_view(measured or outcomes), _response_view(outcomes), _table_view(outcomes)


def compare_view(outcomes: Sequence[str], names: Sequence[str] = (), run_ids: Sequence[str] = ()) -> View:
    """How campaigns went, over the revision of the ledger; of all, or of those with these names and runs."""
    lines = [_line(f"Best {_label(name)}", f"best_{name}") for name in outcomes]
    lines += [_line(title, key) for key, title in OVER_REVISION.items()]
    lines[len(outcomes)] |= {"scaleType": "log"}
    results = ["prior_weight", "loo_factor", "pressure_opt_kpa", *(f"best_{name}" for name in outcomes)]
    params = ["electrode_pair", "electrolyte", "prior"]  # coloured by the last of the results
    parallel = {"type": "PARALLEL", "selectedParams": params, "selectedMetrics": results, "showAllRuns": True}
    chosen = " and attributes.run_id IN (" + ", ".join(f"'{run_id}'" for run_id in run_ids) + ")" if run_ids else ""
    key, name = COMPARE, "Compare campaigns"
    if names:
        key += "-" + hashlib.sha256("\n".join(names).encode()).hexdigest()[:8]
        name += f": {', '.join(names)}"[:80]
    sections = [
        Section("Answer by answer (step: revision of the ledger)", lines),
        Section("What was fixed against what was found", [parallel], columns=1, height=400),
    ]
    return View(key, name, True, _charts(f"tags.record = 'campaign'{chosen}", sections))


def _cells_view(measured: Sequence[str]) -> View:
    """Every cell of the programme: pressure against each outcome, coloured by campaign."""
    charts = [
        {"type": "SCATTER", "xaxis": _axis("pressure_kpa"), "yaxis": _axis(name), "runsCountToCompare": 1000}
        for name in measured
    ]
    section = Section("Each cell, in the colour of its campaign", charts, columns=min(len(charts), 2), height=500)
    return View(CELLS, "All cells", True, _charts("tags.record = 'cell'", [section]) | _grouped("tag", "campaign"))


def _response_view(outcomes: Sequence[str]) -> View:
    """The curves of all campaigns over pressure, one above the other: medians, and with their 90 % bands."""
    step_is_kpa = {"xAxisScaleType": "log", "useGlobalXaxisKey": False, "displayPoints": False}
    charts = []
    for name in outcomes:
        band = [f"response/{name}{ending}" for ending in ("", "_lower", "_upper")]
        charts.append(_line(f"{_label(name).capitalize()} over pressure (kPa)", band[0]) | step_is_kpa)
        charts.append(_line("With the 90 % band (dashed: lower end)", *band) | step_is_kpa)
    sections = [Section("Last answers (step: pressure in kPa)", charts, columns=2, height=500)]
    sections += [Section("response", folded=True)]
    state = _charts("tags.record = 'response'", sections) | _grouped("param", "outcome")
    return View(RESPONSE, "Response curves", True, state)


def _table_view(outcomes: Sequence[str]) -> View:
    """The campaigns as rows, with what they found first."""
    first, *others = COLUMN_WIDTHS.items()
    widths = dict([first, others[0], *((f"metrics.best_{name}", 155) for name in outcomes), *others[1:]])
    state = _state("tags.record = 'campaign'", list(widths))
    widths = {_column(name): width for name, width in widths.items()}
    return View(TABLE, "Campaign table", False, state | {"columnOrder": list(widths), "columnWidths": widths})


def _charts(search: str, sections: Sequence[Section]) -> dict[str, Any]:
    every = [*sections, Section(REST, folded=True)]
    cards = [
        {"uuid": f"stackpress-{place}-{number}", "metricSectionId": f"stackpress-{place}", "runsCountToCompare": 100}
        | {"deleted": False, "isGenerated": False, **chart}
        for place, section in enumerate(every)
        for number, chart in enumerate(section.charts)
    ]
    return {
        **_state(search, ["params.electrode_pair", "tags.phase"]),
        "compareRunSections": [_section(place, section) for place, section in enumerate(every)],
        "compareRunCharts": cards,
        "isAccordionReordered": True,
    }


def _section(place: int, section: Section) -> dict[str, Any]:
    look = {"columns": section.columns, "cardHeight": section.height, "display": not section.folded}
    fixed = {"isReordered": True, "deleted": False, "isGenerated": False}
    return {"uuid": f"stackpress-{place}", "name": section.name, **look, **fixed}


def _grouped(kind: str, name: str) -> dict[str, Any]:
    """Nested runs are drawn only where they are unfolded by hand, or in a group; what does not have the tag or param
    stays out of sight."""
    keys = [{"mode": kind, "groupByData": name}]
    return {"groupBy": {"aggregateFunction": "average", "groupByKeys": keys}, "useGroupedValuesInCharts": False}


def _state(search: str, columns: Sequence[str]) -> dict[str, Any]:
    return {
        "searchFilter": search,
        "orderByKey": "attributes.start_time",
        "orderByAsc": True,
        "startTime": "ALL",
        "lifecycleFilter": "Active",
        "modelVersionFilter": "All Runs",
        "datasetsFilter": [],
        "selectedColumns": [_column(name) for name in columns],
        "runsHiddenMode": "SHOW_ALL",
        "hideEmptyCharts": True,
        "groupBy": None,
    }


def _line(title: str, key: str, *more: str) -> dict[str, Any]:
    """Metrics over their steps, not smoothed."""
    step = {"xAxisKey": "step", "xAxisScaleType": "linear", "scaleType": "linear", "selectedXAxisMetricKey": ""}
    # on this page MLflow shows the title only of charts that it believes to be of a computing node's metrics
    named = {"displayName": title, "nodeLevelSystemMetricConfiguration": {"metric": key, "type": "node"}}
    return {
        "type": "LINE",
        "metricKey": key,
        "selectedMetricKeys": [key, *more],
        "lineSmoothness": 0,
        **step,
        **named,
    }


def _label(outcome: str) -> str:
    """An outcome in words, with its unit, whatever the cycle at which a retention is stated."""
    return Outcome(check_outcome(outcome)).label.split(" after ")[0]


def _axis(key: str) -> dict[str, str]:
    return {"key": key, "type": "METRIC"}


def _column(name: str) -> str:
    kind, _, key = name.partition(".")
    return f"{kind}.`{key}`"
