"""What to test next, and the surrogate behind it."""

from __future__ import annotations

from dataclasses import fields
from typing import Annotated, Any

from fastapi import APIRouter, Query
from fastapi.concurrency import run_in_threadpool
from pydantic import Field

from campaigns.service.access import READS, RECORDS
from campaigns.service.desk import check_finite
from campaigns.service.routing import READING, WRITING, Key, Name, TheDesk, apart
from campaigns.service.shapes import Question, Suggestion, SurrogateDocument
from campaigns.state import CampaignState
from optimizer.advice import Best
from optimizer.suggestion import CURVE_POINTS
from surrogates.cells import Condition
from surrogates.errors import UnknownError
from surrogates.surrogate import Surrogate, pressure_grid

router = APIRouter(tags=["suggestions"])
Curve = Annotated[bool, Query(description="With the curve that the answer was read from.")]


@router.post("/campaigns/{name}/suggestions", response_model=Suggestion, dependencies=RECORDS, responses=WRITING)
async def suggest(name: Name, asked: Question, desk: TheDesk, key: Key, curve: Curve = False) -> Any:
    """Which pressure to test next, what to expect there, and why. The stored answer where nothing has changed."""
    question = (name, asked.n, asked.seed)
    answer = await run_in_threadpool(desk.answered, *question) if key is None else None
    if answer is None:
        answer = await apart(lambda: desk.advise(*question, key))
    return await run_in_threadpool(lambda: Suggestion.of(desk.state(name), answer, curve))


@router.get("/campaigns/{name}/suggestions/latest", response_model=Suggestion, dependencies=READS, responses=READING)
def latest(name: Name, desk: TheDesk, curve: Curve = False) -> Any:
    """The last answer, as it was given."""
    state = desk.state(name)
    if state.latest is None:
        raise UnknownError(f"campaign {name}: expected an answer; found none yet. Ask for one.")
    return Suggestion.of(state, state.latest, curve)


@router.get("/campaigns/{name}/surrogate", response_model=SurrogateDocument, dependencies=READS, responses=READING)
async def surrogate(
    name: Name,
    desk: TheDesk,
    pressure_kpa: Annotated[
        list[Annotated[float, Field(ge=1e-3, le=1e6)]] | None,
        Query(max_length=1000, description="Pressures at which to tell the curve, kPa; default: over the rig's range."),
    ] = None,
) -> Any:
    """The outcome over pressure, fitted to the cells there are now, and the best pressure for each condition."""
    state = await run_in_threadpool(desk.state, name)

    def told() -> list[dict[str, Any]]:
        fitted = desk.surrogate_of(name)
        return [_told(state, fitted, condition, pressure_kpa) for condition in state.conditions]

    surrogates = await apart(lambda: desk.alone(told))
    check_finite(surrogates, f"campaign {name}")
    return {"campaign": name, "revision": state.revision, "surrogates": surrogates}


def _told(
    state: CampaignState, fitted: Surrogate, condition: Condition, pressure_kpa: list[float] | None
) -> dict[str, Any]:
    at = pressure_grid(state.rig.pressure_kpa, CURVE_POINTS) if pressure_kpa is None else pressure_kpa
    grid = state.rig.grid()
    best = fitted.optimum(condition, allowed_kpa=grid, tolerance_kpa=state.rig.tolerances(grid))
    return {
        "condition": condition,
        "outcome": fitted.outcome,
        **{name: [float(value) for value in values] for name, values in fitted.curve(condition, at).items()},
        "best": {item.name: getattr(best, item.name) for item in fields(best) if item.name in Best.model_fields},
    }
