"""One model scale for every outcome: y = -ln r, r the degradation rate. Larger y is better.

| outcome or early readout  | rate r          | y                     |
|---------------------------|-----------------|-----------------------|
| cycle_life_h              | 1 / T           | ln T                  |
| cycle_life_cycles         | 1 / T           | ln T                  |
| coulombic_efficiency      | -ln CE          | -ln(-ln CE)           |
| capacity_retention        | -ln(R) / N      | ln N - ln(-ln R)      |
| initial_capacity_mah_g    | 1 / C           | ln C                  |
| xrd_002_100_ratio         | 1 / q           | ln q                  |
| relative_density          | 1 / D           | ln D                  |
| deposit_thickness_um      | t               | -ln t                 |

T: cycle life in h or cycles; CE: coulombic efficiency, a fraction; R: capacity retention after N cycles, a fraction;
C: initial capacity; q: XRD ratio of (002) to (100); D: density of the deposit relative to the densest; t: its thickness.
On this scale cell-to-cell scatter is additive, values are unbounded, and retentions read at different N compare as
long as fade is near exponential.

Early readouts are known days before a life; how each follows pressure is stated in the prior (surrogates.prior).
Nucleation overpotential and particle size are no readouts here: both fall evenly with ln P (Wen2025: 4 mV and 14 % for
each factor e), without a bend that would say where the best pressure lies.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, get_args

from surrogates.cells import Cell
from surrogates.errors import UserError

if TYPE_CHECKING:
    import numpy as np

OutcomeName = Literal[
    "cycle_life_h", "cycle_life_cycles", "coulombic_efficiency", "capacity_retention", "initial_capacity_mah_g"
]
ReadoutName = Literal["xrd_002_100_ratio", "relative_density", "deposit_thickness_um"]
OUTCOMES: tuple[OutcomeName, ...] = get_args(OutcomeName)
READOUTS: tuple[ReadoutName, ...] = get_args(ReadoutName)
DEFAULT_RETENTION_CYCLES = 100
_UNITS = {
    "cycle_life_h": "h",
    "cycle_life_cycles": "cycles",
    "initial_capacity_mah_g": "mAh/g",
    "deposit_thickness_um": "um",
}


@dataclass(frozen=True)
class Outcome:
    """An outcome or early readout and the map between its own unit and the model scale y."""

    name: OutcomeName | ReadoutName
    retention_cycles: int = DEFAULT_RETENTION_CYCLES

    @property
    def is_life(self) -> bool:
        """Whether a cell that is still alive gives a lower bound of this outcome."""
        return self.name.startswith("cycle_life")

    @property
    def is_loss(self) -> bool:
        """Whether the outcome is a fraction kept, and y minus the logarithm of the rate at which it is lost."""
        return self.name in ("coulombic_efficiency", "capacity_retention")

    @property
    def unit(self) -> str:
        """The unit shown behind a value; empty for fractions and ratios."""
        return _UNITS.get(self.name, "")

    @property
    def label(self) -> str:
        """The outcome in words, with its unit."""
        return {
            "cycle_life_h": "cycle life (h)",
            "cycle_life_cycles": "cycle life (cycles)",
            "coulombic_efficiency": "coulombic efficiency",
            "capacity_retention": f"capacity retention after {self.retention_cycles} cycles",
            "initial_capacity_mah_g": "initial capacity (mAh/g)",
            "xrd_002_100_ratio": "XRD ratio (002)/(100)",
            "relative_density": "relative density of the deposit",
            "deposit_thickness_um": "deposit thickness (um)",
        }[self.name]

    @property
    def noun(self) -> str:
        """What the outcome is called in a sentence."""
        return "life" if self.is_life else self.label.split(" (")[0]

    def to_y(self, value: float, cycles: int | None = None) -> float:
        """y of one value in the outcome's unit; `cycles` is N of a retention. Formula: module docstring."""
        if not self.is_loss:
            return -math.log(value) if self.name == "deposit_thickness_um" else math.log(value)
        loss = -math.log(value)
        if self.name == "coulombic_efficiency":
            return -math.log(loss)
        return math.log(cycles or self.retention_cycles) - math.log(loss)

    def from_y(self, y: Any) -> np.ndarray:
        """Values in the outcome's unit for `y` of any shape; retention is that after `retention_cycles`."""
        import numpy as np  # 0.1 s, which commands that only record and show need not wait for

        y = np.asarray(y, dtype=float)
        if not self.is_loss:
            return np.asarray(np.exp(-y if self.name == "deposit_thickness_um" else y))
        if self.name == "coulombic_efficiency":
            return np.asarray(np.exp(-np.exp(-y)))
        return np.asarray(np.exp(-self.retention_cycles * np.exp(-y)))

    def text(self, value: float, *, unit: bool = True) -> str:
        """A value for people: `104 h`, `166 cycles`, `98.4 %`."""
        if not self.is_loss:
            number = f"{value:.3g}" if value < 1000 else f"{round(value, 2 - int(math.log10(value))):.0f}"
            return f"{number} {self.unit}".strip() if unit else number
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


def outcome_of(name: OutcomeName | ReadoutName, cells: Sequence[Cell], retention_cycles: int | None = None) -> Outcome:
    """The outcome as `cells` state it: retention at `retention_cycles`, else at the cells' most common N."""
    stated = Counter(cell.retention_cycles for cell in cells if cell.retention_cycles)
    common = stated.most_common(1)[0][0] if stated else DEFAULT_RETENTION_CYCLES
    return Outcome(name, retention_cycles or common or DEFAULT_RETENTION_CYCLES)


def reading(cell: Cell, outcome: Outcome) -> Reading | None:
    """What `cell` says about `outcome`, or None: planned and invalid cells, missing values, and retention at or
    above 1 (activation) say nothing. A running or stopped cell is alive, so its life is a lower bound."""
    value = getattr(cell, outcome.name)
    if value is None or cell.status in ("planned", "invalid") or (outcome.is_loss and value >= 1):
        return None
    censored = outcome.is_life and cell.status in ("running", "stopped")
    return Reading(cell, outcome.to_y(value, cell.retention_cycles), censored)


def check_witnesses(names: Sequence[str]) -> tuple[OutcomeName | ReadoutName, ...]:
    """`names` if all are outcomes or early readouts; raises `UserError` with the list otherwise."""
    known = (*OUTCOMES, *READOUTS)
    wrong = [name for name in names if name not in known]
    if wrong:
        raise UserError(f"informed_by: expected names out of {', '.join(known)}; found {', '.join(map(repr, wrong))}")
    return tuple(name for name in known if name in names)


def witnesses(cells: Sequence[Cell], outcome: Outcome) -> tuple[Reading, ...]:
    """`readings` of an outcome that is not itself asked for: none where two protocols of efficiency meet."""
    protocols = {cell.ce_protocol for cell in cells if cell.coulombic_efficiency is not None}
    return () if outcome.name == "coulombic_efficiency" and len(protocols) > 1 else readings(cells, outcome)


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
