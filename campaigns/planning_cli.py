"""The commands that play decisions again or ahead: should-stop, replay, plan."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer

from campaigns.store import DEFAULT_STORE
from campaigns.terminal import AsJson, Name, Store, print_json, say

if TYPE_CHECKING:
    from optimizer.replay import Plan, Step

app = typer.Typer()

Processes = Annotated[int, typer.Option(min=1, help="Processes that share the work.")]
Scheduler = Annotated[str | None, typer.Option(help="A Dask cluster instead, as in tcp://10.0.0.5:8786.")]
Seed = Annotated[int, typer.Option(help="Seed of the computation.")]


@app.command("should-stop")
def should_stop(
    name: Name,
    cell: Annotated[str | None, typer.Argument(help="A running cell; without it all that run.")] = None,
    seed: Seed = 0,
    store: Store = DEFAULT_STORE,
    as_json: AsJson = False,
) -> None:
    """Is a running cell still worth its channel, or would a new one tell more in its place?"""
    from campaigns.campaign import Campaign

    campaign = Campaign.open(name, store)
    running = [item.cell_id for item in campaign.state.cells if item.status == "running"]
    found = [campaign.should_stop(item, seed) for item in ([cell] if cell else running)]
    if as_json:
        print_json([item.model_dump(mode="json") for item in found])
        return
    for item in found:
        say(item.reason)
    if not found:
        say(f"No cell of {name} is running.")


@app.command()
def replay(
    name: Name,
    prior: Annotated[str | None, typer.Option(help="Another prior: a name or a file.")] = None,
    per: Annotated[str | None, typer.Option(help="cell or channel-day.")] = None,
    max_test_h: Annotated[float | None, typer.Option(help="Another longest test.")] = None,
    stop_gain: Annotated[float | None, typer.Option(help="Stop under this expected gain (0.01 is 1 %).")] = None,
    seed: Seed = 0,
    processes: Processes = 1,
    scheduler: Scheduler = None,
    store: Store = DEFAULT_STORE,
    as_json: AsJson = False,
) -> None:
    """What another prior or policy would have suggested before each cell, and when it would have stopped."""
    from campaigns.campaign import Campaign
    from campaigns.priors import workers

    campaign = Campaign.open(name, store)
    asked = {"per": per, "max_test_h": max_test_h, "stop_gain": stop_gain}
    changes: dict[str, Any] = {key: value for key, value in asked.items() if value is not None}
    with workers(processes, scheduler) as mapper:
        found = campaign.replay(prior=prior, seed=seed, mapper=mapper, **changes)
    if as_json:
        print_json([{"condition": str(c), "steps": [vars(step) for step in steps]} for c, steps in found.items()])
        return
    for condition, steps in found.items():
        say(f"{condition}\n{_steps(steps)}\n{_stopped(steps)}")


def _steps(steps: list[Step]) -> str:
    """A line a step."""
    rows = [("cells", "would test", "gain", "says", "best (90 %)", "built")]
    for step in steps:
        low, high = step.interval_kpa
        best = f"{step.best_kpa:.3g} ({low:.3g} to {high:.3g}) kPa"
        built = "" if step.built_kpa is None else f"{step.built_kpa:.3g} kPa"
        rows.append(
            (str(step.cells), f"{step.suggested_kpa:.3g} kPa", f"{100 * step.gain:.1f} %", step.verdict, best, built)
        )
    return _columns(rows)


def _stopped(steps: list[Step]) -> str:
    from optimizer.replay import stops_after

    count = stops_after(steps)
    return "It would not have stopped yet." if count is None else f"It would have stopped after {count} cells."


@app.command()
def plan(
    name: Name,
    cells: Annotated[int, typer.Option(help="Cells of each simulated campaign.")] = 8,
    campaigns: Annotated[int, typer.Option(help="Simulated campaigns.")] = 100,
    seed: Seed = 0,
    processes: Processes = 1,
    scheduler: Scheduler = None,
    store: Store = DEFAULT_STORE,
    as_json: AsJson = False,
) -> None:
    """Before the first cell: how many it may take until the recommended pressure is within 5 % of the best."""
    from campaigns.campaign import Campaign
    from campaigns.priors import workers

    campaign = Campaign.open(name, store)
    with workers(processes, scheduler) as mapper:
        found = campaign.plan(cells, campaigns, seed, mapper)
    if as_json:
        said = [{"condition": str(c), **vars(item), "cells_needed": item.cells_needed} for c, item in found.items()]
        print_json(said)
        return
    for condition, item in found.items():
        say(f"{condition}: {item.campaigns} campaigns simulated from what is believed now\n{_planned(item)}")


def _planned(found: Plan) -> str:
    rows = [("cells", "loss, mean", "loss, 1 in 10 above", "within 5 %", "channel-days")]
    for number, loss in enumerate(found.loss):
        days = "" if found.days is None else f"{found.days[number]:.0f}"
        near, worst = f"{100 * found.near[number]:.0f} %", f"{100 * found.loss_90[number]:.0f} %"
        rows.append((str(number + 1), f"{100 * loss:.1f} %", worst, near, days))
    needed = found.cells_needed
    more = f"more than {len(found.loss)}" if needed is None else str(needed)
    return f"{_columns(rows)}\nCells until half of such campaigns are within 5 % of the best: {more}."


def _columns(rows: Sequence[tuple[str, ...]]) -> str:
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    return "\n".join("  ".join(f"{text:>{width}}" for text, width in zip(row, widths, strict=True)) for row in rows)
