"""The demonstration: two campaigns on the seven cells of Wen et al. (2025), shipped with the package."""

from __future__ import annotations

from importlib.resources import as_file, files

from campaigns.campaign import Campaign
from campaigns.tables import read_table
from surrogates.cells import Cell, Condition
from surrogates.errors import UserError

CITATION = "Wen et al., Small (2025), doi:10.1002/sml.202501242"
PROGRAMME = "wen2025"
CAMPAIGNS = {
    "wen2025-zn-ti": ("Zn||Ti", "mA/cm2", "cycle_life_h"),
    "wen2025-zn-vo2": ("Zn||VO2", "A/g", "capacity_retention"),
}


def published_cells() -> tuple[Cell, ...]:
    """The seven cells printed in the paper: three pressures in two electrode pairs, and one other electrolyte."""
    with as_file(files("campaigns") / "data" / "wen2025_cells.csv") as path:
        return read_table(path).cells


def open_demo(store: str) -> list[Campaign]:
    """Both campaigns, opened with their cells where the store does not have them yet."""
    cells = published_cells()
    return [_open(name, store, cells) for name in CAMPAIGNS]


def _open(name: str, store: str, cells: tuple[Cell, ...]) -> Campaign:
    pair, unit, objective = CAMPAIGNS[name]
    try:
        return Campaign.open(name, store)
    except UserError:
        pass
    condition = Condition(
        electrode_pair=pair,
        electrolyte="1 M ZnSO4",
        current_density=1.0,
        current_density_unit=unit,  # type: ignore[arg-type]
    )
    campaign = Campaign.create(
        name, condition, objective=objective, programme=PROGRAMME, citation=CITATION, store=store
    )
    campaign.add([cell for cell in cells if cell.electrode_pair == pair], CITATION)
    return campaign
