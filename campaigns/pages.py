"""What MLflow has to show of a campaign and of a cell: names, params, tags, metrics and files, without MLflow itself."""

from __future__ import annotations

import csv
import io
import json
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from campaigns.card import html_cards
from campaigns.events import Event, cells_named, current
from campaigns.state import CampaignState, Suggestion
from surrogates.cells import COLUMNS, REQUIRED, Cell

MOST_NOTE = 8_000  # characters of a tag
STATUS = {"planned": "SCHEDULED", "running": "RUNNING", "ended": "FINISHED", "stopped": "FINISHED", "invalid": "FAILED"}
CONDITION = ("electrode_pair", "electrolyte", "current_density", "current_density_unit", "temperature_c")
FIXED = (*CONDITION, "areal_capacity_mah_cm2", "separator", "fixture", "assembly_batch")


@dataclass(frozen=True)
class Page:
    """What a run has to show. Times are Unix milliseconds; `step` is the ledger's revision of the metrics."""

    name: str
    status: str
    start: int
    end: int | None
    params: dict[str, str]
    tags: dict[str, str]
    metrics: dict[str, float] = field(default_factory=dict)
    step: int = 0
    time: int = 0


def campaign_page(state: CampaignState, colour: str) -> Page:
    """The run of a campaign: what is fixed as params, what may change as tags, the card as note."""
    # MLflow's page drops captions
    card = html_cards(state).replace("<table><caption>", "<b>").replace("</caption>", "</b><table>")
    rig = state.rig.model_dump(exclude_none=True)
    low, high = rig.pop("pressure_kpa")
    params = {
        "electrode_pair": _each(item.electrode_pair for item in state.conditions),
        "electrolyte": _each(item.electrolyte for item in state.conditions),
        "current_density": _each(f"{c.current_density:g} {c.current_density_unit}" for c in state.conditions),
        "objective": state.objective,
        "pressure_kpa": f"{low:g} to {high:g}",
        **{key: str(value) for key, value in rig.items()},
        "prior": state.prior.name,
        "prior_hash": state.prior.content_hash,
    }
    note = card if len(card) <= MOST_NOTE else f"{len(state.conditions)} conditions: see suggestion.json."
    tags = _tags(state, "campaign", colour, state.actor) | {"phase": _phase(state), "mlflow.note.content": note}
    tags["electrode_pair"] = params["electrode_pair"]
    short = {key: value[:500] for key, value in params.items()}
    return Page(state.name, "RUNNING", milliseconds(state.opened), None, short, tags)


def _tags(state: CampaignState, record: str, colour: str, actor: str) -> dict[str, str]:
    names = {"record": record, "campaign": state.name, "ledger_id": state.uid}
    return names | {"mlflow.user": actor, "mlflow.source.name": "stackpress", "mlflow.runColor": colour}


def _phase(state: CampaignState) -> str:
    if state.latest is None or not state.is_current:
        return "awaiting suggestion"
    return _each(advice.best.verdict for advice in state.latest.advice)


def spans_of(events: Sequence[Event]) -> dict[str, tuple[Event, Event]]:
    """The first and the last event that speak of each cell; `events` are a campaign's first ones, in order."""
    events = current(events)
    spans: dict[str, tuple[Event, Event]] = {}
    for event in events:
        for cell_id in cells_named(event, events):
            spans[cell_id] = (spans.get(cell_id, (event, event))[0], event)
    return spans


def cell_page(state: CampaignState, cell: Cell, span: tuple[Event, Event], colour: str, parent: str) -> Page:
    """The nested run of a cell; `span`: its first and last event, `parent`: the id of the campaign's run."""
    first, last = span
    row, status = cell.row(), STATUS[cell.status]
    params = {name: str(row[name])[:500] for name in ("pressure_kpa", *FIXED) if name in row}
    measured = {name: value for name, value in row.items() if name not in FIXED}
    tags = _tags(state, "cell", colour, last.actor) | {"cell_id": cell.cell_id, "cell_status": cell.status}
    tags |= {"mlflow.parentRunId": parent, "electrode_pair": cell.electrode_pair, "ledger_revision": str(last.revision)}
    if cell.end_reason:
        tags["end_reason"] = cell.end_reason
    if cell.status in ("running", "stopped", "ended"):
        tags["censored"] = str(cell.status != "ended").lower()
    end = milliseconds(last.time) if status in ("FINISHED", "FAILED") else None
    name, start = f"{cell.cell_id} {cell.pressure_kpa:g} kPa", milliseconds(first.time)
    return Page(name, status, start, end, params, tags, _numbers(measured), last.revision, milliseconds(last.time))


def _numbers(values: Mapping[str, Any]) -> dict[str, float]:
    """The finite numbers among `values`, to 4 digits, under keys that MLflow takes."""
    numbers = {k: v for k, v in values.items() if isinstance(v, int | float) and not isinstance(v, bool)}
    return {_key(k): float(f"{v:.4g}") for k, v in numbers.items() if math.isfinite(v)}


def _key(name: str) -> str:
    return re.sub(r"[^\w.-]+", "_", name).lstrip(".")[:250] or "_"


def points_of(suggestion: Suggestion) -> dict[str, float]:
    """What a suggestion says, as metrics; the keys of the 2nd, 3rd, ... condition end in .1, .2, ..."""
    points: dict[str, float] = {}
    for number, advice in enumerate(suggestion.advice):
        best, low_high = advice.best, advice.best.interval_kpa
        said = {
            "pressure_opt_kpa": best.pressure_kpa,
            "pressure_opt_low_kpa": low_high[0],
            "pressure_opt_high_kpa": low_high[1],
            f"best_{advice.outcome}": best.median,
            "prior_weight": best.prior_weight,
            "no_effect": best.no_effect,
            "expected_loss": best.expected_loss,
            "n_cells_used": advice.cells_used,
        }
        if advice.proposals:
            said |= {"pressure_next_kpa": advice.proposals[0].pressure_kpa, "gain": advice.proposals[0].gain}
        points |= {f"{key}.{number}" if number else key: value for key, value in said.items()}
    return _numbers(points)


def json_text(document: Any) -> str:
    """A document of plain values and pydantic models as indented JSON."""
    return json.dumps(document, default=lambda item: item.model_dump(mode="json"), indent=2, ensure_ascii=False) + "\n"


def csv_text(cells: Sequence[Cell]) -> str:
    """The table of cells, without columns that no cell fills."""
    rows = [cell.row() for cell in cells]
    filled = set().union(*rows, REQUIRED)
    columns = [name for name in COLUMNS if name in filled] + sorted(filled - set(COLUMNS))
    text = io.StringIO()
    writer = csv.DictWriter(text, columns, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


def _each(texts: Iterable[str]) -> str:
    return ", ".join(dict.fromkeys(texts))


def milliseconds(time: str) -> int:
    """Unix milliseconds of an ISO 8601 time."""
    return round(datetime.fromisoformat(time).timestamp() * 1000)
