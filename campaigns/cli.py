"""The command line: it parses, calls the verb of the same name, and prints.

Exit codes: 0 done; 2 the request cannot be carried out as stated (the message says what to do); 1 a fault of ours.
Nothing heavy is imported here: each command imports what it needs.
"""

from __future__ import annotations

import gc
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from campaigns import instruments_cli
from campaigns.backup_cli import app as backup_app
from campaigns.cells_cli import app as cells_app
from campaigns.files_cli import app as files_app
from campaigns.mlflow_cli import app as mlflow_app
from campaigns.planning_cli import app as planning_app
from campaigns.prior_cli import app as prior_app
from campaigns.review_cli import app as review_app
from campaigns.serve_cli import app as serve_app
from campaigns.store import DEFAULT_STORE, exists, shown
from campaigns.terminal import AsJson, Key, Name, Store, command, print_json, say
from campaigns.xrd_cli import app as xrd_app

if TYPE_CHECKING:
    from campaigns.campaign import Campaign
    from campaigns.edits import Merge

app = typer.Typer(
    name="stackpress",
    help="Tells a battery lab which stacking pressure to test next, for each electrode pair.",
    epilog="Units: pressure in kPa, life in h or cycles, efficiencies and retentions as fractions. "
    "Add --debug to any command to see the traceback of a fault.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
app.add_typer(cells_app)
app.add_typer(files_app)
app.add_typer(backup_app)
app.add_typer(review_app)
app.add_typer(serve_app)
app.add_typer(mlflow_app)
app.add_typer(planning_app)
app.add_typer(prior_app, name="prior")
app.add_typer(xrd_app)


@app.command()
def demo(store: Store = DEFAULT_STORE, as_json: AsJson = False) -> None:
    """From the seven published cells of Wen et al. (2025) to the next pressure of both electrode pairs."""
    from campaigns.demo import open_demo
    from surrogates.errors import UserError

    campaigns = open_demo(store)
    for campaign in campaigns:
        campaign.advise()
    if as_json:
        print_json([_document(campaign) for campaign in campaigns])
    else:
        for campaign in campaigns:
            _print_cards(campaign)
    figures = _figures(campaigns)
    say("Writing the MLflow projection ...", as_json)
    try:
        campaigns[0].sync()
    except UserError as error:  # the answers are there without it
        print(f"stackpress: {error}", file=sys.stderr)
    say(f"Figures: {', '.join(str(path) for path in figures if path.suffix == '.png')}", as_json)
    say(f"Compare them in the MLflow UI: {command('ui', store)}", as_json)


@app.command()
def new(
    name: Name,
    pair: Annotated[str, typer.Option(help='Electrode pair, as in "Zn||VO2".')],
    electrolyte: Annotated[str, typer.Option(help='As in "1 M ZnSO4".')],
    current: Annotated[float, typer.Option(help="Current density.")],
    current_unit: Annotated[str, typer.Option(help="mA/cm2 or A/g.")],
    objective: Annotated[
        str,
        typer.Option(
            help="cycle_life_h, cycle_life_cycles, coulombic_efficiency or capacity_retention; two or three, comma "
            "between, for the best compromise."
        ),
    ] = "cycle_life_h",
    subject_to: Annotated[
        list[str] | None,
        typer.Option(
            help='What must be met, as in "coulombic_efficiency >= 98 %" or "P(cycle_life_h < 20) <= 10 %".',
            show_default=False,
        ),
    ] = None,
    min_kpa: Annotated[float, typer.Option(help="Lowest pressure the press can hold.")] = 10.0,
    max_kpa: Annotated[float, typer.Option(help="Highest pressure the press can hold.")] = 2000.0,
    step_kpa: Annotated[float | None, typer.Option(help="The press is set in multiples of this.")] = None,
    allowed_kpa: Annotated[str | None, typer.Option(help='The only settings, as in "50,100,200".')] = None,
    tolerance_kpa: Annotated[float, typer.Option(help="The press holds its setting within +- this.")] = 0.0,
    tolerance_percent: Annotated[float, typer.Option(help="... and within +- this share of it; both add up.")] = 0.0,
    one_pressure: Annotated[
        bool, typer.Option("--one-pressure", help="All cells of a batch stand in one press.")
    ] = False,
    channels: Annotated[int | None, typer.Option(help="Channels of the cycler: as many cells as are free.")] = None,
    max_test_h: Annotated[float | None, typer.Option(help="Cells alive after this many hours are taken off.")] = None,
    per: Annotated[str, typer.Option(help="What is to gain most: each cell, or each channel-day.")] = "cell",
    retention_cycles: Annotated[int | None, typer.Option(help="Cycle at which a retention is stated.")] = None,
    prior: Annotated[
        str, typer.Option(help="A name (stackpress prior list) or the path of a saved prior.")
    ] = "default",
    programme: Annotated[str, typer.Option(help="Campaigns of a programme inform each other.")] = "default",
    history: Annotated[str, typer.Option(help="programme, none, or names of campaigns, comma between.")] = "programme",
    key: Key = None,
    store: Store = DEFAULT_STORE,
    as_json: AsJson = False,
) -> None:
    """Open a campaign: what is tuned, in which cell, within which pressures."""
    from campaigns.campaign import Campaign
    from campaigns.prior_cli import read_prior

    condition = {
        "electrode_pair": pair,
        "electrolyte": electrolyte,
        "current_density": current,
        "current_density_unit": current_unit,
        "retention_cycles": retention_cycles,
    }
    campaign = Campaign.create(
        name,
        condition,
        (min_kpa, max_kpa),
        [name.strip() for name in objective.split(",")],
        subject_to=subject_to or (),
        per=per,
        tolerance_kpa=tolerance_kpa,
        tolerance_percent=tolerance_percent,
        one_pressure=one_pressure,
        channels=channels,
        max_test_h=max_test_h,
        step_kpa=step_kpa,
        allowed_kpa=_numbers("--allowed-kpa", allowed_kpa),
        prior=read_prior(prior),
        programme=programme,
        history=history if history in ("programme", "none") else history.split(","),
        key=key,
        store=store,
    )
    state = campaign.state
    if as_json:
        print_json(_document(campaign))
        return
    settings = f" in steps of {step_kpa:g} kPa" if step_kpa else f", only {allowed_kpa} kPa" if allowed_kpa else ""
    say(
        f"Opened {name}: {state.conditions[0]}, {' and '.join(state.goal.outcomes)}, {min_kpa:g} to {max_kpa:g} kPa{settings}."
    )
    say(f"Add what was measured: {command('add', store)} {name} cells.csv")


def add_table(name: str, table: Path, correct: bool, key: str | None, store: str, as_json: bool) -> None:
    """Add a table of cells, all or none; rows that are there already are passed over."""
    from campaigns.campaign import Campaign
    from campaigns.tables import read_table

    campaign = Campaign.open(name, store)
    found = read_table(table, campaign.state.fixed)
    merged = campaign.merge(found.cells, found.source, correct=correct, key=key)
    state = campaign.state
    if as_json:
        said: dict[str, Any] = {"added": merged.added, "corrected": merged.corrected, "unchanged": merged.unchanged}
        said |= {"withdrawn": merged.withdrawn, "notes": found.notes, "revision": state.revision}
        print_json({"campaign": name, **said})
        return
    for note in (*found.notes, *_strangers(campaign, merged.added), *_passed_over(merged)):
        say(f"Note: {note}")
    if merged.corrected:
        say(f"Corrected {', '.join(merged.corrected)}: {command('history', store)} {name}")
    say(f"Added {_cells(len(merged.added))} to {name}, which now has {len(state.cells)}.")
    say(f"Ask what to test next: {command('suggest', store)} {name}")


instruments_cli.register(app, add_table)


@app.command()
def suggest(
    name: Name,
    n: Annotated[
        int | None,
        typer.Option("-n", "--cells", help="How many cells to build next; default: the free channels, or one."),
    ] = None,
    seed: Annotated[int, typer.Option(help="Seed of the computation: the same seed gives the same answer.")] = 0,
    store: Store = DEFAULT_STORE,
    as_json: AsJson = False,
) -> None:
    """Which pressure to test next, what to expect there, and why."""
    from campaigns.campaign import Campaign

    campaign = Campaign.open(name, store)
    campaign.advise(n, seed)
    print_json(_document(campaign)) if as_json else _print_cards(campaign)


@app.command()
def show(
    name: Annotated[str | None, typer.Argument(help="Name of the campaign; without it all are listed.")] = None,
    figure: Annotated[
        bool, typer.Option("--figure", help="Draw the figure (PNG and SVG) and say where it is.")
    ] = False,
    store: Store = DEFAULT_STORE,
    as_json: AsJson = False,
) -> None:
    """The campaign as it stands: its cells, and the last answer."""
    from campaigns.campaign import Campaign
    from campaigns.card import text_cards, text_cells

    if name is None:
        _list(store, as_json)
        return
    campaign = Campaign.open(name, store)
    figures = [*_figures([campaign]), *campaign.draw_course()] if figure else []
    if as_json:
        print_json({**_document(campaign), "figures": [str(path) for path in figures]})
        return
    state = campaign.state
    say(text_cells(state))
    say(f"{text_cards(state)}\n")
    for path in figures:
        say(f"Figure: {path}")


def main(arguments: Sequence[str] | None = None) -> None:
    """Entry point: runs a command and turns what goes wrong into one message and an exit code."""
    if arguments is None:
        gc.disable()  # a command ends before there is garbage worth collecting: imports take 0.2 s less
    given = list(sys.argv[1:] if arguments is None else arguments)
    debug = "--debug" in given
    given = [argument for argument in given if argument != "--debug"]
    from campaigns.after import postponed
    from surrogates.errors import UserError

    try:
        with postponed():
            app(given, prog_name="stackpress")
    except UserError as error:
        if debug:
            raise
        print(f"stackpress: {error}", file=sys.stderr)
        sys.exit(2)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(0)
    except Exception as error:
        if debug:
            raise
        print(f"stackpress: a fault of stackpress, not of yours: {type(error).__name__}: {error}", file=sys.stderr)
        print("Run the command again with --debug and report what it prints.", file=sys.stderr)
        sys.exit(1)


def _list(store: str, as_json: bool) -> None:
    from campaigns.ledger import Ledger
    from campaigns.state import fold

    if not exists(store):
        print_json([]) if as_json else say(f"No campaign in {shown(store)} yet: stackpress new, or stackpress demo.")
        return
    ledger = Ledger.open(store)
    states = [fold(ledger.events(name)) for name in ledger.campaigns()]
    if as_json:
        print_json([{"campaign": s.name, "programme": s.programme, "cells": len(s.cells)} for s in states])
        return
    for state in states:
        say(f"{state.name}: {'; '.join(map(str, state.conditions))}; {len(state.cells)} cells")
    if not states:
        say(f"No campaign in {shown(store)} yet: stackpress new, or stackpress demo.")


def _cells(count: int) -> str:
    return f"{count} cell{'s' * (count != 1)}"


def _passed_over(merged: Merge) -> list[str]:
    """Rows of a table that changed nothing."""
    notes = []
    if merged.unchanged:
        notes.append(f"{_cells(len(merged.unchanged))} passed over, there already and unchanged")
    if merged.withdrawn:
        notes.append(f"withdrawn cells stay so: {', '.join(merged.withdrawn)}")
    return notes


def _strangers(campaign: Campaign, ids: Sequence[str]) -> list[str]:
    """Cells just added whose pair or electrolyte is none of the campaign's: often a typing error."""
    state = campaign.state
    wanted = {(c.electrode_pair, c.electrolyte) for c in state.conditions}
    found: dict[tuple[str, str], list[str]] = {}
    for cell in state.cells:
        if cell.cell_id in ids and (cell.electrode_pair, cell.electrolyte) not in wanted:
            found.setdefault((cell.electrode_pair, cell.electrolyte), []).append(cell.cell_id)
    conditions = "; ".join(f"{pair} in {electrolyte}" for pair, electrolyte in sorted(wanted))
    return [
        f"{', '.join(cells)}: {pair} in {electrolyte} is not this campaign's {conditions}; such cells inform only as "
        "far as they are alike. If it is a typing error: stackpress correct --set"
        for (pair, electrolyte), cells in found.items()
    ]


def _document(campaign: Campaign) -> dict[str, Any]:
    """A campaign for machines: cells, and the last suggestion without its curves."""
    state = campaign.state
    latest = state.latest
    return {
        "campaign": state.name,
        "programme": state.programme,
        "revision": state.revision,
        "objective": state.objective,
        "goal": state.goal.model_dump(mode="json"),
        "rig": state.rig.model_dump(mode="json"),
        "prior": state.prior.name,
        "conditions": [item.model_dump(mode="json") for item in state.conditions],
        "cells": [cell.row() for cell in state.cells],
        "suggestion_is_current": state.is_current,
        "suggestion": None
        if latest is None
        else {
            "revision": latest.revision,
            "seed": latest.seed,
            "data_hash": latest.data_hash,
            "prior_hash": latest.prior_hash,
            "versions": latest.versions,
            "answers": [
                {**advice.model_dump(mode="json", exclude={"curve"}), "cell_ids": ids}
                for advice, ids in zip(latest.advice, latest.cell_ids, strict=True)
            ],
        },
    }


def _print_cards(campaign: Campaign) -> None:
    from campaigns.card import text_cards

    print(text_cards(campaign.state), end="\n\n", flush=True)


def _figures(campaigns: Sequence[Campaign]) -> list[Path]:
    from campaigns.figure import write_figures

    return [path for c in campaigns for path in write_figures(c.state, c.folder / "artifacts" / "figures")]


def _numbers(option: str, text: str | None) -> list[float] | None:
    from surrogates.errors import UserError

    if text is None:
        return None
    try:
        return [float(part) for part in text.split(",")]
    except ValueError:
        raise UserError(f"{option}: expected numbers with commas between, as in 50,100,200; found {text!r}.") from None


if __name__ == "__main__":
    main()
