"""Whose cells inform a campaign's fit beside its own."""

from __future__ import annotations

from collections.abc import Sequence

from campaigns.state import CampaignState
from surrogates.cells import Cell


def informing(state: CampaignState, others: Sequence[CampaignState]) -> tuple[Cell, ...]:
    """The campaign's own cells and those of its history, but for pairs whose current density is in another unit.

    `others` are the store's other campaigns; cells of theirs are called campaign/cell_id. A cell that two campaigns
    hold (one table added to both) counts once.
    """
    units = {c.electrode_pair: c.current_density_unit for c in state.conditions}
    units |= {c.electrode_pair: c.current_density_unit for c in state.cells}
    own = {(cell.cell_id, *identity(cell)) for cell in state.cells}
    theirs = {
        (cell.cell_id, *identity(cell)): cell.model_copy(update={"cell_id": f"{other.name}/{cell.cell_id}"})
        for other in history_of(state, others)
        for cell in other.cells
        if (cell.cell_id, *identity(cell)) not in own
    }
    fitting = (
        cell
        for cell in theirs.values()
        if units.setdefault(cell.electrode_pair, cell.current_density_unit) == cell.current_density_unit
    )
    return (*state.cells, *fitting)


def history_of(state: CampaignState, others: Sequence[CampaignState]) -> list[CampaignState]:
    """Those of `others` that the campaign's history names."""
    if state.history == "none":
        return []
    if state.history == "programme":
        return [other for other in others if other.programme == state.programme]
    return [other for other in others if other.name in state.history]


def identity(cell: Cell) -> tuple[object, ...]:
    """What stays the same when one built cell is in the tables of two campaigns."""
    return cell.electrode_pair, cell.electrolyte, cell.pressure_kpa, cell.current_density
