"""The forms "I built this cell", "it is still running", "it died": what they say, as verbs of `Campaign`."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, Literal

from fastapi import Response
from fastapi.concurrency import run_in_threadpool

from campaigns.campaign import Campaign
from campaigns.service.access import Checked, User
from campaigns.service.bench_page import Sent, Typed, campaign_page, once, pages, stored
from campaigns.service.bench_views import END_REASONS, Filled
from campaigns.service.desk import Desk
from campaigns.service.problems import status_of
from campaigns.service.routing import Name, TheDesk
from campaigns.tables import COMPANIONS
from surrogates.cells import FAULTS
from surrogates.errors import Problem, TableError, UserError

router = pages()


@router.post("/bench/{name}/{form}")
async def tell(
    name: Name, form: Literal["built", "running", "died"], desk: TheDesk, user: Checked, typed: Sent
) -> Response:
    """Store what a form says, all or nothing; what is refused comes back as it was typed."""
    return await run_in_threadpool(_tell, name, form, desk, user, typed)


def _tell(name: str, form: str, desk: Desk, user: User, typed: Typed) -> Response:
    told = desk.campaign(name)
    try:
        VERBS[form](told, typed)
    except UserError as error:
        filled = Filled.refused(form, typed, error, [*typed])
        return campaign_page(desk, name, user, filled, status=status_of(error))
    return stored(name, typed)


def _built(told: Campaign, typed: Typed) -> None:
    """A cell on its channel: new, or one that was planned."""
    state, cell_id = told.state, _cell_id(typed)
    pressure_kpa = _number(typed, "pressure_kpa")
    known = state.cell(cell_id)
    if known and known.status != "planned" and (known.status, known.pressure_kpa) != ("running", pressure_kpa):
        remedy = "Give the new cell an id of its own."
        found = f"{cell_id}, {known.status} at {known.pressure_kpa:g} kPa"
        raise TableError("form", [Problem("", "cell_id", "the id of a new or planned cell", found, remedy)])
    number = typed.get("condition", "0")
    several = len(state.conditions) > 1 and number.isdigit() and int(number) < len(state.conditions)
    fixed = state.conditions[int(number)].model_dump(exclude={"retention_cycles"}) if several else {}
    told.record(cell_id, **once(typed), **fixed, pressure_kpa=pressure_kpa, status="running")


def _running(told: Campaign, typed: Typed) -> None:
    """A cell that is alive so far."""
    told.record(_known(told, typed), **once(typed), status="running", **_measured(typed))


def _died(told: Campaign, typed: Typed) -> None:
    """A cell that has ended, was taken off, or had a fault."""
    reason = typed.get("end_reason", "")
    if reason not in END_REASONS:
        raise TableError("form", [Problem("", "end_reason", "how it ended", "nothing", "Choose what fits best.")])
    status = "invalid" if reason in FAULTS else "stopped" if reason == "operator" else "ended"
    note: dict[str, Any] = {"note": typed["note"]} if typed.get("note") else {}
    told.record(_known(told, typed), **once(typed), status=status, end_reason=reason, **_measured(typed), **note)


VERBS: dict[str, Callable[[Campaign, Typed], None]] = {"built": _built, "running": _running, "died": _died}


def _known(told: Campaign, typed: Typed) -> str:
    cell_id = _cell_id(typed)
    if told.state.cell(cell_id) is None:
        remedy = "Tell first that it was built."
        raise TableError("form", [Problem("", "cell_id", "a cell of the table", cell_id, remedy)])
    return cell_id


def _cell_id(typed: Typed) -> str:
    cell_id = typed.get("cell_id", "")
    if not 1 <= len(cell_id) <= 100:
        found = f"{len(cell_id)} characters" if cell_id else "nothing"
        raise TableError("form", [Problem("", "cell_id", "an id of 1 to 100 characters", found)])
    return cell_id


def _measured(typed: Typed) -> dict[str, Any]:
    """The life, and what else was typed of efficiency and retention, each with the column that it is told together with."""
    lives = {name: _number(typed, name) for name in ("cycle_life_h", "cycle_life_cycles") if name in typed}
    results = {name: _number(typed, name) for name in COMPANIONS.values() if typed.get(name)}
    beside = {name: typed[name] for name, result in COMPANIONS.items() if result in results and typed.get(name)}
    return lives | results | beside


def _number(typed: Typed, column: str) -> float:
    text = typed.get(column, "")
    value, pointed = _float(text), text.replace(",", ".")
    if not math.isfinite(value):
        meant = math.isfinite(_float(pointed))
        remedy = f"Write a point: {pointed}" if meant else "Digits alone, in the unit that is given."
        raise TableError("form", [Problem("", column, "a number", repr(text[:40]) if text else "nothing", remedy)])
    return value


def _float(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return math.nan
