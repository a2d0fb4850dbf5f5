"""One model scale for every outcome: y = -ln r, r the degradation rate. Larger y is better.

| outcome              | rate r          | y                     |
|----------------------|-----------------|-----------------------|
| cycle_life_h         | 1 / T           | ln T                  |
| cycle_life_cycles    | 1 / T           | ln T                  |
| coulombic_efficiency | -ln CE          | -ln(-ln CE)           |
| capacity_retention   | -ln(R) / N      | ln N - ln(-ln R)      |

T: cycle life in h or cycles; CE: coulombic efficiency, a fraction; R: capacity retention after N cycles, a fraction.
On this scale cell-to-cell scatter is additive, values are unbounded, and retentions read at different N compare as
long as fade is near exponential.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np

from surrogates.cells import Cell
from surrogates.errors import UserError

OutcomeName = Literal["cycle_life_h", "cycle_life_cycles", "coulombic_efficiency", "capacity_retention"]
OUTCOMES: tuple[OutcomeName, ...] = get_args(OutcomeName)
DEFAULT_RETENTION_CYCLES = 100


@dataclass(frozen=True)
class Outcome:
    """An outcome and the map between its own unit and the model scale y."""

    name: OutcomeName
    retention_cycles: int = DEFAULT_RETENTION_CYCLES

    @property
    def is_life(self) -> bool:
        """Whether a cell that is still alive gives a lower bound of this outcome."""
        return self.name.startswith("cycle_life")

    @property
    def unit(self) -> str:
        """The unit shown behind a value; empty for fractions."""
        return {"cycle_life_h": "h", "cycle_life_cycles": "cycles"}.get(self.name, "")

    @property
    def label(self) -> str:
        """The outcome in words, with its unit."""
        return {
            "cycle_life_h": "cycle life (h)",
            "cycle_life_cycles": "cycle life (cycles)",
            "coulombic_efficiency": "coulombic efficiency",
            "capacity_retention": f"capacity retention after {self.retention_cycles} cycles",
        }[self.name]

    def to_y(self, value: float, cycles: int | None = None) -> float:
        """y of one value in the outcome's unit; `cycles` is N of a retention. Formula: module docstring."""
        if self.is_life:
            return math.log(value)
        loss = -math.log(value)
        if self.name == "coulombic_efficiency":
            return -math.log(loss)
        return math.log(cycles or self.retention_cycles) - math.log(loss)

    def from_y(self, y: Any) -> np.ndarray:
        """Values in the outcome's unit for `y` of any shape; retention is that after `retention_cycles`."""
        y = np.asarray(y, dtype=float)
        if self.is_life:
            return np.asarray(np.exp(y))
        if self.name == "coulombic_efficiency":
            return np.asarray(np.exp(-np.exp(-y)))
        return np.asarray(np.exp(-self.retention_cycles * np.exp(-y)))

    def text(self, value: float, *, unit: bool = True) -> str:
        """A value for people: `104 h`, `166 cycles`, `98.4 %`."""
        if self.is_life:
            number = f"{value:.3g}" if value < 1000 else f"{round(value, 2 - int(math.log10(value))):.0f}"
            return f"{number} {self.unit}" if unit else number
        digits = 1 if value < 0.99 else 2
        return f"{100 * value:.{digits}f} %" if unit else f"{100 * value:.{digits}f}"


@dataclass(frozen=True)
class Reading:
    """What one cell says about an outcome: y itself, or (censored) that y is larger."""

    cell: Cell
    y: float
    censored: bool


def check_outcome(name: str) -> OutcomeName:
    """`name` if it is an outcome; raises `UserError` with the list otherwise."""
    for known in OUTCOMES:
        if name == known:
            return known
    raise UserError(f"outcome: expected one of {', '.join(OUTCOMES)}; found {name!r}")


def outcome_of(name: str, cells: Sequence[Cell], retention_cycles: int | None = None) -> Outcome:
    """The outcome as `cells` state it: retention at `retention_cycles`, else at the cells' most common N."""
    stated = Counter(cell.retention_cycles for cell in cells if cell.retention_cycles)
    common = stated.most_common(1)[0][0] if stated else DEFAULT_RETENTION_CYCLES
    return Outcome(check_outcome(name), retention_cycles or common or DEFAULT_RETENTION_CYCLES)


def reading(cell: Cell, outcome: Outcome) -> Reading | None:
    """What `cell` says about `outcome`, or None: planned and invalid cells, missing values, and retention at or
    above 1 (activation) say nothing. A running or stopped cell is alive, so its life is a lower bound."""
    value = getattr(cell, outcome.name)
    if value is None or cell.status in ("planned", "invalid") or (not outcome.is_life and value >= 1):
        return None
    censored = outcome.is_life and cell.status in ("running", "stopped")
    return Reading(cell, outcome.to_y(value, cell.retention_cycles), censored)


def readings(cells: Sequence[Cell], outcome: Outcome) -> tuple[Reading, ...]:
    """What `cells` say about `outcome`, silent cells left out.

    Raises `UserError` where per-cycle and reservoir coulombic efficiencies meet: they measure different things.
    """
    found = tuple(item for cell in cells if (item := reading(cell, outcome)) is not None)
    if outcome.name == "coulombic_efficiency":
        protocols = sorted({str(item.cell.ce_protocol) for item in found})
        if len(protocols) > 1:
            raise UserError(
                f"coulombic_efficiency: expected one ce_protocol; found {' and '.join(protocols)}. "
                "They are different measurements: keep the cells of one of them."
            )
    return found
