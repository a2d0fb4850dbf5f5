"""Saved views of MLflow's page of a programme: which runs, columns and charts it opens with.

MLflow keeps a view as a tag of the experiment, its state as deflated JSON. That is an inner format of MLflow 3.17
(state: `ExperimentPageUIState` of its front end): it is written here and nowhere else, and looked at in a browser by
tests/test_browser.py.
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

from surrogates.outcomes import OUTCOMES

TAG = "mlflow.sharedViewState."
WRITTEN = 1_767_225_600_000  # the same at every sync, so that a view that has not changed is not written again
COMPARE, CELLS, RESPONSE, TABLE = "compare-campaigns", "all-cells", "response-curves", "campaign-table"
OVER_REVISION = (
    "pressure_opt_kpa",
    "pressure_opt_sd_ln",
    "gain",
    "prior_weight",
    "loo_factor",
    "n_cells",
    "spent_cell_hours",
)
OF_CAMPAIGN = (
    *OVER_REVISION,
    "expected_loss",
    "n_cells_used",
    "no_effect",
    "pressure_next_kpa",
    "pressure_opt_low_kpa",
    "pressure_opt_high_kpa",
)
"""Metrics of a campaign's run beside its best outcome."""
BY_CAMPAIGN = {
    # nested runs are drawn only where they stand in a group or are unfolded by hand
    "groupBy": {"aggregateFunction": "average", "groupByKeys": [{"mode": "tag", "groupByData": "campaign"}]}
}
COLUMNS = ("params.prior", "params.electrode_pair", "params.electrolyte", "tags.phase")
SHORT_COLUMNS = ("params.electrode_pair", "tags.phase")


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
    charts = [_line(f"best_{name}") for name in outcomes] + [_line(key) for key in OVER_REVISION]
    charts[len(outcomes)] |= {"scaleType": "log"}
    results = [*(f"best_{name}" for name in outcomes), "pressure_opt_kpa", "prior_weight", "loo_factor"]
    params = ["electrode_pair", "electrolyte", "prior"]
    charts.append({"type": "PARALLEL", "selectedParams": params, "selectedMetrics": results, "showAllRuns": True})
    chosen = " and attributes.run_id IN (" + ", ".join(f"'{run_id}'" for run_id in run_ids) + ")" if run_ids else ""
    key, name = COMPARE, "Compare campaigns"
    if names:
        key += "-" + hashlib.sha256("\n".join(names).encode()).hexdigest()[:8]
        name += f": {', '.join(names)}"[:80]
    title = "Over the ledger's revision; last, what was fixed against what was found"
    return View(key, name, True, _charts(f"tags.record = 'campaign'{chosen}", title, charts))


def _cells_view(measured: Sequence[str]) -> View:
    """Every cell of the programme: pressure against each outcome, coloured by campaign."""
    charts = [
        {"type": "SCATTER", "xaxis": _axis("pressure_kpa"), "yaxis": _axis(name), "runsCountToCompare": 1000}
        for name in measured
    ]
    hidden = [*OF_CAMPAIGN, *(f"best_{name}" for name in OUTCOMES), "pressure_kpa", *OUTCOMES]
    return View(
        CELLS,
        "All cells",
        True,
        _charts("tags.record = 'cell'", "Pressure against outcome", [*charts, *_hidden(hidden)]) | BY_CAMPAIGN,
    )


def _response_view(outcomes: Sequence[str]) -> View:
    """The curves of all campaigns over pressure, one above the other: medians, and with their 90 % bands."""
    step_is_kpa = {"xAxisScaleType": "log", "useGlobalXaxisKey": False, "displayPoints": False}
    charts = []
    for name in outcomes:
        band = [f"response/{name}{ending}" for ending in ("", "_lower", "_upper")]
        charts.append({**_line(band[0]), **step_is_kpa})
        charts.append({**_line(band[0]), **step_is_kpa, "selectedMetricKeys": band})
    hidden = [*OF_CAMPAIGN, *(f"best_{name}" for name in OUTCOMES)]
    hidden += [f"response/{name}{ending}" for name in outcomes for ending in ("_lower", "_upper")]
    state = _charts("tags.record = 'response'", "Step: pressure in kPa", [*charts, *_hidden(hidden)])
    return View(RESPONSE, "Response curves", True, state | BY_CAMPAIGN)


def _table_view(outcomes: Sequence[str]) -> View:
    """The campaigns as rows."""
    results = [f"best_{name}" for name in outcomes]
    results += ["pressure_opt_kpa", "pressure_opt_low_kpa", "pressure_opt_high_kpa", "prior_weight", "loo_factor"]
    results += ["gain", "n_cells", "spent_cell_hours"]
    columns = [_column(name) for name in COLUMNS] + [f"metrics.`{name}`" for name in results]
    return View(TABLE, "Campaign table", False, _state("tags.record = 'campaign'", columns))


def _charts(search: str, title: str, charts: Sequence[dict[str, Any]]) -> dict[str, Any]:
    section = {"uuid": "stackpress", "name": title, "display": True, "isReordered": True}
    cards = [
        {"uuid": f"stackpress-{number}", "metricSectionId": "stackpress", "runsCountToCompare": 100, **chart}
        for number, chart in enumerate(charts)
    ]
    return {
        **_state(search, [_column(name) for name in SHORT_COLUMNS]),
        "compareRunSections": [{**section, "deleted": False, "isGenerated": False}],
        "compareRunCharts": [{"deleted": False, "isGenerated": False, **card} for card in cards],
        "isAccordionReordered": True,
    }


def _hidden(keys: Sequence[str]) -> list[dict[str, Any]]:
    """Charts that MLflow would add of itself, and is told that the viewer has deleted."""
    return [{"type": "LINE", "metricKey": key, "deleted": True} for key in keys]


def _state(search: str, columns: Sequence[str]) -> dict[str, Any]:
    return {
        "searchFilter": search,
        "orderByKey": "attributes.start_time",
        "orderByAsc": True,
        "startTime": "ALL",
        "lifecycleFilter": "Active",
        "modelVersionFilter": "All Runs",
        "datasetsFilter": [],
        "selectedColumns": list(columns),
        "runsHiddenMode": "SHOW_ALL",
        "hideEmptyCharts": True,
        "useGroupedValuesInCharts": False,
        "groupBy": None,
    }


def _line(key: str) -> dict[str, Any]:
    step = {"xAxisKey": "step", "xAxisScaleType": "linear", "scaleType": "linear", "selectedXAxisMetricKey": ""}
    return {"type": "LINE", "metricKey": key, "selectedMetricKeys": [key], "lineSmoothness": 0, **step}


def _axis(key: str) -> dict[str, str]:
    return {"key": key, "type": "METRIC"}


def _column(name: str) -> str:
    kind, _, key = name.partition(".")
    return f"{kind}.`{key}`"
