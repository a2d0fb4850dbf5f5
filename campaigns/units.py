"""Units at one boundary: a column header with its unit becomes a column of the table of cells.

`fold` settles spelling only: "Pressure (psi)" and "pressure-PSI" are both `pressure_psi`. `CONVERSIONS` holds every
folded header that needs converting; a quantity without its unit is in `refused`, because a unit is never guessed.
Factors are exact fractions, so that 0.07 MPa is 70 kPa, not 70.00000000000001.
"""

from __future__ import annotations

import math
import re
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from typing import get_args

from surrogates.cells import COLUMNS, CurrentUnit


@dataclass(frozen=True)
class Conversion:
    """Value in a header's unit -> value in the schema's `column`: value * factor + offset.

    `current_unit`: what the header says about `current_density_unit`, or "".
    """

    column: str
    factor: Fraction
    offset: Fraction = Fraction(0)
    current_unit: str = ""

    def __call__(self, value: float) -> float:
        """`value` in the schema's unit, correctly rounded; infinite where it leaves the range of a float."""
        try:
            return float(Fraction(repr(float(value))) * self.factor + self.offset)
        except (OverflowError, ValueError):  # ValueError: not finite to begin with
            return value * math.inf


# Standard values: 1 psi = 6.894757 kPa (NIST SP 811), 1 kgf = 9.80665 N, 1 atm = 101.325 kPa.
_PRESSURE = {"psi": "6.894757", "mpa": "1000", "bar": "100", "mbar": "1/10", "kg_cm2": "98.0665", "kgf_cm2": "98.0665"}
_PRESSURE |= {"pa": "1/1000", "hpa": "1/10", "n_mm2": "1000", "n_cm2": "10", "atm": "101.325"}
_TIME = {"hours": "1", "d": "24", "days": "24", "min": "1/60", "s": "1/3600"}
_LENGTH, _PERCENT = {"nm": "1/1000", "mm": "1000"}, {"percent": "1/100"}
_CURRENT = {"ma_cm2": "1", "ua_cm2": "1/1000", "a_cm2": "1000", "a_m2": "1/10"}

# Quantity, the schema's column, factor of each unit, unit of current density that the header states.
_QUANTITIES: tuple[tuple[str, str, Mapping[str, str], str], ...] = (
    *((name, f"{name}_kpa", _PRESSURE, "") for name in ("pressure", "pressure_sd")),
    *((name, f"{name}_um", _LENGTH, "") for name in ("deposit_thickness", "particle_size")),
    *((name, name, _PERCENT, "") for name in ("coulombic_efficiency", "capacity_retention", "relative_density")),
    ("cycle_life", "cycle_life_h", _TIME, ""),
    ("nucleation_overpotential", "nucleation_overpotential_mv", {"v": "1000"}, ""),
    ("initial_capacity", "initial_capacity_mah_g", {"ah_g": "1000", "ah_kg": "1"}, ""),
    ("areal_capacity", "areal_capacity_mah_cm2", {"uah_cm2": "1/1000", "ah_m2": "1/10"}, ""),
    ("current_density", "current_density", _CURRENT, "mA/cm2"),
    ("current_density", "current_density", {"a_g": "1", "ma_g": "1/1000"}, "A/g"),
)
CONVERSIONS: Mapping[str, Conversion] = {
    "temperature_k": Conversion("temperature_c", Fraction(1), Fraction("-273.15")),
    "temperature_f": Conversion("temperature_c", Fraction(5, 9), Fraction(-160, 9)),
} | {
    f"{quantity}_{unit}": Conversion(column, Fraction(factor), current_unit=current)
    for quantity, column, factors, current in _QUANTITIES
    for unit, factor in factors.items()
}


def fold(header: str) -> str:
    """`header` in lower case with "_" between its words; brackets, slashes and superscripts settled, % as percent."""
    text = unicodedata.normalize("NFKC", header).lower().replace("μ", "u").replace("°", "").replace("%", " percent ")
    text = re.sub(r"\b(cm|mm|m|g|kg)\s?\^?[-−](\d)\b", lambda power: power[1] + power[2].replace("1", ""), text)
    return re.sub(r"[\W_]+", "_", text.replace("^", "")).strip("_")


def spellings(column: str) -> tuple[str, ...]:
    """The headers that give the schema's `column`, its own name first."""
    return (column, *(header for header, conversion in CONVERSIONS.items() if conversion.column == column))


def current_unit(text: str) -> str:
    """The schema's spelling of a unit of current density ("mA cm⁻²" -> "mA/cm2"); other text as it is."""
    return str(next((unit for unit in get_args(CurrentUnit) if fold(unit) == fold(text)), text))


_UNITLESS: Mapping[str, tuple[str, ...]] = {
    **{quantity: spellings(column) for quantity, column, _, _ in _QUANTITIES if quantity not in COLUMNS},
    **dict.fromkeys(("cycle_life", "life", "lifetime"), (*spellings("cycle_life_h"), "cycle_life_cycles")),
    "cycles": ("cycle_life_cycles", "retention_cycles"),
    "overpotential": spellings("nucleation_overpotential_mv"),
    **dict.fromkeys(("temperature", "temp"), spellings("temperature_c")),
    "capacity": spellings("initial_capacity_mah_g") + spellings("areal_capacity_mah_cm2"),
}


def refused(folded: str) -> tuple[str, ...]:
    """What a folded header without its unit could be, or a torque, which is no pressure; () if nothing is refused."""
    return spellings("pressure_kpa") if "torque" in folded.split("_") else _UNITLESS.get(folded, ())
