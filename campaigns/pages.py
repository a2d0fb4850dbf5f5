"""What MLflow has to show of a campaign and of a cell: names, params, tags, metrics and files, without MLflow itself."""

from __future__ import annotations

import csv
import hashlib
import io
import json
import math
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from campaigns.card import html_cards
from campaigns.events import Event
from campaigns.state import CampaignState, Suggestion
from campaigns.timeline import Row, effort
from optimizer.advice import Advice
from surrogates.cells import COLUMNS, REQUIRED, Cell

MOST_NOTE = 8_000  # characters of a tag
STATUS = {"planned": "SCHEDULED", "running": "RUNNING", "ended": "FINISHED", "stopped": "FINISHED", "invalid": "FAILED"}
CONDITION = ("electrode_pair", "electrolyte", "current_density", "current_density_unit", "temperature_c")
SDS_IN_INTERVAL = 2 * 1.6449  # standard deviations in the 90 % interval of a normal distribution
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#7F3C8D", "#8C564B", "#7F7F7F", "#B8B000")
FIXED = (*CONDITION, "areal_capacity_mah_cm2", "separator", "fixture", "assembly_batch")


@dataclass(frozen=True)
class Point:
    """A metric's value at one step, and the Unix milliseconds of when it was said."""

    key: str
    value: float
    time: int
    step: int


@dataclass(frozen=True)
class Page:
    """What a run has to show. Times are Unix milliseconds; `points` in the order in which they came to be."""

    name: str
    status: str
    start: int
    end: int | None
    params: dict[str, str]
    tags: dict[str, str]
    points: tuple[Point, ...] = ()

    def mark(self, count: int | None = None) -> str:
        """The number of the first `count` points (default: all) and a digest of them: tells what a run holds of them."""
        points = self.points[:count]
        text = "\n".join(f"{point.key} {point.step} {point.value!r} {point.time}" for point in points)
        return f"{len(points)}:{hashlib.sha256(text.encode()).hexdigest()[:16]}"


def campaign_page(state: CampaignState, events: Sequence[Event], colour: str) -> Page:
    """The run of a campaign: what is fixed as params, what may change as tags, the card as note, its life as points."""
    (low, high), goal = state.rig.pressure_kpa, state.goal
    said = state.rig.model_dump(exclude_defaults=True, exclude={"pressure_kpa"})
    if goal.subject_to:
        said["subject_to"] = "; ".join(map(str, goal.subject_to))
    said |= goal.model_dump(exclude_defaults=True, include={"per", "stop_gain"})
    params = {
        "electrode_pair": _each(item.electrode_pair for item in state.conditions),
        "electrolyte": _each(item.electrolyte for item in state.conditions),
        "current_density": _each(f"{c.current_density:g} {c.current_density_unit}" for c in state.conditions),
        "objective": ", ".join(goal.outcomes),
        "pressure_kpa": f"{low:g} to {high:g}",
        **{key: str(value) for key, value in said.items()},
        "prior": state.prior.name,
        "prior_hash": state.prior.content_hash,
    }
    tags = _tags(state, "campaign", colour, state.actor) | {"phase": phase(state), "mlflow.note.content": _note(state)}
    tags["electrode_pair"] = params["electrode_pair"]
    short = {key: value[:500] for key, value in params.items()}
    status, end = ("FINISHED", milliseconds(state.closed.time)) if state.closed else ("RUNNING", None)
    return Page(state.name, status, milliseconds(state.opened), end, short, tags, _life(state, events))


def _note(state: CampaignState) -> str:
    # MLflow's page drops captions
    card = html_cards(state).replace("<table><caption>", "<b>").replace("</caption>", "</b><table>")
    return card if len(card) <= MOST_NOTE else f"{len(state.conditions)} conditions: see suggestion.json."


def _life(state: CampaignState, events: Sequence[Event]) -> tuple[Point, ...]:
    """A campaign's metrics by revision: what each answer said, and what the cells had cost."""
    points = [
        Point(key, value, milliseconds(suggestion.time), suggestion.revision)
        for suggestion in state.suggestions
        for key, value in points_of(suggestion).items()
    ]
    for event, cells, hours in effort(events):
        said = {"n_cells": cells, **({"spent_cell_hours": hours} if hours else {})}
        points += [Point(key, value, milliseconds(event.time), event.revision) for key, value in _numbers(said).items()]
    return tuple(sorted(points, key=lambda point: (point.step, point.key)))


def _tags(state: CampaignState, record: str, colour: str, actor: str) -> dict[str, str]:
    names = {"record": record, "campaign": state.name, "ledger_id": state.uid}
    return names | {"mlflow.user": actor, "mlflow.source.name": "stackpress", "mlflow.runColor": colour}


def phase(state: CampaignState) -> str:
    """Where a campaign stands: closed, awaiting a suggestion, or the verdict of the last."""
    if state.closed:
        return "closed"
    if state.latest is None or not state.is_current:
        return "awaiting suggestion"
    return _each(advice.best.verdict for advice in state.latest.advice)


def cell_page(state: CampaignState, cell: Cell, past: Sequence[tuple[Event, Row]], colour: str, parent: str) -> Page:
    """The nested run of a cell; `past`: the events that speak of it and the rows they left (not empty), `parent`: the
    id of the campaign's run."""
    (first, _), (last, _) = past[0], past[-1]
    row, status = cell.row(), STATUS[cell.status]
    params = {name: str(row[name])[:500] for name in ("pressure_kpa", *FIXED) if name in row}
    tags = _tags(state, "cell", colour, last.actor) | {"cell_id": cell.cell_id, "cell_status": cell.status}
    tags |= {"mlflow.parentRunId": parent, "electrode_pair": cell.electrode_pair, "ledger_revision": str(last.revision)}
    if cell.end_reason:
        tags["end_reason"] = cell.end_reason
    if cell.status in ("running", "stopped", "ended"):
        tags["censored"] = str(cell.status != "ended").lower()
    end = milliseconds(last.time) if status in ("FINISHED", "FAILED") else None
    name, start = f"{cell.cell_id} {cell.pressure_kpa:g} kPa", milliseconds(first.time)
    return Page(name, status, start, end, params, tags, tuple(_measured(past, _numbers(row))))


def _measured(past: Sequence[tuple[Event, Row]], now: Mapping[str, float]) -> Iterator[Point]:
    """What was measured of a cell, as it became known; without what the cell does not say any more."""
    said: dict[str, float] = {}
    for event, row in past:
        for key, value in _numbers({name: row[name] for name in row if name not in FIXED}).items():
            if key in now and said.get(key) != value:
                said[key] = value
                yield Point(key, value, milliseconds(event.time), event.revision)


def response_page(state: CampaignState, number: int, colour: str, parent: str) -> Page:
    """The nested run of the last answer's curve of condition `number`: median and 90 % band, the step is the pressure
    in whole kPa."""
    suggestion = state.suggestions[-1]
    advice, time = suggestion.advice[number], milliseconds(suggestion.time)
    condition = advice.condition
    params = {"electrode_pair": condition.electrode_pair, "electrolyte": condition.electrolyte}
    params |= {"outcome": advice.outcome, "prior": state.prior.name}
    tags = _tags(state, "response", colour, suggestion.actor) | {"condition": str(number)}
    tags |= {"mlflow.parentRunId": parent, "ledger_revision": str(suggestion.revision), **params}
    points = tuple(Point(key, value, time, kpa) for kpa, key, value in _curve(advice))
    name = f"{state.name} response" + (f" {number}" if number else "")
    return Page(name, "FINISHED", time, time, params, tags, points)


def _curve(advice: Advice) -> Iterator[tuple[int, str, float]]:
    """The curve at whole kPa, at most as many as the curve has: linear between its points over ln(pressure)."""
    import numpy as np

    kpa = np.asarray(advice.curve.pressure_kpa)
    steps = np.unique(np.clip(np.rint(kpa), math.ceil(kpa[0]), math.floor(kpa[-1]))).astype(int)
    for ending in ("", "_lower", "_upper"):
        y = getattr(advice.curve, ending[1:] or "median")
        for step, value in zip(steps, np.interp(np.log(steps), np.log(kpa), y), strict=True):
            yield int(step), f"response/{advice.outcome}{ending}", float(f"{value:.4g}")


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
        said: dict[str, float | None] = {
            "pressure_opt_kpa": best.pressure_kpa,
            "pressure_opt_low_kpa": low_high[0],
            "pressure_opt_high_kpa": low_high[1],
            "pressure_opt_sd_ln": math.log(low_high[1] / low_high[0]) / SDS_IN_INTERVAL,
            f"best_{advice.outcome}": best.median,
            "prior_weight": best.prior_weight,
            "loo_factor": advice.foretold_better,
            "no_effect": best.no_effect,
            "expected_loss": best.expected_loss,
            "n_cells_used": advice.cells_used,
        }
        if advice.proposals:
            said |= {"pressure_next_kpa": advice.proposals[0].pressure_kpa, "gain": advice.proposals[0].gain}
        points |= {f"{key}.{number}" if number else key: value for key, value in said.items() if value is not None}
    return _numbers(points)


def colours(uids: Sequence[str]) -> dict[str, str]:
    """The colour of each campaign, by its uid; `uids` oldest first. A new campaign changes no other's: each takes the
    colour that its uid names, or the next one that no older campaign has."""
    taken: dict[str, str] = {}
    for uid in uids:
        first = int(hashlib.sha256(uid.encode()).hexdigest(), 16)
        order = [COLOURS[(first + number) % len(COLOURS)] for number in range(len(COLOURS))]
        taken[uid] = next((colour for colour in order if colour not in taken.values()), order[0])
    return taken


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
