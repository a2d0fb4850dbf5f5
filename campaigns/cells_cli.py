"""The commands about single cells, and about what was said: record, correct, withdraw, undo, close, history."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer

from campaigns.store import DEFAULT_STORE
from campaigns.terminal import AsJson, Key, Name, Store, command, print_json, say

if TYPE_CHECKING:
    from campaigns.campaign import Campaign
    from campaigns.events import Event

app = typer.Typer()

Known = Annotated[str, typer.Argument(help="A cell of the campaign.", metavar="CELL")]
Status = Annotated[str | None, typer.Option(help="planned, running, ended, stopped or invalid.")]
EndReason = Annotated[
    str | None,
    typer.Option(help="short, soft_short, fade, contact_loss, operator, assembly_fault, cycler_fault, other."),
]
LifeH = Annotated[float | None, typer.Option(help="Cycle life in h: at the end, or reached so far.")]
LifeCycles = Annotated[float | None, typer.Option(help="Cycle life in cycles.")]
Ce = Annotated[float | None, typer.Option(help="Coulombic efficiency, a fraction below 1.")]
CeProtocol = Annotated[str | None, typer.Option(help="per_cycle_mean or reservoir.")]
Retention = Annotated[float | None, typer.Option(help="Capacity retention, a fraction.")]
RetentionCycles = Annotated[int | None, typer.Option(help="Cycles after which it was read.")]
PressureKpa = Annotated[float | None, typer.Option(help="Initial stacking pressure as measured.")]
Note = Annotated[str | None, typer.Option(help="Anything worth remembering of the cell.")]
Setting = Annotated[
    list[str] | None,
    typer.Option("--set", help="Any other column of the table, as column=value; column= clears it."),
]
SeenRevision = Annotated[
    int | None,
    typer.Option(help="Store nothing if the cell was changed after this revision of the campaign.", show_default=False),
]


@app.command()
def record(
    name: Name,
    cell_id: Annotated[str, typer.Argument(help="A cell of the campaign, a suggested id, or a new one.")],
    status: Status = None,
    end_reason: EndReason = None,
    life_h: LifeH = None,
    life_cycles: LifeCycles = None,
    ce: Ce = None,
    ce_protocol: CeProtocol = None,
    retention: Retention = None,
    retention_cycles: RetentionCycles = None,
    pressure_kpa: PressureKpa = None,
    note: Note = None,
    setting: Setting = None,
    seen_revision: SeenRevision = None,
    key: Key = None,
    store: Store = DEFAULT_STORE,
    as_json: AsJson = False,
) -> None:
    """Record what happened to a cell: built, still running, ended, stopped or invalid."""
    changes = _given(
        setting,
        status=status,
        end_reason=end_reason,
        cycle_life_h=life_h,
        cycle_life_cycles=life_cycles,
        coulombic_efficiency=ce,
        ce_protocol=ce_protocol,
        capacity_retention=retention,
        retention_cycles=retention_cycles,
        pressure_kpa=pressure_kpa,
        note=note,
    )
    campaign = _open(name, store)
    cell = campaign.record(cell_id, key=key, seen_revision=seen_revision, **changes)
    if as_json:
        print_json({"campaign": name, "revision": campaign.state.revision, "cell": cell.row()})
        return
    say(f"Recorded {cell.cell_id}: {cell.status} at {cell.pressure_kpa:g} kPa.")


@app.command()
def correct(
    name: Name,
    cell_id: Known,
    status: Status = None,
    end_reason: EndReason = None,
    life_h: LifeH = None,
    life_cycles: LifeCycles = None,
    ce: Ce = None,
    ce_protocol: CeProtocol = None,
    retention: Retention = None,
    retention_cycles: RetentionCycles = None,
    pressure_kpa: PressureKpa = None,
    note: Note = None,
    setting: Setting = None,
    reason: Annotated[str | None, typer.Option(help="Why it was wrong; kept in the history.")] = None,
    seen_revision: SeenRevision = None,
    key: Key = None,
    store: Store = DEFAULT_STORE,
    as_json: AsJson = False,
) -> None:
    """Correct what was said wrongly of a cell; what it was before stays in the history."""
    changes = _given(
        setting,
        status=status,
        end_reason=end_reason,
        cycle_life_h=life_h,
        cycle_life_cycles=life_cycles,
        coulombic_efficiency=ce,
        ce_protocol=ce_protocol,
        capacity_retention=retention,
        retention_cycles=retention_cycles,
        pressure_kpa=pressure_kpa,
        note=note,
    )
    campaign = _open(name, store)
    event = campaign.correct(cell_id, reason=reason, key=key, seen_revision=seen_revision, **changes)
    _tell(campaign, event, store, as_json)


@app.command()
def withdraw(
    name: Name,
    cell_id: Known,
    reason: Annotated[str, typer.Option(help="Why; kept in the history.")],
    seen_revision: SeenRevision = None,
    key: Key = None,
    store: Store = DEFAULT_STORE,
    as_json: AsJson = False,
) -> None:
    """Take a cell that should not be there out of the table (one that failed is recorded as invalid instead)."""
    campaign = _open(name, store)
    event = campaign.withdraw(cell_id, reason, key=key, seen_revision=seen_revision)
    _tell(campaign, event, store, as_json)


@app.command()
def undo(
    name: Name,
    event: Annotated[
        int | None, typer.Argument(help="Number of an event in the history; without it the last about cells.")
    ] = None,
    key: Key = None,
    store: Store = DEFAULT_STORE,
    as_json: AsJson = False,
) -> None:
    """Undo an event of the history; an undoing can be undone."""
    campaign = _open(name, store)
    _tell(campaign, campaign.undo(event, key=key), store, as_json)


@app.command()
def close(
    name: Name,
    reason: Annotated[str | None, typer.Option(help="Why; kept in the history.", show_default=False)] = None,
    key: Key = None,
    store: Store = DEFAULT_STORE,
    as_json: AsJson = False,
) -> None:
    """Say that a campaign is finished: its last answer is kept, and its surrogate registered in MLflow."""
    campaign = _open(name, store)
    _tell(campaign, campaign.close(reason, key=key), store, as_json)


@app.command()
def history(
    name: Name,
    cell: Annotated[str | None, typer.Option(help="Only events about this cell.", show_default=False)] = None,
    store: Store = DEFAULT_STORE,
    as_json: AsJson = False,
) -> None:
    """What happened, by whom and when, one line an event."""
    from campaigns.history import text_of

    lines = _open(name, store).lines(cell)
    print_json([vars(line) for line in lines]) if as_json else say(text_of(lines))


def _open(name: str, store: str) -> Campaign:
    from campaigns.campaign import Campaign

    return Campaign.open(name, store)


def _tell(campaign: Campaign, event: Event, store: str, as_json: bool) -> None:
    """Say what was stored, and how to take it back."""
    [line] = [line for line in campaign.lines() if line.revision == event.revision]
    if as_json:
        print_json({"campaign": campaign.name, **vars(line), "payload": event.payload})
        return
    say(f"{line.what[:1].upper()}{line.what[1:]}.")
    say(f"To take that back: {command('undo', store)} {campaign.name} {event.revision}")


def _given(settings: Sequence[str] | None, **columns: Any) -> dict[str, Any]:
    """The columns that were given, by their options and by --set."""
    from surrogates.errors import UserError

    changes = {name: value for name, value in columns.items() if value is not None}
    for setting in settings or []:
        name, sign, value = setting.partition("=")
        if not sign or name == "cell_id":
            raise UserError(f"--set: expected column=value, as in --set separator=glass; found {setting!r}.")
        changes[name.strip()] = value.strip() or None
    return changes
