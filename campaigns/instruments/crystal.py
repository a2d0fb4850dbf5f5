"""Where a metal diffracts: reflections of hexagonal and cubic cells, known metals, and what a powder without texture gives.

    1/d^2 = 4 (h^2 + h k + k^2) / (3 a^2) + l^2 / c^2      hexagonal
    1/d^2 = (h^2 + k^2 + l^2) / a^2                          cubic
    2 theta = 2 asin(lambda / (2 d))                         Bragg

Formulas and extinctions: Cullity & Stock, Elements of X-Ray Diffraction, 3rd ed. (2001), appendix 3 and chapter 4.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from itertools import product
from typing import Literal

from surrogates.errors import UserError

Lattice = Literal["hexagonal", "hcp", "cubic", "bcc", "fcc"]
CU_KA1, CU_KA2 = 1.540593, 1.544427  # angstrom; Hoelzer et al., Phys. Rev. A 56, 4554 (1997)
SAME_SPACING = 1e-9  # relative: reflections of one spacing, such as (330) and (411), are one line

# Which reflections of a lattice are not extinct.
PRESENT: Mapping[Lattice, Callable[[int, int, int], bool]] = {
    "hexagonal": lambda *_: True,
    "hcp": lambda h, k, l: (h + 2 * k) % 3 != 0 or l % 2 == 0,
    "cubic": lambda *_: True,
    "bcc": lambda h, k, l: (h + k + l) % 2 == 0,
    "fcc": lambda h, k, l: h % 2 == k % 2 == l % 2,
}


@dataclass(frozen=True)
class Metal:
    """A metal's lattice, with cell edges in angstrom (`c` of a hexagonal one), and where they come from.

    `powder`: intensities of a powder without texture at Cu K alpha, the strongest 100; empty where none is known.
    """

    name: str
    lattice: Lattice
    a: float
    c: float | None = None
    source: str = "as given"
    powder: Mapping[str, float] = field(default_factory=dict)

    @property
    def is_hexagonal(self) -> bool:
        """Whether reflections are indexed on a hexagonal cell."""
        return self.lattice in ("hexagonal", "hcp")

    @property
    def usual_ratio(self) -> tuple[str, str]:
        """The two reflections by which texture is told: basal over prismatic, or the densest plane over (200)."""
        if self.is_hexagonal:
            return "002", "100"
        return ("111" if self.lattice == "fcc" else "110"), "200"

    def spacing(self, h: int, k: int, l: int) -> float:
        """Distance d of the planes (angstrom)."""
        if self.is_hexagonal:
            assert self.c is not None
            return 1 / math.sqrt(4 / 3 * (h * h + h * k + k * k) / self.a**2 + (l / self.c) ** 2)
        return self.a / math.sqrt(h * h + k * k + l * l)

    def reflections(self, wavelength: float, low: float, high: float) -> dict[str, float]:
        """The reflections from `low` to `high` degrees of 2 theta: their indices as "hkl", and where they are."""
        limit = max(2 * self.a, 2 * (self.c or 0)) / wavelength
        found: dict[float, str] = {}
        for h, k, l in product(range(int(limit) + 1), repeat=3):
            is_first = h >= k if self.is_hexagonal else h >= k >= l
            if not is_first or h + k + l == 0 or not PRESENT[self.lattice](h, k, l):
                continue
            d = self.spacing(h, k, l)
            if wavelength >= 2 * d:
                continue
            angle = two_theta(d, wavelength)
            if low <= angle <= high and not any(math.isclose(d, other, rel_tol=SAME_SPACING) for other in found):
                found[d] = f"{h}{k}{l}"
        return {found[d]: two_theta(d, wavelength) for d in sorted(found, reverse=True)}


def two_theta(spacing: float, wavelength: float) -> float:
    """Where planes `spacing` apart diffract (degrees); both in angstrom."""
    return 2 * math.degrees(math.asin(wavelength / (2 * spacing)))


def lorentz_polarisation(degrees: float) -> float:
    """(1 + cos^2 2 theta) / (sin^2 theta cos theta), of a powder in unpolarised light (Cullity & Stock, section 4.11)."""
    angle = math.radians(degrees)
    return (1 + math.cos(angle) ** 2) / (math.sin(angle / 2) ** 2 * math.cos(angle / 2))


def powder_at(metal: Metal, wavelength: float) -> dict[str, float]:
    """The powder card of a metal at another wavelength: the factor of Lorentz and polarisation is exchanged."""
    here = metal.reflections(wavelength, 1.0, 179.0)
    card = metal.reflections(CU_KA1, 1.0, 179.0)
    return {
        hkl: intensity * lorentz_polarisation(here[hkl]) / lorentz_polarisation(card[hkl])
        for hkl, intensity in metal.powder.items()
        if hkl in here and hkl in card
    }


# NBS Circular 539, vol. 1 (Swanson & Tatge, 1953), which is JCPDS/ICDD card 04-0831.
ZINC_CARD = {
    **{"002": 53.0, "100": 40.0, "101": 100.0, "102": 28.0, "103": 25.0, "110": 21.0},
    **{"004": 2.0, "112": 23.0, "200": 5.0, "201": 17.0, "104": 3.0, "202": 5.0},
}
WYCKOFF = "Wyckoff, Crystal Structures 1 (1963)"
METALS = {
    metal.name: metal
    for metal in (
        Metal("Zn", "hcp", 2.665, 4.947, "NBS Circular 539, 1 (1953), card 04-0831", ZINC_CARD),
        Metal("Li", "bcc", 3.5093, None, WYCKOFF),
        Metal("Na", "bcc", 4.2906, None, WYCKOFF),
        Metal("Mg", "hcp", 3.2093, 5.2103, WYCKOFF),
        Metal("Al", "fcc", 4.0496, None, WYCKOFF),
        Metal("Ti", "hcp", 2.950, 4.686, WYCKOFF),
        Metal("Cu", "fcc", 3.6150, None, WYCKOFF),
        Metal("Ni", "fcc", 3.5239, None, WYCKOFF),
    )
}


def metal_of(text: str) -> Metal:
    """A metal by its symbol, or by its cell: "hcp 2.665 4.947", "bcc 3.51" (angstrom). Raises `UserError`."""
    if known := METALS.get(text.strip().capitalize()):
        return known
    lattice, *edges = text.split()
    lattices = {name: 2 if name in ("hexagonal", "hcp") else 1 for name in PRESENT}
    try:
        numbers = [float(edge) for edge in edges]
    except ValueError:
        numbers = []
    if lattices.get(lattice) != len(numbers) or not all(1 < number < 100 for number in numbers):  # type: ignore[call-overload]
        raise UserError(
            f"metal: expected one of {', '.join(METALS)}, or a lattice ({', '.join(lattices)}) with its edges in "
            f'angstrom, as in "hcp 2.665 4.947" or "bcc 3.51"; found {text!r}.'
        )
    return Metal(text.strip(), lattice, *numbers)  # type: ignore[arg-type]
