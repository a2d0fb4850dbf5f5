"""A store to look at: three campaigns of one programme, 12 cells each: one still running, one where pressure does nothing,
one that began with a wrong prior."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from campaigns import Campaign
from surrogates import Condition, Prior

PRESSURES = (20, 60, 160, 400, 1000, 100, 250, 600, 1600, 40, 300, 800)
"""Pressures of the 12 cells, in kPa, in the order in which they were built."""
ANSWERED_AFTER = (4, 8, 12)


def two_modes(best_kpa: float, longest_h: float = 200.0, slope: float = 1.2) -> Callable[[float], float]:
    """Life over pressure where one mode falls with pressure and one rises: both equal at `best_kpa`."""
    return lambda kpa: 2 * longest_h / ((kpa / best_kpa) ** slope + (kpa / best_kpa) ** -slope)


def build(store: Path) -> dict[str, Campaign]:
    """Make the campaigns and their answers; MLflow is left to whoever asks."""
    wrong = Prior.default().edited(
        name="from-another-press", best_pressure="20 kPa, factor 1.3", slope_short="2.5, factor 1.1"
    )
    return {
        "running": _campaign(store, "running", "Zn||MnO2", two_modes(150.0), running=4),
        "flat": _campaign(store, "flat", "Zn||Ti", lambda _: 120.0),
        "wrong-prior": _campaign(store, "wrong-prior", "Zn||VO2", two_modes(700.0), prior=wrong),
    }


def _campaign(
    store: Path, name: str, pair: str, life: Callable[[float], float], running: int = 0, prior: Prior | None = None
) -> Campaign:
    condition = Condition(
        electrode_pair=pair, electrolyte="2 M ZnSO4", current_density=1.0, current_density_unit="mA/cm2"
    )
    campaign = Campaign.create(
        name, condition, (10, 2000), step_kpa=10, prior=prior, programme="zinc", history="none", store=store
    )
    scatter = np.random.default_rng(7).lognormal(0.0, 0.15, len(PRESSURES))
    rows = [
        _row(
            condition, f"{name}-{number + 1:02d}", kpa, life(kpa) * scatter[number], number >= len(PRESSURES) - running
        )
        for number, kpa in enumerate(PRESSURES)
    ]
    for start, end in zip((0, *ANSWERED_AFTER), ANSWERED_AFTER, strict=False):
        campaign.add(rows[start:end])
        campaign.advise()
    return campaign


def _row(condition: Condition, cell_id: str, kpa: float, life_h: float, is_running: bool) -> dict[str, Any]:
    row = {**condition.model_dump(exclude={"retention_cycles"}), "cell_id": cell_id, "pressure_kpa": kpa}
    if is_running:
        return {**row, "status": "running", "cycle_life_h": round(0.4 * life_h, 1)}
    return {**row, "status": "ended", "end_reason": "short", "cycle_life_h": round(life_h, 1)}
