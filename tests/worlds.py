"""Cells of worlds whose truth is known."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from surrogates import Cell
from surrogates.cells import check_cells
from surrogates.mechanisms import log_pressure, modes_at_optimum, two_mode_log_rate


def true_log_life(
    pressure_kpa: Any, best_kpa: float = 250.0, best_life_h: float = 100.0, a: float = 1.0, b: float = 1.0
) -> np.ndarray:
    """ln of the median life under two modes."""
    kappa, pi = modes_at_optimum(log_pressure(best_kpa), -np.log(best_life_h), a, b)
    return -two_mode_log_rate(log_pressure(pressure_kpa), kappa, pi, a, b)


def cells_from(
    pressure_kpa: Sequence[float],
    log_life: Sequence[float],
    status: Sequence[str] | str = "ended",
    **columns: Any,
) -> tuple[Cell, ...]:
    """Zn||Ti cells with these lives."""
    count = len(pressure_kpa)
    statuses = [status] * count if isinstance(status, str) else list(status)
    rows = [
        {
            "cell_id": f"w-{i}",
            "electrode_pair": "Zn||Ti",
            "electrolyte": "1 M ZnSO4",
            "pressure_kpa": float(pressure_kpa[i]),
            "current_density": 1.0,
            "current_density_unit": "mA/cm2",
            "status": statuses[i],
            "cycle_life_h": float(np.exp(log_life[i])),
            **columns,
        }
        for i in range(count)
    ]
    return check_cells(rows)


def world(count: int, seed: int, scatter: float = 0.3, **truth: float) -> tuple[Cell, ...]:
    """`count` cells at random pressures of 10 to 2000 kPa, log-normal lives around the two-mode truth."""
    generator = np.random.default_rng(seed)
    pressures = np.exp(generator.uniform(np.log(10), np.log(2000), count))
    lives = true_log_life(pressures, **truth) + scatter * generator.standard_normal(count)
    return cells_from(list(pressures), list(lives))
